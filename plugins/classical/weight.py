"""The weight of a quadratic penalty from the data, where `B B^H` is diagonal in Fourier space.

With x = argmin 1/2 |B x - y|^2 + w/2 |x|^2, the residual is `y - B x = share y` for each
frequency of energy e, with `share = w / (w + e)`. The weight is the one of least predicted risk
on a grid, per sample, with no decision on the host.
"""

from __future__ import annotations

import torch
from torch import Tensor
from wellposed import ForwardOperator, Problem

from .fourier import energies
from .levels import known_sigma

__all__ = ["best_weight"]

_EVENT = (-3, -2, -1)
_GRID = 81
# Below, only rounding is left; above, nothing but the penalty. In units of the largest energy.
_LEAST, _MOST = 1e-7, 1e3


def best_weight(problem: Problem, op: ForwardOperator) -> Tensor:
    """Return the weight for B = `op` and the problem's measurement; shape `batch`.

    For Gaussian noise of known sigma it minimises the unbiased estimate of the risk
    `|share y|^2 + 2 sigma^2 trace(1 - share)`, else the generalised cross-validation
    `|share y|^2 / trace(share)^2`.

    Source: Mallows, 1973, Some comments on C_P, Technometrics 15(4); Golub, Heath and Wahba,
    1979, Generalized cross-validation, Technometrics 21(2).
    """
    y = problem.measurement
    power = torch.fft.fft2(y, norm="ortho").abs().square()
    energy = energies(op, y.device).expand_as(power)
    sigma = known_sigma(problem)
    top = energy.amax(_EVENT)
    top = torch.where(top > 0, top, 1)
    best, least = _MOST * top, torch.full_like(top, torch.inf)
    for i in range(_GRID):
        weight = _LEAST * top * (_MOST / _LEAST) ** (i / (_GRID - 1))
        event = weight[..., None, None, None]
        share = event / (event + energy)
        residual = (share.square() * power).sum(_EVENT)
        if sigma is None:
            score = residual / share.sum(_EVENT).square()
        else:
            score = residual + 2 * sigma.square() * (1 - share).sum(_EVENT)
        better = score < least
        best, least = torch.where(better, weight, best), torch.where(better, score, least)
    return best
