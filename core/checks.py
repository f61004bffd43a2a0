"""Checks of the numbers that a component is given: validators for `param(check=...)`."""

from __future__ import annotations

import math
from typing import Any, Protocol, cast

import attrs

from .errors import ParameterError

__all__ = ["real_number", "whole_number"]


class Check(Protocol):
    """A validator of attrs; None passes where it is the default, for what may be left out."""

    def __call__(self, instance: object, attribute: Any, value: object, /) -> None:
        """Raise ParameterError for a value that cannot be."""


def whole_number(least: int, *, multiple_of: int = 1) -> Check:
    """Return a check for a whole number of at least `least`."""
    return _WholeNumber(least, multiple_of)


def real_number(
    *, least: float | None = None, above: float | None = None, below: float = math.inf
) -> Check:
    """Return a check for a finite number within bounds, of which only `least` may be reached."""
    if (least is None) == (above is None):
        raise ParameterError("real_number expects a lower bound: either least= or above=.")
    if above is not None:
        return _RealNumber(above, False, below)
    return _RealNumber(cast(float, least), True, below)


@attrs.frozen
class _WholeNumber:  # checks are classes, so that they pickle and print
    least: int
    multiple_of: int

    def __call__(self, instance: object, attribute: Any, value: object, /) -> None:
        good = isinstance(value, int) and not isinstance(value, bool)
        if good and value >= self.least and value % self.multiple_of == 0:  # type: ignore[operator]
            return
        what = f"multiple of {self.multiple_of}" if self.multiple_of > 1 else "whole number"
        _refuse(instance, attribute, value, f"a {what} of at least {self.least}")


@attrs.frozen
class _RealNumber:
    low: float
    with_low: bool
    below: float

    def __call__(self, instance: object, attribute: Any, value: object, /) -> None:
        good = isinstance(value, (int, float)) and not isinstance(value, bool)
        if good and self.low <= value < self.below and (self.with_low or value != self.low):  # type: ignore[operator]
            return
        expected = f"a finite number {'of at least' if self.with_low else 'above'} {self.low}"
        if self.below < math.inf:
            expected = f"a number between {self.low} and {self.below}"
        _refuse(instance, attribute, value, expected)


def _refuse(instance: object, attribute: Any, value: object, expected: str) -> None:
    if value is None and attribute.default is None:
        return
    shown = repr(value) if isinstance(value, (int, float, str)) else type(value).__name__
    raise ParameterError(
        f"{type(instance).__name__}.{attribute.name} expects {expected}; got {shown}."
    )
