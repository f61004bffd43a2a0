"""The protocol of the InverseNet tables, piece by piece."""

import math

import numpy as np
import pytest
import torch
from scipy import ndimage

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from wellposed.cli.values import parameters
from wellposed.errors import DataError
from wellposed.training import load_recipe
from wellposed.training.installed import find_recipe
from wellposed.training.learner import build_learner

from benchmarks import (
    _held_out,
    _inversenet_baselines,
    _inversenet_weights,
    _trained,
)
from benchmarks import _inversenet_protocol as protocol
from benchmarks._inversenet_paper import INVERSENET, PIX2PIX

from .inversenet_recipes import FACES, UNET
from .made import picture, smooth, weights, write

Kind = _inversenet_weights.Kind


# Figures


def test_figures_are_means_over_pictures_of_limited_pictures():
    x, z = picture(0, 3, 3, 16, 13), 2 * picture(1, 3, 3, 16, 13) - 0.5
    parts = [
        protocol.Measured(truth=x[a], operator=None, measurement=z[a])
        for a in (slice(0, 2), slice(2, 3))
    ]
    found = protocol.scores(parts, lambda one: {"z": one.measurement, "x": one.truth / 2})
    a, b = x.double().numpy(), z.double().clamp(0, 1).numpy()
    squares = ((a - b) ** 2).mean((1, 2, 3))
    assert found["z"].psnr == pytest.approx((-10 * np.log10(squares)).mean())
    assert list(found) == ["z", "x"]
    same = protocol.scores(parts, lambda one: {"x": one.truth + 0})["x"]
    assert same.psnr == math.inf and same.ssim == pytest.approx(1)
    assert same.cells == ("inf", "1.0000")


# Measurements


def test_motion_is_the_kernel_of_the_operator_mirrored_beyond_the_frame():
    x = picture(0, 2, 3, 20, 17)
    one = protocol.degraded([x], "motion")[0]
    kernel = one.operator.kernel[0, 0].numpy()
    assert kernel.shape == (9, 9) and kernel.sum() == pytest.approx(1)
    expected = ndimage.convolve(x.numpy(), kernel[None, None], mode="mirror")
    assert np.allclose(one.measurement.numpy(), expected, atol=1e-6)


