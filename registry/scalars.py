"""Conversions to the scalar types, and the context that every conversion works in."""

from __future__ import annotations

import math
import numbers
import pathlib
import re
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from wellposed.registry.errors import ParameterError, join_path

_NUMBER = re.compile(r"[-+]?(\d+(\.\d*)?|\.\d+)([eE][-+]?\d+)?", re.ASCII)
_NONFINITE: Final = {
    f"{sign}{dot}{word}"
    for sign in ("", "+", "-")
    for dot in ("", ".")
    for word in ("inf", "nan", "infinity")
}


@attrs.frozen(eq=False)
class Context:
    """What a conversion needs to know besides value and type.

    ``build(kind, value, where)`` makes a component, ``structure(class, mapping, where)`` any other
    attrs class or dataclass.
    """

    where: str
    build: Callable[[str, Any, str], object]
    structure: Callable[[type, Mapping[Any, Any], str], object]
    nonfinite: bool = False

    def at(self, step: str) -> Context:
        """Return the context of an element or entry of the value."""
        return attrs.evolve(self, where=join_path(self.where, step))

    def error(self, expected: str, value: object, hint: str = "") -> ParameterError:
        """Return the error for a value that is not what it should be."""
        return ParameterError(f"expected {expected}; got {shown(value)}{hint}", where=self.where)


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


def _bool(value: Any, context: Context) -> bool:
    if not isinstance(value, bool):
        raise context.error("true or false", value)
    return value


def _int(value: Any, context: Context) -> int:
    if isinstance(value, numbers.Integral) and not isinstance(value, bool):
        return int(value)
    if isinstance(value, numbers.Real) and not isinstance(value, bool):
        number = float(value)
        if number.is_integer():
            return int(number)
    raise context.error("a whole number", value)


def _float(value: Any, context: Context) -> float:
    if isinstance(value, str) and (_NUMBER.fullmatch(value) or value.lower() in _NONFINITE):
        number = float(value.lower().replace(".inf", "inf").replace(".nan", "nan"))
    elif isinstance(value, numbers.Real) and not isinstance(value, bool):
        try:
            number = float(value)
        except OverflowError:
            number = math.inf
        if isinstance(value, numbers.Integral) and number != value:
            raise context.error("a number that a float can hold", value)
    else:
        raise context.error("a number", value)
    if not math.isfinite(number) and not context.nonfinite:
        raise context.error("a finite number", value)
    return number


def _complex(value: Any, context: Context) -> complex:
    if isinstance(value, numbers.Complex) and not isinstance(value, numbers.Real):
        number = complex(value)
    elif isinstance(value, str) and not _NUMBER.fullmatch(value):
        try:
            number = complex(value.replace(" ", ""))
        except ValueError:
            raise context.error("a complex number such as 1+2j", value) from None
    else:
        number = complex(_float(value, context))
    for part in (number.real, number.imag):
        _float(part, context)
    return number


def _str(value: Any, context: Context) -> str:
    if not isinstance(value, str):
        raise context.error("text", value)
    return str(value)


def _path(value: Any, context: Context) -> pathlib.Path:
    if not isinstance(value, str | pathlib.PurePath) or not str(value):
        raise context.error("a path", value)
    return pathlib.Path(value)


SCALARS: Final[dict[Any, Callable[[Any, Context], Any]]] = {
    bool: _bool,
    int: _int,
    float: _float,
    complex: _complex,
    str: _str,
    pathlib.Path: _path,
}
