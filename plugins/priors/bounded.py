"""Priors whose proximal map stays computable when pixels are kept within bounds."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from wellposed import ProximalPrior
from wellposed.errors import DtypeError, ParameterError

__all__ = ["BoundedProx", "Bounds", "check_order", "clamp", "meet"]

Bounds = tuple[float | None, float | None]


class BoundedProx(ProximalPrior):
    """A functional whose proximal map is at hand also when pixels are kept within bounds."""

    @abstractmethod
    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return `argmin over lower <= x <= upper of R(x) + 1/(2 tau) |x - v|^2`."""


def clamp(x: Tensor, bounds: Bounds, *, who: str) -> Tensor:
    """Return x with its pixels moved to the nearest allowed value; None is no bound.

    Raises: DtypeError for complex pictures, whose values have no order.
    """
    if bounds == (None, None):
        return x
    if x.is_complex():
        raise DtypeError(
            f"{who} expects real pictures; got {x.dtype}. Complex values have no order: "
            "bound the magnitude or the real part in your own prior."
        )
    return torch.clamp(x, *bounds)


def check_order(lower: float | None, upper: float | None, *, who: str) -> None:
    """Raise ParameterError unless some value lies within the bounds."""
    if lower is not None and upper is not None and lower > upper:
        raise ParameterError(
            f"{who} expects lower <= upper; got lower={lower} and upper={upper}. Swap them."
        )


def meet(a: Bounds, b: Bounds, *, who: str) -> Bounds:
    """Return the bounds that two intervals have in common.

    Raises: ParameterError when there is no such value.
    """
    lower = max((x for x in (a[0], b[0]) if x is not None), default=None)
    upper = min((x for x in (a[1], b[1]) if x is not None), default=None)
    check_order(lower, upper, who=who)
    return lower, upper
