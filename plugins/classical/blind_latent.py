"""The sharp picture of blind deblurring: few edges, and perhaps a dark channel that is often zero.

Everything is circular, for `(B, 1, H, W)` pictures with a kernel each, in closed form by FFT.
"""

from __future__ import annotations

import math

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["Sparsity", "dark_pixels", "differences", "laplacian", "salient", "sharpened"]

_MU_LAST = 1e5
_BETA_LAST = 8.0
_GROWTH = 2.0
_LEVELS = 256
_ALWAYS = 0.8


@attrs.frozen(eq=False, kw_only=True)
class Sparsity:
    """Weights of the two counts, for pictures in [0, 1]; side of the dark channel's windows."""

    gradient: float
    dark: float
    patch: int


def sharpened(y: Tensor, transfer: Tensor, sparsity: Sparsity) -> Tensor:
    """Return the picture with few edges (and few pixels that are dark, but not black).

        argmin_x |k * x - y|^2 + gradient |D x|_0 + dark |d(x)|_0

    by half-quadratic splitting with growing penalties mu (for D x) and beta (for d(x)).

    Shapes: y `(B, 1, H, W)`; transfer, the half spectrum of k, `(B, 1, H, W // 2 + 1)`.
    Cost: two FFTs for each of about 24 values of mu; times 9 of beta, with a window search for
    each, where there is a weight for the dark channel.
    The edges are found; the heights between them are those of an early, weak penalty, and not yet
    the means. Source: Pan et al., 2016, section 4.1; mu and beta double up to 1e5 and 8, and beta
    starts at dark / (Otsu's threshold of the squared picture), as in the authors' code.
    """
    fit = _Fit(
        data=transfer.conj() * torch.fft.rfft2(y),
        power=transfer.abs().square(),
        bumps=laplacian(y.shape[-2:], y),
        size=(y.shape[-2], y.shape[-1]),
    )
    if sparsity.dark == 0:
        return _few_edges(y, fit, sparsity.gradient)
    x, first = y, sparsity.dark / _otsu(y.square())[:, None, None, None]
    # Otsu's threshold is one at most, which bounds the number of values; most samples need fewer.
    for i in range(max(math.ceil(math.log(_BETA_LAST / sparsity.dark, _GROWTH)), 1)):
        beta = first * _GROWTH**i
        zero = dark_pixels(x, sparsity.patch, sparsity.dark / beta)
        pull = attrs.evolve(
            fit,
            data=fit.data + beta * torch.fft.rfft2(torch.where(zero, 0, x)),
            power=fit.power + beta,
        )
        x = torch.where(beta < _BETA_LAST, _few_edges(x, pull, sparsity.gradient), x)
    return x


@attrs.frozen(eq=False, kw_only=True)
class _Fit:
    """A quadratic in Fourier space: `(power + mu bumps) x = data + mu D^T g`."""

    data: Tensor
    power: Tensor
    bumps: Tensor
    size: tuple[int, int]

    def solve(self, down: Tensor, right: Tensor, mu: float) -> Tensor:
        pulled = torch.fft.rfft2(_divergence(down, right))
        x: Tensor = torch.fft.irfft2(
            (self.data + mu * pulled) / (self.power + mu * self.bumps), s=self.size
        )
        return x


def _few_edges(x: Tensor, fit: _Fit, weight: float) -> Tensor:
    """Split off D x = g: g is D x where that is worth its weight, and else zero."""
    mu = 2 * weight
    while mu < _MU_LAST:
        down, right = differences(x)
        kept = down.square() + right.square() >= weight / mu
        x = fit.solve(torch.where(kept, down, 0), torch.where(kept, right, 0), mu)
        mu *= _GROWTH
    return x


def dark_pixels(x: Tensor, patch: int, least: Tensor) -> Tensor:
    """Return which pixels are the smallest of a window around some pixel, with x^2 below `least`.

    The dark channel at a pixel is the smallest value in the `patch` x `patch` window around it, as
    far as that lies in the picture. Shapes: x `(B, 1, H, W)`; least `(B, 1, 1, 1)`.
    """
    smallest, where = F.max_pool2d(-x, patch, stride=1, padding=patch // 2, return_indices=True)
    chosen = (smallest.square() < least).flatten(-2)
    marks = torch.zeros_like(chosen, dtype=torch.int64)
    marks = marks.scatter_reduce(-1, where.flatten(-2), chosen.to(torch.int64), "amax")
    return (marks > 0).reshape(x.shape)


def differences(x: Tensor) -> tuple[Tensor, Tensor]:
    """Return the circular differences to the neighbours below and to the right."""
    return x.roll(-1, -2) - x, x.roll(-1, -1) - x


def _divergence(down: Tensor, right: Tensor) -> Tensor:
    return (down.roll(1, -2) - down) + (right.roll(1, -1) - right)


def laplacian(size: tuple[int, int] | torch.Size, like: Tensor) -> Tensor:
    """Return the response of D^T D, `(H, W // 2 + 1)`."""
    down = torch.fft.fftfreq(size[0], dtype=like.dtype, device=like.device)[:, None]
    right = torch.fft.rfftfreq(size[1], dtype=like.dtype, device=like.device)
    return 4 * (torch.sin(math.pi * down).square() + torch.sin(math.pi * right).square())


def salient(x: Tensor, count: int, least: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
    """Return the circular differences of x where they are large, zero elsewhere; and how large.

    least `(B, 1, 1, 1)`, the squared length that counts; None: such that each of four directions
    (an eighth of a turn and the opposite one) keeps `count` pixels, or all of them. Some pixel
    always counts. Source: Cho and Lee, 2009, Fast motion deblurring, SIGGRAPH Asia, section 4;
    count and later decay of Pan et al.'s code, which looks at the blurred picture the first time.
    """
    down, right = differences(x)
    length = down.square() + right.square()
    if least is None:
        turn = torch.atan2(down, right) * (4 / math.pi) % 4
        kept = []
        for quarter in range(4):
            there = (turn >= quarter) & (turn < quarter + 1)
            ranked = torch.where(there, length, 0).flatten(1).sort(1, descending=True).values
            kept.append(ranked[:, min(count, ranked.shape[1]) - 1])
        least = torch.stack(kept).amin(0)[:, None, None, None]
    least = torch.minimum(least, _ALWAYS * length.amax((-2, -1), keepdim=True))
    counts = length >= least
    return torch.where(counts, down, 0), torch.where(counts, right, 0), least


def _otsu(x: Tensor) -> Tensor:
    """Return Otsu's threshold of each picture of [0, 1], `(B,)`: splits it into dark and bright."""
    flat = x.flatten(1).clamp(0, 1)
    bins = (flat * (_LEVELS - 1)).round().nan_to_num(0).to(torch.int64)
    counts = torch.zeros(len(flat), _LEVELS, dtype=torch.int64, device=x.device)
    counts = counts.scatter_add(1, bins, torch.ones_like(bins)).to(x.dtype)
    share = counts / flat.shape[1]
    level = torch.arange(_LEVELS, dtype=x.dtype, device=x.device)
    below, mean = share.cumsum(1), (share * level).cumsum(1)
    spread = below * (1 - below)
    between = (mean[:, -1:] * below - mean).square() / torch.where(spread > 0, spread, torch.inf)
    return between.argmax(1).to(x.dtype).clamp_min(1) / (_LEVELS - 1)
