"""The noise level of a measurement: as given, as its noise model says, or as it looks."""

from __future__ import annotations

from typing import Protocol, runtime_checkable

import torch
from torch import Tensor
from wellposed import Problem

__all__ = ["apparent_sigma", "known_sigma"]

_MAD_OF_NORMAL = 0.6744897501960817  # median of |n| for standard normal n


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


def apparent_sigma(problem: Problem) -> Tensor:
    """Return the noise level that the finest detail of a picture-like measurement shows.

    The median magnitude of the diagonal Haar coefficients over that of a standard normal; zero
    for pictures one pixel wide. Shape `batch`.
    Source: Donoho and Johnstone, 1994, Ideal spatial adaptation by wavelet shrinkage, section 4.1.
    """
    y = problem.measurement
    rows, columns = y.shape[-2] // 2 * 2, y.shape[-1] // 2 * 2
    if not (rows and columns):
        return problem.linear.out_space.norm(y) * 0
    y = y[..., :rows, :columns].unflatten(-1, (-1, 2)).unflatten(-3, (-1, 2))
    detail = (y[..., 0, :, 0] - y[..., 1, :, 0] - y[..., 0, :, 1] + y[..., 1, :, 1]) / 2
    median: Tensor = detail.abs().flatten(-3).median(-1).values
    return median / _MAD_OF_NORMAL
