"""The protocol of the DL-Net tables, piece by piece, and the command on tiny pictures."""

import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy import ndimage

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from wellposed import Space
from wellposed.cli.values import parameters
from wellposed.edge import build_operator
from wellposed.errors import DataError
from wellposed.training import load_recipe
from wellposed.training.installed import find_recipe

from benchmarks import _dlnet_overhead, _dlnet_references, _dlnet_weights, _trained, dlnet
from benchmarks import _dlnet_protocol as protocol
from benchmarks._dlnet_paper import OVERHEAD, TABLES

from .made import picture, weights, write

FACES = {
    "solver": {
        "name": "dlnet",
        "params": {
            "network": {"name": "context_encoder", "params": {"width": 2}},
            "steps": 2,
            "rate": 1e-2,
            "feed": "measurement",
        },
    },
    "operator": {"name": "mask", "params": {"mask": {"missing_pixels": {"uniform": [0, 0.75]}}}},
    "data": {"crop": 64, "held_out": 2},
    "steps": 3,
}
LARGER = {
    "solver": {
        "name": "dlnet",
        "params": {"network": {"name": "vdsr", "params": {"depth": 2, "width": 2}}, "steps": 1},
    },
    "operator": {"name": "strided_blur", "params": {"stride": 2}},
    "data": {"crop": 16, "colour": "luminance"},
    "steps": 3,
}


@pytest.fixture
def faces(tmp_path):
    folder = tmp_path / "faces"
    folder.mkdir()
    for i in range(6):
        write(folder / f"{i}.png", picture(i, 3, 64, 64))
    return folder


# What the paper prints


def test_every_row_has_a_cell_for_each_column():
    for number, table in TABLES.items():
        parts = 3
        for method, cells in table.rows.items():
            assert len(cells) == len(table.columns), (number, method)
            values = [[float(v) for v in cell.split("/")] for cell in cells]
            assert all(len(v) == parts and min(v) > 0 for v in values), (number, method)
    assert all(list(times) == [1, 2, 3, 4, 5] for times in OVERHEAD.values())


def test_printed_psnr_is_a_mean_over_pictures_of_pictures_from_minus_one_to_one():
    # log is concave: a mean of PSNRs lies above the PSNR of the mean, with equality for one picture
    cells = [
        c
        for t in TABLES.values()
        if t.task != "super_resolution"
        for r in t.rows.values()
        for c in r
    ]
    for cell in cells:
        l1, l2, psnr = map(float, cell.split("/"))
        assert psnr > 10 * math.log10(4 / (l2 + 5e-5)) - 0.005, cell
        assert l1 - 5e-5 < math.sqrt(l2 + 5e-5), cell


# Faces


def test_figures_are_those_of_pictures_in_minus_one_to_one():
    x, z = picture(0, 5, 3, 8, 9), picture(1, 5, 3, 8, 9)
    found = protocol.face_figures([(z[:2], x[:2]), (z[2:], x[2:])])
    a, b = 2 * x.double().numpy() - 1, 2 * z.double().numpy() - 1
    squares = ((a - b) ** 2).mean((1, 2, 3))
    assert found.l1 == pytest.approx(np.abs(a - b).mean())
    assert found.l2 == pytest.approx(squares.mean())
    assert found.psnr == pytest.approx((20 * np.log10(2 / np.sqrt(squares))).mean())


@pytest.mark.parametrize("column", protocol.FACE_MASKS)
def test_columns_are_degraded_as_they_say(column):
    x = picture(0, 3, 3, 64, 64)
    batches = list(protocol.degraded(x, column, batch=2))
    assert len(batches) == (2 if "centered" in column else 20)
    masks = torch.cat([operator.mask for _, operator, _ in batches])[:, 0]
    for truth, operator, y in batches:
        assert torch.equal(y, truth * operator.mask)
    missing = (masks == 0).sum((1, 2))
    if column.startswith("s"):
        side = int(column.removeprefix("s = ").split(",")[0])
        assert (missing == side**2).all()
        middles = torch.stack([(m == 0).nonzero().double().mean(0) - 31.5 for m in masks])
        assert middles.abs().max() <= (0 if "centered" in column else 10)
        assert "centered" in column or len(middles.unique(dim=0)) > 10
    elif "in" in column:
        assert missing.max() <= 0.75 * 64**2
        assert len(missing.unique()) > 10
    else:
        share = int(column.removeprefix("r = ").rstrip("%")) / 100
        assert (missing == round(share * 64**2)).all()
    again = list(protocol.degraded(x, column, batch=2))
    assert all(torch.equal(a[2], b[2]) for a, b in zip(batches, again, strict=True))


