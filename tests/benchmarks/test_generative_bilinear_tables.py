"""The tables of the generative bilinear paper on what the tests make: pictures, networks."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from scipy import ndimage
from wellposed import ssim
from wellposed.errors import DataError, WeightsError

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from benchmarks import _generative_methods as methods
from benchmarks import _generative_paper as paper
from benchmarks import _generative_protocol as protocol
from benchmarks import _generative_reference as reference
from benchmarks import _generative_weights, _trained, generative_bilinear
from benchmarks._generative_figures import draw_curves
from benchmarks._generative_tables import kernel_error
from benchmarks._generative_weights import Weights

from .made import smooth, weights

TINY = {"loss": [{"norm": "l2"}], "batch": 2, "steps": 3}
FACES = {"prior": {"name": "face_vae", "params": {"latent": 3, "width": 1}}, **TINY}
NUMBERS = {"prior": {"name": "svhn_vae", "params": {"latent": 3, "width": 1}}, **TINY}
KERNELS = {"prior": {"name": "blur_vae", "params": {"latent": 2, "width": 2}}, **TINY}
CNN = {
    "network": {"name": "hradis_cnn", "params": {"width": 0.03, "shuffle": 2, "grouped": False}},
    "operator": "motion_blur",
    "feed": "measurement",
    "noise": {"name": "gaussian", "params": {"sigma": 0.01}},
    **TINY,
}


def bytes_of(x):
    return (x.clamp(0, 1) * 255).round().to(torch.uint8).permute(0, 2, 3, 1).numpy()


def archive(folder, name, side, count=3, **changes):
    """Write pictures, blurs and outputs that the authors might have given out."""
    x = torch.stack([0.2 + 0.6 * smooth(i, side, side) for i in range(count)])
    blurs = np.zeros((count, 28, 28), np.float32)
    blurs[:, 14, 14], blurs[:, 14, 16] = 0.75, 0.25
    y = 0.75 * x + 0.25 * x.roll(2, -1)
    found = np.zeros((count, 28, 28), np.uint8)
    found[:, 15, 14], found[:, 15, 16] = 100, 100  # a row too low, and other weights
    arrays = {
        "x_orig": bytes_of(x),
        "blurs": blurs,
        "x_range": bytes_of(x + 0.05),
        "alg1_y_from_test": bytes_of(y),
        "alg1_x_hat_from_test": bytes_of(x.roll((2, -3), (-2, -1)) + 0.04),
        "alg1_w_hat_from_test": found,
        "alg1_x_hat_from_range": bytes_of(x + 0.07),
        **changes,
    }
    kept = {key: value for key, value in arrays.items() if value is not None}
    np.savez(folder / f"{name}.npz", **kept)
    return kept


@pytest.fixture
def bare(monkeypatch):
    """No weights are installed, and the classical method gives the measurement back."""
    monkeypatch.setattr(_trained, "installed_weights", list)

    def none(*_args, **_kwargs):
        raise WeightsError("none")

    monkeypatch.setattr(_generative_weights, "prior_from_weights", none)
    monkeypatch.setattr(methods, "blind", classical)


def classical(task, *, dark_channel):
    kernel = torch.zeros(len(task.measurement), 1, 28, 28)
    kernel[..., 14, 14] = 1
    return protocol.Restored(image=task.measurement, kernel=kernel, seconds=1.25)


@pytest.fixture
def trained(tmp_path):
    """Generators of faces, of house numbers and of kernels, and a network, by their options."""
    made = {"--faces": FACES, "numbers": NUMBERS, "--kernels": KERNELS, "--network": CNN}
    for name, recipe in made.items():
        weights(tmp_path / name.strip("-"), recipe)
    return {name: tmp_path / name.strip("-") / "weights.safetensors" for name in made}


def run(capsys, *argv):
    assert generative_bilinear.main([str(one) for one in argv]) == 0
    return capsys.readouterr().out


def refused(capsys, *argv):
    with pytest.raises(SystemExit):
        generative_bilinear.main([str(one) for one in argv])
    return capsys.readouterr().err


def rows_of(out):
    lines = [line for line in out.splitlines() if line.startswith("| ")]
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return {(row[0], row[1].split(":")[0]): row[2:] for row in cells}


def decibels(x, truth):
    off = x.astype(float) - truth.astype(float)
    each = (off**2).reshape(len(off), -1).mean(1) / 255**2
    return float(np.mean(-10 * np.log10(each)))


# What the authors gave out


def test_archives_hold_pictures_and_kernels(tmp_path):
    arrays = archive(tmp_path, "SVHN", 20)
    given = reference.load(tmp_path, "SVHN", 1, skip=1)
    assert given.x.shape == (1, 3, 20, 20) and given.x.dtype == torch.float32
    np.testing.assert_allclose(given.x[0, 2].numpy() * 255, arrays["x_orig"][1, ..., 2], atol=1e-4)
    assert given.kernels[0, 0, 14, 16] == 0.25
    assert given.found["algorithm 1"][0, 0, 15, 14:17].tolist() == [0.5, 0.0, 0.5]
    assert list(given.restored) == ["algorithm 1"] and given.from_range is not None
    moved = given.to("meta")
    assert {moved.x.device.type, moved.restored["algorithm 1"].device.type} == {"meta"}
    assert moved.name == "SVHN"


def test_a_missing_or_broken_archive_is_named(tmp_path, capsys):
    argv = ["--table", 1, "--reference", tmp_path]
    assert "CelebA.npz does not exist. --reference expects the folder" in refused(capsys, *argv)
    (tmp_path / "CelebA.npz").write_bytes(b"no archive")
    with pytest.raises(DataError, match=r"CelebA.npz is no archive of arrays"):
        reference.load(tmp_path, "CelebA")
    archive(tmp_path, "Shoes", 20, blurs=None)
    with pytest.raises(DataError, match=r"Shoes.npz has no blurs; got x_orig, x_range"):
        reference.load(tmp_path, "Shoes")
    archive(tmp_path, "SVHN", 20)
    with pytest.raises(DataError, match="has no picture after the first 3; give a smaller"):
        reference.load(tmp_path, "SVHN", skip=3)


def test_blurs_move_nothing_by_their_tap_14_14():
    x = torch.stack([smooth(i, 30, 33) for i in range(2)])
    w = torch.zeros(2, 1, 28, 28)
    w[0, 0, 14, 14] = 1
    w[1, 0, 13, 17], w[1, 0, 20, 0] = 0.3, 0.7
    wanted = [x[0], 0.3 * x[1].roll((-1, 3), (-2, -1)) + 0.7 * x[1].roll((6, -14), (-2, -1))]
    torch.testing.assert_close(protocol.blurred(x, w, sigma=0.0), torch.stack(wanted))
    noise = protocol.blurred(x, w, sigma=0.1) - protocol.blurred(x, w, sigma=0.0)
    assert 0.095 < float(noise.std()) < 0.105


@pytest.mark.parametrize("kind", list(protocol.CLASSES))
def test_kernels_of_a_class_are_the_same_each_time(kind):
    w = protocol.drawn(kind, 3)
    assert w.shape == (3, 1, 28, 28)
    torch.testing.assert_close(w.sum((1, 2, 3)), torch.ones(3))
    torch.testing.assert_close(w, protocol.drawn(kind, 3))
    assert not torch.allclose(w[0], w[1])


def test_the_kernel_error_is_after_the_best_shift():
    truth = protocol.drawn("Blur B", 2)
    found = truth.roll((3, -2), (-2, -1)) * torch.tensor([1.0, 0.9])[:, None, None, None]
    torch.testing.assert_close(kernel_error(found, truth), torch.tensor([0.0, 0.1]))
    other = protocol.drawn("Blur A", 2)
    shifted = [other.roll((i, j), (-2, -1)) for i in range(28) for j in range(28)]
    least = torch.stack([(one - truth).flatten(1).norm(dim=1) for one in shifted]).amin(0)
    torch.testing.assert_close(kernel_error(other, truth), least / truth.flatten(1).norm(dim=1))


# Table 1


def test_table_1_scores_what_the_authors_found(tmp_path, capsys, bare):
    arrays = archive(tmp_path, "SVHN", 24)
    out = run(capsys, "--table", 1, "--set", "SVHN", "--reference", tmp_path, "--count", 2)
    assert "2 pictures of SVHN, 24 x 24 pixels, blurred by the authors, with noise" in out
    rows = rows_of(out)
    x, y, first = (arrays[k][:2] for k in ("x_orig", "alg1_y_from_test", "alg1_x_hat_from_test"))
    row = rows["algorithm 1", "authors"]
    back = np.roll(first, (-2, 3), (1, 2))
    assert float(row[0]) == pytest.approx(decibels(first, x), abs=0.006)
    assert float(row[2]) == pytest.approx(decibels(back, x), abs=0.006)
    tensors = [torch.from_numpy(a).permute(0, 3, 1, 2).float() / 255 for a in (back, x)]
    assert float(row[3]) == pytest.approx(float(ssim(*tensors).mean()), abs=6e-4)
    # 0.5 and 0.5 for 0.75 and 0.25
    assert float(row[4]) == pytest.approx(math.hypot(0.25, 0.25) / math.hypot(0.75, 0.25), abs=6e-4)
    assert row[5] == "-" and len(row) == 6
    blurred = rows["the blurred picture", "authors"]
    assert float(blurred[0]) == pytest.approx(decibels(y, x), abs=0.006)
    classical = rows["`blind_deblurring`, dark channel 0.004", "ours"]
    wanted = math.hypot(0.25, 0.25) / math.hypot(0.75, 0.25)
    assert classical[:4] == blurred[:4] and float(classical[4]) == pytest.approx(wanted, abs=6e-4)
    assert classical[5] == "1.25"
    assert rows["CNN", "paper, SVHN (Blur B)"][:2] == ["21.45", "0.869"]
    ours = [key for key, cells in rows.items() if cells == ["-"] * 6]
    assert {name for name, _ in ours} == {
        "nearest in the generator's range",
        "`generative_bilinear`",
        "`generative_bilinear_slack`",
        "`generative_bilinear_slack` from random starts",
        "CNN",
    }
    assert "- no generator of SVHN: `wellposed train svhn --data PICTURES --out RUN`, then" in out
    assert "- no generator of kernels, shake: `wellposed train blur_shake --out RUN`" in out
    assert "- no network for SVHN: `wellposed train deblurring_cnn_faces" in out


def test_table_1_blurs_what_the_authors_gave_no_measurements_of(tmp_path, capsys, bare):
    left_out = ("alg1_y_from_test", "alg1_x_hat_from_test", "alg1_w_hat_from_test")
    arrays = archive(tmp_path, "Shoes", 24, **dict.fromkeys(left_out))
    out = run(capsys, "--table", 1, "--set", "Shoes", "--reference", tmp_path, "--skip", 1)
    assert "2 pictures of Shoes, 24 x 24 pixels, blurred here" in out
    assert "the first 1 left out" in out and "no generator of Shoes: no recipe ships" in out
    x = arrays["x_orig"][1:].astype(float)
    y = 0.75 * x + 0.25 * np.roll(x, 2, 2)
    shown = float(rows_of(out)["the blurred picture", "ours"][0])
    # with noise of 0.01, which adds 1e-4 to the mean square
    assert shown == pytest.approx(
        float(np.mean(-10 * np.log10(((y - x) ** 2).mean((1, 2, 3)) / 255**2 + 1e-4))), abs=0.3
    )


def test_table_1_with_generators(tmp_path, capsys, trained, monkeypatch):
    monkeypatch.setattr(methods, "blind", classical)
    monkeypatch.setattr(methods, "SLACK", {**methods.SLACK, "max_steps": 2})
    monkeypatch.setattr(methods, "PROJECTION", {**methods.PROJECTION, "max_steps": 2})
    archive(tmp_path, "SVHN", 32)
    argv = ["--table", 1, "--set", "SVHN", "--reference", tmp_path, "--count", 2]
    argv += ["--faces", trained["numbers"], "--kernels", trained["--kernels"]]
    argv += ["--network", trained["--network"], "--steps", 2, "--restarts", 2]
    sheet = tmp_path / "sheet.png"
    out = run(capsys, *argv, "--look", sheet)
    assert "Ours: 2 restarts of 2 steps" in out
    ours = {key: row for key, row in rows_of(out).items() if key[1] == "ours"}
    assert len(ours) == 8  # two have one name: the solver for known kernels, after both
    for (name, _), row in ours.items():
        assert 5 < float(row[0]) < 40 and float(row[2]) > float(row[0]) - 0.01
        has_kernel = name not in ("CNN", "nearest in the generator's range")
        assert (row[4] != "-") == has_kernel and float(row[5]) > 0
    assert "- CNN: weights, 3 steps; trained for motion_blur, noise {name: gaussian" in out
    assert "truth, blurred, authors' algorithm 1, nearest, ours, generative, with slack" in out
    with Image.open(sheet) as picture:
        assert picture.size[0] > 8 * 128


@pytest.fixture
def task(trained):
    found = Weights(generative_bilinear._parser().parse_args(["--table", "1"]))
    found._options.faces, found._options.kernels = (
        str(trained["numbers"]),
        str(trained["--kernels"]),
    )
    x = torch.stack([smooth(i, 32, 32) for i in range(2)])
    return protocol.Task(
        measurement=protocol.blurred(x, protocol.drawn("Blur A", 2), sigma=0.01),
        faces=found.faces("SVHN", x),
        kernels=found.kernels("shake"),
        restarts=3,
        steps=2,
    )


def test_slack_goes_on_from_where_the_other_solver_ended(task, monkeypatch):
    start = methods.generative(task)
    monkeypatch.setattr(methods, "SLACK", {"update": "adam", "step_size": 1e-9, "max_steps": 1})
    found = methods.slack(task)
    torch.testing.assert_close(found.image, start.image)
    torch.testing.assert_close(found.kernel, start.kernel)
    assert float((methods.slack_alone(task).image - start.image).abs().max()) > 0.01


def test_a_known_kernel_is_undone(task):
    x = torch.stack([smooth(i, 32, 32) for i in range(2)])
    kernel = torch.zeros(2, 1, 28, 28)
    kernel[..., 14, 14] = 1
    start = protocol.Restored(image=x, kernel=kernel.roll(1, -1), seconds=2.0)
    y = protocol.blurred(x, start.kernel, sigma=0.0)
    clean = protocol.Task(measurement=y, faces=None, kernels=None, restarts=1, steps=1)
    found = methods.then_known(clean, start)
    torch.testing.assert_close(found.image, x, atol=0.05, rtol=0)
    assert found.kernel is start.kernel and found.seconds > 2


def test_the_penalty_grows_with_the_noise():
    assert methods.image_penalty(0.0) == methods.PLAIN["image_penalty"]
    assert methods.image_penalty(0.5) - methods.image_penalty(0.0) == pytest.approx(0.25)


# Table 2


def test_table_2(tmp_path, capsys, trained):
    archive(tmp_path, "CelebA", 64)
    argv = ["--table", 2, "--reference", tmp_path, "--count", 2, "--steps", 1, "--restarts", 1]
    argv += ["--faces", trained["--faces"], "--network", trained["--network"]]
    out = run(capsys, *argv, "--out", tmp_path / "curves.png")
    rows = rows_of(out)
    assert rows["CNN", "paper, CelebA (Blur A)"][0] == "16.56 / 0.621"
    assert rows["generative", "paper, CelebA (Blur A)"][4] == "20.68 / 0.815"
    assert len(rows["generative", "ours"]) == len(rows["CNN", "ours"]) == 5
    x = reference.load(tmp_path, "CelebA", 2).x
    kernels = protocol.drawn("Blur A", 2).numpy()[:, 0]
    clean = [
        [ndimage.convolve(channel, kernel, mode="wrap") for channel in picture]
        for picture, kernel in zip(x.numpy(), kernels, strict=True)
    ]
    for percent, cell in zip(paper.NOISE, rows["the blurred picture", "ours"], strict=True):
        noise = np.random.default_rng(percent).normal(0, percent / 100, x.shape)
        y = np.clip(np.stack(clean) + noise, 0, 1)
        wanted = decibels(255 * y, 255 * x.numpy())
        assert float(cell.split(" / ")[0]) == pytest.approx(wanted, abs=0.3)
    assert f"- figure: {tmp_path / 'curves.png'}" in out
    assert "image_penalty 0.1 + sigma^2" in out


def test_table_2_without_weights(tmp_path, capsys, bare):
    archive(tmp_path, "CelebA", 64)
    rows = rows_of(run(capsys, "--table", 2, "--reference", tmp_path))
    assert rows["generative", "ours"] == rows["CNN", "ours"] == ["-"] * 5


def test_curves_are_drawn_where_their_values_are(tmp_path):
    curves = {"low": [10.0, 10.0], "high": [20.0, 20.0]}
    draw_curves([1, 2], curves, tmp_path / "f.png", across="x", up="y")
    with Image.open(tmp_path / "f.png") as page:
        pixels = np.asarray(page).astype(int)
    grey, red = ((abs(pixels[:, 200] - ink).sum(1) == 0) for ink in ((120,) * 3, (200, 80, 40)))
    assert red.any() and grey.any() and np.argmax(red) < np.argmax(grey)


# Table 3


def test_table_3_prints_norms_as_the_paper_does(tmp_path, capsys, bare):
    arrays = archive(tmp_path, "SVHN", 24)
    out = run(capsys, "--table", 3, "--set", "SVHN", "--reference", tmp_path)
    rows = rows_of(out)
    assert rows["SVHN (Blur A)", "paper"] == ["0.00118", "0.000501", "-"]
    whole = {key: value.astype(float) / 255 for key, value in arrays.items()}
    pairs = (
        ("alg1_x_hat_from_test", "x_orig"),
        ("alg1_x_hat_from_range", "x_range"),
        ("x_range", "x_orig"),
    )
    shown = rows["SVHN (the authors' blurs)", "authors"]
    for cell, (found, truth) in zip(shown, pairs, strict=True):
        off = (whole[found] - whole[truth]).reshape(3, -1)
        norm = np.linalg.norm(off, axis=1).mean() / off.shape[1]
        assert float(cell.split(" (")[0]) == pytest.approx(norm, rel=0.006)
        assert float(cell.split(" (")[1][:-4]) == pytest.approx(
            -10 * math.log10((off**2).mean()), abs=0.006
        )
    assert rows["SVHN (Blur A)", "ours"] == ["-"] * 3


def test_table_3_with_generators(tmp_path, capsys, trained, monkeypatch):
    monkeypatch.setattr(methods, "PROJECTION", {**methods.PROJECTION, "max_steps": 2})
    archive(tmp_path, "SVHN", 32)
    argv = ["--table", 3, "--set", "SVHN", "--reference", tmp_path, "--faces", trained["numbers"]]
    argv += ["--kernels", trained["--kernels"], "--steps", 1, "--restarts", 1, "--count", 1]
    rows = rows_of(run(capsys, *argv))
    shown = [rows[f"SVHN ({name})", "ours"] for name in ("the authors' blurs", "Blur A")]
    assert all(len(row) == 3 and all("dB)" in cell for cell in row) for row in shown)
    assert shown[0][2] == shown[1][2]  # the nearest does not depend on the blur
    assert shown[0][0] != shown[1][0]


# What the paper prints


def test_the_paper_s_figures():
    cells = paper.TABLE_1
    assert [cells["CelebA (Blur A)"][m][0] for m in (paper.DARK, paper.CNN, paper.OURS)] == [
        19.674,
        28.338,
        23.525,
    ]
    assert [cells["SVHN (Blur B)"][m][1] for m in (paper.DARK, paper.CNN, paper.OURS)] == [
        0.387,
        0.869,
        0.856,
    ]
    assert paper.DARK not in cells["CelebA (Blur size 30)"]
    printed = {
        ("CelebA (Blur A)", paper.CNN, 0): "16.556 14.216 13.450 12.275 11.772",
        ("CelebA (Blur A)", paper.CNN, 1): "0.621 0.407 0.334 0.220 0.174",
        ("CelebA (Blur A)", paper.OURS, 0): "22.055 21.601 21.765 21.682 20.678",
        ("CelebA (Blur A)", paper.OURS, 1): "0.850 0.832 0.846 0.821 0.815",
        ("SVHN (Blur A)", paper.CNN, 0): "18.908 14.464 12.634 11.747 10.803",
        ("SVHN (Blur A)", paper.CNN, 1): "0.864 0.624 0.4893 0.308 0.2205",
        ("SVHN (Blur A)", paper.OURS, 0): "24.765 20.823 20.963 15.120 13.213",
        ("SVHN (Blur A)", paper.OURS, 1): "0.967 0.930 0.935 0.778 0.733",
    }
    for (name, method, which), text in printed.items():
        row = [cell[which] for cell in paper.TABLE_2[name][method]]
        assert row == [float(word) for word in text.split()]
    assert list(paper.TABLE_3["CelebA (Blur B)"]) == [0.000823, 0.000332]


def test_the_error_of_table_3_agrees_with_table_1():
    x = torch.zeros(3, 64, 64)
    # a mean square of 0.0055, 22.6 dB, is what 0.000671 stands for
    assert float(paper.table_3_error(x + 0.0744, x)) == pytest.approx(0.000671, rel=2e-3)


# Weights and options


def test_weights_that_do_not_fit_are_refused(tmp_path, capsys, trained):
    archive(tmp_path, "SVHN", 32)
    argv = ["--table", 1, "--set", "SVHN", "--reference", tmp_path]
    text = refused(capsys, *argv, "--faces", trained["--kernels"])
    assert "makes pictures of shape (1, 28, 28); those of SVHN have (3, 32, 32)" in text
    text = refused(capsys, *argv, "--network", trained["--kernels"])
    assert "holds no hradis_cnn; see deblurring_cnn_faces" in text
    assert "NOTHING.safetensors" in refused(capsys, *argv, "--faces", "NOTHING.safetensors")


@pytest.mark.parametrize(
    ("argv", "told"),
    [
        (["--table", "1"], "--reference: expected the folder"),
        (["--table", "1", "--reference", ".", "--count", "0"], "--count: expected 1 or more"),
        (["--table", "1", "--reference", ".", "--skip", "-1"], "--skip: expected 0 or more"),
        (["--table", "1", "--reference", ".", "--out", "a.png"], "--out belongs to --table 2"),
        (["--table", "2", "--reference", ".", "--look", "a.png"], "--look belongs to --table 1"),
        (["--table", "1", "--data", "x"], "not allowed with argument"),
        ([], "one of the arguments --table --data is required"),
    ],
)
def test_options_that_do_not_go_together(argv, told, capsys):
    assert told in refused(capsys, *argv)
