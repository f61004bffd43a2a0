"""Transposed convolutions of small pictures, computed in blocks of 2 x 2 pixels.

A CPU takes two to six times as long for a transposed convolution as for a plain one of as many
products, and as long for one output channel as for 16. Both are avoided by holding a picture
`(N, C, H, W)` as blocks `(N, 4 C, H / 2, W / 2)`, rounded up: channel `(2 p + q) C + c` of block
`(a, b)` is channel c of pixel `(2 a + p, 2 b + q)`, and 0 where that is beyond the picture.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["channels_last", "enlarged", "from_blocks", "to_one_channel"]

_CORNERS = ((0, 0), (0, 1), (1, 0), (1, 1))


def channels_last(v: Tensor) -> Tensor:
    """Return v in the layout in which convolutions run fastest; `vmap` knows no other way there."""
    return v.permute(0, 2, 3, 1).contiguous().permute(0, 3, 1, 2)


def enlarged(v: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Return `layer` of v at twice the size, each pixel four times, in blocks.

    Repeating pixels is a transposed convolution of stride 2 with 2 x 2 ones, which the layer's
    kernel takes in; in blocks, one of stride 2 is a plain one of 2 x 2 taps and stride 1.

    Shapes: v `(N, C, H, W)`, channels last -> `(N, 4 C', H + 1, W + 1)`; kernels 2 x 2 or 3 x 3.
    """
    size = [2 * n + k - 1 for n, k in zip(v.shape[-2:], layer.kernel_size, strict=True)]
    repeated = F.avg_pool2d(layer.weight, 2, stride=1, padding=1, divisor_override=1)
    kernel = _by_taps(repeated).permute(2, 3, 4, 5, 0, 1).flatten(0, 2)
    assert layer.bias is not None
    # The bias is not the convolution's own, which would reach blocks that end beyond the picture.
    down, right = (_inside(n, v) for n in size)
    bias = down[:, None, :, None, None] * right[:, None, :, None] * layer.bias
    return F.conv2d(v, kernel.flip(-2, -1), padding=1).add_(bias.flatten(2).permute(2, 0, 1))


def from_blocks(v: Tensor, height: int, width: int) -> Tensor:
    """Return the picture of blocks, channels last."""
    # torch's pixel_shuffle takes four times as long
    apart = v.permute(0, 2, 3, 1).unflatten(3, (2, 2, -1)).transpose(2, 3)
    whole: Tensor = apart.flatten(3, 4).flatten(1, 2)
    return whole[:, :height, :width].contiguous().permute(0, 3, 1, 2)


def to_one_channel(v: Tensor, layer: nn.ConvTranspose2d, height: int, width: int) -> Tensor:
    """Return `layer`, to one channel, of blocks v: the sum of what each pixel gives to each block.

    Shapes: v `(N, 4 C, ...)`, channels last -> `(N, 1, height, width)`, both even; kernels 2 x 2
    or 3 x 3.
    """
    # a pixel at a corner of its block sees the kernel from there
    corners = [F.pad(layer.weight, (q, 1 - q, p, 1 - p)) for p, q in _CORNERS]
    kernel = _by_taps(torch.cat(corners)).flatten(0, 3).flatten(1)
    given = F.conv2d(v, kernel[..., None, None]).unflatten(1, (4, 4)).unbind(1)
    below, beside = height // 2 - v.shape[-2], width // 2 - v.shape[-1]
    blocks = sum(
        F.pad(part, (j, beside - j, i, below - i))
        for part, (i, j) in zip(given, _CORNERS, strict=True)
    )
    assert isinstance(blocks, Tensor) and layer.bias is not None
    apart: Tensor = blocks.unflatten(1, (2, 2)).permute(0, 3, 1, 4, 2)
    return apart.reshape(-1, 1, height, width) + layer.bias


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
