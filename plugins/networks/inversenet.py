"""The two halves of InverseNet: a U-Net that inverts, and an autoencoder that cleans up."""

from __future__ import annotations

import itertools
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network, NetworkSpec, param, real_number, whole_number

from .layers import initialise

__all__ = ["InverseNetDae", "InverseNetDaeNetwork", "InverseNetUnet", "InverseNetUnetNetwork"]

_WIDEST = 8  # in units of the first level's width
_STD = 0.02
_SMALL = 0.01
_JOINED = ("none", "mean", "pixels")


@attrs.frozen(eq=False, kw_only=True)
class InverseNetUnet(NetworkSpec):
    """InverseNet's inversion network: a U-Net of strided convolutions, as pix2pix has it.

        down: LeakyReLU 0.2, 4x4 convolution of stride 2, BN    (the first: the convolution alone)
        up:   ReLU, 4x4 transposed convolution of stride 2, BN, beside what came down to that size
        last: ReLU, 4x4 transposed convolution of stride 2, tanh

    The levels have width, 2, 4, and then 8 times that many channels. With a depth of 8, a picture
    of 256 x 256 pixels comes down to one pixel, as in table 3; of 64 x 64, with a depth of 6.

    With `residual`, which the paper has not, the picture that was given is added after the tanh:
    where that is near the true one already, the layers need not learn to pass it on.

    Sizes that 2^depth does not divide are repeated beyond their frame, below and to the right, and
    cut off again. The paper says neither how weights start nor how steep the LeakyReLU is: both
    are pix2pix's, N(0, 0.02) and 0.2.

    Shapes: `(*batch, channels, H, W)` -> the same; any H and W.
    Units: pictures in [-1, 1] as the network sees them.
    Cost: 3.4 million parameters with the defaults, 1.8 with a depth of 6, 0.4 with a depth of 4;
    about 12 kFLOP a pixel.
    Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks, table 3.
    """

    depth: int = param(8, doc="how often the size is halved", check=whole_number(1))
    width: int = param(16, doc="channels of the first level", check=whole_number(1))
    channels: int = param(3, doc="channels of a picture", check=whole_number(1))
    residual: bool = param(False, doc="add the picture that it is given")

    def _module(self) -> Network:
        return InverseNetUnetNetwork(self)


class InverseNetUnetNetwork(Network):
    """The layers of an `InverseNetUnet`."""

    def __init__(self, spec: InverseNetUnet) -> None:
        """Make the layers."""
        super().__init__(channels=spec.channels, value_range=(-1.0, 1.0), multiple=2**spec.depth)
        self.residual = spec.residual
        wide = [spec.width * min(2**level, _WIDEST) for level in range(spec.depth)]
        self.first = nn.Conv2d(spec.channels, wide[0], 4, 2, 1)
        self.down = nn.ModuleList(
            _normalised(nn.Conv2d(a, b, 4, 2, 1, bias=False)) for a, b in itertools.pairwise(wide)
        )
        # what comes up to a level is as wide as what came down to it, and they are joined
        taken = [wide[-1], *(2 * w for w in wide[-2:0:-1])]
        self.up = nn.ModuleList(
            _normalised(nn.ConvTranspose2d(a, b, 4, 2, 1, bias=False))
            for a, b in zip(taken, wide[-2::-1], strict=False)
        )
        joined = 2 if spec.depth > 1 else 1
        self.last = nn.ConvTranspose2d(joined * wide[0], spec.channels, 4, 2, 1)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator, std=_STD, norm_std=_STD)

    def _forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        e = self.first(_padded(x, self.multiple))
        passed = [e]
        for layer in self.down:
            e = layer(F.leaky_relu(e, 0.2))
            passed.append(e)
        d = passed.pop()
        for layer in self.up:
            d = torch.cat([layer(F.relu(d)), passed.pop()], 1)
        z = torch.tanh(self.last(F.relu(d)))[..., :height, :width]
        return x + z if self.residual else z


