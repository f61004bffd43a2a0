"""The gradient against NumPy's differences, and its norm against the singular values."""

import numpy as np
import pytest
import torch
from wellposed import Space
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.operators.finite_difference import FiniteDifference


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 1, 6), (2, 7, 1), (1, 1, 1)])
def test_zero_boundary_is_numpy_diff_with_a_zero_at_the_end(shape):
    x = torch.randn(2, *shape, dtype=torch.float64)
    y = FiniteDifference(in_shape=shape, dtype=torch.float64)(x).numpy()
    rows = np.diff(x.numpy(), axis=-2, append=x.numpy()[..., -1:, :])
    columns = np.diff(x.numpy(), axis=-1, append=x.numpy()[..., -1:])
    np.testing.assert_array_equal(y, np.stack((rows, columns), 1))


@pytest.mark.parametrize("shape", [(1, 5, 4), (3, 1, 6)])
def test_circular_boundary_goes_to_the_opposite_side(shape):
    x = torch.randn(shape, dtype=torch.float64)
    y = FiniteDifference(in_shape=shape, boundary="circular", dtype=torch.float64)(x).numpy()
    rows = np.diff(x.numpy(), axis=-2, append=x.numpy()[..., :1, :])
    columns = np.diff(x.numpy(), axis=-1, append=x.numpy()[..., :1])
    np.testing.assert_array_equal(y, np.stack((rows, columns), 0))


@pytest.mark.parametrize("boundary", ["zero", "circular"])
@pytest.mark.parametrize("size", [(1, 1), (1, 8), (5, 6), (7, 3), (8, 8)])
def test_norm_is_exact_and_never_below(boundary, size):
    op = FiniteDifference(in_shape=(1, *size), boundary=boundary, dtype=torch.float64)
    truth = float(torch.linalg.matrix_norm(op.as_matrix(), 2))
    assert truth * (1 - 1e-14) <= float(op.norm_bound()) <= truth * (1 + 1e-12) + 1e-14
    assert float(op.norm_bound()) <= 8**0.5 * (1 + 1e-14)


def test_picture_size_from_a_gradient():
    space = FiniteDifference.image_space_for(Space((2, 3, 4, 5)))
    assert space.shape == (3, 4, 5)


def test_refuses_what_is_no_picture():
    with pytest.raises(ShapeError, match=r"expects a picture \(C, H, W\); got \(4, 5\)"):
        FiniteDifference(in_shape=(4, 5))
    with pytest.raises(ParameterError, match=r"boundary"):
        FiniteDifference(in_shape=(1, 4, 5), boundary="reflect")
    with pytest.raises(ParameterError, match=r"dtype expects float32.*got torch.int64"):
        FiniteDifference(in_shape=(1, 4, 5), dtype=torch.int64)
