"""Checks of the numbers that describe a network."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from wellposed.errors import ParameterError

__all__ = ["count", "count_or_zero", "whole"]


def whole(least: int, *, multiple_of: int = 1) -> Callable[[object, Any, object], None]:
    """Return a check for a whole number of at least `least`; None passes."""

    def check(instance: object, attribute: Any, value: object) -> None:
        if value is None:
            return
        good = isinstance(value, int) and not isinstance(value, bool)
        if good and value >= least and value % multiple_of == 0:  # type: ignore[operator]
            return
        what = f"a multiple of {multiple_of}" if multiple_of > 1 else "a whole number"
        shown = repr(value) if isinstance(value, (int, float, str)) else type(value).__name__
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects {what}, {least} or more; "
            f"got {shown}."
        )

    return check


count = whole(1)
count_or_zero = whole(0)
