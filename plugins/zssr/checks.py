"""Checks of the numbers given to the solver; None passes, for those that may be left out."""

from __future__ import annotations

import math
from typing import Any

from wellposed.errors import ParameterError

__all__ = ["count", "count_from_two", "count_or_zero", "not_negative", "positive"]


def count(instance: object, attribute: Any, value: object) -> None:
    """Check for a whole number of at least 1. Raises: ParameterError."""
    _whole(instance, attribute, value, 1)


def count_from_two(instance: object, attribute: Any, value: object) -> None:
    """Check for a whole number of at least 2. Raises: ParameterError."""
    _whole(instance, attribute, value, 2)


def count_or_zero(instance: object, attribute: Any, value: object) -> None:
    """Check for a whole number of at least 0. Raises: ParameterError."""
    _whole(instance, attribute, value, 0)


def positive(instance: object, attribute: Any, value: object) -> None:
    """Check for a finite number above 0. Raises: ParameterError."""
    if value is not None and not (_is_number(value) and value > 0):  # type: ignore[operator]
        _fail(instance, attribute, "a finite number above 0", value)


def not_negative(instance: object, attribute: Any, value: object) -> None:
    """Check for a finite number of at least 0. Raises: ParameterError."""
    if value is not None and not (_is_number(value) and value >= 0):  # type: ignore[operator]
        _fail(instance, attribute, "a finite number of 0 or more", value)


def _whole(instance: object, attribute: Any, value: object, least: int) -> None:
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, int) or value < least:
        _fail(instance, attribute, f"a whole number of {least} or more", value)


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and math.isfinite(value)


def _fail(instance: object, attribute: Any, expected: str, value: object) -> None:
    shown = repr(value) if isinstance(value, (int, float, str)) else type(value).__name__
    raise ParameterError(
        f"{type(instance).__name__}.{attribute.name} expects {expected}; got {shown}."
    )
