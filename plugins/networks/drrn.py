"""DRRN as DL-Net has it: one pair of convolutions, applied again and again."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, param, whole_number

from .layers import FeatureTransform
from .residual import Enlarging, Residual

__all__ = ["Drrn", "DrrnNetwork"]

_SLOPE = 0.05


@attrs.frozen(eq=False, kw_only=True)
class Drrn(Enlarging):
    """Deep recursive residual network with one block (B1) of `units` units (U9).

        H_0 = W_1 y,    H_u = H_0 + W_3 a(W_2 a(H_(u-1))),   u = 1 ... units
        z = W_4 a([H_3, H_6, H_9]),    x = W_5 a(z) + bicubic(y)

    a is the LeakyReLU of slope 0.05, W_4 has 1x1 kernels and `head_width` outputs. All units share
    W_2 and W_3 (and, with `mask_channels`, the SFT layers after both).

    Departures: no batch normalisation, whose statistics would differ in each of the units that
    share all else; the DL-Net paper does not mention any here. It does not say which kernel W_5
    has either: 9 as in FSRCNN, which it cites for working at low resolution.

    Shapes: `(*batch, channels, H, W)` -> `(*batch, channels, scale H, scale W)`; `mask`
    `(*batch, mask_channels, H, W)`.
    Units: pictures in [0, 1]; the luminance alone, as trained in the papers.
    Cost: 0.33 million parameters (the paper says 0.36), 5.4 MFLOP for a pixel of y.
    Source: Guo et al., 2021, Deep likelihood network, section IV-E; Tai, Yang and Liu, 2017, Image
    super-resolution via deep recursive residual network, section 3.
    """

    units: int = param(
        9, doc="how often the pair of convolutions is applied", check=whole_number(1)
    )
    every: int = param(
        3, doc="each so many units, the state is kept for W_4", check=whole_number(1)
    )
    width: int = param(128, doc="channels of the recursive layers", check=whole_number(1))
    head_width: int = param(64, doc="channels before the last layer", check=whole_number(1))

    def _module(self) -> Network:
        return DrrnNetwork(self)


class DrrnNetwork(Residual):
    """The layers of a `Drrn`."""

    def __init__(self, spec: Drrn) -> None:
        """Make the layers."""
        super().__init__(spec, width=spec.head_width, slope=_SLOPE)
        self.units = spec.units
        # The last state is always kept.
        self.kept = sorted({*range(spec.every, spec.units + 1, spec.every), spec.units})
        width = spec.width
        self.first = nn.Conv2d(spec.channels, width, 3, padding=1)
        self.pair = nn.ModuleList(nn.Conv2d(width, width, 3, padding=1) for _ in range(2))
        self.join = nn.Conv2d(len(self.kept) * width, spec.head_width, 1)
        if spec.mask_channels:
            self.transforms = nn.ModuleList(FeatureTransform(width) for _ in range(2))

    def _trunk(self, y: Tensor, masked: Tensor | None) -> Tensor:
        start: Tensor = self.first(y)
        state, kept = start, []
        for unit in range(1, self.units + 1):
            for index, layer in enumerate(self.pair):
                state = layer(F.leaky_relu(state, _SLOPE))
                if masked is not None:
                    state = self.transforms[index](state, masked)
            state = start + state
            if unit in self.kept:
                kept.append(state)
        return self.join(F.leaky_relu(torch.cat(kept, 1), _SLOPE))  # type: ignore[no-any-return]
