"""The network that sharpens an interpolated picture, and how to run it on large ones."""

from __future__ import annotations

import itertools
import math

import torch
from torch import Tensor, nn

__all__ = ["Residual", "in_tiles"]


class Residual(nn.Module):
    """What is missing from an interpolated picture: 3x3 convolutions with ReLUs between them.

        f(x) = x + W_n relu(W_(n-1) ... relu(W_1 x))

    There are no biases. A pixel sees `depth` pixels to each side; beyond the frame lie zeros.

    Shapes: x `(N, C, H, W)` -> the same.
    Source: Shocher, Cohen and Irani, 2018, section 3.1; weights start from a normal distribution
    of variance 0.1 / fan-in, as in the authors' code.
    """

    def __init__(self, like: Tensor, width: int, depth: int, generator: torch.Generator) -> None:
        """Draw the weights for pictures `like` one; every precision and device starts alike."""
        super().__init__()
        channels = like.shape[-3]
        sizes = [channels, *[width] * (depth - 1), channels]
        self.weights = nn.ParameterList()
        for inner, outer in itertools.pairwise(sizes):
            drawn = torch.randn(outer, inner, 3, 3, dtype=torch.float64, generator=generator)
            weight = (math.sqrt(0.1 / (9 * inner)) * drawn).to(like)
            self.weights.append(weight.contiguous(memory_format=torch.channels_last))

    @property
    def halo(self) -> int:
        """How many pixels to each side a pixel depends on."""
        return len(self.weights)

    def forward(self, x: Tensor) -> Tensor:
        """Return f(x)."""
        first, *inner, last = self.weights
        with torch.autocast(x.device.type, enabled=False):
            # In half precision the picture itself would lose what sharpening then magnifies.
            z = torch.conv2d(x, first, padding=1).relu_()
        for weight in inner:
            z = torch.conv2d(z, weight, padding=1).relu_()
        return x + torch.conv2d(z, last, padding=1).to(x.dtype)


def in_tiles(network: nn.Module, x: Tensor, tile: int, halo: int) -> Tensor:
    """Return `network(x)` computed in tiles of `tile` pixels, in memory that they bound.

    Each tile is computed with `halo` more pixels on those sides where the picture goes on, which
    are then cut off: with a halo as wide as the network sees, the result is that of the whole.
    Shapes: x `(C, H, W)` -> the same.
    """
    height, width = x.shape[-2:]
    out = torch.empty_like(x)
    for top, left in itertools.product(range(0, height, tile), range(0, width, tile)):
        bottom, right = min(top + tile, height), min(left + tile, width)
        first, start = max(top - halo, 0), max(left - halo, 0)
        part = x[:, first : bottom + halo, start : right + halo]
        done = network(part[None])[0]
        out[:, top:bottom, left:right] = done[
            :, top - first : bottom - first, left - start : right - start
        ]
    return out
