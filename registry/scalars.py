"""Conversions to the scalar types: without loss, or refused."""

from __future__ import annotations

import math
import numbers
import pathlib
import re
from collections.abc import Callable
from typing import Any, Final

from wellposed.registry.errors import ParameterError

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_NONFINITE: Final = {
    f"{sign}{dot}{word}"
    for sign in ("", "+", "-")
    for dot in ("", ".")
    for word in ("inf", "nan", "infinity")
}


def refused(expected: str, value: object, hint: str = "") -> ParameterError:
    """Return the error for a value that is not what it should be."""
    return ParameterError(f"expected {expected}; got {shown(value)}{hint}")


def shown(value: object) -> str:
    """Return a value for an error message: short, and never the contents of a tensor."""
    if value is None or isinstance(value, bool):
        return repr(value)
    name = type(value).__name__
    if isinstance(value, str):
        text = repr(value)
        return text if len(text) <= 60 else f"{text[:57]}...'"
    if isinstance(value, int) and abs(value) > 10**30:
        return f"a huge {name}"
    if isinstance(value, int | float | complex):
        return f"{value!r} ({name})"
    if isinstance(value, list | tuple | dict | set | frozenset):
        return f"a {name} of {len(value)}"
    return f"the class {value.__name__}" if isinstance(value, type) else f"an object of type {name}"


def _bool(value: Any, _: bool) -> bool:
    if not isinstance(value, bool):
        raise refused("true or false", value)
    return value


def _int(value: Any, _: bool) -> int:
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        if number.is_integer():
            return int(number)
    raise refused("a whole number", value)


def _float(value: Any, nonfinite: bool) -> float:
    if isinstance(value, str) and (_NUMBER.fullmatch(value) or value.lower() in _NONFINITE):
        number = float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if isinstance(value, numbers.Integral) and number != value:
            raise refused("a number that a float can hold", value)
    else:
        raise refused("a number", value)
    if not math.isfinite(number) and not nonfinite:
        raise refused("a finite number", value)
    return number


def _complex(value: Any, nonfinite: bool) -> complex:
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        number = complex(value)
    elif isinstance(value, str) and not _NUMBER.fullmatch(value):
        try:
            number = complex(value.replace(" ", ""))
        except ValueError:
            raise refused("a complex number such as 1+2j", value) from None
    else:
        number = complex(_float(value, nonfinite))
    for part in (number.real, number.imag):
        _float(part, nonfinite)
    return number


def _str(value: Any, _: bool) -> str:
    if not isinstance(value, str):
        raise refused("text", value)
    return str(value)


def _path(value: Any, _: bool) -> pathlib.Path:
    if not isinstance(value, str | pathlib.PurePath) or not str(value):
        raise refused("a path", value)
    return pathlib.Path(value)


SCALARS: Final[dict[Any, Callable[[Any, bool], Any]]] = {
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    pathlib.Path: _path,
}
