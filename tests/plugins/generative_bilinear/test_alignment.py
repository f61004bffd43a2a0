"""The best shift and scale, against all of them."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wellposed.errors import ShapeError
from wellposed.plugins.generative_bilinear import aligned
from wellposed.plugins.operators.bilinear import CircularConvolution

F64 = torch.float64


def rand(*shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=F64)


@given(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7), st.integers(0, 1000))
def test_no_shift_and_scale_does_better(channels, height, width, seed):
    image, truth = rand(2, channels, height, width, seed=seed)
    found = aligned(image, truth)
    gaps = []
    for i in range(height):
        for j in range(width):
            rolled = image.roll((i, j), (-2, -1))
            a = (rolled * truth).sum() / rolled.square().sum()
            gaps.append(float((a * rolled - truth).square().sum()))
    gap = float((found.image - truth).square().sum())
    assert gap <= min(gaps) * (1 + 1e-9) + 1e-20
    i, j = found.shift.tolist()
    torch.testing.assert_close(found.image, found.scale * image.roll((i, j), (-2, -1)))


def test_the_pair_still_explains_the_measurement():
    op = CircularConvolution(in_shape=(3, 8, 9), kernel_shape=(7, 7), dtype=F64)
    w = torch.zeros(2, 1, 7, 7, dtype=F64)
    w[..., 2:5, 2:5] = rand(2, 1, 3, 3)
    x = rand(2, 3, 8, 9, seed=1)
    moved_x = torch.stack((2.0 * x[0].roll((1, -2), (-2, -1)), 0.5 * x[1].roll((-1, 1), (-2, -1))))
    moved_w = torch.stack((w[0].roll((-1, 2), (-2, -1)) / 2, 2 * w[1].roll((1, -1), (-2, -1))))
    torch.testing.assert_close(op(moved_w, moved_x), op(w, x))
    found = aligned(moved_x, x, moved_w)
    torch.testing.assert_close(found.image, x)
    torch.testing.assert_close(found.parameter, w)
    assert found.shift.tolist() == [[-1, 2], [1, -1]]
    torch.testing.assert_close(found.scale, torch.tensor([0.5, 2.0], dtype=F64))
    torch.testing.assert_close(op(found.parameter, found.image), op(w, x))


def test_each_can_be_left_out():
    x = rand(4, 1, 5, 6)
    moved = 3 * x.roll(1, -1)
    assert not aligned(moved, x, shift=False).shift.any()
    only = aligned(moved, x, scale=False)
    assert torch.equal(only.image, 3 * x) and bool((only.scale == 1).all())
    blank = aligned(torch.zeros_like(x), x, x)
    assert not blank.image.any() and bool(blank.parameter.isfinite().all())


def test_errors():
    with pytest.raises(ShapeError, match=r"batch axes of its picture.*got \(1, 1, 3, 3\) beside"):
        aligned(torch.rand(1, 4, 4), torch.rand(1, 4, 4), torch.rand(1, 1, 3, 3))
    with pytest.raises(ShapeError, match=r"one shape .* to be aligned"):
        aligned(rand(1, 3, 4), rand(1, 4, 3))
