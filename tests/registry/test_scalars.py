"""Scalars: lossless or refused."""

from __future__ import annotations

import enum
import math
import pathlib
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from wellposed.registry import ParameterError
from wellposed.registry.scalars import SCALARS, shown


def to(type_, value, nonfinite=False):
    return SCALARS[type_](value, nonfinite)


class Level(enum.IntEnum):
    LOW = 1


@pytest.mark.parametrize(
    ("type_", "value", "expected"),
    [
        (bool, True, True),
        (int, 3, 3),
        (int, 2.0, 2),
        (int, -0.0, 0),
        (int, 1e15, 10**15),
        (int, Level.LOW, 1),
        (float, 3, 3.0),
        (float, 1.5, 1.5),
        (float, "1e-3", 1e-3),
        (float, "-.5E+2", -50.0),
        (float, "7", 7.0),
        (float, Fraction(1, 4), 0.25),
        (complex, 1, 1 + 0j),
        (complex, "1e-3", 1e-3 + 0j),
        (complex, "1 + 2j", 1 + 2j),
        (complex, 2j, 2j),
        (str, "blur", "blur"),
        (str, "", ""),
        (pathlib.Path, "a/b.npy", pathlib.Path("a/b.npy")),
        (pathlib.Path, pathlib.Path("x"), pathlib.Path("x")),
    ],
)
def test_accepted(type_, value, expected):
    result = to(type_, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("type_", "value", "text"),
    [
        (bool, "true", "expected true or false; got 'true'"),
        (bool, 1, r"expected true or false; got 1 \(int\)"),
        (bool, None, "expected true or false; got None"),
        (int, True, "expected a whole number; got True"),
        (int, 1.5, r"expected a whole number; got 1.5 \(float\)"),
        (int, "3", "expected a whole number; got '3'"),
        (int, math.inf, "expected a whole number; got inf"),
        (int, math.nan, "expected a whole number; got nan"),
        (int, None, "expected a whole number; got None"),
        (int, [1], "expected a whole number; got a list of 1"),
        (float, True, "expected a number; got True"),
        (float, "fast", "expected a number; got 'fast'"),
        (float, "1_000", "expected a number; got '1_000'"),
        (float, " 1", "expected a number; got ' 1'"),
        (float, "0x10", "expected a number"),
        (float, "٣", "expected a number"),
        (float, 1j, "expected a number"),
        (float, math.nan, "expected a finite number; got nan"),
        (float, "inf", "expected a finite number; got 'inf'"),
        (float, "1e999", "expected a finite number; got '1e999'"),
        (float, 2**53 + 1, "expected a number that a float can hold; got 9007199254740993"),
        (float, 10**400, "expected a number that a float can hold; got a huge int"),
        (complex, "i", r"expected a complex number such as 1\+2j; got 'i'"),
        (complex, True, "expected a number; got True"),
        (complex, complex(math.nan, 1), "expected a finite number"),
        (str, 3, "expected text; got 3"),
        (pathlib.Path, "", "expected a path; got ''"),
        (pathlib.Path, 3, "expected a path; got 3"),
    ],
)
def test_refused(type_, value, text):
    with pytest.raises(ParameterError, match=f"^{text}"):
        to(type_, value)


@pytest.mark.parametrize("value", ["inf", "-Inf", ".inf", "-.inf", "+infinity", -math.inf])
def test_infinity_where_it_is_allowed(value):
    assert math.isinf(to(float, value, nonfinite=True))
    assert math.isnan(to(float, ".nan", nonfinite=True))


def test_numpy_scalars_are_numbers():
    numpy = pytest.importorskip("numpy")
    for value, type_ in [(numpy.int64(3), int), (numpy.float32(0.1), float)]:
        result = to(type_, value)
        assert type(result) is type_ and result == value
    with pytest.raises(ParameterError, match="expected a whole number"):
        to(int, numpy.bool_(True))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_every_float_survives_as_text(value):
    assert to(float, repr(value)) == to(float, value) == value


@given(st.integers() | st.floats(allow_nan=False, allow_infinity=False))
def test_numbers_convert_exactly_or_not_at_all(value):
    for type_ in (int, float):
        try:
            result = to(type_, value)
        except ParameterError:
            continue
        assert type(result) is type_ and result == value


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("x" * 100, "'" + "x" * 56 + "...'"),
        ((1, 2), "a tuple of 2"),
        ({}, "a dict of 0"),
        (int, "the class int"),
        (object(), "an object of type object"),
        (1.5, "1.5 (float)"),
    ],
)
def test_values_are_shown_briefly(value, text):
    assert shown(value) == text
