"""Variational autoencoders of the paper as generative priors: blur kernels, and MNIST's digits."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import Self

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import GenerativePrior, Space, derived, param, short, whole_number
from wellposed.errors import IncompatibleError
from wellposed.training import Restored, prior_from_weights

__all__ = ["BlurVae", "MnistVae", "VaeNetwork"]

_SIDE = 28


class VaeNetwork(nn.Module):
    """Encoder and decoder of pictures of 28 x 28 pixels, each of two convolutions and a pooling.

        encoder   2 x [k x k convolution, ReLU, 2x2 maximum], dense and ReLU where there is a
                  `hidden` layer, dense: mean and logarithm of the variance of a code
        decoder   dense, ReLU, 2 x [twice the size, k x k transposed convolution, ReLU],
                  k x k transposed convolution to one channel, sigmoid

    k is 2 for blurs (28, 27, 13, 12, 6 pixels; 6, 12, 13, 26, 27, 28) and 3 for digits (28, 26, 13,
    11, 5; 5, 10, 12, 24, 26, 28). Convolutions see no pixel beyond the frame: with that the dense
    layers have the 720 and 500 values that the paper gives them.

    Shapes: encode `(N, 1, 28, 28)` -> twice `(N, latent)`; decode `(N, latent)` -> the picture.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, sections 4.1 and 4.3.
    """

    def __init__(self, *, kernel: int, latent: int, width: int, hidden: bool) -> None:
        """Make the layers; `initialise` draws the weights."""
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
        """Draw the weights as Keras does, uniformly by Glorot and Bengio; biases are 0."""
        for module in self.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d | nn.Linear):
                nn.init.xavier_uniform_(module.weight, generator=generator)
                assert module.bias is not None
                nn.init.zeros_(module.bias)

    def encode(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """Return mean and logarithm of the variance of the codes of pictures."""
        v = self.encoder(x)
        return self.mean(v), self.log_variance(v)

    def decode(self, code: Tensor) -> Tensor:
        """Return the pictures of codes."""
        v = F.relu(self.dense(code)).unflatten(1, self.inner)
        v = v.contiguous(memory_format=torch.channels_last)
        for layer in (self.first, self.second):
            v = F.relu(_enlarged(v, layer))
        # to one channel, torch's transposed convolution takes longer than a plain one
        k, weight = self.last.kernel_size[0], self.last.weight
        x = F.conv2d(v, weight.transpose(0, 1).flip(-2, -1), self.last.bias, padding=k - 1)
        return torch.sigmoid(x)


def _enlarged(v: Tensor, layer: nn.ConvTranspose2d) -> Tensor:
    """Return `layer` of v at twice the size, each pixel four times, without making that.

    Repeating pixels is a transposed convolution of stride 2 with 2 x 2 ones, which the layer's
    kernel takes in: (k + 1)^2 products for a pixel of v instead of 4 k^2.
    """
    shifts = [F.pad(layer.weight, (j, 1 - j, i, 1 - i)) for i in (0, 1) for j in (0, 1)]
    return F.conv_transpose2d(v, torch.stack(shifts).sum(0), layer.bias, stride=2)


@attrs.frozen(eq=False, kw_only=True)
class Vae(GenerativePrior):
    """What the autoencoders share; a class says what it is made of."""

    latent: int = param(50, doc="length of a code", check=whole_number(1))
    width: int = param(20, doc="channels of the convolutions", check=whole_number(1))
    weights: str | None = param(
        None, doc="Path of a weights file, or the name of installed ones; left out, the usual ones."
    )
    trained: VaeNetwork | None = param(None, doc="The network itself.", repr=short)

    @abstractmethod
    def network(self) -> VaeNetwork:
        """Return the network with whatever weights."""

    @classmethod
    @abstractmethod
    def usual(cls) -> str:
        """Return the name of the weights that are meant when none are named."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """`(latent,)`."""
        return (self.latent,)

    @property
    def out_space(self) -> Space:
        """Pictures of 28 x 28 pixels."""
        dtype = next((p.dtype for p in self.trained.parameters()), None) if self.trained else None
        return Space((1, _SIDE, _SIDE), dtype or torch.float32)

    def for_training(self, *, seed: int) -> Self:
        """Return the prior with a new network, its weights drawn from `seed`."""
        network = self.network()
        network.initialise(torch.Generator().manual_seed(seed))
        return attrs.evolve(self, trained=network)

    def reconstructed(self, x: Tensor, *, sampling: bool) -> Restored:
        """Return the decoded pictures, and as `divergence` that of their codes, `(b,)`.

            1/2 sum_i (mu_i^2 + sigma_i^2 - 1 - log sigma_i^2)

        with a code from N(mu, sigma^2), or mu itself.
        Source: Kingma and Welling, 2014, Auto-encoding variational Bayes, appendix B.
        """
        net = self._network()
        mean, log_variance = (v.float() for v in net.encode(x))
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if sampling else mean
        terms = mean.square() + log_variance.exp() - 1 - log_variance
        return Restored(net.decode(code), {"divergence": 0.5 * terms.sum(-1)})

    def decode(self, z: Tensor) -> Tensor:
        """Return the picture of each code, `(*batch, latent)` -> `(*batch, 1, 28, 28)`."""
        flat = z.reshape(-1, self.latent)
        return self._scaled(self._network(z).decode(flat)).reshape(*z.shape[:-1], 1, _SIDE, _SIDE)

    def encode(self, x: Tensor) -> Tensor:
        """Return the likeliest code of each picture: `(*batch, latent)`."""
        mean, _ = self._network(x).encode(x.reshape(-1, 1, _SIDE, _SIDE))
        return mean.reshape(*x.shape[:-3], self.latent)

    def _scaled(self, picture: Tensor) -> Tensor:
        return picture

    def _network(self, like: Tensor | None = None) -> VaeNetwork:
        if self.trained is not None:
            return self.trained
        device, dtype = ("cpu", torch.float32) if like is None else (like.device, like.dtype)
        load = functools.partial(self._loaded, torch.device(device), dtype)
        return derived(self, f"network {device} {dtype}", load)

    def _loaded(self, device: torch.device, dtype: torch.dtype) -> VaeNetwork:
        weights = self.weights or self.usual()
        found = prior_from_weights(weights, device=device, dtype=dtype)
        if type(found) is not type(self) or found.trained is None:
            raise IncompatibleError(
                f"the weights {weights} belong to {found.name}, not to {self.name}. Take that "
                "prior.",
                where="weights",
            )
        mine, theirs = (self.latent, self.width), (found.latent, found.width)
        if mine != theirs:
            raise IncompatibleError(
                f"the weights {weights} have latent {theirs[0]} and width {theirs[1]}; got "
                f"{mine[0]} and {mine[1]}. Give theirs, or other weights.",
                where="latent" if mine[0] != theirs[0] else "width",
            )
        return found.trained


@attrs.frozen(eq=False, kw_only=True)
class BlurVae(Vae):
    """Blur kernels of 28 x 28 pixels, as the autoencoder of one class of them knows them.

        B(h) = D(h) / sum D(h)

    Trained on kernels whose largest tap is 1, it gives kernels that sum to 1.
    In the paper the decoder's output is used as it is.

    Shapes: codes `(*batch, 50)` -> kernels `(*batch, 1, 28, 28)`.
    Units: a kernel sums to 1.
    Raises: WeightsError; IncompatibleError for weights of another prior.
    Cost: 36 thousand parameters in the decoder, 4 MFLOP a kernel.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, section 4.1.
    """

    def network(self) -> VaeNetwork:
        """Return the network: 2x2 kernels."""
        return VaeNetwork(kernel=2, latent=self.latent, width=self.width, hidden=False)

    @classmethod
    def usual(cls) -> str:
        """Return the weights for blur class A."""
        return "blur_a"

    def _scaled(self, picture: Tensor) -> Tensor:
        return picture / picture.sum((-2, -1), keepdim=True)


@attrs.frozen(eq=False, kw_only=True)
class MnistVae(Vae):
    """Handwritten digits of 28 x 28 pixels, as an autoencoder of MNIST knows them.

    Shapes: codes `(*batch, 100)` -> pictures `(*batch, 1, 28, 28)`.
    Units: pictures in [0, 1].
    Raises: WeightsError; IncompatibleError for weights of another prior.
    Cost: 58 thousand parameters in the decoder, 8 MFLOP a picture.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, section 4.3.
    """

    latent: int = param(100, doc="length of a code", check=whole_number(1))

    def network(self) -> VaeNetwork:
        """Return the network: 3x3 kernels, and a dense layer more."""
        return VaeNetwork(kernel=3, latent=self.latent, width=self.width, hidden=True)

    @classmethod
    def usual(cls) -> str:
        """Return the weights for MNIST."""
        return "mnist"
