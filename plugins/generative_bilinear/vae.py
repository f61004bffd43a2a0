"""Variational autoencoders as generative priors: blur kernels, digits, house numbers, faces."""

from __future__ import annotations

from collections.abc import Callable
from typing import ClassVar

import attrs
import torch
from torch import Tensor
from wellposed import Space, derived, param, whole_number
from wellposed.training import Restored

from .autoencoders import Autoencoder, FaceAutoencoder, PooledAutoencoder, StridedAutoencoder
from .trained import TrainedGenerator

__all__ = ["BlurVae", "FaceVae", "MnistVae", "SvhnVae"]


@attrs.frozen(eq=False, kw_only=True)
class Vae(TrainedGenerator[Autoencoder]):
    """What the autoencoders share; a class says what it is made of."""

    def reconstructed(self, x: Tensor, *, sampling: bool) -> Restored:
        """Return the decoded pictures, and as `divergence` that of their codes, `(b,)`.

            1/2 sum_i (mu_i^2 + sigma_i^2 - 1 - log sigma_i^2)

        with a code from N(mu, sigma^2), or mu itself.
        Source: Kingma and Welling, 2014, Auto-encoding variational Bayes, appendix B.
        """
        net = self.loaded()
        mean, log_variance = (v.float() for v in net.encode(x))
        code = mean + torch.randn_like(mean) * (0.5 * log_variance).exp() if sampling else mean
        terms = mean.square() + log_variance.exp() - 1 - log_variance
        return Restored(net.decode(code), {"divergence": 0.5 * terms.sum(-1)})

    def decode(self, z: Tensor) -> Tensor:
        """Return the picture of each code, `(*batch, latent)` -> `(*batch, C, H, W)`."""
        self._check_codes(z)
        pictures = self._scaled(self._decoder(z)(z.reshape(-1, self.latent)))
        return pictures.reshape(*z.shape[:-1], *self.shape)

    def encode(self, x: Tensor) -> Tensor:
        """Return the likeliest code of each picture: `(*batch, latent)`."""
        Space(self.shape, x.dtype).check(x, who=self.name, name="x")
        mean, _ = self.loaded(x).encode(x.reshape(-1, *self.shape))
        return mean.reshape(*x.shape[:-3], self.latent)

    def _decoder(self, like: Tensor) -> Callable[[Tensor], Tensor]:
        network = self.loaded(like)
        if self.trained is not None:  # by somebody who may go on
            return network.ready_decoder()
        key = f"decoder {like.device} {like.dtype}"
        return derived(self, key, network.ready_decoder, *network.parameters())

    def _drawn(self, network: Autoencoder, generator: torch.Generator) -> None:
        network.initialise(generator)

    def _scaled(self, picture: Tensor) -> Tensor:
        return picture


@attrs.frozen(eq=False, kw_only=True)
class BlurVae(Vae):
    """Blur kernels of 28 x 28 pixels, as the autoencoder of one class of them knows them.

        B(h) = D(h) / sum D(h)

    Trained on kernels whose largest tap is 1, it gives kernels that sum to 1.
    In the paper the decoder's output is used as it is.

    Shapes: codes `(*batch, 50)` -> kernels `(*batch, 1, 28, 28)`.
    Units: a kernel sums to 1.
    Raises: WeightsError; IncompatibleError for weights of another prior.
    Cost: 40 thousand parameters in the decoder, 4 MFLOP a kernel.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, section 4.1.
    """

    shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    usual: ClassVar[str | None] = "blur_a"

    latent: int = param(50, doc="length of a code", check=whole_number(1))
    width: int = param(20, doc="channels of the convolutions", check=whole_number(1))

    def network(self) -> PooledAutoencoder:
        """Return the network: 2x2 kernels."""
        return PooledAutoencoder(kernel=2, latent=self.latent, width=self.width, hidden=False)

    def _scaled(self, picture: Tensor) -> Tensor:
        return picture / picture.sum((-2, -1), keepdim=True)


@attrs.frozen(eq=False, kw_only=True)
class MnistVae(Vae):
    """Handwritten digits of 28 x 28 pixels, as an autoencoder of MNIST knows them.

    Shapes: codes `(*batch, 100)` -> pictures `(*batch, 1, 28, 28)`.
    Units: pictures in [0, 1].
    Raises: WeightsError; IncompatibleError for weights of another prior.
    Cost: 58 thousand parameters in the decoder, 3 MFLOP a picture.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, section 4.3.
    """

    shape: ClassVar[tuple[int, int, int]] = (1, 28, 28)
    usual: ClassVar[str | None] = "mnist"

    width: int = param(20, doc="channels of the convolutions", check=whole_number(1))

    def network(self) -> PooledAutoencoder:
        """Return the network: 3x3 kernels, and a dense layer more."""
        return PooledAutoencoder(kernel=3, latent=self.latent, width=self.width, hidden=True)


@attrs.frozen(eq=False, kw_only=True)
class SvhnVae(Vae):
    """House numbers of 32 x 32 pixels, as an autoencoder of SVHN knows them.

    No weights ship, and no recipe of ours has trained it: its pictures must be had first.

    Shapes: codes `(*batch, 100)` -> pictures `(*batch, 3, 32, 32)`.
    Units: pictures in [0, 1].
    Raises: WeightsError; ParameterError without weights; IncompatibleError for those of another
    prior.
    Cost: 2.5 million parameters in the decoder, 170 MFLOP a picture.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, section 4.3.
    """

    shape: ClassVar[tuple[int, int, int]] = (3, 32, 32)

    width: int = param(128, doc="channels next to the picture", check=whole_number(1))

    def network(self) -> StridedAutoencoder:
        """Return the network."""
        return StridedAutoencoder(latent=self.latent, width=self.width)


@attrs.frozen(eq=False, kw_only=True)
class FaceVae(Vae):
    """Faces of 64 x 64 pixels, as an autoencoder of CelebA knows them.

    Not of the paper, which trains a DCGAN (`dcgan`) on 200,000 faces: an autoencoder learns a
    range from far fewer, and in minutes on a CPU. Pictures may leave [0, 1] a little.

    Shapes: codes `(*batch, 128)` -> pictures `(*batch, 3, 64, 64)`.
    Units: pictures in [0, 1] where they are faces.
    Raises: WeightsError; IncompatibleError for weights of another prior.
    Cost: 1.2 million parameters in the decoder, 32 MFLOP a picture.
    Source: Kingma and Welling, 2014, Auto-encoding variational Bayes; layers after Radford, Metz
    and Chintala, 2016, Unsupervised representation learning with deep convolutional generative
    adversarial networks. That codes also have a linear path to pictures is ours.
    """

    shape: ClassVar[tuple[int, int, int]] = (3, 64, 64)
    usual: ClassVar[str | None] = "faces"

    latent: int = param(128, doc="length of a code", check=whole_number(1))
    width: int = param(24, doc="channels next to the picture", check=whole_number(1))

    def network(self) -> FaceAutoencoder:
        """Return the network."""
        return FaceAutoencoder(latent=self.latent, width=self.width)
