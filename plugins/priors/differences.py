"""Analysis operators by their registered names; one object per space, so that spectra are kept."""

from __future__ import annotations

from typing import Any, Final

from wellposed import ForwardOperator, Identity, Space
from wellposed.registry import default_registry

__all__ = ["gradient_operator", "identity_operator", "wavelet_operator"]

# A plain dictionary, since torch.compile can read it: after one eager call it finds the operator
# here, which it could not build. Bounded: pictures of many sizes must not pile up their spectra.
_MADE: Final[dict[tuple[object, ...], Any]] = {}
_MOST: Final = 16


def gradient_operator(space: Space, boundary: str) -> ForwardOperator:
    """Return the forward differences along height and width, `(C, H, W) -> (2, C, H, W)`."""
    found: ForwardOperator = _operator("finite_difference", space, ("boundary", boundary))
    return found


def wavelet_operator(space: Space, wavelet: str, levels: int | None) -> Any:
    """Return the orthonormal wavelet transform, which knows the size of its approximation."""
    return _operator("wavelet", space, ("wavelet", wavelet), ("levels", levels))


def identity_operator(space: Space) -> ForwardOperator:
    """Return the identity on a space."""
    return Identity(space)


def _operator(name: str, space: Space, *options: tuple[str, Any]) -> Any:
    key = (name, space.shape, space.dtype, *options)
    if key not in _MADE:
        cls = default_registry().load("operator", name)
        while len(_MADE) >= _MOST:
            _MADE.pop(next(iter(_MADE)), None)
        _MADE[key] = cls(in_shape=space.shape, dtype=space.dtype, **dict(options))
    return _MADE[key]
