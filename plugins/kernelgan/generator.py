"""The deep linear generator: six convolutions without activations, which are one small kernel.

Its layers compose to a kernel k of 13 x 13 taps, and the generator is the correlation
`G(x)[i] = sum_m k[m] x[stride i + m]` without padding. Pushing a crop through the layers takes 60
times the arithmetic of composing k, which the regularisers need anyway, and applying it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = [
    "LAYERS",
    "WIDTH",
    "Composition",
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


def compose(weights: Sequence[Tensor]) -> list[Tensor]:
    """Return what the last 1, 2, ... of the layers make together, `(N, in, side^2)` each.

    The last entry is the generator's kernel, in correlation order. From the last layer to the
    first: that end has one channel, so that nothing is wider than one layer.
    Cost: 2.3 MFLOP each, against 62 MFLOP from the other end.
    """
    stages = [weights[-1][:, 0].flatten(2)]
    side = weights[-1].shape[-1]
    for weight in reversed(weights[:-1]):
        kernel = weight.shape[-1]
        # Every tap of one times every tap of the other, added up where they fall.
        products = torch.bmm(stages[-1].mT, weight.flatten(2)).mT
        side, old = side + kernel - 1, side
        if kernel == 1 or old == 1:
            stages.append(products.reshape(len(weight), weight.shape[2], side**2))
        else:
            stages.append(F.fold(products, (side, side), (kernel, kernel)).flatten(2))
    return stages


@attrs.frozen(eq=False)
class Composition:
    """N generators, and the kernels that their layers make, which stay where they are in memory."""

    weights: list[Tensor]
    stages: list[Tensor]

    @classmethod
    def of(cls, weights: list[Tensor]) -> Composition:
        """Return it for layers `(N, out, in, side, side)`, which change in place."""
        return cls(weights, compose(weights))

    @property
    def kernel(self) -> Tensor:
        """The kernels `(N, side, side)`."""
        last = self.stages[-1]
        side = math.isqrt(last.shape[2])
        return last.view(len(last), side, side)

    def refresh(self) -> None:
        """Compose again, after the weights have changed."""
        for kept, new in zip(self.stages, compose(self.weights), strict=True):
            kept.copy_(new)

    def gradients(self, by_kernel: Tensor) -> list[Tensor]:
        """Return the gradients in the weights of a loss whose gradient in the kernels is given."""
        g = by_kernel.reshape(self.stages[-1].shape)
        found = []
        for weight, taps in zip(self.weights[:-1], reversed(self.stages[:-1]), strict=True):
            kernel, side = weight.shape[-1], math.isqrt(g.shape[2])
            if kernel > 1 and taps.shape[2] > 1:
                g = F.unfold(g.unflatten(2, (side, side)), kernel)
            products = g.reshape(len(weight), -1, taps.shape[2])  # (N, in kernel^2, old side^2)
            found.append(torch.bmm(taps, products.mT).view_as(weight))
            g = torch.bmm(weight.flatten(2), products)
        return [*found, g.view_as(self.weights[-1])]


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
