"""What the plug-and-play solvers share: noise levels, the data step, the denoiser."""

from __future__ import annotations

import torch
from torch import Tensor
from wellposed import Denoiser, Problem

from .levels import known_sigma
from .steps import inner_rtol, norm_of

__all__ = ["data_step", "denoised", "noise_level", "norm_or_one"]

_ASSUMED = 0.01
# An exact measurement would make the data step an equation, at an infinite tau.
_LEAST = 1e-3
_MAX_STEPS = 200


def norm_or_one(problem: Problem) -> Tensor:
    """Return |A| for each sample, one where it is zero; shape `batch`."""
    size = norm_of(problem, problem.linear)
    return torch.where(size == 0, 1, size)


def noise_level(problem: Problem, given: float | None) -> Tensor:
    """Return the noise of the measurement: `given`, else of the noise model, else 0.01 |A|.

    At least 1e-3 |A|; shape `batch`.
    """
    size = norm_or_one(problem)
    known = known_sigma(problem)
    if given is not None:
        level = torch.full_like(size, given)
    else:
        level = _ASSUMED * size if known is None else known
    return torch.maximum(level, _LEAST * size)


def data_step(problem: Problem, v: Tensor, tau: Tensor, *, tolerance: float) -> Tensor:
    """Return `argmin_x 1/2 |A x - y|^2 + 1/(2 tau) |x - v|^2`.

    Where it is iterated, to a tenth of `tolerance`, and 1e-4 at most.
    """
    rtol = inner_rtol(problem, tolerance)
    return problem.linear.data_prox(v, problem.measurement, tau, rtol=rtol, max_steps=_MAX_STEPS)


def denoised(problem: Problem, v: Tensor, sigma: Tensor) -> Tensor:
    """Return v with the problem's denoiser applied."""
    assert isinstance(problem.prior, Denoiser)
    return problem.prior.denoise(v, sigma)
