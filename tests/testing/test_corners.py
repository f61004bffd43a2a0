"""Combinations of options: one instance of each, and rare ones are met."""

from __future__ import annotations

import pytest
import torch
from hypothesis import strategies as st
from wellposed import Space
from wellposed.testing import CheckFailure, OperatorKit, PriorCase, strategies
from wellposed.testing.broken import FaultyBlur
from wellposed.testing.broken_others import FaultyPrior
from wellposed.testing.corners import distinct, options_of
from wellposed.testing.engine import check, fail


def blur(n=3, batch=1, dtype=torch.float64, stride=1):
    kernel = torch.ones(batch, 1, 2, 2, dtype=dtype)
    return FaultyBlur(in_shape=(1, n, n), kernel=kernel, stride=stride)


def test_sizes_and_numbers_make_no_difference_but_kinds_do():
    assert options_of(blur(3)) == options_of(blur(5))
    kinds = [blur(), blur(batch=3), blur(dtype=torch.complex128), blur(stride=2)]
    assert len({options_of(op) for op in kinds}) == 4
    assert distinct([blur(), *kinds, blur(7)])[1:] == kinds[1:]


def test_cases_are_looked_into():
    real, complex_ = (
        PriorCase(prior=FaultyPrior(), space=Space((1, 2, 2), dtype))
        for dtype in (torch.float64, torch.complex128)
    )
    assert options_of(real) != options_of(complex_)


def test_a_fault_of_one_rare_combination_is_found():
    class Rare(OperatorKit):
        examples = st.builds(
            blur,
            batch=st.sampled_from([1, 1, 3]),
            dtype=st.sampled_from([torch.float64, torch.complex128]),
            stride=st.sampled_from([1, 2, 3]),
        )
        reproducible = True
        max_examples = 1

        @check(corners=True)
        def test_rare(self, trial):
            op = trial.subject
            if op.batch_shape and op.kernel.is_complex() and op.stride == 2:
                fail("rare")

    with pytest.raises(CheckFailure, match="rare") as caught:
        Rare().test_rare()
    assert "With these options: FaultyBlur(in_shape=(1, 3, 3)" in caught.value.__notes__[0]


def test_batch_shapes_end_in_the_parameters():
    assert strategies.batch_shapes() == [(), (3,), (1,), (3,), (2, 2)]
    assert all(shape[-1:] == (5,) for shape in strategies.batch_shapes((5,)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_drawn_kernels_are_no_diracs_and_have_short_sides(dtype):
    sides = set()

    class Any_(OperatorKit):
        examples = strategies.kernels(dtype=dtype)

    for kernel in Any_().pool():
        sides.add(tuple(kernel.shape[-2:]))
        assert kernel.dtype == dtype
        if not dtype.is_complex:
            assert torch.allclose(kernel.sum((-2, -1)), torch.ones(1, dtype=dtype))
        if kernel.numel() > 4:
            assert kernel.abs().max() < 0.8 * kernel.abs().sum()
    assert {1, 2} <= {h for h, _ in sides} & {w for _, w in sides}
    assert any(h != w for h, w in sides)


def test_drawn_masks_have_zeros_and_ones():
    class Any_(OperatorKit):
        examples = strategies.masks((1, 3, 4))

    for mask in Any_().pool()[:30]:
        assert set(mask.flatten().tolist()) == {0.0, 1.0}
