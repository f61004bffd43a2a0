"""U-Net, for pictures whose artefacts reach far: few projections, or gaps in k-space."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import ConvolutionHead, Network, NetworkSpec, SplitNetwork, param, whole_number

from .layers import initialise

__all__ = ["Unet", "UnetNetwork"]


@attrs.frozen(eq=False, kw_only=True)
class Unet(NetworkSpec):
    """U-Net: features of ever coarser pictures, joined again on the way back.

        each level: 2 x [3x3 convolution, BN, ReLU];    down: 2x2 maximum, twice the width;
        up: 2x2 transposed convolution of stride 2, beside what the level had on the way down;
        x = W relu(z) + y,    W of 1x1 kernels

    Departures from the paper: the picture is repeated beyond its frame, below and to the right, up
    to a multiple of 2^depth, and convolutions see zeros there, so that the size is kept; BN and
    the skip around all are those of Jin et al. A complex picture is taken as two real ones.

    Shapes: `(*batch, channels, H, W)` -> the same; any H and W.
    Units: any; of pictures in [0, 1], say.
    Cost: 31 million parameters with the defaults, a sixteenth of that with a quarter of the width.
    Source: Ronneberger, Fischer and Brox, 2015, U-Net, section 2 and figure 1; Jin et al., 2017,
    Deep convolutional neural network for inverse problems in imaging, section III-B.
    """

    depth: int = param(4, doc="how often the size is halved", check=whole_number(1))
    width: int = param(64, doc="channels of the first level", check=whole_number(1))
    channels: int = param(1, doc="channels of a picture", check=whole_number(1))
    complex_valued: bool = param(False, doc="pictures are complex, as in MRI")
    batch_norm: bool = param(True, doc="normalise after each 3x3 convolution")
    residual: bool = param(True, doc="add the picture that it is given")

    def _module(self) -> Network:
        return UnetNetwork(self)


class UnetNetwork(SplitNetwork):
    """The layers of a `Unet`."""

    def __init__(self, spec: Unet) -> None:
        """Make the layers."""
        super().__init__(
            channels=spec.channels, complex_valued=spec.complex_valued, multiple=2**spec.depth
        )
        self.residual = spec.residual
        inner = spec.channels * (2 if spec.complex_valued else 1)
        widths = [spec.width * 2**level for level in range(spec.depth + 1)]
        ins = [inner, *widths[:-1]]
        norm = spec.batch_norm
        self.down = nn.ModuleList(_Level(a, b, norm) for a, b in zip(ins, widths, strict=True))
        coarse = list(reversed(widths))[:-1]
        self.enlarge = nn.ModuleList(nn.ConvTranspose2d(n, n // 2, 2, 2) for n in coarse)
        self.up = nn.ModuleList(_Level(n, n // 2, norm) for n in coarse)
        self.tail = ConvolutionHead(spec.width, inner, kernel=1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator)

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        height, width = y.shape[-2:]
        z = self._real(y)
        below, right = -height % self.multiple, -width % self.multiple
        if below or right:
            z = F.pad(z, (0, right, 0, below), mode="replicate")
        passed = []
        for index, level in enumerate(self.down):
            z = level(F.max_pool2d(F.relu(z), 2) if index else z)
            passed.append(z)
        for enlarge, level in zip(self.enlarge, self.up, strict=True):
            del passed[-1]
            z = level(torch.cat([F.relu(passed[-1]), enlarge(F.relu(z))], 1))
        return z[..., :height, :width]

    def _base(self, y: Tensor) -> Tensor | None:
        return y if self.residual else None

    def _head(self, z: Tensor) -> Tensor:
        x: Tensor = self.tail(z)
        if not self.complex_valued:
            return x
        return torch.complex(x[:, : self.channels], x[:, self.channels :])

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        return self.tail.adjoint(z, self._real(v))

    def _real(self, y: Tensor) -> Tensor:
        return torch.cat([y.real, y.imag], 1) if self.complex_valued else y


class _Level(nn.Module):
    """Two convolutions; the activation after the second is left to whoever comes next."""

    def __init__(self, inner: int, outer: int, norm: bool) -> None:
        super().__init__()
        self.first = nn.Conv2d(inner, outer, 3, padding=1, bias=not norm)
        self.second = nn.Conv2d(outer, outer, 3, padding=1, bias=not norm)
        self.first_norm = nn.BatchNorm2d(outer) if norm else nn.Identity()
        self.second_norm = nn.BatchNorm2d(outer) if norm else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.first_norm(self.first(x)))
        return self.second_norm(self.second(x))  # type: ignore[no-any-return]
