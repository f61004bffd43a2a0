"""Checks of numbers given to solvers; None passes, for parameters that may be left out."""

from __future__ import annotations

import math
from typing import Any

import attrs
from wellposed.errors import ParameterError

__all__ = ["between", "count", "count_or_zero", "not_negative", "positive"]


def count(instance: object, attribute: Any, value: object) -> None:
    """Check for a whole number of at least 1. Raises: ParameterError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        _fail(instance, attribute, "a whole number of 1 or more", value)


def count_or_zero(instance: object, attribute: Any, value: object) -> None:
    """Check for a whole number of at least 0. Raises: ParameterError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        _fail(instance, attribute, "a whole number of 0 or more", value)


def positive(instance: object, attribute: Any, value: object) -> None:
    """Check for a finite number above 0. Raises: ParameterError."""
    if value is not None and not (_is_number(value) and value > 0):  # type: ignore[operator]
        _fail(instance, attribute, "a finite number above 0", value)


def not_negative(instance: object, attribute: Any, value: object) -> None:
    """Check for a finite number of at least 0. Raises: ParameterError."""
    if value is not None and not (_is_number(value) and value >= 0):  # type: ignore[operator]
        _fail(instance, attribute, "a finite number of 0 or more", value)


@attrs.frozen
class between:  # a class, so that it pickles; named as the functions beside it
    """Check for a number between low and high, both excluded unless `with_low`."""

    low: float
    high: float
    with_low: bool = False

    def __call__(self, instance: object, attribute: Any, value: object) -> None:
        """Raise ParameterError for a number outside."""
        if value is None:
            return
        inside = _is_number(value) and self.low <= value < self.high  # type: ignore[operator]
        if not inside or (value == self.low and not self.with_low):
            _fail(instance, attribute, f"a number between {self.low} and {self.high}", value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _fail(instance: object, attribute: Any, expected: str, value: object) -> None:
    shown = repr(value) if isinstance(value, (int, float, str)) else type(value).__name__
    raise ParameterError(
        f"{type(instance).__name__}.{attribute.name} expects {expected}; got {shown}."
    )
