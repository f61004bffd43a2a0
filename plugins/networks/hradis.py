"""Hradis et al.'s network for direct deblurring: a plain stack of large and of 1x1 convolutions."""

from __future__ import annotations

import math
from typing import Any, Final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, NetworkSpec, param, whole_number
from wellposed.errors import ParameterError

__all__ = ["HradisCnn", "HradisCnnNetwork"]

# Side of the kernel, channels and groups of the hidden layers of L15; the last one has side 7.
_LAYERS: Final = (
    (19, 128, 1),
    (1, 320, 1),
    (1, 320, 1),
    (1, 320, 1),
    (1, 128, 1),
    (3, 128, 1),
    (1, 512, 1),
    (5, 128, 4),
    (5, 128, 2),
    (3, 128, 1),
    (5, 128, 2),
    (5, 128, 2),
    (1, 256, 1),
    (7, 64, 2),
)
_LAST: Final = 7


def _factor(instance: object, attribute: Any, value: float) -> None:
    if isinstance(value, bool) or not (isinstance(value, (int, float)) and 0 < value <= 16):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a factor above 0, at most 16, "
            f"such as 1 or 0.125; got {value!r}."
        )


@attrs.frozen(eq=False, kw_only=True)
class HradisCnn(NetworkSpec):
    """Blind deblurring by 15 convolutions, with ReLUs between them and nothing else.

        x = W_15 relu(W_14 ... relu(W_1 y))

    | layer | 1 | 2-4 | 5 | 6 | 7 | 8, 9 | 10 | 11, 12 | 13 | 14 | 15 |
    | side | 19 | 1 | 1 | 3 | 1 | 5 | 3 | 5 | 1 | 7 | 7 |
    | channels | 128 | 320 | 128 | 128 | 512 | 128 | 128 | 128 | 256 | 64 | 3 |

    It is the paper's largest network, L15. Sides, channels, groups (4 in layer 8; 2 in 9, 11, 12
    and 14) and the start, uniform with variance 1 / fan-in, are those of the network definition
    that the authors gave out; its 2.25 million weights are the 9 MB that they state. The paper's
    own table could not be read. Their program takes pictures in about [-1/2, 1/2], around a mean
    colour.

    Departures: their convolutions have no padding, hence 25 pixels are lost to each side. Here
    they go on at the opposite side (`padding="circular"`), as a circular blur does: what the
    network without padding makes of the picture repeated. For a small computer: `width` below 1
    makes layers narrower. `residual` adds the measurement, so that training starts at y in place
    of nearly 0: after 600 steps of the recipe `deblurring_cnn_faces_small`, held-out faces of
    22.1 dB come back with 24.9, without it with 22.2. `shuffle=2` works at half the size, with
    blocks of 2 x 2 pixels as channels and kernels that reach nearly as far as before.
    `grouped=False` joins all channels.

    Shapes: `(*batch, channels, H, W)` -> the same, of any size.
    Units: pictures in [0, 1]; inside, in [-1/2, 1/2].
    Raises: ParameterError.
    Cost: 2.25 million weights, 4.5 MFLOP for a pixel; 4.5 million without groups.
    Source: Hradis, Kotera, Zemcik and Sroubek, 2015, Convolutional neural networks for direct text
    deblurring, BMVC, section 3; Svoboda et al., 2016, CNN for license plate motion deblurring, for
    the number of weights.
    """

    width: float = param(
        1.0, doc="channels of the hidden layers by the paper's, rounded to fours", check=_factor
    )
    channels: int = param(3, doc="channels of a picture", check=whole_number(1))
    grouped: bool = param(True, doc="5x5 and 7x7 kernels join a half or a quarter of the channels")
    residual: bool = param(False, doc="learn what to add to the measurement")
    shuffle: int = param(
        1, doc="pixels of a block of this side become channels", check=whole_number(1)
    )
    padding: str = param(
        "circular", doc="the picture beyond its frame", choices=("circular", "zero")
    )

    def _module(self) -> Network:
        return HradisCnnNetwork(self)


