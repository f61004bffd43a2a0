"""The case on which zero-shot super-resolution is measured, and the command on a piece of it."""

import re

import attrs
import numpy as np
import pytest
import torch
from scipy import ndimage

pytest.importorskip("skimage", reason="the picture is scikit-image's")
pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from skimage import data
from wellposed.edge import build_solver

from benchmarks import zssr


@pytest.mark.parametrize("transpose", [False, True])
def test_the_case_is_a_correlation_rounded_to_8_bits(transpose):
    truth, problem = zssr.case(transpose=transpose)
    c, s = np.cos(0.6), np.sin(0.6)
    turn = np.array([[s, c], [c, -s]])  # columns: the axes, rows first
    precision = np.linalg.inv(turn @ np.diag([4.0, 1.2]) @ turn.T)
    at = np.moveaxis(np.indices((11, 11)) - 5.5, 0, -1)
    kernel = np.exp(-np.einsum("...i,ij,...j", at, precision, at) / 2)
    kernel = (kernel.T if transpose else kernel) / kernel.sum()
    x = np.moveaxis(data.astronaut().astype(float), -1, 0)
    y = np.stack([ndimage.correlate(channel, kernel)[::2, ::2] for channel in x])
    got = (problem.measurement * 255).numpy()
    np.testing.assert_allclose(got, got.round(), atol=1e-4)
    np.testing.assert_allclose(got, y, atol=0.5 + 1e-4)
    np.testing.assert_allclose((truth * 255).numpy(), x, atol=1e-4)
    # What solvers are told agrees with how the measurement was made.
    error = (problem.operator(truth) - problem.measurement).abs().max()
    assert float(error) < 0.51 / 255


@pytest.mark.parametrize(("transpose", "expected"), [(False, 27.557), (True, 27.651)])
def test_interpolation_is_as_good_as_was_published(transpose, expected):
    truth, problem = zssr.case(transpose=transpose)
    found = build_solver("interpolation").solve(problem)
    assert zssr.quality(found.image, truth) == pytest.approx(expected, abs=0.005)


def test_quality_is_that_of_the_clipped_picture_away_from_the_frame():
    truth, _ = zssr.case()
    x = (truth + 0.1).clamp(0, 1)
    expected = zssr.quality(x, truth)
    x[:, :10] = 0
    assert zssr.quality(torch.where(x == 1, 7.0, x), truth) == pytest.approx(expected)
    assert 18 < expected < 22


def piece(*, transpose, seed, whole=zssr.case):
    """Return 64 x 64 pixels of the case, for a command that is done at once."""
    truth, problem = whole(transpose=transpose, seed=seed)
    operator = attrs.evolve(problem.operator, in_shape=(3, 64, 64))
    y = problem.measurement[:, 32:64, 64:96].contiguous()
    return truth[:, 64:128, 128:192], attrs.evolve(problem, operator=operator, measurement=y)


def rows(out):
    lines = [line.strip("| ").split(" | ") for line in out.splitlines() if line.startswith("| ")]
    return lines[1:]


def test_the_command_prints_each_solve(monkeypatch, capsys):
    monkeypatch.setattr(zssr, "case", piece)
    zssr.main(["--steps", "1", "2", "--seed", "3"])
    found = rows(capsys.readouterr().out)
    cosine = 'zssr, start="tikhonov", schedule="cosine"'
    assert [(r[0], r[1]) for r in found] == [
        ("interpolation", "0"),
        ("tikhonov", "0"),
        ("zssr", "1"),
        ("zssr", "2"),
        (cosine, "1"),
        (cosine, "2"),
    ]
    assert all(15 < float(r[2]) < 50 and float(r[3]) >= 0 for r in found)
    zssr.main(["--steps", "1", "--start"])
    assert [r[0] for r in rows(capsys.readouterr().out)] == ["interpolation", "tikhonov", "zssr"]


@pytest.mark.parametrize(
    ("argv", "match"),
    [
        (["--steps", "0"], "--steps: expected 1 or more"),
        (["--start", "tikhonoff"], "--start: .*tikhonoff"),
    ],
)
def test_what_is_asked_for_is_checked(capsys, argv, match):
    with pytest.raises(SystemExit):
        zssr.main(argv)
    assert re.search(match, capsys.readouterr().err)