def test_known_pixels_are_kept():
    x, z = picture(0, 2, 3, 64, 64), picture(1, 2, 3, 64, 64)
    _, operator, y = next(protocol.degraded(x, "r = 45%"))
    composed = protocol.compose(z, operator, y)
    assert torch.equal(composed, torch.where(operator.mask == 1, x, z))


def test_test_pictures_are_those_held_out(faces):
    split = protocol.faces(faces, FACES)
    assert len(split.held) == 2
    for name, x in split.held.items():
        number = int(name.split(".")[0])
        assert torch.allclose(x, (picture(number, 3, 64, 64) * 255).round() / 255)
    assert protocol.faces(faces, {**FACES, "seed": 1}).digest != split.digest


# Super-resolution


@pytest.mark.parametrize("scale", protocol.SCALES)
@pytest.mark.parametrize("width", protocol.WIDTHS)
def test_reduction_is_gaussian_blur_then_antialiased_resizing(scale, width):
    x = picture(0, 1, 6 * scale, 8 * scale).double()
    blurred = x.numpy()[0]
    if width:
        t = np.arange(15) - 7
        gaussian = np.exp(-(t[:, None] ** 2 + t**2) / (2 * width**2))
        blurred = ndimage.convolve(blurred, gaussian / gaussian.sum(), mode="nearest")
    resize = build_operator("resize", {"scale": 1 / scale}, x_space=Space(tuple(x.shape), x.dtype))
    expected = resize(torch.from_numpy(blurred)[None])
    found = protocol.reduction(tuple(x.shape[1:]), scale, width)(x)
    # kernels by name are computed in float32
    assert torch.allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("scale", protocol.SCALES)
def test_shifted_bicubic_begins_at_the_first_pixel_and_has_a_of_three_quarters(scale):
    y = picture(0, 1, 7, 6).double()
    z = protocol.shifted_bicubic(y, scale)
    assert z.shape == (1, 7 * scale, 6 * scale)
    assert torch.allclose(z[:, ::scale, ::scale], y)
    if scale == 2:
        taps = torch.tensor([-0.09375, 0.59375, 0.59375, -0.09375], dtype=y.dtype)
        assert torch.allclose(z[0, 4, 5], taps @ y[0, 2, 1:5])


def test_interpolation_keeps_a_constant():
    y = torch.full((1, 6, 5), 0.25, dtype=torch.float64)
    for enlarge in (protocol.bicubic, protocol.shifted_bicubic):
        assert torch.allclose(enlarge(y, 3), torch.full((1, 18, 15), 0.25, dtype=y.dtype))


def test_scores_are_of_256_levels_without_the_border():
    x = protocol.rounded(picture(0, 1, 12, 10).double())
    z = x + 0.6 / 255
    z[:, :2] = 7.0
    z[:, :, -2:] = -7.0
    expected = 20 * math.log10(255)  # every level is one too high ...
    top = (x[:, 2:-2, 2:-2] == 1).sum()
    assert top == 0  # ... as none is cut off at white
    assert protocol.score(z, x, 2) == pytest.approx(expected)


def test_pictures_are_cut_so_that_the_scale_divides_them():
    assert protocol.cut(torch.zeros(1, 13, 11), 4).shape == (1, 12, 8)
    assert protocol.cut(torch.zeros(1, 12, 9), 3).shape == (1, 12, 9)


def test_luminance_is_bt601_and_grey_is_left_alone(tmp_path):
    colour, grey = picture(0, 3, 9, 8), protocol.rounded(picture(1, 1, 9, 8))
    (tmp_path / "val").mkdir()
    write(tmp_path / "val" / "b.png", colour)
    write(tmp_path / "val" / "a.png", grey)
    write(tmp_path / "c.png", grey)
    found = protocol.test_pictures(tmp_path)
    assert list(found) == ["a", "b"]
    assert torch.allclose(found["a"], grey.double())
    r, g, b = (colour * 255).round().double()
    y = (16 + (65.481 * r + 128.553 * g + 24.966 * b) / 255).round() / 255
    assert torch.allclose(found["b"][0], y)
    assert list(protocol.test_pictures(tmp_path, 1)) == ["a"]
    assert list(protocol.test_pictures(tmp_path, without=["a"])) == ["b"]
    with pytest.raises(DataError, match="no pictures to test on"):
        protocol.test_pictures(tmp_path, without=["a", "b"])


# Rows and weights


