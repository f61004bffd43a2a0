"""The context-encoder autoencoder, for inpainting and interpolation of small pictures."""

from __future__ import annotations

import itertools

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import ConvolutionHead, Network, NetworkSpec, SplitNetwork, param, whole_number

from .layers import ChannelwiseLinear, FeatureTransform, MaskFeatures, initialise

__all__ = ["ContextEncoder", "ContextEncoderNetwork"]


@attrs.frozen(eq=False, kw_only=True)
class ContextEncoder(NetworkSpec):
    """Autoencoder with a channel-wise fully connected middle, for pictures in [-1, 1].

        4 x [4x4 convolution, stride 2, BN, (SFT,) LeakyReLU 0.2]      width, 2, 4, 8 width
        one (size/16)^2 x (size/16)^2 matrix and bias per channel
        3 x [4x4 transposed convolution, stride 2, BN, ReLU]           4, 2, 1 width
        4x4 transposed convolution, stride 2, tanh

    The cut is before the last ReLU, after its BN: z has `width` channels of half the size. With
    `mask_channels`, the encoder's SFT layers are fed by the condition `mask`; their features
    are averaged down to each layer's size. Where the paper is silent the transform sits between
    BN and the activation.

    Shapes: `(*batch, channels, size, size)` -> the same; `mask` `(*batch, mask_channels, size,
    size)`. Larger pictures go through in tiles.
    Units: pictures in [-1, 1], where 0 is what a mask takes away.
    Cost: 5.65 million parameters with the defaults (the paper's table VIII says 2.9, which is the
    encoder and the middle); 0.42 GFLOP for a picture.
    Source: Guo et al., 2021, Deep likelihood network, section IV-E; Pathak et al., 2016, Context
    encoders, section 3; BN after every convolution but the last, and tanh, as in the code of Gao
    and Grauman, 2017, On-demand learning, which both follow.
    """

    channels: int = param(3, doc="channels of a picture", check=whole_number(1))
    size: int = param(
        64, doc="height and width", unit="pixels", check=whole_number(16, multiple_of=16)
    )
    width: int = param(64, doc="channels of the first layer", check=whole_number(1))
    mask_channels: int = param(
        0, doc="channels of the mask that SFT layers read; 0: no such layers", check=whole_number(0)
    )
    start: str = param(
        "msra",
        doc="how convolutions start: 'msra' as DL-Net, or 'normal', N(0, 0.02), as its forerunner",
        choices=("msra", "normal"),
    )

    def _module(self) -> Network:
        return ContextEncoderNetwork(self)


class ContextEncoderNetwork(SplitNetwork):
    """The layers of a `ContextEncoder`."""

    def __init__(self, spec: ContextEncoder) -> None:
        """Make the layers."""
        masked = {"mask": spec.mask_channels} if spec.mask_channels else {}
        super().__init__(
            channels=spec.channels, size=spec.size, conditions=masked, value_range=(-1.0, 1.0)
        )
        self.start = spec.start
        widths = [spec.width * 2**i for i in range(4)]
        down = itertools.pairwise([spec.channels, *widths])
        up = itertools.pairwise(reversed(widths))
        self.encoder = nn.ModuleList(nn.Conv2d(a, b, 4, 2, 1) for a, b in down)
        self.encoder_norms = nn.ModuleList(nn.BatchNorm2d(b) for b in widths)
        self.middle = ChannelwiseLinear(widths[-1], (spec.size // 16) ** 2)
        self.decoder = nn.ModuleList(nn.ConvTranspose2d(a, b, 4, 2, 1) for a, b in up)
        self.decoder_norms = nn.ModuleList(nn.BatchNorm2d(b) for b in reversed(widths[:-1]))
        self.tail = ConvolutionHead(spec.width, spec.channels, kernel=4, scale=2, tanh=True)
        if spec.mask_channels:
            self.mask_features = MaskFeatures(spec.mask_channels)
            self.transforms = nn.ModuleList(FeatureTransform(b) for b in widths)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        if self.start == "normal":
            initialise(self, generator, std=0.02, norm_std=0.02)
        else:
            initialise(self, generator)

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        z: Tensor = y
        masked = self.mask_features(conditions["mask"]) if conditions else None
        for index, (layer, norm) in enumerate(zip(self.encoder, self.encoder_norms, strict=True)):
            z = norm(layer(z))
            if masked is not None:
                masked = F.avg_pool2d(masked, 2)
                z = self.transforms[index](z, masked)
            z = F.leaky_relu(z, 0.2)
        z = self.middle(z)
        for index, (layer, norm) in enumerate(zip(self.decoder, self.decoder_norms, strict=True)):
            z = norm(layer(F.relu(z) if index else z))
        return z

    def _head(self, z: Tensor) -> Tensor:
        return self.tail(z)  # type: ignore[no-any-return]

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        return self.tail.adjoint(z, v, x)