class HradisCnnNetwork(Network):
    """The layers of a `HradisCnn`."""

    def __init__(self, spec: HradisCnn) -> None:
        """Make the layers."""
        super().__init__(channels=spec.channels, value_range=(-0.5, 0.5), multiple=spec.shuffle)
        self.shuffle, self.residual = spec.shuffle, spec.residual
        self.circular = spec.padding == "circular"
        ends = spec.channels * spec.shuffle**2
        inner, layers = ends, []
        for side, full, groups in _LAYERS:
            outer = 4 * max(round(spec.width * full / 4), 1)
            groups = groups if spec.grouped else 1
            layers.append(nn.Conv2d(inner, outer, _shrunk(side, spec.shuffle), groups=groups))
            inner = outer
        layers.append(nn.Conv2d(inner, ends, _shrunk(_LAST, spec.shuffle)))
        self.layers = nn.ModuleList(layers)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights: uniform, of variance 1 / fan-in; no bias."""
        for layer in self.modules():
            if isinstance(layer, nn.Conv2d):
                limit = math.sqrt(3 / layer.weight[0].numel())
                layer.weight.uniform_(-limit, limit, generator=generator)
                assert layer.bias is not None
                layer.bias.zero_()

    def _forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        below, right = -height % self.shuffle, -width % self.shuffle
        z = F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
        z = F.pixel_unshuffle(z, self.shuffle)
        for index, layer in enumerate(self.layers):
            z = self._convolved(F.relu(z) if index else z, layer)
        z = F.pixel_shuffle(z, self.shuffle)[..., :height, :width]
        return x + z if self.residual else z

    def _convolved(self, x: Tensor, layer: nn.Module) -> Tensor:
        assert isinstance(layer, nn.Conv2d)
        reach = layer.kernel_size[0] // 2
        if not reach or not self.circular:
            return F.conv2d(x, layer.weight, layer.bias, padding=reach, groups=layer.groups)
        return layer(_repeated(x, reach))  # type: ignore[no-any-return]


def _shrunk(side: int, shuffle: int) -> int:
    """Return the side of a kernel that reaches as far where pixels are `shuffle` times as large."""
    return 2 * max(side // 2 // shuffle, min(side // 2, 1)) + 1


def _repeated(x: Tensor, reach: int) -> Tensor:
    """Return x with `reach` more pixels to each side, those of its other end."""
    height, width = x.shape[-2:]
    if reach <= min(height, width) and not torch.compiler.is_compiling():
        return _Repeated.apply(x, reach)  # type: ignore[no-any-return, no-untyped-call]
    rows, columns = (torch.arange(-reach, n + reach, device=x.device) % n for n in (height, width))
    return x[..., rows, :][..., columns]


class _Repeated(torch.autograd.Function):
    """The picture and, at each end, its other one.

    By slices alone, each of which has a whole picture of zeros as its gradient, a step of training
    takes half as long again.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(x: Tensor, reach: int) -> Tensor:
        """Return the larger picture."""
        x = torch.cat([x[..., -reach:, :], x, x[..., :reach, :]], -2)
        return torch.cat([x[..., -reach:], x, x[..., :reach]], -1)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        """Keep the reach."""
        ctx.reach = inputs[1]

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        """Return the tangent, likewise larger."""
        larger: Tensor = _Repeated.apply(tangents[0], ctx.reach)  # type: ignore[no-untyped-call]
        return larger

    @staticmethod
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor | None, ...]:
        """Return what the pixels of both places get."""
        p = ctx.reach
        inner = grad[..., p:-p, :].clone()
        inner[..., -p:, :] += grad[..., :p, :]
        inner[..., :p, :] += grad[..., -p:, :]
        x = inner[..., p:-p].clone()
        x[..., -p:] += inner[..., :p]
        x[..., :p] += inner[..., -p:]
        return x, None
