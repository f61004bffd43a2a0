"""Layers that several networks share, and how all of them start."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = [
    "BicubicUpscaling",
    "ChannelwiseLinear",
    "FeatureTransform",
    "MaskFeatures",
    "initialise",
]

_A = -0.5
_MASK_WIDTH = 32
_STD = 0.02


class BicubicUpscaling(nn.Module):
    """Interpolation by Keys' cubic to a whole multiple of the size, as MATLAB's imresize.

        x[s i + p] = sum_j k(j - d_p) y[i + j],    d_p = (p + 1/2) / s - 1/2,   |j| <= 2

    Beyond the frame the picture is mirrored, its first pixel included. torch's own "bicubic" has
    a = -3/4 and repeats the border instead.

    Shapes: `(N, C, H, W)` -> `(N, C, s H, s W)`; any H and W.
    Source: Keys, 1981, Cubic convolution interpolation, equation (8), a = -1/2.
    """

    taps: Tensor

    def __init__(self, scale: int) -> None:
        """Leave the taps to `reset`."""
        super().__init__()
        self.scale = scale
        self.register_buffer("taps", torch.empty(scale * scale, 1, 5, 5), persistent=False)

    def reset(self) -> None:
        """Compute the taps."""
        s = self.scale
        phase = (torch.arange(s, dtype=torch.float64) + 0.5) / s - 0.5
        rows = _keys(torch.arange(-2, 3, dtype=torch.float64) - phase[:, None])
        self.taps.copy_((rows[:, None, :, None] * rows[None, :, None, :]).reshape(-1, 1, 5, 5))

    def forward(self, y: Tensor) -> Tensor:
        """Return the larger picture."""
        n, c, height, width = y.shape
        y = y[..., _mirrored(height, y), :][..., _mirrored(width, y)]
        x = F.conv2d(y.reshape(n * c, 1, height + 4, width + 4), self.taps)
        x = F.pixel_shuffle(x, self.scale)
        return x.reshape(n, c, *x.shape[-2:])


class ChannelwiseLinear(nn.Module):
    """A matrix and a bias of its own for the pixels of each channel.

    Shapes: `(N, channels, H, W)` -> the same, H W = pixels.
    Source: Pathak et al., 2016, Context encoders, section 3.1.
    """

    def __init__(self, channels: int, pixels: int) -> None:
        """Leave the numbers to `initialise`."""
        super().__init__()
        self.weight = nn.Parameter(torch.empty(channels, pixels, pixels))
        self.bias = nn.Parameter(torch.empty(channels, pixels))

    def forward(self, x: Tensor) -> Tensor:
        """Mix the pixels of each channel."""
        rows = x.flatten(-2).transpose(0, 1)
        mixed = torch.baddbmm(self.bias[:, None, :], rows, self.weight.mT)
        return mixed.transpose(0, 1).reshape(x.shape)


class MaskFeatures(nn.Module):
    """What all feature transforms of a network share: features of the mask, computed once.

    Shapes: `(N, channels, H, W)` -> `(N, 32, H, W)`.
    """

    def __init__(self, channels: int) -> None:
        """Make three layers, the last two of them of single pixels."""
        super().__init__()
        sides = ((channels, 3), (_MASK_WIDTH, 1), (_MASK_WIDTH, 1))
        self.layers = nn.ModuleList(
            nn.Conv2d(inner, _MASK_WIDTH, side, padding=side // 2) for inner, side in sides
        )

    def forward(self, mask: Tensor) -> Tensor:
        """Return the features of the mask."""
        for layer in self.layers:
            mask = F.leaky_relu(layer(mask), 0.1)
        return mask


class FeatureTransform(nn.Module):
    """Spatial feature transform (SFT): scale and shift x by what the mask says at each pixel.

        y = x (1 + gamma(m)) + beta(m)

    gamma and beta start at 0, hence a network as the one without masks. Only the last layer of
    the two maps is the transform's own; the rest is shared (`MaskFeatures`), as the DL-Net paper
    asks for to save memory.
    Source: Wang et al., 2018, Recovering realistic texture in image super-resolution by deep
    spatial feature transform, section 3.2.
    """

    def __init__(self, width: int) -> None:
        """Make the layer for features of `width` channels."""
        super().__init__()
        self.affine = nn.Conv2d(_MASK_WIDTH, 2 * width, 1)

    def forward(self, x: Tensor, mask_features: Tensor | None) -> Tensor:
        """Return y; the features of the mask are as large as x."""
        assert mask_features is not None
        affine: Tensor = self.affine(mask_features)
        gamma, beta = affine.chunk(2, 1)
        return x * (1 + gamma) + beta


def initialise(
    network: nn.Module,
    generator: torch.Generator,
    *,
    std: float | None = None,
    norm_std: float = 0.0,
) -> None:
    """Draw all weights of a network, and set its buffers; biases and SFT layers start at 0.

        convolutions: N(0, 2 / fan-in) ("MSRA"), or N(0, std^2)
        batch norm: N(1, norm_std^2);    channel-wise layers: N(0, 0.02^2);    PReLU: 1/4

    fan-in is how many products are summed in an output pixel: of a transposed convolution, on
    average, `C k^2 / stride^2`.
    Source: He et al., 2015, Delving deep into rectifiers, equation (10).
    """
    for module in network.modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)):
            _normal(module.weight, std or math.sqrt(2 / _fan_in(module)), generator)
            if module.bias is not None:
                module.bias.zero_()
        elif isinstance(module, nn.BatchNorm2d):
            module.reset_running_stats()
            _normal(module.weight, norm_std, generator, mean=1.0)
            module.bias.zero_()
        elif isinstance(module, nn.PReLU):
            module.weight.fill_(0.25)
        elif isinstance(module, ChannelwiseLinear):
            _normal(module.weight, _STD, generator)
            module.bias.zero_()
        elif isinstance(module, BicubicUpscaling):
            module.reset()
    for module in network.modules():
        if isinstance(module, FeatureTransform):
            module.affine.weight.zero_()


def _fan_in(layer: nn.Conv2d | nn.ConvTranspose2d) -> float:
    per_pixel = layer.in_channels // layer.groups * math.prod(layer.kernel_size)
    transposed = isinstance(layer, nn.ConvTranspose2d)
    return per_pixel / math.prod(layer.stride) if transposed else float(per_pixel)


def _normal(weight: Tensor, std: float, generator: torch.Generator, *, mean: float = 0.0) -> None:
    weight.copy_(mean + std * torch.randn(weight.shape, dtype=weight.dtype, generator=generator))


def _mirrored(size: int, like: Tensor) -> Tensor:
    """Return the indices of two more pixels to each side, mirrored as often as it takes."""
    index = torch.arange(-2, size + 2, device=like.device) % (2 * size)
    return torch.minimum(index, 2 * size - 1 - index)


def _keys(t: Tensor) -> Tensor:
    t = t.abs()
    inner = ((_A + 2) * t - (_A + 3)) * t**2 + 1
    outer = _A * (((t - 5) * t + 8) * t - 4)
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, 0.0))
