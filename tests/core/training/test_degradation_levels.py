"""How hard operators are: measured numbers against what their parameters say."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from wellposed import Space
from wellposed.edge import build_operator
from wellposed.training import recipe_from
from wellposed.training.degradation_levels import levels_of, ranges_of, what_is_outside

SPACE = Space((1, 40, 44))


def operator(name, space=SPACE, **params):
    return build_operator(name, params, x_space=space)


def gaussian(width, size=15):
    return {"name": "gaussian", "params": {"width": width, "size": size}}


def test_the_spread_is_the_kernels_standard_deviation_along_its_axes():
    t = np.arange(9) - 4.0
    kernel = np.exp(-(t[:, None] ** 2) / (2 * 1.5**2) - t**2 / (2 * 0.7**2))
    kernel /= kernel.sum()
    rows, columns = kernel.sum(1), kernel.sum(0)
    levels = levels_of(operator("blur", kernel=torch.from_numpy(kernel).float()[None, None]))
    assert levels["spread"] == pytest.approx(np.sqrt(rows @ t**2), rel=1e-3)
    assert levels["narrow"] == pytest.approx(np.sqrt(columns @ t**2), rel=1e-3)
    assert levels["gain"] == pytest.approx(1, rel=1e-5)
    assert levels["shift"] == pytest.approx(0, abs=1e-4)
    assert levels["missing"] == 0 and np.isnan(levels["gap"])


def test_the_peak_tells_a_gaussian_from_a_disk_of_the_same_spread():
    assert levels_of(operator("blur", kernel=gaussian(2.0, 25)))["peak"] == pytest.approx(1, 2e-2)
    t = np.arange(21) - 10.0
    disk = torch.from_numpy((t[:, None] ** 2 + t**2 <= 81) / 1.0)
    disk = (disk / disk.sum()).float()[None, None]
    assert levels_of(operator("blur", kernel=disk))["peak"] == pytest.approx(0.5, abs=0.01)
    assert np.isnan(levels_of(operator("identity"))["peak"])  # too sharp to have a shape
    motion = levels_of(operator("blur", kernel=torch.ones(1, 1, 1, 7) / 7))
    assert np.isnan(motion["peak"]) and motion["stretch"] == pytest.approx(2)


@pytest.mark.parametrize("sides", [(2, 2), (4, 6), (2, 90), (90, 2), (10, 10)])
def test_a_picture_smaller_than_the_footprint_is_not_refused_for_its_size(sides):
    tree = [{"name": "strided_blur", "params": {"stride": 2}}, BLURS]
    space = Space((1, *sides))
    found = ranges(tree)
    assert what_is_outside(operator("strided_blur", space, stride=2), found) == {}
    # that it is at least this wide is known even there
    wide = operator("blur", Space((1, 21, 21)), kernel=gaussian(9.0, 21))
    assert "spread" in what_is_outside(wide, found)


@pytest.mark.parametrize("side", [13, 14, 15, 33])
@pytest.mark.parametrize("stride", [2, 3])
def test_the_ratio_of_an_incomplete_last_block_is_the_stride(side, stride):
    op = operator("strided_blur", Space((1, side, side + 3)), stride=stride)
    assert levels_of(op)["ratio"] == stride


@pytest.mark.parametrize("side", [126, 127, 321])
@pytest.mark.parametrize("stride", [2, 3])
def test_an_incomplete_last_block_shifts_nothing(side, stride):
    blurred = operator("blur", Space((1, side, side)), kernel=gaussian(1.0))
    op = operator("strided_blur", blurred.out_space, stride=stride) @ blurred
    assert levels_of(op)["shift"] == pytest.approx(0, abs=0.01)


def test_measurements_that_are_no_picture_have_no_place():
    op = operator("gaussian_sensing", Space((1, 8, 8)))
    levels = levels_of(op)
    assert np.isnan(levels["shift"]) and levels["missing"] == 0
    recipe = recipe_from({"network": "vdsr", "operator": "gaussian_sensing", "steps": 1})
    found = ranges_of(recipe.degradation(), Space((1, 8, 8)), seed=0)
    assert "shift" not in found and what_is_outside(op, found) == {}


def test_an_oblique_footprint_is_measured_along_its_own_axes():
    kernel = torch.eye(9)[None, None] / 9
    levels = levels_of(operator("blur", kernel=kernel))
    assert levels["spread"] == pytest.approx(np.sqrt(2 * 60 / 9), rel=1e-4)
    assert levels["narrow"] == pytest.approx(0, abs=1e-3)


def test_kernels_per_sample_are_measured_each_by_itself():
    widths = torch.tensor([0.8, 1.0, 2.0])
    levels = levels_of(operator("blur", kernel=gaussian(widths)))
    assert levels["spread"].shape == (3,)
    np.testing.assert_allclose(levels["spread"], widths, rtol=0.03)


def test_a_composition_is_measured_as_what_it_does():
    one = operator("strided_blur", stride=2, kernel=torch.ones(1, 1, 1, 1))
    two = one @ operator("blur", kernel=gaussian(1.5))
    alone = operator("strided_blur", stride=2, kernel=gaussian(1.5))
    for key in ("ratio", "spread", "narrow", "gain"):
        np.testing.assert_allclose(levels_of(two)[key], levels_of(alone)[key], rtol=1e-3)
    assert levels_of(two)["ratio"] == 2


@pytest.mark.parametrize("offset", [0, 1])
def test_the_shift_says_where_a_strided_kernel_sits(offset):
    op = operator("strided_blur", stride=2, kernel=torch.ones(1, 1, 1, 1), offset=offset)
    assert levels_of(op)["shift"] == pytest.approx(0.5)
    middle = operator("strided_blur", stride=2)  # bicubic: in the middle of its block
    assert levels_of(middle)["shift"] == pytest.approx(0, abs=1e-5)


@pytest.mark.parametrize(("side", "gap"), [(1, 1.0), (2, 1.0), (3, 10 / 9), (9, 165 / 81)])
def test_holes_are_measured_by_the_way_to_the_nearest_pixel_that_is_seen(side, gap):
    mask = torch.ones(1, 40, 44)
    mask[:, 5 : 5 + side, 17 : 17 + side] = 0
    levels = levels_of(operator("mask", mask=mask))
    assert levels["missing"] == pytest.approx(side**2 / (40 * 44))
    assert levels["gap"] == pytest.approx(gap)
    assert levels["spread"] == 0 and levels["shift"] == 0 and levels["gain"] == 1


def test_the_footprint_of_a_mask_is_found_beside_its_hole():
    mask = torch.ones(1, 40, 44)
    mask[:, 10:30, 10:34] = 0
    assert levels_of(operator("mask", mask=mask))["gain"] == 1


def test_an_operator_that_sees_nothing_can_be_measured():
    levels = levels_of(operator("mask", mask=torch.zeros(1, 40, 44)))
    assert levels["missing"] == 1 and levels["gap"] == 44 and levels["gain"] == 0


@pytest.mark.parametrize(
    ("name", "space"),
    [("radon", SPACE), ("fourier_sampling", Space((1, 16, 16), torch.complex64)),
     ("wavelet", Space((1, 16, 16))), ("finite_difference", SPACE), ("identity", SPACE)],
)  # fmt: skip
def test_every_kind_of_operator_has_finite_levels(name, space):
    for key, values in levels_of(operator(name, space)).items():
        assert key in ("gap", "peak") or np.isfinite(values).all(), key


def ranges(tree):
    recipe = recipe_from({"network": "vdsr", "operator": tree, "steps": 1})
    return ranges_of(recipe.degradation(), SPACE, seed=0)


BLURS = {"name": "blur", "params": {"kernel": gaussian({"uniform": [0, 3]})}}


def test_ranges_are_those_of_the_draws():
    found = ranges(BLURS)
    assert found["spread"][0] < 0.2 and 2.6 < found["spread"][1] < 3
    assert found["ratio"] == [1, 1] and "gap" not in found
    assert found == ranges(BLURS)


def test_what_was_trained_for_is_inside_and_what_was_not_is_said():
    found = ranges(BLURS)
    assert what_is_outside(operator("blur", kernel=gaussian(2.0)), found) == {}
    assert what_is_outside(operator("identity"), found) == {}
    motion = {"name": "motion", "params": {"length": 9, "angle": 30}}
    assert what_is_outside(operator("blur", kernel=motion), found).keys() == {"stretch"}
    box = {"name": "box", "params": {"width": 7}}
    assert what_is_outside(operator("blur", kernel=box), found).keys() == {"peak"}
    t = np.arange(15) - 7.0
    oval = torch.from_numpy(np.exp(-(t[:, None] ** 2) / (2 * 1.6**2) - t**2 / (2 * 1.3**2)))
    oval = (oval / oval.sum()).float()[None, None]
    assert what_is_outside(operator("blur", kernel=oval), found) == {}
    wide = what_is_outside(operator("blur", kernel=gaussian(5.0, 31)), found)
    assert wide.keys() == {"spread", "narrow"}
    assert wide["spread"].startswith("4.") and ", trained for 0 to " in wide["spread"]
    other = what_is_outside(operator("strided_blur", stride=2), found)
    assert other["ratio"] == "2, trained for 1"
    half = operator("strided_blur", stride=2, kernel=torch.ones(1, 1, 1, 1))
    assert what_is_outside(half, {"shift": [2e-8, 1e-6]}) == {"shift": "0.5 pixels, trained for 0"}


def test_a_level_that_was_not_recorded_is_not_held_against_an_operator():
    assert what_is_outside(operator("strided_blur", stride=2), {"missing": [0, 0]}) == {}


def test_levels_of_an_operator_are_measured_once():
    op = operator("blur")
    assert levels_of(op) is levels_of(op)


def test_a_camera_without_colours_is_another_operator():
    grey = operator("grayscale", Space((3, 32, 32)))
    assert levels_of(grey)["channels"] == 3
    colour = {"channels": [1.0, 1.0]}
    assert what_is_outside(operator("identity", Space((3, 32, 32))), colour) == {}
    assert what_is_outside(grey, colour) == {"channels": "3, trained for 1"}
