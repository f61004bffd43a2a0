"""The networks of the autoencoders: pooled ones for 28 x 28, strided ones for 32 x 32 and faces."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .blocks import Enlarging, ToOneChannel, channels_last, from_blocks

__all__ = ["Autoencoder", "FaceAutoencoder", "PooledAutoencoder", "StridedAutoencoder"]

_SIDE = 28


class Autoencoder(nn.Module, ABC):
    """An encoder and a decoder of pictures."""

    @abstractmethod
    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""

    @abstractmethod
    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the codes of pictures, `(N, latent)`."""

    @abstractmethod
    def decode(self, code: Tensor) -> Tensor:
        """Return the pictures of codes."""

    def ready_decoder(self) -> Callable[[Tensor], Tensor]:
        """Return `decode`, ready for many calls while the weights rest."""
        return self.decode


class PooledAutoencoder(Autoencoder):
    """Encoder and decoder of pictures of 28 x 28 pixels, each of two convolutions and a pooling.

        encoder   2 x [k x k convolution, ReLU, 2x2 maximum], dense and ReLU where there is a
                  `hidden` layer, dense: mean and logarithm of the variance of a code
        decoder   dense, ReLU, 2 x [twice the size, k x k transposed convolution, ReLU],
                  k x k transposed convolution to one channel, sigmoid

    k is 2 for blurs (28, 27, 13, 12, 6 pixels; 6, 12, 13, 26, 27, 28) and 3 for digits (28, 26, 13,
    11, 5; 5, 10, 12, 24, 26, 28). Convolutions see no pixel beyond the frame: with that the dense
    layers have the 720 and 500 values that the paper gives them. Weights are drawn as Keras does,
    uniformly by Glorot and Bengio; biases are 0.

    Shapes: encode `(N, 1, 28, 28)` -> twice `(N, latent)`; decode `(N, latent)` -> the picture.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, sections 4.1 and 4.3.
    """

    def __init__(self, *, kernel: int, latent: int, width: int, hidden: bool) -> None:
        """Make the layers."""
        super().__init__()
        side = ((_SIDE - kernel + 1) // 2 - kernel + 1) // 2
        self.inner = (width, side, side)
        values = width * side * side
        self.encoder = nn.Sequential(
            nn.Conv2d(1, width, kernel),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Conv2d(width, width, kernel),
            nn.ReLU(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            *([nn.Linear(values, values), nn.ReLU()] if hidden else []),
        )
        self.mean, self.log_variance = nn.Linear(values, latent), nn.Linear(values, latent)
        self.dense = nn.Linear(latent, values)
        self.first = nn.ConvTranspose2d(width, width, kernel)
        self.second = nn.ConvTranspose2d(width, width, kernel)
        self.last = nn.ConvTranspose2d(width, 1, kernel)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        _glorot(self, generator)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the codes of pictures."""
        v = self.encoder(x)
        return self.mean(v), self.log_variance(v)

    def decode(self, code: Tensor) -> Tensor:
        """Return the pictures of codes."""
        return self.ready_decoder()(code)

    def ready_decoder(self) -> Callable[[Tensor], Tensor]:
        """Return `decode` by the weights as they are now, laid out for blocks once."""
        _, low, _ = self.inner
        middle = 2 * low + self.first.kernel_size[0] - 1
        return _PooledDecoder(
            inner=self.inner,
            dense=self.dense,
            first=Enlarging.of(self.first, low, low),
            middle=middle,
            second=Enlarging.of(self.second, middle, middle),
            last=ToOneChannel.of(self.last),
        )


@attrs.frozen(eq=False, kw_only=True)
class _PooledDecoder:
    """The decoder of `PooledAutoencoder`, its transposed convolutions on blocks."""

    inner: tuple[int, int, int]
    dense: nn.Linear
    first: Enlarging
    middle: int
    second: Enlarging
    last: ToOneChannel

    def __call__(self, code: Tensor) -> Tensor:
        """Return the pictures of codes."""
        v = channels_last(F.relu(self.dense(code)).unflatten(1, self.inner))
        v = from_blocks(F.relu(self.first(v), inplace=True), self.middle, self.middle)
        v = F.relu(self.second(v), inplace=True)
        return torch.sigmoid(self.last(v, _SIDE, _SIDE))


class StridedAutoencoder(Autoencoder):
    """Encoder and decoder of colour pictures of 32 x 32 pixels, three halvings each.

        encoder   3 x [2x2 convolution of stride 2, batch normalisation, ReLU] to 1, 2, 4 x width
                  channels, dense: mean and logarithm of the variance of a code
        decoder   dense, 3 x [2x2 transposed convolution of stride 2, batch normalisation, ReLU] to
                  4, 2, 1 x width channels, 1x1 convolution to three, sigmoid

    With a width of 128 the dense layers have 8192 values, as in the paper. Weights are drawn as
    those of `PooledAutoencoder`.

    Shapes: encode `(N, 3, 32, 32)` -> twice `(N, latent)`; decode `(N, latent)` -> the picture.
    Source: Asim, Shamshad and Ahmed, 2018, section 4.3, on SVHN.
    """

    def __init__(self, *, latent: int, width: int) -> None:
        """Make the layers."""
        super().__init__()
        wide = 4 * width
        self.inner = (wide, 4, 4)
        down, up = (3, width, 2 * width, wide), (wide, wide, 2 * width, width)
        encoder: list[nn.Module] = []
        decoder: list[nn.Module] = []
        for number in range(3):
            encoder += [
                nn.Conv2d(down[number], down[number + 1], 2, stride=2),
                nn.BatchNorm2d(down[number + 1]),
                nn.ReLU(),
            ]
            decoder += [
                nn.ConvTranspose2d(up[number], up[number + 1], 2, stride=2),
                nn.BatchNorm2d(up[number + 1]),
                nn.ReLU(),
            ]
        self.encoder = nn.Sequential(*encoder, nn.Flatten())
        self.mean, self.log_variance = nn.Linear(16 * wide, latent), nn.Linear(16 * wide, latent)
        self.dense = nn.Linear(latent, 16 * wide)
        self.decoder = nn.Sequential(*decoder, nn.Conv2d(width, 3, 1), nn.Sigmoid())

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        _glorot(self, generator)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the codes of pictures."""
        v = self.encoder(x)
        return self.mean(v), self.log_variance(v)

    def decode(self, code: Tensor) -> Tensor:
        """Return the pictures of codes."""
        v = self.dense(code).unflatten(1, self.inner)
        x: Tensor = self.decoder(channels_last(v))
        return x


class FaceAutoencoder(Autoencoder):
    """Encoder and decoder of colour pictures of 64 x 64 pixels, each with a linear path besides.

        encoder   4 x [4x4 convolution of stride 2, batch normalisation, LeakyReLU 0.2] to 1, 2, 4,
                  8 x width channels, dense: mean and logarithm of the variance of a code; to the
                  mean is added a dense layer of the picture at half the size
        decoder   dense, 4 x [ReLU, 4x4 transposed convolution of stride 2] to 4, 2, 1 x width and 3
                  channels, batch normalisation before all but the first; to these is added a dense
                  layer of the code, a picture at half the size enlarged linearly

    The convolutions are the layout of DCGAN. The linear path is what principal components would
    be, with which faces are half described; the convolutions have only the rest to find. Values
    are not bounded, so that they have a gradient everywhere.

    Shapes: encode `(N, 3, 64, 64)` -> twice `(N, latent)`; decode `(N, latent)` -> the picture.
    Source: Radford, Metz and Chintala, 2016, Unsupervised representation learning with deep
    convolutional generative adversarial networks, for the layout; the linear paths are ours.
    """

    def __init__(self, *, latent: int, width: int) -> None:
        """Make the layers."""
        super().__init__()
        sizes = [width * 2**n for n in range(4)]
        self.inner = (sizes[-1], 4, 4)
        encoder: list[nn.Module] = []
        for before, after in zip([3, *sizes], sizes, strict=False):
            encoder += [
                nn.Conv2d(before, after, 4, stride=2, padding=1, bias=False),
                nn.BatchNorm2d(after),
                nn.LeakyReLU(0.2),
            ]
        decoder: list[nn.Module] = []
        for before, after in zip(sizes[:0:-1], sizes[-2::-1], strict=True):
            up = nn.ConvTranspose2d(before, after, 4, stride=2, padding=1, bias=False)
            decoder += [nn.ReLU(), up, nn.BatchNorm2d(after)]
        decoder += [nn.ReLU(), nn.ConvTranspose2d(width, 3, 4, stride=2, padding=1)]
        values = 16 * sizes[-1]
        self.encoder = nn.Sequential(*encoder, nn.Flatten())
        self.mean, self.log_variance = nn.Linear(values, latent), nn.Linear(values, latent)
        self.coarse_mean = nn.Linear(3 * 32 * 32, latent, bias=False)
        self.dense = nn.Linear(latent, values)
        self.decoder = nn.Sequential(*decoder)
        self.coarse = nn.Linear(latent, 3 * 32 * 32)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights as DCGAN does; at first, codes hardly vary, and pictures are grey."""
        _normal(self, generator)
        with torch.no_grad():
            for dense in (self.dense, self.mean):
                dense.weight.normal_(0, dense.in_features**-0.5, generator=generator)
            self.coarse_mean.weight.normal_(0, 0.005, generator=generator)
            self.log_variance.weight.normal_(0, 0.001, generator=generator)
            self.log_variance.bias.fill_(-4)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the codes of pictures."""
        signed = 2 * x - 1
        v, coarse = self.encoder(signed), F.avg_pool2d(signed, 2).flatten(1)
        return self.mean(v) + self.coarse_mean(coarse), self.log_variance(v)

    def decode(self, code: Tensor) -> Tensor:
        """Return the pictures of codes."""
        v = self.dense(code).unflatten(1, self.inner)
        fine = self.decoder(channels_last(v))
        coarse = self.coarse(code).unflatten(1, (3, 32, 32))
        signed = fine + F.interpolate(coarse, scale_factor=2, mode="bilinear")
        picture: Tensor = (signed + 1) / 2
        return picture


_LAYERS = nn.Conv2d | nn.ConvTranspose2d | nn.Linear


def _glorot(network: nn.Module, generator: torch.Generator) -> None:
    for module in network.modules():
        if isinstance(module, _LAYERS):
            nn.init.xavier_uniform_(module.weight, generator=generator)
            assert module.bias is not None
            nn.init.zeros_(module.bias)


def _normal(network: nn.Module, generator: torch.Generator) -> None:
    """Draw the weights as DCGAN does: N(0, 0.02), of batch normalisation N(1, 0.02)."""
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, _LAYERS | nn.BatchNorm2d):
                mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
                module.weight.normal_(mean, 0.02, generator=generator)
                if module.bias is not None:
                    module.bias.zero_()
