"""The gradient operator, by its registered name; one object per space, so that spectra are kept."""

from __future__ import annotations

import functools
from typing import cast

from wellposed import ForwardOperator, Identity, Space
from wellposed.registry import default_registry

__all__ = ["gradient_operator", "identity_operator"]


@functools.lru_cache(maxsize=16)
def gradient_operator(space: Space, boundary: str) -> ForwardOperator:
    """Return the forward differences along height and width, `(C, H, W) -> (2, C, H, W)`."""
    cls = default_registry().load("operator", "finite_difference")
    return cast(ForwardOperator, cls(in_shape=space.shape, dtype=space.dtype, boundary=boundary))


@functools.lru_cache(maxsize=16)
def identity_operator(space: Space) -> ForwardOperator:
    """Return the identity on a space."""
    return Identity(space)
