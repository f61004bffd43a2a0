"""The gradient operator, by its registered name; one object per space, so that spectra are kept."""

from __future__ import annotations

import functools
from typing import cast

from wellposed import ForwardOperator, Space
from wellposed.registry import default_registry

__all__ = ["gradient_of"]


@functools.lru_cache(maxsize=16)
def gradient_of(space: Space, *, circular: bool) -> ForwardOperator:
    """Return forward differences on pictures of `space`, `(C, H, W) -> (2, C, H, W)`."""
    cls = default_registry().load("operator", "finite_difference")
    boundary = "circular" if circular else "zero"
    return cast(ForwardOperator, cls(in_shape=space.shape, dtype=space.dtype, boundary=boundary))
