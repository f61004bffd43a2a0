"""AlexNet's features, for losses that compare pictures by them."""

from __future__ import annotations

import math
import os
from typing import Final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, NetworkSpec, param, whole_number

from .features import TORCHVISION, FeatureNetwork, Window
from .layers import initialise

__all__ = ["AlexNetFeatures", "AlexNetFeaturesNetwork"]

_WIDTHS: Final = (1, 3, 6, 4, 4)  # channels of the convolutions, in units of the first's
_WINDOWS: Final = (Window(11, 4, 2), Window(5, 1, 2), *[Window(3, 1, 1)] * 3)
_POOL: Final = Window(3, 2)
_POOLED: Final = (0, 1, 4)  # the convolutions that a maximum over 3 x 3 follows, of stride 2
_NUMBERS: Final = ("0", "3", "6", "8", "10")
_GRID: Final = 6
_FC6: Final = "fc6"
_LAYERS: Final = ("conv1", "conv2", "conv3", "conv4", "conv5", _FC6)


@attrs.frozen(eq=False, kw_only=True)
class AlexNetFeatures(NetworkSpec):
    """Features of AlexNet: InverseNet's comparator, with `layer="fc6"`.

        conv1: 11x11 of stride 4, 64 channels; max; conv2: 5x5, 192; max; conv3: 3x3, 384;
        conv4: 3x3, 256; conv5: 3x3, 256; max; mean over 6 x 6 parts; fc6: a matrix, 4096 features

    A ReLU follows each layer and belongs to it; `max` is the maximum over 3 x 3 pixels with a
    stride of 2. What follows `layer` is left out.

    Departures: the layers are torchvision's, of the one-column network of 2014. The original's
    local response normalisation and its two groups of channels, which were made for two cards, are
    left out, so its weights do not fit. Nor is there dropout: a comparator is not trained.

    `weights` has torchvision's names, `features.0.weight` to `features.10.bias` and
    `classifier.1.weight`; more of them do no harm. Without weights they are drawn from
    N(0, 2 / fan-in). They were trained on pictures of 224 x 224 pixels. Of 64 x 64, one pixel is
    left before the mean over 6 x 6 parts, which repeats it.

    Shapes: `(*batch, 3, H, W)` -> `(*batch, features, 1, 1)` for fc6, else `(*batch, C, h, w)` by
    `Network.out_sides`: about H / 4 for conv1, H / 8 for conv2, H / 16 for the others. Pictures
    that are too small, below 63 pixels for fc6, are repeated beyond their frame.
    Units: pictures R, G, B in [0, 1].
    Raises: WeightsError when it is built, for a file that cannot be read or does not fit.
    Cost: 40.2 million parameters, 38 million of them fc6's; 1.4 GFLOP for 224 x 224 pixels.
    Source: Krizhevsky, 2014, One weird trick for parallelizing convolutional neural networks;
    Krizhevsky, Sutskever and Hinton, 2012, ImageNet classification with deep convolutional neural
    networks. As a comparator: Fan et al., 2017, InverseNet, appendix A.
    """

    weights: str | None = param(
        None,
        doc="path of a .safetensors or .npz file; None: random weights",
        converter=attrs.converters.optional(os.fspath),
    )
    layer: str = param(_FC6, doc="the layer whose output is returned", choices=_LAYERS)
    width: int = param(64, doc="channels of the first layer", check=whole_number(1))
    features: int = param(4096, doc="features of fc6", check=whole_number(1))

    def _module(self) -> Network:
        return AlexNetFeaturesNetwork(self)


class AlexNetFeaturesNetwork(FeatureNetwork):
    """The layers of an `AlexNetFeatures`, by torchvision's names."""

    def __init__(self, spec: AlexNetFeatures) -> None:
        """Make the layers, up to the one that was asked for."""
        whole = spec.layer == _FC6
        last = len(_WINDOWS) - 1 if whole else _LAYERS.index(spec.layer)
        pooled = [index for index in _POOLED if whole or index < last]
        windows: list[Window] = []
        for index in range(last + 1):
            windows += [_WINDOWS[index], *([_POOL] if index in pooled else [])]
        widths = [spec.width * n for n in _WIDTHS[: last + 1]]
        super().__init__(
            out_channels=spec.features if whole else widths[-1],
            windows=windows,
            colours=TORCHVISION,
            weights=spec.weights,
        )
        self.pooled = pooled
        self.features = nn.ModuleDict(
            {
                number: nn.Conv2d(inner, outer, at.kernel, at.stride, at.padding)
                for number, inner, outer, at in zip(
                    _NUMBERS, [3, *widths], widths, _WINDOWS, strict=False
                )
            }
        )
        full = nn.Linear(widths[-1] * _GRID**2, spec.features) if whole else None
        self.classifier = nn.ModuleDict({"1": full} if full is not None else {})

    def out_sides(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the features; fc6 has one pixel."""
        return (1, 1) if len(self.classifier) else super().out_sides(height, width)

    def _draw(self, generator: torch.Generator) -> None:
        initialise(self, generator)
        for full in self.classifier.values():
            assert isinstance(full, nn.Linear)
            std = math.sqrt(2 / full.in_features)
            drawn = torch.randn(full.weight.shape, dtype=full.weight.dtype, generator=generator)
            full.weight.copy_(std * drawn)
            full.bias.zero_()

    def _features(self, x: Tensor) -> Tensor:
        z = x
        for index, layer in enumerate(self.features.values()):
            z = F.relu(layer(z))
            if index in self.pooled:
                z = F.max_pool2d(z, _POOL.kernel, _POOL.stride)
        for full in self.classifier.values():
            z = F.relu(full(F.adaptive_avg_pool2d(z, _GRID).flatten(1)))[..., None, None]
        return z
