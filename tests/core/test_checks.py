"""Checks of the numbers that components are given."""

from __future__ import annotations

import math
import pickle

import attrs
import pytest
from wellposed import param, real_number, whole_number
from wellposed.errors import ParameterError


@attrs.frozen(kw_only=True)
class Machine:
    count: int = param(1, doc="one or more", check=whole_number(1))
    size: int = param(16, doc="in blocks", check=whole_number(16, multiple_of=16))
    limit: int | None = param(None, doc="may be left out", check=whole_number(0))
    rate: float = param(1.0, doc="positive", check=real_number(above=0))
    weight: float | None = param(None, doc="not negative", check=real_number(least=0))
    ratio: float = param(0.5, doc="open", check=real_number(above=0, below=1))
    share: float = param(0.5, doc="half open", check=real_number(least=-1, below=1))


@pytest.mark.parametrize(
    "values",
    [
        {"count": 7, "size": 48, "limit": 0},
        {"limit": None, "weight": None},
        {"rate": 1e-300, "weight": 0, "ratio": 1 - 1e-9, "share": -1},
        {"rate": 3, "weight": 1e300},
    ],
)
def test_numbers_that_may_be(values):
    made = Machine(**values)
    assert {name: getattr(made, name) for name in values} == values


@pytest.mark.parametrize(
    ("name", "value", "expected"),
    [
        ("count", 0, "a whole number of at least 1; got 0."),
        ("count", 1.5, "a whole number of at least 1; got 1.5."),
        ("count", 2.0, "got 2.0."),
        ("count", True, "got True."),
        ("count", "3", "got '3'."),
        ("count", None, "got NoneType."),  # only where it is the default
        ("count", [1], "got list."),
        ("size", 40, "a multiple of 16 of at least 16; got 40."),
        ("size", 0, "a multiple of 16 of at least 16; got 0."),
        ("limit", -1, "a whole number of at least 0; got -1."),
        ("rate", 0, "a finite number above 0; got 0."),
        ("rate", math.inf, "a finite number above 0; got inf."),
        ("rate", math.nan, "got nan."),
        ("rate", True, "got True."),
        ("rate", None, "got NoneType."),
        ("weight", -0.1, "a finite number of at least 0; got -0.1."),
        ("weight", -math.inf, "got -inf."),
        ("ratio", 0.0, "a number between 0 and 1; got 0.0."),
        ("ratio", 1.0, "a number between 0 and 1; got 1.0."),
        ("share", 1, "a number between -1 and 1; got 1."),
        ("share", "x", "got 'x'."),
    ],
)
def test_numbers_that_cannot_be(name, value, expected):
    with pytest.raises(ParameterError) as caught:
        Machine(**{name: value})
    assert str(caught.value).startswith(f"Machine.{name} expects ")
    assert str(caught.value).endswith(expected)


def test_a_real_number_has_one_lower_bound():
    for bounds in ({}, {"least": 0, "above": 0}):
        with pytest.raises(ParameterError, match="either least= or above="):
            real_number(**bounds)


def test_checks_pickle_and_print():
    for check in (whole_number(3), real_number(above=0, below=2)):
        assert pickle.loads(pickle.dumps(check)) == check
    assert "least=3" in repr(whole_number(3))
