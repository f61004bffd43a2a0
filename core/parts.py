"""Looking into compositions: the operators that an operator is made of, and putting in others."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, TypeVar, cast

import attrs

from .moves import fields_of
from .operator import ForwardOperator

__all__ = ["parts_of", "with_part"]

T = TypeVar("T")


def parts_of(op: object) -> Iterator[ForwardOperator]:
    """Yield an operator, and every operator in its fields, outermost first."""
    if isinstance(op, (tuple, list)):
        for item in op:
            yield from parts_of(item)
    elif isinstance(op, ForwardOperator) and attrs.has(type(op)):
        yield op
        for field in fields_of(op):
            yield from parts_of(getattr(op, field.name, None))


def with_part(op: T, old: ForwardOperator, new: ForwardOperator) -> T:
    """Return `op` with `new` wherever it holds `old` (that very object); `op` is unchanged."""
    if op is old:
        return cast(T, new)
    if isinstance(op, (tuple, list)):
        items = type(op)(with_part(item, old, new) for item in op)
        return cast(T, items) if any(a is not b for a, b in zip(items, op, strict=True)) else op
    if not isinstance(op, ForwardOperator) or not attrs.has(type(op)):
        return op
    changed: dict[str, Any] = {}
    for field in fields_of(op):
        if field.init:
            before = getattr(op, field.name)
            after = with_part(before, old, new)
            if after is not before:
                changed[field.alias or field.name] = after
    return attrs.evolve(cast(Any, op), **changed) if changed else op
