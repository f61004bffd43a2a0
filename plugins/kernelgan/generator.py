"""The deep linear generator: six convolutions without activations, which are one small kernel.

Its layers compose to a kernel k of 13 x 13 taps, and the generator is the correlation
`G(x)[i] = sum_m k[m] x[stride i + m]` without padding. Pushing a crop through the layers takes 60
times the arithmetic of composing k, which the regularisers need anyway, and applying it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "LAYERS",
    "WIDTH",
    "compose",
    "draw_generator",
    "kernel_gradient",
    "kernel_side",
    "reduced",
]

LAYERS = (7, 5, 3, 1, 1, 1)
WIDTH = 64
_GAIN = 0.1


def kernel_side(layers: Sequence[int] = LAYERS) -> int:
    """Return the side of the composed kernel."""
    return sum(layers) - len(layers) + 1


def draw_generator(
    streams: Sequence[torch.Generator], layers: Sequence[int] = LAYERS, *, dtype: torch.dtype
) -> list[Tensor]:
    """Return one generator per stream: for each layer `(N, out, in, side, side)`.

    Weights are normal with the variance of Glorot and Bengio (2010), times a gain of 0.1.
    """
    channels = [1, *[WIDTH] * (len(layers) - 1), 1]
    weights = []
    for side, fan_in, fan_out in zip(layers, channels, channels[1:], strict=False):
        std = _GAIN * math.sqrt(2 / ((fan_in + fan_out) * side**2))
        shape = (fan_out, fan_in, side, side)
        drawn = [torch.randn(shape, generator=g, device=g.device, dtype=dtype) for g in streams]
        weights.append(std * torch.stack(drawn))
    return weights


def compose(weights: Sequence[Tensor]) -> Tensor:
    """Return the kernels `(N, side, side)` that the layers make together, in correlation order.

    From the last layer to the first: that end has one channel, so that nothing is wider than one
    layer. Cost: 2.3 MFLOP each, against 62 MFLOP from the other end.
    """
    count = weights[0].shape[0]
    taps = weights[-1][:, 0].flatten(2)  # (N, in, side^2), of what has been composed so far
    side = weights[-1].shape[-1]
    for weight in reversed(weights[:-1]):
        fan_in, kernel = weight.shape[2], weight.shape[-1]
        # Every tap of one times every tap of the other, added up where they fall.
        products = torch.bmm(taps.mT, weight.flatten(2)).mT
        side, old = side + kernel - 1, side
        if kernel == 1 or old == 1:
            taps = products.reshape(count, fan_in, side**2)
        else:
            taps = F.fold(products, (side, side), (kernel, kernel)).flatten(2)
    return taps.reshape(count, side, side)


def reduced(x: Tensor, kernels: Tensor, stride: int) -> Tensor:
    """Return what each sample's kernel makes of its picture, `sum_m k[m] x[stride i + m]`.

    Shapes: x `(N, C, H, W)`, kernels `(N, side, side)` -> `(N, C, h, w)`.
    """
    # Channels as a batch, samples as groups: the form that CPUs do in blocks.
    y = F.conv2d(x.transpose(0, 1), kernels.unsqueeze(1), stride=stride, groups=len(x))
    return y.transpose(0, 1)


def kernel_gradient(x: Tensor, grad: Tensor, side: int, stride: int) -> Tensor:
    """Return the gradient in k of `reduced` with one kernel: `sum_i grad[i] x[stride i + m]`.

    Shapes: x `(N, C, H, W)`, grad `(N, C, h, w)` -> `(N, side, side)`.
    """
    count, channels = x.shape[:2]
    weight = grad.flatten(0, 1).unsqueeze(1)
    k = F.conv2d(x.reshape(1, -1, *x.shape[2:]), weight, dilation=stride, groups=count * channels)
    by_channel: Tensor = k[0, :, :side, :side].unflatten(0, (count, channels))
    return by_channel.sum(1)
