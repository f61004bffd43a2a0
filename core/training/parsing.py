"""From what a recipe says to distributions, with the path of whatever is wrong."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from wellposed.registry.errors import suggestion

from ..errors import ParameterError
from .distributions import (
    Choice,
    Constant,
    Distribution,
    Hole,
    Integers,
    LogUniform,
    MissingPixels,
    Numbers,
    PerStep,
    Uniform,
)

__all__ = ["parse"]


def parse(data: Any, path: str) -> Any:
    """Return plain data with every distribution in it, at any depth, as a `Distribution`.

    Raises: ParameterError, with the path of the entry.
    """
    if isinstance(data, list | tuple):
        return [parse(item, f"{path}[{i}]") for i, item in enumerate(data)]
    if not isinstance(data, Mapping):
        return data
    found = [key for key in data if key in _PARSERS]
    if not found:
        return {key: parse(value, f"{path}.{key}") for key, value in data.items()}
    name = found[0]
    if len(data) > 1:
        others = ", ".join(repr(key) for key in data if key != name)
        raise ParameterError(f"a distribution has one entry; got {others} beside it", where=path)
    return _PARSERS[name](data[name], f"{path}.{name}")


def _numbers(data: Any, path: str) -> Numbers:
    """Return a distribution of numbers, or a constant as one."""
    if _is_number(data):
        return Constant(data)
    parsed = parse(data, path)
    if not isinstance(parsed, Numbers):
        raise ParameterError(
            f"expected a number or a distribution of numbers; got {_shown(data)}", where=path
        )
    return parsed


def _is_number(data: Any) -> bool:
    number = isinstance(data, int | float) and not isinstance(data, bool)
    return number and math.isfinite(data)


def _range(data: Any, path: str, *, whole: bool = False, above: float = -math.inf) -> Any:
    kind = int if whole else (int, float)
    good = isinstance(data, Sequence) and not isinstance(data, str) and len(data) == 2
    if not good or any(isinstance(v, bool) or not isinstance(v, kind) for v in data):
        what = "whole numbers" if whole else "numbers"
        raise ParameterError(f"expected two {what}, [low, high]; got {_shown(data)}", where=path)
    low, high = data
    if not (above < low <= high and math.isfinite(low) and math.isfinite(high)):
        least = "" if above == -math.inf else f" above {above:g}"
        raise ParameterError(
            f"expected [low, high]{least}, with low <= high; got {_shown(data)}", where=path
        )
    return low, high


def _choice(data: Any, path: str) -> Choice:
    good = isinstance(data, list | tuple) and len(data) > 0
    if not good or not all(map(_is_number, data)):
        raise ParameterError(
            f"expected a list of numbers; got {_shown(data)}. What is no number is drawn per step: "
            "{per_step: {choice: [...]}}",
            where=path,
        )
    return Choice(tuple(data))


def _per_step(data: Any, path: str) -> PerStep:
    if isinstance(data, Mapping) and set(data) == {"choice"}:
        values = data["choice"]
        if not isinstance(values, list | tuple) or not values:
            raise ParameterError(f"expected a list; got {_shown(values)}", where=f"{path}.choice")
        return PerStep(Choice(tuple(values)))
    return PerStep(_numbers(data, path))


def _hole(data: Any, path: str) -> Hole:
    if not isinstance(data, Mapping):
        return Hole(_numbers(data, path))
    names = ("size", "window", "shift")
    for key in data:
        if key not in names:
            raise ParameterError(
                f"a hole has no entry {key!r}.{suggestion(str(key), names)} "
                f"Entries: {', '.join(names)}",
                where=f"{path}.{key}",
            )
    if "size" not in data:
        raise ParameterError("a hole needs a size, in pixels", where=path)
    window = data.get("window")
    if window is not None:
        good = isinstance(window, list | tuple) and len(window) == 4
        if not good or any(type(v) is not int or v < 0 for v in window):
            raise ParameterError(
                f"expected [top, left, height, width] in pixels; got {_shown(window)}",
                where=f"{path}.window",
            )
        window = tuple(window)
    shift = data.get("shift")
    if shift is not None and (type(shift) is not int or shift < 0):
        raise ParameterError(
            f"expected a whole number of pixels, 0 or more; got {_shown(shift)}",
            where=f"{path}.shift",
        )
    return Hole(_numbers(data["size"], f"{path}.size"), window, shift)


def _shown(value: Any) -> str:
    return (
        f"{value!r:.60}"
        if value is None or isinstance(value, str | int | float | list)
        else (type(value).__name__)
    )


_PARSERS: Final[Mapping[str, Callable[[Any, str], Distribution]]] = {
    "uniform": lambda d, p: Uniform(*_range(d, p)),
    "log_uniform": lambda d, p: LogUniform(*_range(d, p, above=0)),
    "integers": lambda d, p: Integers(*_range(d, p, whole=True)),
    "choice": _choice,
    "per_step": _per_step,
    "missing_pixels": lambda d, p: MissingPixels(_numbers(d, p)),
    "hole": _hole,
}
