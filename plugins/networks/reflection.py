"""Mirrored frames around pictures of any size, and the adjoint of making them."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["folded", "reflected"]


def reflected(x: Tensor, margin: int) -> Tensor:
    """Return x with `margin` more pixels on each side, mirrored at the middle of the outermost.

    As `torch.nn.ReflectionPad2d`, which refuses pictures no larger than the margin: those are
    mirrored as often as it takes.
    Shapes: `(N, C, H, W)` -> `(N, C, H + 2 margin, W + 2 margin)`.
    """
    height, width = x.shape[-2:]
    if margin < min(height, width):
        return F.pad(x, (margin,) * 4, mode="reflect")
    rows, columns = (_sources(n, margin, x.device) for n in (height, width))
    return x[..., rows, :][..., columns]


def folded(v: Tensor, margin: int) -> Tensor:
    """Return the adjoint of `reflected`: each mirrored pixel is added to the one it came from."""
    return _folded(_folded(v, margin, -2), margin, -1)


def _folded(v: Tensor, margin: int, dim: int) -> Tensor:
    n = v.shape[dim] - 2 * margin
    middle = v.narrow(dim, margin, n)
    if margin >= n:
        index = _sources(n, margin, v.device)
        return torch.zeros_like(middle).index_add(dim, index, v)
    x = middle.clone()
    x.narrow(dim, 1, margin).add_(v.narrow(dim, 0, margin).flip(dim))
    x.narrow(dim, n - 1 - margin, margin).add_(v.narrow(dim, n + margin, margin).flip(dim))
    return x


def _sources(n: int, margin: int, device: torch.device) -> Tensor:
    """Return which of n pixels each one of the larger row comes from."""
    period = max(2 * n - 2, 1)
    index = torch.arange(-margin, n + margin, device=device) % period
    return torch.minimum(index, (period - index) % period)
