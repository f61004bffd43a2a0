import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wellposed.plugins.operators.boundary import BOUNDARIES, extend, fold

# NumPy has its own code for all of these, also for margins wider than the row.
NUMPY = {
    "circular": "wrap",
    "reflect": "reflect",
    "symmetric": "symmetric",
    "replicate": "edge",
    "zero": "constant",
}
margins = st.tuples(st.integers(-1, 9), st.integers(-1, 9))


@given(st.sampled_from(sorted(NUMPY)), st.integers(2, 5), st.integers(2, 5), margins, margins)
def test_extends_as_numpy_pads(boundary, height, width, rows, columns):
    x = torch.arange(2.0 * height * width, dtype=torch.float64).reshape(2, height, width)
    outside = [(0, 0), *(tuple(max(m, 0) for m in margin) for margin in (rows, columns))]
    expected = np.pad(x.numpy(), outside, mode=NUMPY[boundary])
    expected = _cut(_cut(expected, 1, rows), 2, columns)
    np.testing.assert_array_equal(extend(x, rows, columns, boundary).numpy(), expected)
    recorded = extend(x.requires_grad_(), rows, columns, boundary)  # by other code
    np.testing.assert_array_equal(recorded.detach().numpy(), expected)


def _cut(array, axis, margin):
    stop = array.shape[axis] + min(margin[1], 0)
    return np.take(array, range(-min(margin[0], 0), stop), axis)


@pytest.mark.parametrize("boundary", ["circular", "reflect", "symmetric", "replicate"])
def test_one_pixel_is_repeated_for_ever(boundary):
    x = torch.tensor([[[2.5]]])
    assert torch.equal(extend(x, (4, 1), (0, 7), boundary), torch.full((1, 6, 8), 2.5))


@given(st.sampled_from(BOUNDARIES), st.integers(1, 5), st.integers(1, 5), margins, margins)
def test_fold_is_the_adjoint(boundary, height, width, rows, columns):
    if height + sum(min(m, 0) for m in rows) < 1 or width + sum(min(m, 0) for m in columns) < 1:
        return
    generator = torch.Generator().manual_seed(height + 10 * width)
    x = torch.randn(2, height, width, dtype=torch.float64, generator=generator)
    extended = extend(x, rows, columns, boundary)
    y = torch.randn(extended.shape, dtype=torch.float64, generator=generator)
    folded = fold(y, rows, columns, boundary)
    assert folded.shape == x.shape
    torch.testing.assert_close((extended * y).sum(), (x * folded).sum())
