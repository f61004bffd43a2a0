"""Each fault of an operator is found by the check that is named for it; without one, all pass."""

from __future__ import annotations

import re

import hypothesis
import pytest
import torch
from hypothesis import settings
from wellposed.testing import CheckFailure, OperatorKit, check_names
from wellposed.testing.broken import FAULTS, FaultyBlur, faulty_blurs
from wellposed.testing.diagnose import adjoint_trouble
from wellposed.testing.operator_linear import dot_test

CORRECT = faulty_blurs()


class Correct(OperatorKit):
    examples = CORRECT
    reproducible = True
    max_examples = 10


def kit_of(fault: str) -> OperatorKit:
    changes = {"examples": faulty_blurs(fault), "reproducible": True, "max_examples": 10}
    return type("Faulty", (OperatorKit,), changes)()


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_by_its_check(fault):
    with pytest.raises((CheckFailure, RuntimeError, TypeError)):
        getattr(kit_of(fault), FAULTS[fault])()


@pytest.mark.parametrize("check", check_names("operator"))
def test_a_correct_operator_passes(check):
    getattr(Correct(), check)()


@pytest.mark.parametrize(
    "check", ["test_dot_test_in_float64", "test_dot_test_in_float32", "test_batch_equals_loop"]
)
def test_a_correct_operator_passes_under_many_seeds(check):
    kit = type("Many", (Correct,), {"max_examples": 100, "max_seconds": 60.0})()
    getattr(kit, check)()


def blur(fault: str, shape=(1, 6, 7), dtype=torch.float64, stride=1) -> FaultyBlur:
    kernel = torch.rand(1, 1, 2, 3, dtype=dtype, generator=torch.Generator().manual_seed(3))
    return FaultyBlur(in_shape=shape, kernel=kernel, stride=stride, fault=fault)


@pytest.mark.parametrize(
    ("fault", "dtype", "words"),
    [
        ("scaled adjoint", torch.float64, r"1 : 1\.001\. Hint: scaled, A\^H is 1\.001 times"),
        ("missing conjugate", torch.complex128, r"Hint: missing conjugate, this is A\^T"),
        ("unflipped kernel in the adjoint", torch.float64, r"Hint: transposed kernel"),
        ("shifted grid in the adjoint", torch.float64, r"Hint: shifted, by 0 rows and 1 columns"),
        ("dropped border", torch.float64, r"the error sits in the last row\."),
        ("one pixel 1 % off", torch.float64, r"Largest at channel 0, row 0, column 6 of \(1, 6, 7"),
        ("none", torch.float64, r"The adjoint fits the operator's matrix"),
    ],
)
def test_what_is_wrong_with_an_adjoint_is_told(fault, dtype, words):
    text = adjoint_trouble(blur(fault, dtype=dtype))
    assert re.search(words, text), text


@pytest.mark.parametrize("stride", [2, 3])
def test_a_transposed_kernel_is_seen_through_a_stride(stride):
    text = adjoint_trouble(blur("unflipped kernel in the adjoint", (1, 6, 6), stride=stride))
    assert "transposed kernel" in text


def test_the_message_says_how_much_and_what_is_allowed():
    op = blur("scaled adjoint")
    x = torch.ones(2, 1, 6, 7, dtype=torch.float64)
    with pytest.raises(CheckFailure, match=r"\(1, 6, 7\) float64 -> .*7e-15 allowed, in 2 of 2"):
        dot_test(op, x, x)


def test_a_larger_example_shows_where():
    with pytest.raises(CheckFailure) as caught:
        kit_of("dropped border").test_dot_test_in_float64()
    assert "(1, 1, 1)" in str(caught.value)  # the smallest that fails
    assert any("last row" in note for note in caught.value.__notes__)


def test_a_single_number_says_nothing_of_what_is_wrong():
    text = adjoint_trouble(blur("dropped border", (1, 1, 1)))
    assert "Fitted scale" in text and "Hint" not in text


def test_an_operator_too_large_to_diagnose_says_so():
    assert "too large to say" in adjoint_trouble(blur("scaled adjoint", (1, 64, 65)))


def test_a_correct_adjoint_stays_far_below_the_bound():
    """The rule allows 32 eps; the worst of many draws must leave room, or CI would flake."""
    worst = [0.0]

    @hypothesis.seed(5)
    @settings(max_examples=100, deadline=None, database=None)
    @hypothesis.given(CORRECT)
    def measure(op):
        generator = torch.Generator().manual_seed(0)
        x = op.in_space.randn(op.batch_shape, generator=generator)
        y = op.out_space.randn(op.batch_shape, generator=generator)
        ax, back = op(x), op.H(y)
        gap = (op.out_space.inner(ax, y) - op.in_space.inner(x, back)).abs()
        size = op.out_space.norm(ax) * op.out_space.norm(y)
        size = size + op.in_space.norm(x) * op.in_space.norm(back)
        worst[0] = max(worst[0], float((gap / size).max()) / torch.finfo(torch.float64).eps)

    measure()
    assert worst[0] < 3
