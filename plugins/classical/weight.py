"""Weights of a quadratic penalty from the data, where `B B^H` is diagonal with known energies.

With x = argmin 1/2 |B x - y|^2 + w/2 |x|^2, the residual is `y - B x = w (w + e)^-1 y` for each
frequency of energy e. Everything is per sample, on a grid of weights with no host decision.
"""

from __future__ import annotations

import torch
from torch import Tensor

__all__ = ["by_cross_validation", "by_discrepancy"]

_EVENT = (-3, -2, -1)
_HALVINGS = 40


def by_cross_validation(energy: Tensor, power: Tensor) -> Tensor:
    """Return the weight that minimises `|y - B x|^2 / trace(I - B B^+)^2`, of shape `batch`.

    Shapes: energy `(*B, C, h, w)`, power, the squared spectrum of y, `(*batch, C, h, w)`.
    Source: Golub, Heath and Wahba, 1979, equation (1.4).
    """
    energy = energy.expand_as(power)
    low, high = _range(energy)
    best_score = torch.full_like(low, torch.inf)
    best = high
    count = 81
    for i in range(count):
        w = low * (high / low) ** (i / (count - 1))
        score = _score(energy, power, w)
        better = score < best_score
        best = torch.where(better, w, best)
        best_score = torch.where(better, score, best_score)
    return best


def by_discrepancy(energy: Tensor, power: Tensor, target: Tensor) -> Tensor:
    """Return the weight with `|y - B x|^2 = target`, within what is reasonable; shape `batch`.

    Source: Morozov, 1966.
    """
    energy = energy.expand_as(power)
    low, high = _range(energy)
    low, high = low.log(), high.log()
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        above = _residual(energy, power, middle.exp()) > target
        low, high = torch.where(above, low, middle), torch.where(above, middle, high)
    return ((low + high) / 2).exp()


def _range(energy: Tensor) -> tuple[Tensor, Tensor]:
    """Return the least and the largest weight worth trying: below, only rounding is left."""
    top = energy.amax(_EVENT)
    top = torch.where(top > 0, top, 1)
    return 1e-7 * top, 1e3 * top


def _share(energy: Tensor, w: Tensor) -> Tensor:
    w = w[..., None, None, None]
    return w / (w + energy)


def _residual(energy: Tensor, power: Tensor, w: Tensor) -> Tensor:
    return (_share(energy, w).square() * power).sum(_EVENT)


def _score(energy: Tensor, power: Tensor, w: Tensor) -> Tensor:
    share = _share(energy, w)
    return (share.square() * power).sum(_EVENT) / share.sum(_EVENT).square()
