"""EdgeConnect's completion network, for inpainting along edges that are given."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, NetworkSpec, SplitNetwork, param, whole_number

from .layers import initialise
from .reflection import folded, reflected

__all__ = ["EdgeConnect", "EdgeConnectNetwork"]

_MULTIPLE = 4  # the size is halved twice
_DILATION = 2
_STD = 0.02


@attrs.frozen(eq=False, kw_only=True)
class EdgeConnect(NetworkSpec):
    """Completion network of EdgeConnect: a picture with gaps, and its edges, to the whole picture.

        7x7 convolution, IN, ReLU                                          width
        2 x [4x4 convolution, stride 2, IN, ReLU]                          2, 4 width
        blocks x [3x3 convolution of dilation 2, IN, ReLU, 3x3 convolution, IN, + input]
        2 x [4x4 transposed convolution, stride 2, IN, ReLU]               2, 1 width
        7x7 convolution, tanh

    IN is instance normalisation without parameters; the 7x7 and 3x3 convolutions mirror the frame.
    The cut is before the last ReLU, after its IN: z has `width` channels of the full size. The
    condition `edges` is the map of the whole picture's edges, 1 on them and 0 elsewhere
    (`canny_edges` makes it), and goes in as one more channel; so does `mask`, with
    `mask_channels`.

    Departures: gaps hold 0, that is grey, as the measurement of a mask does; the authors paint
    them white. They train with adversarial, perceptual and style losses too, the DL-Net paper
    with the squared error alone. The convolutions before an IN, which would take it away, have no
    bias: 4,736 numbers fewer. Their edge model has spectral normalisation, this one has none
    there either. Pictures whose size is no multiple of 4 are continued by their last row and
    column (theirs come out smaller, and are continued then).

    Shapes: `(*batch, channels, H, W)` -> the same; `edges` `(*batch, 1, H, W)`, `mask`
    `(*batch, mask_channels, H, W)`; any H and W.
    Units: pictures in [-1, 1], where 0 is what a mask takes away; edges 0 or 1. (The authors' are
    in [0, 1], by (tanh + 1) / 2: the first layer and IN make no difference of it.)
    Cost: 10.8 million parameters, 1.5 MFLOP for a pixel.
    Source: Nazeri et al., 2019, EdgeConnect: generative image inpainting with adversarial edge
    learning, section 3.2 and appendix A, and the authors' code; edges of the true picture: Guo et
    al., 2021, Deep likelihood network, section IV-C.
    """

    blocks: int = param(8, doc="residual blocks", check=whole_number(1))
    width: int = param(64, doc="channels of the first layer", check=whole_number(1))
    channels: int = param(3, doc="channels of a picture", check=whole_number(1))
    mask_channels: int = param(
        0,
        doc="channels of the mask that goes in beside the picture; 0: none",
        check=whole_number(0),
    )

    def _module(self) -> Network:
        return EdgeConnectNetwork(self)


class EdgeConnectNetwork(SplitNetwork):
    """The layers of an `EdgeConnect`."""

    def __init__(self, spec: EdgeConnect) -> None:
        """Make the layers."""
        masked = {"mask": spec.mask_channels} if spec.mask_channels else {}
        super().__init__(
            channels=spec.channels, conditions={"edges": 1, **masked}, value_range=(-1.0, 1.0)
        )
        width = spec.width
        inner = spec.channels + sum(self.conditions.values())
        self.first = nn.Conv2d(inner, width, 7, bias=False)
        self.down = nn.ModuleList(
            nn.Conv2d(n, 2 * n, 4, 2, 1, bias=False) for n in (width, 2 * width)
        )
        self.blocks = nn.ModuleList(_Block(4 * width) for _ in range(spec.blocks))
        self.up = nn.ModuleList(
            nn.ConvTranspose2d(n, n // 2, 4, 2, 1, bias=False) for n in (4 * width, 2 * width)
        )
        self.last = nn.Conv2d(width, spec.channels, 7)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights, as the authors: N(0, 0.02^2)."""
        initialise(self, generator, std=_STD)

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        height, width = y.shape[-2:]
        z = torch.cat([y, *(conditions[name] for name in self.conditions)], 1)
        below, right = -height % _MULTIPLE, -width % _MULTIPLE
        if below or right:
            z = F.pad(z, (0, right, 0, below), mode="replicate")
        z = F.relu(_normal(_mirrored(z, self.first)))
        for layer in self.down:
            z = F.relu(_normal(layer(z)))
        for block in self.blocks:
            z = block(z)
        for index, layer in enumerate(self.up):
            z = _normal(layer(F.relu(z) if index else z))
        return z[..., :height, :width]

    def _head(self, z: Tensor) -> Tensor:
        return torch.tanh(_mirrored(F.relu(z), self.last))

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        x = self._head(z) if x is None else x
        margin = self.last.kernel_size[0] // 2
        weight = self.last.weight.transpose(0, 1).flip(-2, -1)
        back = folded(F.conv2d(v * (1 - x * x), weight, padding=2 * margin), margin)
        masked: Tensor = torch.ops.aten.threshold_backward(back, z, 0)
        return masked


class _Block(nn.Module):
    """One residual block; no activation follows its sum."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first = nn.Conv2d(width, width, 3, dilation=_DILATION, bias=False)
        self.second = nn.Conv2d(width, width, 3, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        inner = F.relu(_normal(_mirrored(x, self.first)))
        return x + _normal(_mirrored(inner, self.second))


def _mirrored(x: Tensor, layer: nn.Conv2d) -> Tensor:
    """Return a convolution that keeps the size, the frame mirrored."""
    x = reflected(x, layer.dilation[0] * (layer.kernel_size[0] // 2))
    return layer(x)  # type: ignore[no-any-return]


def _normal(x: Tensor) -> Tensor:
    """Return x with mean 0 and variance 1 in each channel; a single pixel gives 0.

    `F.instance_norm` is the same, but refuses a single pixel.
    """
    return torch.group_norm(x, x.shape[1])
