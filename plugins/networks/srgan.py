"""The generator of SRGAN, which without its adversary is SRResNet."""

from __future__ import annotations

import math

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, NetworkSpec, SplitNetwork, param, whole_number

from .layers import initialise

__all__ = ["SrganGenerator", "SrganGeneratorNetwork"]


@attrs.frozen(eq=False, kw_only=True)
class SrganGenerator(NetworkSpec):
    """Residual blocks at low resolution, then pixel shuffling: the generator of SRGAN, SRResNet.

        9x9 convolution, PReLU
        blocks x [3x3 convolution, BN, PReLU, 3x3 convolution, BN, + input]
        3x3 convolution, BN, + the input of the first block
        log2(scale) x [3x3 convolution to 4 width, pixel shuffle by 2, PReLU]
        9x9 convolution

    Scale 3 has one shuffle by 3. The cut is before the last PReLU; its slopes are learned. The
    weights start by fan-in, which the paper does not say.

    Shapes: `(*batch, channels, H, W)` -> `(*batch, channels, scale H, scale W)`.
    Units: pictures in [0, 1] (the paper's are in [-1, 1] on the way out).
    Cost: 1.55 million parameters, 4.5 MFLOP for a pixel of y at scale 4.
    Source: Ledig et al., 2017, Photo-realistic single image super-resolution using a generative
    adversarial network, figure 4.
    """

    blocks: int = param(16, doc="residual blocks", check=whole_number(1))
    width: int = param(64, doc="channels of the hidden layers", check=whole_number(1))
    scale: int = param(
        4, doc="how much larger the picture is than the measurement", choices=(2, 3, 4, 8)
    )
    channels: int = param(3, doc="channels of a picture", check=whole_number(1))
    batch_norm: bool = param(True, doc="normalise in the residual blocks")

    def _module(self) -> Network:
        return SrganGeneratorNetwork(self)


class SrganGeneratorNetwork(SplitNetwork):
    """The layers of an `SrganGenerator`."""

    def __init__(self, spec: SrganGenerator) -> None:
        """Make the layers."""
        super().__init__(channels=spec.channels, scale=spec.scale)
        width, norm = spec.width, spec.batch_norm
        self.first = nn.Conv2d(spec.channels, width, 9, padding=4)
        self.first_prelu = nn.PReLU()
        self.blocks = nn.ModuleList(_Block(width, norm) for _ in range(spec.blocks))
        self.join = nn.Conv2d(width, width, 3, padding=1, bias=not norm)
        self.join_norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        factors = [3] if spec.scale == 3 else [2] * int(math.log2(spec.scale))
        self.factors = factors
        self.enlarge = nn.ModuleList(nn.Conv2d(width, width * s * s, 3, padding=1) for s in factors)
        self.prelus = nn.ModuleList(nn.PReLU() for _ in factors[:-1])
        self.last_prelu = nn.PReLU()
        self.last = nn.Conv2d(width, spec.channels, 9, padding=4)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator)

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        start: Tensor = self.first_prelu(self.first(y))
        z = start
        for block in self.blocks:
            z = block(z)
        z = start + self.join_norm(self.join(z))
        for index, layer in enumerate(self.enlarge):
            z = F.pixel_shuffle(layer(z), self.factors[index])
            if index < len(self.factors) - 1:
                z = self.prelus[index](z)
        return z

    def _head(self, z: Tensor) -> Tensor:
        return self.last(self.last_prelu(z))  # type: ignore[no-any-return]

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        back = F.conv_transpose2d(v, self.last.weight, padding=4)
        return torch.where(z > 0, back, self.last_prelu.weight * back)


class _Block(nn.Module):
    """One residual block."""

    def __init__(self, width: int, norm: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, padding=1, bias=not norm)
        self.first_norm = nn.BatchNorm2d(width) if norm else nn.Identity()
        self.prelu = nn.PReLU()
        self.second = nn.Conv2d(width, width, 3, padding=1, bias=not norm)
        self.second_norm = nn.BatchNorm2d(width) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        inner = self.prelu(self.first_norm(self.first(x)))
        return x + self.second_norm(self.second(inner))  # type: ignore[no-any-return]
