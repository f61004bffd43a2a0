"""Transposed convolutions of small pictures, computed in blocks of 2 x 2 pixels.

A CPU takes two to six times as long for a transposed convolution as for a plain one of as many
products, and as long for one output channel as for 16. Both are avoided by holding a picture
`(N, C, H, W)` as blocks `(N, 4 C, H / 2, W / 2)`, rounded up: channel `(2 p + q) C + c` of block
`(a, b)` is channel c of pixel `(2 a + p, 2 b + q)`, and 0 where that is beyond the picture.
"""

from __future__ import annotations

from typing import Self

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Enlarging", "ToOneChannel", "channels_last", "from_blocks"]

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def channels_last(v: Tensor) -> Tensor:
    """Return v in the layout in which convolutions run fastest; `vmap` knows no other way there."""
    return v.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


@attrs.frozen(eq=False)
class Enlarging:
    """A layer on a picture at twice the size, each pixel four times: `(N, C, H, W)` -> blocks.

    Repeating pixels is a transposed convolution of stride 2 with 2 x 2 ones, which the layer's
    kernel takes in; in blocks, one of stride 2 is a plain one of 2 x 2 taps and stride 1.

    Shapes: v `(N, C, H, W)`, channels last -> `(N, 4 C', H + 1, W + 1)`; kernels 2 x 2 or 3 x 3.
    """

    kernel: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.ConvTranspose2d, height: int, width: int) -> Self:
        """Return `layer` for pictures of that size."""
        repeated = F.avg_pool2d(layer.weight, 2, stride=1, padding=1, divisor_override=1)
        kernel = _by_taps(repeated).permute(2, 3, 4, 5, 0, 1).flatten(0, 2).flip(-2, -1)
        assert layer.bias is not None
        # Not the convolution's own bias, which would reach blocks that end beyond the picture.
        size = [2 * n + k - 1 for n, k in zip((height, width), layer.kernel_size, strict=True)]
        down, right = (_inside(n, layer.bias) for n in size)
        bias = down[:, None, :, None, None] * right[:, None, :, None] * layer.bias
        return cls(kernel, bias.flatten(2).permute(2, 0, 1))

    def __call__(self, v: Tensor) -> Tensor:
        """Return the blocks."""
        return F.conv2d(v, self.kernel, padding=1).add_(self.bias)


@attrs.frozen(eq=False)
class ToOneChannel:
    """A layer to one channel, on blocks: the sum of what each pixel gives to each block.

    Shapes: v `(N, 4 C, ...)`, channels last -> `(N, 1, height, width)`, both even; kernels 2 x 2
    or 3 x 3.
    """

    kernel: Tensor
    bias: Tensor

    @classmethod
    def of(cls, layer: nn.ConvTranspose2d) -> Self:
        """Return `layer`, which has one output."""
        # a pixel at a corner of its block sees the kernel from there
        corners = [F.pad(layer.weight, (q, 1 - q, p, 1 - p)) for p, q in _CORNERS]
        kernel = _by_taps(torch.cat(corners)).flatten(0, 3).flatten(1)
        assert layer.bias is not None
        return cls(kernel[..., None, None], layer.bias)

    def __call__(self, v: Tensor, height: int, width: int) -> Tensor:
        """Return the picture."""
        given = F.conv2d(v, self.kernel).unflatten(1, (4, 4)).unbind(1)
        below, beside = height // 2 - v.shape[-2], width // 2 - v.shape[-1]
        blocks = sum(
            F.pad(part, (j, beside - j, i, below - i))
            for part, (i, j) in zip(given, _CORNERS, strict=True)
        )
        assert isinstance(blocks, Tensor)
        apart: Tensor = blocks.unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2)
        return apart.reshape(-1, 1, height, width) + self.bias


def from_blocks(v: Tensor, height: int, width: int) -> Tensor:
    """Return the picture of blocks, channels last."""
    # torch's pixel_shuffle takes four times as long
    apart = v.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1)).transpose(2, 3)
    whole: Tensor = apart.flatten(3, 4).flatten(1, 2)
    return whole[:, :height, :width].contiguous().permute(0, 3, 1, 2)


def _by_taps(kernel: Tensor) -> Tensor:
    """Return a transposed convolution `(in, out, k, k)` of stride 2, k up to 4, for blocks.

    Shapes: `(2, 2, 2, 2, out, in)`: taps down and right, then pixels p and q of a block.
    """
    more = 4 - kernel.shape[-1]
    assert more >= 0
    whole = F.pad(kernel, (0, more, 0, more))
    split: Tensor = whole.unflatten(-1, (2, 2)).unflatten(-3, (2, 2))
    return split.permute(2, 4, 3, 5, 1, 0)


def _inside(size: int, like: Tensor) -> Tensor:
    """Return 1 for the pixels of blocks `(ceil(size / 2), 2)`, 0 beyond."""
    known = torch.arange(size + size % 2, device=like.device) < size
    return known.to(like.dtype).reshape(-1, 2)
