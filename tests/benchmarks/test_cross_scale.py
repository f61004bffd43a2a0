"""The fit of the share: the reduction is the data set's, the statistics are those of the rows."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from scipy.io import savemat

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from benchmarks import cross_scale


def gaussian(down, across, tilt=0.0):
    at = np.arange(11) - 5.0
    form = at[:, None] ** 2 / down + at**2 / across + tilt * at[:, None] * at
    kernel = np.exp(-form / 2)
    return kernel / kernel.sum()


def photograph(side, seed=0):
    """Return a picture `(3, side, side)` of 8 bits that looks alike at all scales."""
    numbers = np.random.default_rng(seed)
    frequencies = np.hypot(np.fft.fftfreq(side)[:, None], np.fft.rfftfreq(side))
    frequencies[0, 0] = 1
    spectrum = np.fft.rfft2(numbers.standard_normal((3, side, side))) / frequencies
    x = np.fft.irfft2(spectrum, s=(side, side))
    return (127 + 40 * (x - x.mean()) / x.std()).clip(0, 255).round().astype(np.uint8)


@pytest.fixture
def data(tmp_path):
    """Make a data set of three kernels, the first of which belongs to a picture."""
    for folder in ("gt", "gt_k_x2", "photos"):
        (tmp_path / folder).mkdir()
    Image.fromarray(np.zeros((2, 2), np.uint8)).save(tmp_path / "gt" / "im_1.png")
    for n, kernel in enumerate([gaussian(1, 1), gaussian(3, 1.5, 0.1), gaussian(1.5, 3)], 1):
        savemat(tmp_path / "gt_k_x2" / f"kernel_{n}.mat", {"Kernel": kernel})
    for name, side in (("large", 512), ("small", 100)):
        picture = Image.fromarray(photograph(side).transpose(1, 2, 0))
        picture.save(tmp_path / "photos" / f"{name}.png")
    (tmp_path / "photos" / "notes.txt").write_text("no picture")
    return tmp_path


def row(photo, share):
    kernel = gaussian(2, 1)
    covariance = torch.from_numpy(cross_scale._moments(kernel)) / share
    return cross_scale.Row(photo=Path(photo), kernel=kernel, covariance=covariance, why="")


@pytest.mark.parametrize("shape", [(40, 33), (31, 32)])
def test_a_photograph_is_reduced_as_the_data_set_was(shape):
    numbers = np.random.default_rng(0)
    x = numbers.integers(0, 256, (3, *shape)).astype(np.uint8)
    x[:, :9] = 255
    kernel = numbers.random((11, 11)) - 0.1  # lopsided, and it overshoots
    kernel *= 1.3 / kernel.sum()
    expected = [np.floor(np.clip(ndimage.correlate(c.astype(float), kernel), 0, 255)) for c in x]
    y = cross_scale._reduced(torch.from_numpy(x).float() / 255, kernel)
    assert np.array_equal((y * 255).round().numpy(), np.stack(expected)[:, ::2, ::2])


def test_moments_are_those_of_the_taps():
    kernel = np.random.default_rng(1).random((4, 4)) - 0.2
    weight = np.maximum(kernel, 0) / np.maximum(kernel, 0).sum()
    mean = sum(weight[i, j] * np.array([i, j]) for i in range(4) for j in range(4))
    expected = sum(
        weight[i, j] * np.outer([i, j] - mean, [i, j] - mean) for i in range(4) for j in range(4)
    )
    np.testing.assert_allclose(cross_scale._moments(kernel), expected, rtol=1e-12)


def test_the_fit_is_of_logarithms_and_its_error_is_that_of_photographs():
    rows = [row(f"{i // 2}", share) for i, share in enumerate([0.5, 0.6, 0.9, 1.0, 1.2, 0.7])]
    logs = np.log([0.5, 0.6, 0.9, 1.0, 1.2, 0.7])
    fitted, spread = cross_scale._least_squares(rows)
    assert fitted == pytest.approx(math.exp(logs.mean()))
    of_photos = logs.reshape(3, 2).mean(1)
    assert spread == pytest.approx(fitted * of_photos.std(ddof=1) / math.sqrt(3))
    assert math.isnan(cross_scale._least_squares(rows[:2])[1])


def test_the_true_share_leaves_no_error():
    one = row("a", 0.8)
    assert one.share == pytest.approx(0.8)
    # Of the Gaussian's own truncation to 11 taps.
    assert one.error(0.8) < 0.02 < 0.1 < one.error(1.0)


def test_a_fit_far_from_the_share_in_use_is_said(capsys):
    assert cross_scale._report([row("a", 0.5), row("b", 0.51)]) == 0
    assert "further from it than its standard error" in capsys.readouterr().out
    assert cross_scale._report([row("a", 0.8), row("b", 0.92)]) == 0
    assert "further" not in capsys.readouterr().out
    assert cross_scale._report([]) == 1


def test_the_command_leaves_out_the_kernels_of_the_benchmark(data, capsys):
    argv = ["--data", str(data), "--photos", str(data / "photos"), "--reductions", "3"]
    assert cross_scale.main(argv) == 0
    out = capsys.readouterr().out
    assert "2 photographs, 2 kernels, seed 0" in out
    assert "im_1 " not in out and ("im_2" in out or "im_3" in out)
    assert out.count("| large |") == 3
    assert out.count("at least 64 x 64") == 3
    assert "3 reductions of 1 photographs" in out
    # The spectra of a picture without a scale of its own give the kernel's covariance itself.
    share = float(out.split("least squares of the logarithm ")[1].split()[0])
    assert share == pytest.approx(1, abs=0.1)


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"--data": "photos"}, "--data: expected the folder DIV2KRK"),
        ({"--photos": "gt_k_x2"}, "--photos: expected pictures"),
        ({"--reductions": 0}, "--reductions: expected 1 or more"),
    ],
)
def test_what_is_asked_for_is_checked(data, capsys, changed, match):
    given = {"--data": "", "--photos": "photos", "--reductions": 1, **changed}
    argv = [str(data / v) if isinstance(v, str) else str(v) for v in given.values()]
    with pytest.raises(SystemExit):
        cross_scale.main([part for pair in zip(given, argv, strict=True) for part in pair])
    assert match in capsys.readouterr().err
