"""The default discriminator of adversarial training: strided convolutions, as in DCGAN."""

from __future__ import annotations

from typing import Final, final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["Discriminator"]

_SIDE: Final = 4  # of the last map
_WIDEST: Final = 8  # in units of the first layer's width


@final
class Discriminator(nn.Module):
    """Tells pictures from restored ones: one logit for each, positive for a real one.

        2 x - 1, then layers x [4x4 convolution of stride 2, BN but in the first, LeakyReLU 0.2],
        the mean over a grid of 4 x 4, 4x4 convolution to 1 channel

    There are as many layers as leave a map of 4 x 4 or more: 4 for 64 x 64 pixels, where the
    mean changes nothing. Widths are width, 2, 4, and then 8 times that. Batch normalisation
    always takes the statistics of the batch at hand, which holds real pictures only, or restored
    ones only.

    Shapes: `(N, C, H, W)` -> `(N, 1, 1, 1)`, any size.
    Source: Radford, Metz & Chintala, 2016, Unsupervised representation learning with deep
    convolutional generative adversarial networks, ICLR; for restored pictures Pathak et al.,
    2016, Context encoders, CVPR, section 3.2.
    """

    def __init__(
        self, channels: int, side: int, *, width: int = 64, batch_norm: bool = True
    ) -> None:
        """Make the layers for pictures whose shorter side is `side`."""
        super().__init__()
        layers: list[nn.Module] = []
        count = max((side // _SIDE).bit_length() - 1, 0)
        for number in range(count):
            wide = width * min(2**number, _WIDEST)
            norm = batch_norm and number > 0
            layers.append(nn.Conv2d(channels, wide, 4, stride=2, padding=1, bias=not norm))
            if norm:
                layers.append(nn.BatchNorm2d(wide, track_running_stats=False))
            layers.append(nn.LeakyReLU(0.2))
            channels = wide
        self.features = nn.Sequential(*layers)
        self.last = nn.Conv2d(channels, 1, _SIDE)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights as DCGAN does: N(0, 0.02), of batch normalisation N(1, 0.02)."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Conv2d | nn.BatchNorm2d):
                    mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
                    module.weight.normal_(mean, 0.02, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()

    def forward(self, x: Tensor) -> Tensor:
        """Return the logits."""
        z = self.features(2 * x - 1)
        logits: Tensor = self.last(F.adaptive_avg_pool2d(z, _SIDE))
        return logits
