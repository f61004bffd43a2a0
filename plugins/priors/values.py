"""What the priors share: one number or one value per sample, and norms of groups of entries."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError

__all__ = [
    "above",
    "finite",
    "magnitude",
    "non_negative",
    "per_sample",
    "picture_space",
    "scaled",
    "shrink",
    "total",
]


def picture_space(x: object, *, who: str) -> Space:
    """Return the space of a batch of pictures.

    Raises: DtypeError, ShapeError for anything that is not a picture `(*batch, C, H, W)`.
    """
    if not isinstance(x, Tensor) or not (x.is_floating_point() or x.is_complex()):
        got = f"dtype {x.dtype}" if isinstance(x, Tensor) else type(x).__name__
        raise DtypeError(
            f"{who} expects pictures as a floating-point or complex torch.Tensor; got {got}. "
            "Convert it, e.g. x.float() / 255."
        )
    if x.ndim < 3:
        raise ShapeError(
            f"{who} expects pictures of shape (*batch, C, H, W); got {tuple(x.shape)}. "
            "Give a single-channel picture its channel axis: x[None]."
        )
    return Space(tuple(x.shape[-3:]), x.dtype)


def per_sample(
    value: Tensor | float, like: Tensor, *, who: str, name: str, event_ndim: int = 3
) -> Tensor | float:
    """Return a number as it is, and one value per sample so that it broadcasts against `like`.

    Raises: ParameterError for a negative or non-finite number; ShapeError for a tensor that is
    neither a scalar nor of the batch shape of `like`.
    """
    if isinstance(value, Tensor):
        space = Space(tuple(like.shape[like.ndim - event_ndim :]), like.dtype)
        return space.expand(value, like, name=name, who=who)
    if not 0 <= value < math.inf:
        raise ParameterError(f"{who} expects {name} to be finite and at least 0; got {value}.")
    return float(value)


def scaled(total: Tensor, weight: Tensor | float, *, who: str) -> Tensor:
    """Return a functional of each sample (shape `batch`) times its weight."""
    column = total.unsqueeze(-1)
    factor = per_sample(weight, column, who=who, name="weight", event_ndim=1)
    return (factor * column).squeeze(-1)


def non_negative(instance: object, attribute: Any, value: object) -> None:
    """Check a field that holds a number or one value per sample."""
    if isinstance(value, Tensor):
        # The values of a tensor are not looked at: that would make the host wait for a GPU.
        if not value.is_floating_point() or value.ndim > 1:
            raise ParameterError(
                f"{type(instance).__name__}.{attribute.name} expects a number, or a real tensor "
                f"with one value per sample; got {value.dtype} of shape {tuple(value.shape)}."
            )
    elif (
        isinstance(value, bool) or not isinstance(value, (int, float)) or not 0 <= value < math.inf
    ):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a finite number of at least 0, "
            f"or one value per sample; got {value!r}."
        )


def above(limit: float, *, whole: bool = False) -> _Above:
    """Return a check that a field is a finite number above `limit`."""
    return _Above(limit, whole)


class _Above:
    """A validator; a class, so that the components which hold it stay picklable."""

    def __init__(self, limit: float, whole: bool) -> None:
        self.limit, self.whole = limit, whole

    def __call__(self, instance: object, attribute: Any, value: object) -> None:
        kinds = (int,) if self.whole else (int, float)
        if isinstance(value, bool) or not isinstance(value, kinds):
            good = False
        else:
            good = self.limit < value < math.inf
        if not good:
            kind = "a whole number" if self.whole else "a finite number"
            raise ParameterError(
                f"{type(instance).__name__}.{attribute.name} expects {kind} above {self.limit}; "
                f"got {value!r}."
            )


def finite(instance: object, attribute: Any, value: object) -> None:
    """Check a field that holds a finite number or None."""
    if value is None:
        return
    if isinstance(value, bool) or not isinstance(value, (int, float)) or not math.isfinite(value):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a finite number, or None for no "
            f"bound; got {value!r}."
        )


def magnitude(u: Tensor, dims: tuple[int, ...]) -> Tensor:
    """Return the Euclidean norm over `dims`, kept as axes of size 1; its gradient at 0 is 0.

    `torch.linalg.vector_norm` over leading axes is a hundred times slower on a CPU.
    """
    if not dims:
        return u.abs()
    squares = u.real.square() + u.imag.square() if u.is_complex() else u.square()
    squares = squares.sum(dims, keepdim=True)
    positive = squares > 0
    return torch.where(positive, torch.where(positive, squares, 1).sqrt(), 0)


def shrink(u: Tensor, threshold: Tensor | float, dims: tuple[int, ...] = ()) -> Tensor:
    """Return the prox of `threshold` times the sum of the norms over `dims`, exactly.

    Each group of entries is shortened by the threshold, and set to 0 where it is no longer.
    """
    length = magnitude(u, dims)
    longer = length > threshold
    return u * torch.where(longer, (length - threshold) / torch.where(longer, length, 1), 0)


def total(u: Tensor, event_ndim: int) -> Tensor:
    """Return the sum of each sample, of shape `batch`."""
    return u.flatten(u.ndim - event_ndim).sum(-1)
