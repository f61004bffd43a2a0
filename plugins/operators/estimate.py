"""A first picture from a strided blur's measurement: interpolation at the exact phase."""

from __future__ import annotations

import torch
from torch import Tensor

from .geometry import Axis

__all__ = ["gain_of", "interpolation"]


def interpolation(kernel: Tensor, dim: int, axis: Axis, *, circular: bool) -> Tensor:
    """Return the matrix, `(H, h)` or `(B, 1|C, H, h)`, that interpolates measured pixels.

    Measured pixel i is taken to stand at the centre of mass of its weights,

        first + stride i + n // 2 - sum_j j |k_j| / sum_j |k_j|,

    and the picture is read off by Keys' cubic (a = -1/2) between those places; beyond the first
    and the last one it goes on as that one does, or around.
    Source: Keys, 1981, Cubic convolution interpolation for digital image processing, equation (8).
    """
    weights = kernel.abs().sum(dim=-1 if dim == -2 else -2)  # (B, C, taps)
    taps = torch.arange(axis.taps, dtype=weights.dtype, device=weights.device)
    total = weights.sum(-1)
    centre = (weights * taps).sum(-1) / torch.where(total > 0, total, 1)
    centre = torch.where(total > 0, centre, axis.taps // 2)
    places = torch.arange(axis.size, dtype=weights.dtype, device=weights.device)
    start = axis.first + axis.taps // 2 - centre
    at = (places - start[..., None]) / axis.stride  # (B, C, H), in measured pixels
    base = at.floor()
    offsets = torch.arange(-1, 3, device=weights.device)
    neighbour = base[..., None].long() + offsets
    share = _keys(at[..., None] - neighbour)
    wrapped = neighbour.remainder(axis.count) if circular else neighbour.clamp(0, axis.count - 1)
    columns = torch.arange(axis.count, device=weights.device)
    # One of four neighbours at a time: (B, C, H, h) is small, four times that need not be.
    matrix = sum(
        share[..., n, None] * (wrapped[..., n, None] == columns) for n in range(len(offsets))
    )
    assert isinstance(matrix, Tensor)
    if kernel.shape[0] == 1:
        matrix = matrix[0]
        matrix = matrix[0] if kernel.shape[1] == 1 else matrix
    return matrix.to(kernel.dtype)


def gain_of(kernel: Tensor) -> Tensor:
    """Return the factor on flat pictures, `(B, 1|C, 1, 1)` or `(1|C, 1, 1)`; 1 if it cancels."""
    total = kernel.sum((-2, -1), keepdim=True)
    bulk = kernel.abs().sum((-2, -1), keepdim=True)
    gain = torch.where(total.abs() > bulk / 2, total, torch.ones_like(total))
    return gain[0] if kernel.shape[0] == 1 else gain


def _keys(t: Tensor) -> Tensor:
    t = t.abs()
    inner = (1.5 * t - 2.5) * t**2 + 1
    outer = ((-0.5 * t + 2.5) * t - 4) * t + 2
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, 0.0))
