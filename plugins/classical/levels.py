"""The noise level of a measurement, as its noise model states it."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from wellposed import Problem

__all__ = ["known_sigma"]


@runtime_checkable
class _HasSigma(Protocol):
    sigma: float | Tensor


def known_sigma(problem: Problem) -> Tensor | None:
    """Return the standard deviation that a Gaussian noise model states, of shape `batch`."""
    noise = problem.noise
    if noise is None or not noise.is_quadratic or not isinstance(noise, _HasSigma):
        return None
    like = problem.measurement.real
    return torch.as_tensor(noise.sigma).to(like).expand(problem.batch)
