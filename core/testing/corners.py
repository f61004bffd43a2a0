"""One instance for each combination of options: faults hide where two rare ones meet."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import attrs
import torch
from torch import Tensor

from ..moves import fields_of

__all__ = ["component_of", "distinct", "options_of"]

Subject = TypeVar("Subject")

_MOST = 150


def component_of(subject: Any) -> Any:
    """Return the component inside a PriorCase or SolverCase, else the subject itself."""
    return getattr(subject, "prior", None) or getattr(subject, "solver", None) or subject


def options_of(subject: Any) -> tuple[object, ...]:
    """Return what kind of instance this is: its switches, and the kinds of its numbers."""
    component = component_of(subject)
    if not attrs.has(type(component)):
        return ()
    found = [_kind(getattr(component, f.name, None)) for f in fields_of(component) if f.init]
    batch = getattr(component, "batch_shape", ())
    space = getattr(subject, "space", None) or getattr(component, "in_space", None)
    return (*found, len(batch), space is not None and space.dtype.is_complex)


def distinct(pool: Sequence[Subject]) -> list[Subject]:
    """Return the first instance of each combination of options, in order."""
    found: dict[tuple[object, ...], Subject] = {}
    for subject in pool:
        found.setdefault(options_of(subject), subject)
    return list(found.values())[:_MOST]


def _kind(value: object) -> object:
    """Return the value of a switch; of a number or tensor only its kind."""
    if value is None or isinstance(value, (bool, str, torch.dtype)):
        return value
    if isinstance(value, (int, float)):
        return (value > 0) + (value > 1)
    if isinstance(value, Tensor):
        return value.dtype.is_complex, value.ndim, tuple(n == 1 for n in value.shape[:2])
    return type(value).__name__
