"""InverseNet's kernels against Fresnel's integrals, their moments, and the operators."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from scipy.ndimage import map_coordinates
from scipy.special import fresnel
from wellposed import Space
from wellposed.edge import build_operator
from wellposed.errors import ParameterError
from wellposed.plugins.kernels.inversenet import (
    InverseNetColour,
    InverseNetFlat,
    InverseNetMotion,
)
from wellposed.training.degradations import Degradation
from wellposed.training.distributions import draws_for

F64 = torch.float64
THIRDS = {"name": "channel_mix", "params": {"response": [[1 / 3, 1 / 3, 1 / 3]]}}


def picture(*shape, seed=0):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def spiral(count=20_001):
    """Return the path by Fresnel's integrals, rows upwards, around its mean, and its length."""
    sine, cosine = fresnel(np.linspace(0, 1, count))  # the direction is (pi / 2) t^2
    a = math.radians(15)
    right = math.cos(a) * cosine - math.sin(a) * sine
    up = math.sin(a) * cosine + math.cos(a) * sine
    path = np.stack([up, right])
    mean = (path[:, 1:] + path[:, :-1]).mean(1, keepdims=True) / 2
    length = 4 / np.abs(path - mean).max()
    return length * (path - mean), length


def test_motion_blurs_as_a_picture_that_moves_along_the_spiral():
    k = InverseNetMotion().tensor(dtype=F64)
    path, length = spiral()
    assert abs(length - 9.643) < 1e-3  # what the docstring says: 9.6
    x = picture(1, 24, 24).numpy()
    y = build_operator(
        {"name": "blur", "params": {"kernel": "inversenet_motion"}}, x_space=Space((1, 24, 24), F64)
    )(torch.from_numpy(x))
    # y(r) is the mean of x, interpolated linearly, at r - p(t); rows run downwards.
    for row, column in ((12, 12), (9, 14)):
        places = np.stack([row + path[0], column - path[1]])
        mean = np.trapezoid(map_coordinates(x[0], places, order=1), dx=1 / (path.shape[1] - 1))
        assert abs(float(y[0, row, column]) - mean) < 1e-6
    assert k.shape == (1, 1, 9, 9)


def test_motion_has_no_symmetry_and_fills_eight_rows_and_columns():
    k = InverseNetMotion().tensor(dtype=F64)[0, 0]
    turned = [torch.rot90(m, n) for m in (k, k.T) for n in range(4)][1:]
    assert len(turned) == 7
    for other in turned:
        assert (other - k).abs().max() > 0.3 * k.max()
    assert int((k.sum(0) > 0).sum()) == int((k.sum(1) > 0).sum()) == 8
    assert k[0].sum() > 0  # upwards and to the left it reaches the frame
    assert k[:, 0].sum() > 0


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
def test_all_have_their_size_for_a_stride(stride):
    extra = 1 - stride % 2
    assert InverseNetMotion().tensor(stride=stride).shape == (1, 1, 9 + extra, 9 + extra)
    assert InverseNetFlat().tensor(stride=stride).shape == (1, 1, 7 + extra, 7 + extra)
    assert InverseNetFlat(side=4).tensor(stride=stride).shape == (1, 1, 5 - extra, 5 - extra)
    assert InverseNetColour().tensor(stride=stride).shape == (1, 3, 9 + extra, 9 + extra)


@pytest.mark.parametrize("stride", [1, 2])
def test_motion_is_the_same_path_for_every_stride(stride):
    k = InverseNetMotion().tensor(stride=stride, dtype=F64)[0, 0]
    r = torch.arange(k.shape[-1], dtype=F64) - k.shape[-1] // 2 + (1 - stride % 2) / 2
    (up, right), _ = spiral()
    # Linear interpolation keeps means, and the mean of products of rows and columns.
    assert abs(float((k * r[:, None] * r).sum()) + np.trapezoid(up * right, dx=1 / 20_000)) < 1e-6


def test_flat_is_equal_taps():
    k = InverseNetFlat().tensor(dtype=F64)
    torch.testing.assert_close(k, torch.full((1, 1, 7, 7), 1 / 49, dtype=F64))
    edges = torch.tensor([0.5, 1, 1, 1, 1, 1, 1, 0.5], dtype=F64)
    even = InverseNetFlat().tensor(stride=4, dtype=F64)
    torch.testing.assert_close(even[0, 0], edges[:, None] * edges / 49)


@pytest.mark.parametrize("side", [0, -3, 2.5, True])
def test_flat_refuses_a_side(side):
    with pytest.raises(ParameterError, match="side expects a whole number of at least 1"):
        InverseNetFlat(side=side)


@pytest.mark.parametrize("stride", [1, 2])
def test_colour_is_three_gaussians(stride):
    k = InverseNetColour().tensor(stride=stride, dtype=F64)
    n = k.shape[-1]
    r = np.arange(n) - n // 2 + (1 - stride % 2) / 2
    for channel, degrees in enumerate((0, 60, 120)):
        a = math.radians(degrees)
        long = np.array([-math.sin(a), math.cos(a)])  # rows run downwards
        short = np.array([math.cos(a), math.sin(a)])
        precision = np.outer(long, long) / 9 + np.outer(short, short)
        places = np.stack(np.meshgrid(r, r, indexing="ij"))
        want = np.exp(-np.einsum("aij,ab,bij->ij", places, precision, places) / 2)
        np.testing.assert_allclose(k[0, channel].numpy(), want / want.sum(), rtol=1e-12)


@pytest.mark.parametrize("name", ["inversenet_motion", "inversenet_flat", "inversenet_colour"])
@pytest.mark.parametrize("stride", [1, 2, 4])
def test_operators_take_them_by_name(name, stride):
    own = {"stride": stride} if stride > 1 else {}
    tree = {
        "name": "strided_blur" if own else "blur",
        "params": {"kernel": name, "boundary": "circular", **own},
    }
    op = build_operator(tree, x_space=Space((3, 20, 24), F64))
    x = picture(2, 3, 20, 24)
    kinds = {"motion": InverseNetMotion, "flat": InverseNetFlat, "colour": InverseNetColour}
    k = kinds[name.split("_")[1]]().tensor(stride=stride, dtype=F64).expand(1, 3, -1, -1)
    n, offset = k.shape[-1], (stride - 1) // 2
    full = sum(
        k[:, :, a, b, None, None] * x.roll((a - n // 2, b - n // 2), (-2, -1))
        for a in range(n)
        for b in range(n)
    )
    want = full[..., offset::stride, offset::stride]
    torch.testing.assert_close(op(x), want, rtol=0, atol=1e-12)


def test_a_recipe_names_them():
    space = Space((3, 16, 16), F64)
    tree = {"name": "blur", "params": {"kernel": "inversenet_motion"}}
    op = Degradation.from_data(tree, None).operator(space, draws_for(0, 0, stream=1, batch=2))
    assert op.kernel.shape == (1, 1, 9, 9)
    blurred = {"name": "strided_blur", "params": {"kernel": "inversenet_colour", "stride": 2}}
    both = Degradation.from_data([THIRDS, blurred], None)
    op = both.operator(space, draws_for(0, 0, stream=1, batch=2))
    assert op.out_space.shape == (1, 8, 8)
    grey = torch.full((3, 16, 16), 0.4, dtype=F64)
    torch.testing.assert_close(op(grey), torch.full((1, 8, 8), 0.4, dtype=F64))
