"""SqueezeNet's features, for losses that compare pictures by them."""

from __future__ import annotations

import os
from typing import Final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, NetworkSpec, param

from .features import CAFFE, TORCHVISION, FeatureNetwork, Window
from .layers import initialise

__all__ = ["SqueezeNetFeatures", "SqueezeNetFeaturesNetwork"]

# Channels squeezed to, and expanded to by each of the two kinds of kernel.
_FIRES: Final = {
    "fire2": (16, 64),
    "fire3": (16, 64),
    "fire4": (32, 128),
    "fire5": (32, 128),
    "fire6": (48, 192),
    "fire7": (48, 192),
    "fire8": (64, 256),
    "fire9": (64, 256),
}
_LAYERS: Final = ("conv1", *_FIRES)
_FIRST: Final = 64
_POOLED: Final = ("fire2", "fire4", "fire6")  # after a maximum over 3 x 3, of stride 2
_NUMBERS: Final = dict(zip(_LAYERS, (0, 3, 4, 6, 7, 9, 10, 11, 12), strict=True))


@attrs.frozen(eq=False, kw_only=True)
class SqueezeNetFeatures(NetworkSpec):
    """Features of SqueezeNet 1.1: a comparator, with 0.7 million weights where AlexNet has 61.

        conv1: 3x3 convolution of stride 2, ReLU, 64 channels
        fire(z) = [relu(W_1 s), relu(W_3 s)],   s = relu(W_0 z),   W_0 and W_1 1x1, W_3 3x3
        conv1, max, fire2, fire3, max, fire4, fire5, max, fire6, fire7, fire8, fire9

    `max` is the maximum over 3 x 3 pixels with a stride of 2, the last ones over what there is.
    The classifier after fire9 is left out, and so are all layers after `layer`.

    `weights` has each tensor under the publisher's name, more of them do no harm. There are two
    kinds, which `preprocessing` tells apart. caffe: `conv1.weight`, `fire2.squeeze1x1.weight` and
    so on, trained on B, G, R in [0, 255] less their means; conv1 pads by one pixel. torchvision:
    `features.0.weight`, `features.3.squeeze.weight` and so on, trained on R, G, B less mean and by
    standard deviation; conv1 does not pad. Without weights they are drawn from N(0, 2 / fan-in).

    Shapes: `(*batch, 3, H, W)` -> `(*batch, C, h, w)`, C = 64 for conv1, 128, 128, 256, 256, 384,
    384, 512, 512 for fire2 to fire9; h and w by `Network.out_sides`: about H / 2 for conv1, H / 4
    for fire2 and 3, H / 8 for fire4 and 5, H / 16 from then on. Pictures that are too small are
    repeated beyond their frame.
    Units: pictures R, G, B in [0, 1].
    Raises: WeightsError when it is built, for a file that cannot be read or does not fit.
    Cost: 0.72 million parameters, 11 kFLOP for a pixel, up to fire9.
    Source: Iandola et al., 2016, SqueezeNet: AlexNet-level accuracy with 50x fewer parameters and
    < 0.5 MB model size, and the authors' version 1.1. As a comparator: Fan et al., 2017,
    InverseNet, which has AlexNet's FC6.
    """

    weights: str | None = param(
        None,
        doc="path of a .safetensors or .npz file; None: random weights",
        converter=attrs.converters.optional(os.fspath),
    )
    layer: str = param("fire9", doc="the layer whose output is returned", choices=_LAYERS)
    preprocessing: str = param(
        CAFFE,
        doc="whose weights they are: the colours that they take, and their names",
        choices=(CAFFE, TORCHVISION),
    )

    def _module(self) -> Network:
        return SqueezeNetFeaturesNetwork(self)


class SqueezeNetFeaturesNetwork(FeatureNetwork):
    """The layers of a `SqueezeNetFeatures`, by the names of the first publisher."""

    def __init__(self, spec: SqueezeNetFeatures) -> None:
        """Make the layers, up to the one that was asked for."""
        padding = int(spec.preprocessing == CAFFE)
        fires = _LAYERS[1 : _LAYERS.index(spec.layer) + 1]
        pools = [_POOL for name in fires if name in _POOLED]
        super().__init__(
            out_channels=2 * _FIRES[spec.layer][1] if fires else _FIRST,
            windows=[Window(3, 2, padding), *pools],
            colours=spec.preprocessing,
            weights=spec.weights,
        )
        self.fires = fires
        self.conv1 = nn.Conv2d(3, _FIRST, 3, 2, padding)
        width = _FIRST
        for name in fires:
            squeezed, expanded = _FIRES[name]
            self.add_module(name, _Fire(width, squeezed, expanded))
            width = 2 * expanded

    def _draw(self, generator: torch.Generator) -> None:
        initialise(self, generator)

    def _published(self, name: str) -> str:
        if self.colours.kind == CAFFE:
            return name
        layer, *rest = name.replace("squeeze1x1", "squeeze").split(".")
        return ".".join(("features", str(_NUMBERS[layer]), *rest))

    def _features(self, x: Tensor) -> Tensor:
        z = F.relu(self.conv1(x))
        for name in self.fires:
            if name in _POOLED:
                z = F.max_pool2d(z, _POOL.kernel, _POOL.stride, ceil_mode=_POOL.partial)
            z = self.get_submodule(name)(z)
        return z


class _Fire(nn.Module):
    """Squeeze, and expand with small and with single-pixel kernels."""

    def __init__(self, width: int, squeezed: int, expanded: int) -> None:
        super().__init__()
        self.squeeze1x1 = nn.Conv2d(width, squeezed, 1)
        self.expand1x1 = nn.Conv2d(squeezed, expanded, 1)
        self.expand3x3 = nn.Conv2d(squeezed, expanded, 3, padding=1)

    def forward(self, z: Tensor) -> Tensor:
        s = F.relu(self.squeeze1x1(z))
        return F.relu(torch.cat([self.expand1x1(s), self.expand3x3(s)], -3))


_POOL: Final = Window(3, 2, partial=True)
