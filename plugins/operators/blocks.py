"""One axis of a convolution in blocks: neighbouring results, computed together as channels.

CPUs compute sixteen output channels of a convolution in the time of one, since a vector register
holds as many. So 4 x 4 neighbouring results are the channels of one result with a larger kernel
and step: each channel holds the kernel at another place of the window, and zeros around it. A
source that is not finite therefore reaches all results of its blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .geometry import Axis, Geometry

__all__ = ["CHANNELS", "Blocks", "adjoint_blocks", "forward_blocks"]

CHANNELS = 16
_SIDE = 4
# For how many outputs a block of the adjoint stands, by the stride: as few as fill whole registers.
_OUTPUTS = {1: 4, 2: 2, 3: 4}


class Blocks(NamedTuple):
    """`number` blocks of `size` results; each reads `window` sources, from `step * block` on.

    Sources are what the convolution, or its adjoint, reads, after `before` more in front. Result
    a of a block takes source u times tap `first + by_result a + by_source u` of the reversed
    kernel, where there is such a tap. (A tuple, which `torch.compile` can build.)
    """

    size: int
    number: int
    window: int
    step: int
    before: int
    taps: int
    first: int
    by_result: int
    by_source: int

    def margin(self, sources: int) -> tuple[int, int]:
        """Return how far the sources are extended (negative: cut) before and after."""
        return self.before, (self.number - 1) * self.step + self.window - self.before - sources

    def tap(self, device: torch.device) -> Tensor:
        """Return the tap for each result and source of a block; `taps` where there is none."""
        result = torch.arange(self.size, device=device)[:, None]
        source = torch.arange(self.window, device=device)
        tap = self.first + self.by_result * result + self.by_source * source
        return torch.where((tap >= 0) & (tap < self.taps), tap, self.taps)


def forward_blocks(g: Geometry) -> tuple[Blocks, Blocks]:
    """Return blocks of outputs, which read the picture, for rows and columns."""
    return _of_outputs(g.rows), _of_outputs(g.columns)


def adjoint_blocks(g: Geometry) -> tuple[Blocks, Blocks]:
    """Return blocks of pixels, which read outputs; of the extended picture where that is folded."""
    return _of_pixels(g.rows, extended=g.folds), _of_pixels(g.columns, extended=g.folds)


def _of_outputs(axis: Axis) -> Blocks:
    return Blocks(
        size=_SIDE,
        number=-(-axis.count // _SIDE),
        window=axis.stride * (_SIDE - 1) + axis.taps,
        step=axis.stride * _SIDE,
        before=axis.margin[0],
        taps=axis.taps,
        first=0,
        by_result=-axis.stride,
        by_source=1,
    )


def _of_pixels(axis: Axis, *, extended: bool) -> Blocks:
    before, pixels = (0, axis.reach) if extended else (axis.margin[0], axis.size)
    outputs = _OUTPUTS.get(axis.stride, 1)
    size = outputs * axis.stride
    # Pixel p takes output i times the tap p + before - stride i.
    low = -((axis.taps - 1 - before) // axis.stride)
    high = (size - 1 + before) // axis.stride
    return Blocks(
        size=size,
        number=-(-pixels // size),
        window=high - low + 1,
        step=outputs,
        before=-low,
        taps=axis.taps,
        first=before - axis.stride * low,
        by_result=1,
        by_source=-axis.stride,
    )