@attrs.frozen(eq=False, kw_only=True)
class InverseNetDae(NetworkSpec):
    """InverseNet's denoising network: convolutions between two shuffles of the pixels.

        unshuffle by r;    3 x [4x4 convolution, BN, ReLU] of 128, 64, 32 channels;
        the measurement beside it;    2 x [the same] of 64, 128 channels;
        4x4 convolution, and BN, ReLU where `last` is 'relu';    shuffle by r

    r = 4 in table 4, for super-resolution from a measurement that has a quarter of the picture's
    side. For deblurring the paper says that shuffling may be removed: r = 1, at ten times the cost.
    What the inversion network was given is joined in the middle, as a picture of the size that is
    there: the `mean` of r x r pixels, if it was interpolated from a measurement r times smaller, or
    all r x r `pixels` as channels, where the measurement is as large as the picture.

    The convolutions are those of TensorFlow's 'SAME': one row of zeros above, two below. Table 4
    ends in BN and ReLU, so that pictures lie in [0, 1], not in the [-1, 1] of the tanh before; with
    `last: linear` neither is there, and with `residual` the picture that was given is added. Then
    the ReLUs should have a `slope` below zero too: while the first network still learns fast, what
    is left for this one shrinks, and the shortest way there is to switch its last ReLUs off for
    good (of 128 channels 123 were always 0 after a training for x4, and 63 after one for motion).

    Sizes that r does not divide are repeated beyond their frame, below and to the right, and cut
    off again.

    Shapes: `(*batch, channels, H, W)` -> the same; `measurement` likewise; any H and W.
    Units: pictures in [0, 1].
    Cost: 0.53 million parameters, and 66 kFLOP a pixel, with the defaults; 0.34 and 0.69 MFLOP
    with r = 1.
    Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks, table 4.
    """

    shuffle: int = param(4, doc="r: pixels of a block that become channels", check=whole_number(1))
    width: int = param(128, doc="channels of the widest layers", check=whole_number(4))
    channels: int = param(3, doc="channels of a picture", check=whole_number(1))
    measurement: str = param(
        "mean", doc="how what the inversion network was given is joined", choices=_JOINED
    )
    last: str = param("relu", doc="what follows the last convolution", choices=("relu", "linear"))
    residual: bool = param(False, doc="add the picture that it is given")
    slope: float = param(
        0.0,
        doc="of the rectifiers inside, below zero; 0: ReLU",
        check=real_number(least=0, below=1),
    )

    def _module(self) -> Network:
        return InverseNetDaeNetwork(self)


class InverseNetDaeNetwork(Network):
    """The layers of an `InverseNetDae`."""

    def __init__(self, spec: InverseNetDae) -> None:
        """Make the layers."""
        names = {} if spec.measurement == "none" else {"measurement": spec.channels}
        super().__init__(
            channels=spec.channels, conditions=names, measured=names, multiple=spec.shuffle
        )
        self.shuffle, self.residual, self.slope = spec.shuffle, spec.residual, spec.slope
        self.mean = spec.measurement == "mean"
        ends, wide = spec.channels * spec.shuffle**2, spec.width
        joined = {"none": 0, "mean": spec.channels, "pixels": ends}[spec.measurement]
        before = [ends, wide, wide // 2, wide // 4]
        after = [wide // 4 + joined, wide // 2, wide]
        self.before, self.after = (
            nn.ModuleList(
                _normalised(nn.Conv2d(a, b, 4, bias=False)) for a, b in itertools.pairwise(widths)
            )
            for widths in (before, after)
        )
        self.rectified = spec.last == "relu"
        last = nn.Conv2d(wide, ends, 4, bias=not self.rectified)
        self.last = _normalised(last) if self.rectified else nn.Sequential(last)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights; a residual starts small."""
        initialise(self, generator)
        if self.residual:
            last: Any = self.last[-1]
            last.weight.mul_(_SMALL)

    def _forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        height, width = x.shape[-2:]
        v = F.pixel_unshuffle(_padded(x, self.shuffle), self.shuffle)
        for layer in self.before:
            v = self._rectified(layer(_same(v)))
        if conditions:
            y, r = _padded(conditions["measurement"], self.shuffle), self.shuffle
            v = torch.cat([v, F.avg_pool2d(y, r) if self.mean else F.pixel_unshuffle(y, r)], 1)
        for layer in self.after:
            v = self._rectified(layer(_same(v)))
        v = self.last(_same(v))
        v = F.pixel_shuffle(F.relu(v) if self.rectified else v, self.shuffle)
        v = v[..., :height, :width]
        return x + v if self.residual else v

    def _rectified(self, v: Tensor) -> Tensor:
        return F.leaky_relu(v, self.slope) if self.slope else F.relu(v)


def _normalised(layer: nn.Conv2d | nn.ConvTranspose2d) -> nn.Sequential:
    return nn.Sequential(layer, nn.BatchNorm2d(layer.out_channels))


def _same(x: Tensor) -> Tensor:
    """Return x with the zeros around it that TensorFlow gives 4x4 kernels."""
    return F.pad(x, (1, 2, 1, 2))


def _padded(x: Tensor, multiple: int) -> Tensor:
    """Return a picture whose sides are multiples, its last row and column repeated."""
    below, right = -x.shape[-2] % multiple, -x.shape[-1] % multiple
    return F.pad(x, (0, right, 0, below), mode="replicate") if below or right else x