def changed(recipe, texts):
    return load_recipe(find_recipe(recipe), changes=parameters(texts, "--set")).as_data()


def test_the_commands_train_the_rows_they_stand_for():
    seen = set()
    for table in TABLES.values():
        scales = protocol.SCALES if table.task == "super_resolution" else (1,)
        for method in table.rows:
            for scale in scales:
                kind = _dlnet_weights.Kind(table.task, method, scale)
                for name, recipe, its in _dlnet_weights.recipes():
                    texts = [] if its == kind else _dlnet_weights._changes(recipe, its, kind)
                    if texts is not None:
                        assert _dlnet_weights.kind_of(changed(name, texts)) == kind, texts
                        seen.add((table.task, method))
    missing = {(t.task, m) for t in TABLES.values() for m in t.rows} - seen
    assert {method for _, method in missing} == {"Bicubic", "SRMDNF"}


def test_commands_are_ready_for_a_shell():
    ways = _dlnet_weights.commands(_dlnet_weights.Kind("super_resolution", "VDSR", 2))
    assert any("--set 'operator=[{name: strided_blur, params: {stride: 2" in way for way in ways)
    assert _dlnet_weights.commands(_dlnet_weights.Kind("super_resolution", "SRMDNF", 2)) == []


@pytest.mark.parametrize(
    ("changes", "method"),
    [
        ({}, "DL-Net"),
        ({"loss": [{"norm": "l2"}, {"norm": "l2", "on": "measurement"}]}, "DL-Net"),
        ({"operator": "blur"}, None),
        ({"operator": {"name": "mask", "params": {"mask": "file.npy"}}}, None),
        ({"operator": {"name": "mask", "params": {"mask": {"missing_pixels": 0.5}}}}, "DL-Net"),
        ({"solver": "zssr"}, None),
    ],
)
def test_recipes_find_their_rows(changes, method):
    kind = _dlnet_weights.kind_of({**FACES, **changes})
    assert (kind and kind.method) == method


def test_plain_networks_find_their_rows():
    network = {"name": "context_encoder", "params": {"mask_channels": 1}}
    plain = {**FACES, "solver": None, "network": network}
    assert _dlnet_weights.kind_of(plain).method == "Autoencoder+SFT (Joint)"
    naive = {**plain, "network": "context_encoder", "loss": {"norm": "l2", "on": "measurement"}}
    assert _dlnet_weights.kind_of(naive).method == "Autoencoder (Naive Likelihood)"
    fixed = {"name": "mask", "params": {"mask": {"missing_pixels": 0.5}}}
    assert _dlnet_weights.kind_of({**plain, "operator": fixed}) is None


# The command


def test_a_table_of_faces(faces, tmp_path, capsys):
    digest = protocol.faces(faces, FACES).digest
    weights(tmp_path / "one", FACES, digest)
    solver = FACES["solver"]
    joint = {**solver, "params": {**solver["params"], "steps": 1}}
    weights(tmp_path / "two", {**FACES, "solver": joint}, "another")
    argv = ["--table", "VII", "--data", str(faces), "--weights", str(tmp_path)]
    assert dlnet.main(argv) == 0
    out = capsys.readouterr().out
    assert "Ours: 2 pictures that training held out" in out
    assert "| DL-Net | paper | 0.0171 / 0.0021 / 33.52 | 0.0439 / 0.0080 / 27.54 |" in out
    assert "| DL-Net | ours: width 2, K = 2, 3 steps of 16 | 0." in out
    assert "| Autoencoder (Joint) | ours: width 2, 3 steps of 16 | 0." in out
    assert "| On-Demand Learning | ours | - | - |" in out
    assert "| DL-Net over Joint | paper | +1.21 dB | +0.93 dB |" in out
    assert "| DL-Net over Joint | ours | " in out
    assert "no weights for On-Demand Learning: `wellposed train interpolation_faces" in out
    assert out.count("was trained on other pictures") == 1
    assert "no weights for DL-Net" not in out


def test_a_table_without_weights(faces, capsys, monkeypatch):
    monkeypatch.setattr(_trained, "installed_weights", list)
    # the recipes that ship hold out more than these few
    monkeypatch.setattr(
        dlnet, "recipes", lambda: [("x", FACES, _dlnet_weights.Kind("inpainting", "DL-Net"))]
    )
    assert dlnet.main(["--table", "VI", "--data", str(faces), "--pictures", "1"]) == 0
    out = capsys.readouterr().out
    assert "| DL-Net | ours | - | - |" in out
    assert "| estimate without a network | ours | 0." in out
    assert "over Joint | ours" not in out
    assert "no weights for DL-Net: `wellposed train inpainting_faces --data" in out