def test_colour_blurs_each_colour_in_its_own_way_and_takes_their_mean():
    grey = torch.full((1, 3, 24, 20), 0.25)
    (one,) = protocol.degraded([grey], "colour")
    assert torch.allclose(one.measurement, grey[:, :1, ::2, ::2])
    # a pixel at each of the four places of a block: together they meet every tap of the kernel
    responses = []
    for colour in range(3):
        points = torch.zeros(4, 3, 24, 20)
        for i in range(4):
            points[i, colour, 12 + i // 2, 10 + i % 2] = 1.0
        y = protocol.degraded([points], "colour")[0].measurement
        assert y.shape == (4, 1, 12, 10)
        assert y.sum() == pytest.approx(1 / 3, rel=1e-4)
        responses.append(y)
    red, green, blue = responses
    assert min((red - green).norm(), (green - blue).norm(), (blue - red).norm()) > red.norm() / 2


def test_x4_is_a_mean_over_squares():
    x = torch.zeros(1, 3, 40, 40)
    x[..., 20, 20] = 1.0
    y = protocol.degraded([x], "x4")[0].measurement
    assert y.shape == (1, 3, 10, 10)
    # a kernel of 7 pixels on a grid of 4 covers that pixel from one or two blocks, each way
    touched = (y[0, 0] > 1e-6).nonzero()
    assert 1 <= len(touched) <= 4
    assert y.max() == pytest.approx(1 / 49, rel=1e-4)


def test_noise_and_rounding_are_the_same_for_all():
    x = picture(0, 4, 3, 16, 16)
    clean = protocol.degraded([x], "motion")[0].measurement
    noisy = [protocol.degraded([x], "motion", sigma=0.02, batch=4)[0].measurement for _ in "ab"]
    assert torch.equal(*noisy)
    assert (noisy[0] - clean).std() == pytest.approx(0.02, rel=0.1)
    levels = protocol.degraded([x], "motion", rounded=True)[0].measurement * 255
    assert torch.allclose(levels, levels.round(), atol=1e-4)
    assert (levels - clean * 255).abs().max() <= 0.5 + 1e-4
    assert len(protocol.degraded([x], "motion", batch=3)) == 2


# Pictures


def test_natural_pictures_are_middle_parts_of_bsd100(tmp_path):
    (tmp_path / "val").mkdir()
    wide, grey = (picture(0, 3, 11, 14) * 255).round() / 255, picture(1, 1, 11, 13)
    write(tmp_path / "val" / "b.png", wide)
    write(tmp_path / "val" / "a.png", grey)
    write(tmp_path / "c.png", wide)
    (parts,) = protocol.natural(tmp_path, 8)
    assert torch.allclose(parts[1], wide[:, 1:9, 3:11])
    assert torch.equal(parts[0, 0], parts[0, 2])
    whole = protocol.natural(tmp_path, None)
    assert [tuple(one.shape) for one in whole] == [(2, 3, 8, 12)]
    assert len(protocol.natural(tmp_path, 8, 1)[0]) == 1
    with pytest.raises(DataError, match="smaller than 12 x 12"):
        protocol.natural(tmp_path, 12)
    (tmp_path / "none").mkdir()
    with pytest.raises(DataError, match="no pictures to test on"):
        protocol.natural(tmp_path / "none", 8)


def test_lfw_is_cut_to_its_middle(tmp_path):
    x = torch.zeros(3, 250, 250)
    x[:, 50:200, 50:200] = 1.0
    for i in range(2):
        write(tmp_path / f"{i}.png", x)
    (found,) = protocol.lfw(tmp_path, 1)
    assert found.shape == (1, 3, 64, 64) and found.min() == 1


def test_without_a_recipe_nothing_is_known_to_be_held_out(tmp_path):
    with pytest.raises(DataError, match="no recipe says"):
        _held_out.held_out(tmp_path, [], [])


# Baselines


@pytest.mark.parametrize("border", ["periodic", "unknown", "known"])
def test_borders_are_taken_as_they_say(border):
    x = torch.stack([smooth(i, 24, 28) for i in range(2)])
    one = protocol.degraded([x], "motion")[0]
    baseline = _inversenet_baselines.Baseline(
        row="", solver="tikhonov", border=border, grid={"weight": (1e-5,)}
    )
    found = _inversenet_baselines.solved(baseline, {"weight": 1e-5}, one)
    assert found.shape == x.shape
    assumed = _inversenet_baselines._assumed(border, one)
    far = {"periodic": "circular", "unknown": "valid", "known": "reflect"}[border]
    assert assumed.boundary == far
    middle = (found - x)[..., 8:-8, 8:-8].square().mean()
    blur = (one.measurement - x)[..., 8:-8, 8:-8].square().mean()
    assert middle < blur / 4 or border == "periodic"


def test_the_best_of_the_grid_is_taken():
    x = torch.stack([smooth(i, 32, 32) for i in range(3)])
    measured = protocol.degraded([x], "motion", sigma=0.02, batch=2)
    baseline = _inversenet_baselines.Baseline(
        row="", solver="tikhonov", border="known", grid={"weight": (1e-6, 3e-2, 1e3)}
    )
    choice, score = _inversenet_baselines.tuned(baseline, measured)
    assert choice == {"weight": 3e-2}
    alone = protocol.scores(
        measured, lambda one: {"x": _inversenet_baselines.solved(baseline, choice, one)}
    )
    assert alone["x"] == score


def test_every_baseline_can_be_run():
    x = smooth(0, 16, 16)[None]
    one = protocol.degraded([x], "motion")[0]
    for baseline in _inversenet_baselines.BASELINES:
        choice = list(baseline.choices())[-1]
        assert _inversenet_baselines.solved(baseline, choice, one).shape == x.shape
        assert baseline.border in baseline.label


# Rows and weights


def test_shipped_recipes_have_rows():
    kinds = {name: kind for name, _, kind in _inversenet_weights.recipes()}
    assert set(kinds) == {name for name, _ in _trained.shipped("wellposed.plugins.inversenet")}
    assert kinds["motion_deblurring_faces_small"] == Kind("motion", INVERSENET, "faces")
    assert kinds["motion_deblurring_small"] == Kind("motion", INVERSENET, "natural")
    assert kinds["colourisation_x2_faces_small"] == Kind("colour", INVERSENET, "faces")
    assert kinds["super_resolution_x4_flat_small"] == Kind("x4", INVERSENET, "natural")


def test_pix2pix_is_half_of_inversenet():
    for name, recipe, kind in _inversenet_weights.recipes():
        if kind.method != INVERSENET or kind.task != "motion":
            continue
        texts = _inversenet_weights.halved(recipe)
        made = load_recipe(find_recipe(name), changes=parameters(texts, "--set"))
        its = _inversenet_weights.kind_of(made.as_data())
        assert its == Kind("motion", PIX2PIX, kind.pictures)
        build_learner(made)
        assert all(term.of is None for term in made.loss) and not made.watch
        assert made.adversarial is None or made.adversarial.of == ("picture",)


def test_commands_are_ready_for_a_shell():
    (way, *_) = _inversenet_weights.commands(Kind("motion", PIX2PIX, "natural"))
    assert "--set solver=null --set 'network={name: inversenet_unet" in way
    (own, *_) = _inversenet_weights.commands(Kind("motion", INVERSENET, "faces"))
    assert own.startswith("`wellposed train motion_deblurring_faces")
    assert _inversenet_weights.commands(Kind("x4", INVERSENET, "faces")) == []


@pytest.mark.parametrize(
    ("changes", "kind"),
    [
        ({}, Kind("motion", INVERSENET, "faces")),
        ({"data": {"crop": 64}}, Kind("motion", INVERSENET, "natural")),
        (
            {"operator": {"name": "blur", "params": {"kernel": "inversenet_motion"}}},
            Kind("motion", INVERSENET, "faces"),
        ),
        ({"operator": "blur"}, None),
        ({"operator": {"name": "strided_blur", "params": {"stride": 4}}}, None),
        ({"operator": "nonsense"}, None),
        ({"operator": [[]]}, None),
        ({"operator": {"name": "blur", "params": {"kernel": {"uniform": [0, 1]}}}}, None),
        ({"solver": "dlnet"}, None),
        ({"solver": None, "network": "vdsr"}, None),
        ({"solver": None, "network": "inversenet_unet"}, Kind("motion", PIX2PIX, "faces")),
        (
            {"solver": {"name": "network", "params": {"network": UNET}}},
            Kind("motion", PIX2PIX, "faces"),
        ),
    ],
)
def test_recipes_find_their_rows(changes, kind):
    assert _inversenet_weights.kind_of({**FACES, **changes}) == kind


def test_another_boundary_is_said(tmp_path):
    round_about = {"name": "motion_blur", "params": {"boundary": "circular"}}
    weights(tmp_path / "one", {**FACES, "operator": round_about})
    weights(tmp_path / "two", FACES)
    found, notes = _inversenet_weights.find([tmp_path])
    assert len(found) == 2 and len(notes) == 1
    assert str(tmp_path / "one") in notes[0] and "another boundary" in notes[0]
