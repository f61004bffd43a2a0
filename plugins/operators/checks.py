"""Checks of constructor arguments that several operators share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError

__all__ = [
    "above",
    "batch_of",
    "complex_partner",
    "field_dtype",
    "picture_space",
    "real_dtype",
    "require_dtype",
    "whole",
]

_FIELDS = (torch.float32, torch.float64, torch.complex64, torch.complex128)
# Tables, since torch.compile does not follow dtype.to_real() and to_complex().
_REAL = dict(zip(_FIELDS, _FIELDS[:2] * 2, strict=True))
_COMPLEX = dict(zip(_FIELDS, _FIELDS[2:] * 2, strict=True))


def field_dtype(instance: object, attribute: Any, value: object) -> None:
    """Validate a dtype of pictures: float32, float64, or one of their complex partners."""
    if value not in _FIELDS:
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects float32, float64, complex64 or "
            f"complex128; got {value!r}."
        )


def picture_space(op: Any) -> Space:
    """Return the space of pictures `(C, H, W)` of an operator with `in_shape` and `dtype`.

    For the default of a computed field: attrs runs all defaults before any validator, so the
    other fields are validated here first.
    Raises: ParameterError, ShapeError, and what the validators raise.
    """
    attrs.validate(op)
    space = Space(op.in_shape, op.dtype)
    if space.ndim != 3:
        raise ShapeError(
            f"{type(op).__name__}.in_shape expects a picture (C, H, W); got {space.shape}."
        )
    return space


def whole(low: int) -> Callable[[object, Any, object], None]:
    """Return a validator of whole numbers from `low` on; None passes where it is the default."""

    def check(instance: object, attribute: Any, value: object) -> None:
        if value is None and attribute.default is None:
            return
        if isinstance(value, bool) or not isinstance(value, int) or value < low:
            raise ParameterError(
                f"{type(instance).__name__}.{attribute.name} expects a whole number of at least "
                f"{low}; got {value!r}."
            )

    return check


def above(low: float, high: float = float("inf")) -> Callable[[object, Any, object], None]:
    """Return a validator of numbers between two bounds; None passes where it is the default."""

    def check(instance: object, attribute: Any, value: object) -> None:
        if value is None and attribute.default is None:
            return
        if isinstance(value, (int, float)) and not isinstance(value, bool) and low <= value <= high:
            return
        bound = f"at least {low:g}" + (f" and at most {high:g}" if high != float("inf") else "")
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a number of {bound}; "
            f"got {value!r}."
        )

    return check


def batch_of(parameter: Tensor, event_ndim: int) -> tuple[int, ...]:
    """Return `(B,)` for a parameter with a batch axis of more than one entry, else `()`."""
    per_sample = parameter.ndim > event_ndim and parameter.shape[0] > 1
    return (parameter.shape[0],) if per_sample else ()


def require_dtype(who: str, name: str, value: Tensor, dtype: torch.dtype) -> None:
    """Raise DtypeError unless a parameter has the dtype that goes with the operator's."""
    if value.dtype != dtype:
        raise DtypeError(
            f"{who}.{name} expects {dtype}, to go with the operator's dtype; got {value.dtype}. "
            "Convert one of them."
        )


def real_dtype(dtype: torch.dtype) -> torch.dtype:
    """Return the real dtype of the same precision."""
    return _REAL[dtype]


def complex_partner(dtype: torch.dtype) -> torch.dtype:
    """Return the complex dtype of the same precision."""
    return _COMPLEX[dtype]