def test_a_table_of_super_resolution(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "a.png", picture(0, 3, 25, 27))
    weights(tmp_path / "plain", LARGER)
    argv = ["--table", "XII", "--data", str(tmp_path / "set"), "--weights", str(tmp_path)]
    assert dlnet.main(argv) == 0
    lines = capsys.readouterr().out.splitlines()
    assert "| VDSR | paper | 37.62 / 33.89 / 31.56 |" in "\n".join(lines)
    mine = next(line for line in lines if line.startswith("| VDSR | ours"))
    assert mine.count(" / - / -") == 3 and "depth 2, width 2, 3 steps of 16" in mine
    assert any(line.startswith("| Bicubic | ours: MATLAB's |") for line in lines)
    assert any(line.startswith("- no weights for VDSR x3: ") for line in lines)
    assert not any("no weights for VDSR x2" in line for line in lines)


def test_what_is_missing_is_said(faces, tmp_path, capsys):
    for argv, text in (
        (["--table", "II"], "--data: expected the pictures"),
        (["--table", "II", "--data", str(faces), "--pictures", "0"], "expected 1 or more"),
        (["--table", "IV", "--data", str(faces)], "invalid choice"),
        (["--table", "II", "--data", str(faces), "--weights", str(faces)], "holds no weights"),
    ):
        with pytest.raises(SystemExit):
            dlnet.main(argv)
        assert text in capsys.readouterr().err


def test_damaged_weights_are_named(faces, tmp_path, capsys):
    weights(tmp_path / "bad", FACES)
    (tmp_path / "bad" / "weights.safetensors").write_bytes(b"0")
    weights(tmp_path / "good", FACES)
    assert dlnet.main(["--table", "VII", "--data", str(faces), "--weights", str(tmp_path)]) == 0
    assert "is not what its card says" in capsys.readouterr().out


def test_networks_of_others_become_ours(tmp_path, capsys):
    (tmp_path / "set").mkdir()
    write(tmp_path / "set" / "a.png", picture(0, 3, 24, 24))
    shapes = [(4, 1, 3, 3), (4, 4, 3, 3), (1, 4, 3, 3)]
    arrays = {}
    for i, shape in enumerate(shapes):
        arrays[f"conv{i}.weight"] = picture(i, *shape).numpy() - 0.5
        arrays[f"conv{i}.bias"] = picture(9 + i, shape[0]).numpy() - 0.5
    (tmp_path / "nets").mkdir()
    for name, sign in (("vdsr_official_caffe", 1), ("dncnn3_matconvnet", -1)):
        np.savez(tmp_path / "nets" / f"{name}.npz", **arrays)
        label = "VDSR (official)" if sign == 1 else "DnCNN-3"
        x = picture(3, 1, 12, 12).double()
        with torch.no_grad():
            run = _dlnet_references._network(label, tmp_path)
        small = protocol.reduction((12, 12), 2, 0.0)(x)
        start = h = protocol.bicubic(small, 2).float()
        for i in range(3):
            w, b = (torch.from_numpy(arrays[f"conv{i}.{key}"]) for key in ("weight", "bias"))
            h = F.conv2d(F.relu(h) if i else h, w, b, padding=1)
        assert torch.allclose(run(x, 2), start + sign * h, atol=1e-5)
    argv = ["--protocol", "--data", str(tmp_path / "set")]
    assert dlnet.main(argv) == 0
    out = capsys.readouterr().out
    assert "| VDSR (official) | 0 | 37.53 / 33.66 / 31.35 | - | - |" in out
    assert "| SRMDNF | 2.6 | 34.12 / 33.02 / 31.77 | - | - |" in out


def test_overhead_counts_every_k(capsys, monkeypatch):
    def once(contenders, *, seconds, cpu_time):
        for run in contenders.values():
            run()
        return {name: 100.0 + 10 * int(name) for name in contenders}

    monkeypatch.setattr(_dlnet_overhead, "interleaved", once)
    small = {"name": "context_encoder", "params": {"width": 4}}
    monkeypatch.setattr(_dlnet_overhead, "_NETWORK", small)
    assert dlnet.main(["--table", "VIII", "--batch", "2"]) == 0
    out = capsys.readouterr().out
    assert "| 5 | 5.884 | 1.54 | 75.000 | 1.36 | 0.150 | 1.36 |" in out
    assert "parameters: 0.03 M for every K (paper: about 2.9 M)" in out
