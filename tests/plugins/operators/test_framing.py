"""Crops and pads against NumPy."""

import numpy as np
import pytest
import torch
from wellposed import Space
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.operators.framing import Crop, Pad

NUMPY = {"circular": "wrap", "reflect": "reflect", "symmetric": "symmetric", "replicate": "edge"}


@pytest.mark.parametrize("boundary", [*NUMPY, "zero"])
@pytest.mark.parametrize("margin", [0, 2, (1, 7, 0, 9)])
def test_pad_is_numpy_pad(boundary, margin):
    x = torch.randn(2, 3, 4, dtype=torch.float64)
    y = Pad(in_shape=(2, 3, 4), margin=margin, boundary=boundary, dtype=torch.float64)(x)
    top, bottom, left, right = (margin,) * 4 if isinstance(margin, int) else margin
    want = np.pad(
        x.numpy(), ((0, 0), (top, bottom), (left, right)), mode=NUMPY.get(boundary, "constant")
    )
    np.testing.assert_array_equal(y.numpy(), want)


@pytest.mark.parametrize("boundary", [*NUMPY, "zero"])
def test_the_proximal_map_of_pad_solves_the_dense_system(boundary):
    op = Pad(in_shape=(1, 3, 4), margin=(1, 3, 0, 5), boundary=boundary, dtype=torch.float64)
    a = op.as_matrix()
    v = torch.randn(op.in_space.shape, dtype=torch.float64)
    y = torch.randn(op.out_space.shape, dtype=torch.float64)
    want = torch.linalg.solve(
        torch.eye(12, dtype=torch.float64) + 0.7 * a.T @ a, v.flatten() + 0.7 * a.T @ y.flatten()
    )
    torch.testing.assert_close(op.data_prox(v, y, 0.7).flatten(), want)


def test_crop_is_a_slice_and_its_start_fits_the_data():
    x = torch.randn(2, 3, 8, 9)
    op = Crop(in_shape=(3, 8, 9), margin=(1, 2, 3, 0))
    assert torch.equal(op(x), x[..., 1:6, 3:])
    start = op.initial_estimate(op(x))
    assert torch.equal(op(start), op(x)) and torch.equal(start[..., 0, 3:], x[..., 1, 3:])


def test_sizes_from_measurements():
    assert Crop.image_space_for(Space((1, 4, 5)), margin=2).shape == (1, 8, 9)
    assert Pad.image_space_for(Space((1, 4, 5)), margin=(1, 0, 2, 1)).shape == (1, 3, 2)


def test_refusals():
    with pytest.raises(ShapeError, match=r"a margin of 2 leaves nothing"):
        Crop(in_shape=(1, 4, 9), margin=2)
    with pytest.raises(ParameterError, match=r"Crop.margin expects .*got -1"):
        Crop(in_shape=(1, 4, 9), margin=-1)
    with pytest.raises(ParameterError, match=r"Pad.margin expects .*got \(1, 2\)"):
        Pad(in_shape=(1, 4, 9), margin=(1, 2))
