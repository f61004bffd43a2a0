"""VDSR and DnCNN: plain stacks of 3x3 convolutions that learn a residual."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import ConvolutionHead, Network, NetworkSpec, SplitNetwork, param, whole_number

from .layers import FeatureTransform, initialise
from .residual import Enlarging, Residual

__all__ = ["Dncnn", "DncnnNetwork", "Vdsr", "VdsrNetwork"]


@attrs.frozen(eq=False, kw_only=True)
class Vdsr(Enlarging):
    """Very deep super-resolution: 3x3 convolutions, ReLUs and one skip around all of them.

        x = W_n relu(W_(n-1) ... relu(W_1 y)) + bicubic(y)

    As in DL-Net it works at the size of y: the last layer W_n is a transposed convolution (or a
    convolution and pixel shuffling), the skip is bicubic. With `scale=1` it is the network of the
    VDSR paper, for pictures that were interpolated before: W_n is a 3x3 convolution.

    The paper does not say which kernel the upscaling layer has: 9 is that of FSRCNN, which it
    cites for working at low resolution.

    Shapes: `(*batch, channels, H, W)` -> `(*batch, channels, scale H, scale W)`; `mask`
    `(*batch, mask_channels, H, W)`.
    Units: pictures in [0, 1]; the luminance alone, as trained in the papers.
    Cost: 0.67 million parameters, 1.3 MFLOP for a pixel of y.
    Source: Kim, Lee and Lee, 2016, Accurate image super-resolution using very deep convolutional
    networks, figure 2; at low resolution: Guo et al., 2021, Deep likelihood network, section IV-E.
    """

    depth: int = param(20, doc="layers, the last one included", check=whole_number(2))
    width: int = param(64, doc="channels of the hidden layers", check=whole_number(1))

    def _module(self) -> Network:
        return VdsrNetwork(self)


class VdsrNetwork(Residual):
    """The layers of a `Vdsr`."""

    def __init__(self, spec: Vdsr) -> None:
        """Make the layers."""
        super().__init__(spec, width=spec.width)
        inner = [spec.channels, *[spec.width] * (spec.depth - 2)]
        self.layers = nn.ModuleList(nn.Conv2d(n, spec.width, 3, padding=1) for n in inner)
        if spec.mask_channels:
            self.transforms = nn.ModuleList(FeatureTransform(spec.width) for _ in inner)

    def _trunk(self, y: Tensor, masked: Tensor | None) -> Tensor:
        z = y
        for index, layer in enumerate(self.layers):
            z = layer(F.relu(z) if index else z)
            if masked is not None:
                z = self.transforms[index](z, masked)
        return z


@attrs.frozen(eq=False, kw_only=True)
class Dncnn(NetworkSpec):
    """Denoising network that learns the noise: convolutions, batch normalisation, ReLUs, a skip.

        x = y + W_n relu(BN(W_(n-1) ... relu(W_1 y)))

    The papers write `x = y - f(y)`: here the last layer holds -W_n and its bias. Without batch
    normalisation, and with a bias in every layer, it takes weights into which that was merged.

    Shapes: `(*batch, channels, H, W)` -> the same.
    Units: pictures in [0, 1].
    Cost: 0.56 million parameters with the defaults, 1.1 MFLOP for a pixel.
    Source: Zhang et al., 2017, Beyond a Gaussian denoiser: residual learning of deep CNN for
    image denoising, section III-A.
    """

    depth: int = param(
        17, doc="layers; the paper has 20 for blind denoising", check=whole_number(2)
    )
    width: int = param(64, doc="channels of the hidden layers", check=whole_number(1))
    channels: int = param(1, doc="channels of a picture", check=whole_number(1))
    batch_norm: bool = param(True, doc="normalise all hidden layers but the first")

    def _module(self) -> Network:
        return DncnnNetwork(self)


class DncnnNetwork(SplitNetwork):
    """The layers of a `Dncnn`."""

    def __init__(self, spec: Dncnn) -> None:
        """Make the layers."""
        super().__init__(channels=spec.channels)
        norm, width = spec.batch_norm, spec.width
        self.first = nn.Conv2d(spec.channels, width, 3, padding=1)
        count = spec.depth - 2
        self.layers = nn.ModuleList(
            nn.Conv2d(width, width, 3, padding=1, bias=not norm) for _ in range(count)
        )
        self.norms = nn.ModuleList(
            nn.BatchNorm2d(width) if norm else nn.Identity() for _ in range(count)
        )
        self.tail = ConvolutionHead(width, spec.channels, kernel=3)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator)

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        z: Tensor = self.first(y)
        for layer, norm in zip(self.layers, self.norms, strict=True):
            z = norm(layer(F.relu(z)))
        return z

    def _base(self, y: Tensor) -> Tensor:
        return y

    def _head(self, z: Tensor) -> Tensor:
        return self.tail(z)  # type: ignore[no-any-return]

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        return self.tail.adjoint(z, v)
