"""IDN: blocks that enhance, then distil, their features."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, param, whole_number

from .layers import FeatureTransform
from .residual import Enlarging, Residual

__all__ = ["Idn", "IdnNetwork"]

_SLOPE = 0.05
_SLICES = 4  # a block keeps one part in four of its features; also the groups of a convolution


@attrs.frozen(eq=False, kw_only=True)
class Idn(Enlarging):
    """Information distillation network: two convolutions, four distilling blocks, one large kernel.

    A block of width w takes its input B through 3x3 convolutions of 3w/4, w/2 (in 4 groups) and
    w outputs, keeps the first quarter R of that, takes the rest through w, 3w/4 (in 4 groups) and
    5w/4 outputs to P, and gives `W (P + [R, B])`, W being a 1x1 convolution of w outputs; a
    LeakyReLU of slope 0.05 follows every convolution. The last layer is a 17x17 transposed
    convolution, to which the bicubic interpolation of y is added.

    The cut is before the activation of the last block's W. With `mask_channels` an SFT layer
    follows the W of each block, before its activation.

    Shapes: `(*batch, channels, H, W)` -> `(*batch, channels, scale H, scale W)`; `mask`
    `(*batch, mask_channels, H, W)`.
    Units: pictures in [0, 1]; the luminance alone, as trained in the papers.
    Cost: 0.55 million parameters, 1.1 MFLOP for a pixel of y.
    Source: Hui, Wang and Gao, 2018, Fast and accurate single image super-resolution via
    information distillation network, section 3.
    """

    blocks: int = param(4, doc="distilling blocks", check=whole_number(1))
    width: int = param(64, doc="channels between blocks", check=whole_number(16, multiple_of=16))

    def _module(self) -> Network:
        return IdnNetwork(self)


class IdnNetwork(Residual):
    """The layers of an `Idn`."""

    def __init__(self, spec: Idn) -> None:
        """Make the layers."""
        super().__init__(spec, width=spec.width, transposed_kernel=17, slope=_SLOPE)
        self.first = nn.Conv2d(spec.channels, spec.width, 3, padding=1)
        self.second = nn.Conv2d(spec.width, spec.width, 3, padding=1)
        self.blocks = nn.ModuleList(_Block(spec.width) for _ in range(spec.blocks))
        if spec.mask_channels:
            self.transforms = nn.ModuleList(FeatureTransform(spec.width) for _ in self.blocks)

    def _trunk(self, y: Tensor, masked: Tensor | None) -> Tensor:
        z: Tensor = self.second(F.leaky_relu(self.first(y), _SLOPE))
        for index, block in enumerate(self.blocks):
            z = block(F.leaky_relu(z, _SLOPE))
            if masked is not None:
                z = self.transforms[index](z, masked)
        return z


class _Block(nn.Module):
    """One distilling block; its last activation is left to whoever comes next."""

    def __init__(self, width: int) -> None:
        super().__init__()
        part = width // _SLICES
        self.part = part
        first = ((width, width - part), (width - part, width - 2 * part), (width - 2 * part, width))
        second = ((width - part, width), (width, width - part), (width - part, width + part))
        self.enhance = nn.ModuleList(_three(first))
        self.enhance_rest = nn.ModuleList(_three(second))
        self.compress = nn.Conv2d(width + part, width, 1)

    def forward(self, x: Tensor) -> Tensor:
        rest = x
        for layer in self.enhance:
            rest = F.leaky_relu(layer(rest), _SLOPE)
        kept, rest = rest[:, : self.part], rest[:, self.part :]
        for layer in self.enhance_rest:
            rest = F.leaky_relu(layer(rest), _SLOPE)
        return self.compress(rest + torch.cat([kept, x], 1))  # type: ignore[no-any-return]


def _three(sizes: tuple[tuple[int, int], ...]) -> list[nn.Module]:
    """Return three 3x3 convolutions, the middle one in groups."""
    return [
        nn.Conv2d(a, b, 3, padding=1, groups=_SLICES if index == 1 else 1)
        for index, (a, b) in enumerate(sizes)
    ]
