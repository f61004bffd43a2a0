"""Coarse to fine: the sizes of pictures and kernels, and going from one to the next."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor

__all__ = ["Level", "enlarged", "extended", "levels", "shrunk"]

_STEP = math.sqrt(0.5)
_COARSEST = 5  # taps across
# A small kernel starts coarser than that: from fewer scales, one that fills its frame is not found.
_SCALES, _SMALLEST = 2, 3
_ROUNDING = 1e-6


@attrs.frozen(kw_only=True)
class Level:
    """One scale of the pyramid: how much smaller, and the sizes there."""

    scale: float
    size: tuple[int, int]
    kernel: tuple[int, int]


def levels(size: tuple[int, int], kernel: tuple[int, int]) -> tuple[Level, ...]:
    """Return the scales, coarsest first, for a picture and a kernel that fits into it.

    Each is sqrt(2) finer than the one before; at the coarsest the kernel is about 5 taps across,
    or as little as 3 to have two scales before the last.
    """
    usual, most = (
        max(math.floor(math.log(taps / max(kernel)) / math.log(_STEP)), 0)
        for taps in (_COARSEST, _SMALLEST)
    )
    count = max(usual, min(most, _SCALES))
    return tuple(_level(size, kernel, i) for i in range(count, -1, -1))


def _level(size: tuple[int, int], kernel: tuple[int, int], down: int) -> Level:
    if down == 0:
        return Level(scale=1.0, size=size, kernel=kernel)
    scale = _STEP**down
    taps = tuple(min(2 * math.ceil((scale * n - 1) / 2 - _ROUNDING) + 1, n) for n in kernel)
    pixels = tuple(max(round(scale * n), k) for n, k in zip(size, taps, strict=True))
    return Level(scale=scale, size=(pixels[0], pixels[1]), kernel=(taps[0], taps[1]))


def shrunk(x: Tensor, size: tuple[int, int]) -> Tensor:
    """Return pictures on a coarser grid of the same area, smoothed by a tent; indices wrap.

    Source: MATLAB's imresize, 'bilinear' with antialiasing, on a periodic picture.
    """
    down, right = (_tents(n, m, x) for n, m in zip(x.shape[-2:], size, strict=True))
    return down @ x @ right.mT


def _tents(fine: int, coarse: int, like: Tensor) -> Tensor:
    """Return the matrix `(coarse, fine)`, with rows of sum one."""
    ratio = fine / coarse
    centres = (torch.arange(coarse, dtype=torch.float64) + 0.5) * ratio - 0.5
    away = (torch.arange(fine, dtype=torch.float64) - centres[:, None] + fine / 2) % fine - fine / 2
    weight = (1 - away.abs() / ratio).clamp_min(0)
    return (weight / weight.sum(1, keepdim=True)).to(like)


def enlarged(kernel: Tensor, size: tuple[int, int], ratio: float) -> Tensor:
    """Return kernels on a grid that is `ratio` times as fine, bilinear, around `n // 2`."""
    down, right = (_hats(n, m, ratio, kernel) for n, m in zip(kernel.shape[-2:], size, strict=True))
    return down @ kernel @ right.mT


def _hats(coarse: int, fine: int, ratio: float, like: Tensor) -> Tensor:
    at = (torch.arange(fine, dtype=torch.float64) - fine // 2) / ratio + coarse // 2
    away = at[:, None] - torch.arange(coarse, dtype=torch.float64)
    return (1 - away.abs()).clamp_min(0).to(like)


def extended(y: Tensor, margin: tuple[int, int]) -> Tensor:
    """Return pictures with more rows below and columns to the right, which make them periodic.

    There both reflections, of this border and of the opposite one, fade into one another.
    Source: the aim is that of Liu and Jia, 2008, Reducing boundary artifacts in image
    deconvolution, ICIP; a fade instead of a minimal Laplacian.
    """
    for dim, more in zip((-2, -1), margin, strict=True):
        n = y.shape[dim]
        fade = torch.arange(1, more + 1, dtype=y.dtype, device=y.device) / (more + 1)
        fade = fade[:, None] if dim == -2 else fade
        after, before = (y.narrow(dim, i, more).flip(dim) for i in (n - more, 0))
        y = torch.cat((y, (1 - fade) * after + fade * before), dim)
    return y
