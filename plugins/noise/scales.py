"""A strength per sample, shaped to go with measurements."""

from __future__ import annotations

from typing import Any

from torch import Tensor
from wellposed.errors import ParameterError, ShapeError

__all__ = ["scale_for", "strength"]


def strength(*, zero: bool) -> Any:
    """Return an attrs validator of a number, or of one value per sample, above zero (or at it)."""

    def check(instance: object, attribute: Any, value: object) -> None:
        who = f"{type(instance).__name__}.{attribute.name}"
        if isinstance(value, Tensor):
            if not value.is_floating_point() or any(n != 1 for n in value.shape[1:]):
                raise ParameterError(
                    f"{who} expects a number or real values per sample, of shape (B,) or "
                    f"(B, 1, ..., 1); got {tuple(value.shape)} {value.dtype}."
                )
            low = bool((value >= 0).all()) if zero else bool((value > 0).all())
            if not low:
                raise ParameterError(f"{who} expects {_bound(zero)} values; some are not.")
            return
        number = isinstance(value, (int, float)) and not isinstance(value, bool)
        if not number or not (value >= 0 if zero else value > 0) or value == float("inf"):  # type: ignore[operator]
            raise ParameterError(f"{who} expects a finite {_bound(zero)} number; got {value!r}.")

    return check


def scale_for(value: float | Tensor, z: Tensor, *, who: str) -> float | Tensor:
    """Return a strength that broadcasts against z.

    `(B,)` goes with measurements of three axes such as `(*batch, B, C, H, W)`; for others, the
    tensor has an axis of size 1 for each of theirs.
    Raises: ShapeError when z has another batch.
    """
    if not isinstance(value, Tensor) or value.ndim == 0:
        return value if not isinstance(value, Tensor) else value.to(z.device, z.dtype.to_real())
    scale = value[:, None, None, None] if value.ndim == 1 else value
    if z.ndim < scale.ndim or z.shape[-scale.ndim] != scale.shape[0]:
        raise ShapeError(
            f"{who} holds one value for each of {scale.shape[0]} samples with "
            f"{scale.ndim - 1} axes; got a measurement of shape {tuple(z.shape)}. For other axes, "
            "give the values the shape (B, 1, ..., 1)."
        )
    return scale.to(device=z.device, dtype=z.dtype.to_real())


def _bound(zero: bool) -> str:
    return "non-negative" if zero else "positive"
