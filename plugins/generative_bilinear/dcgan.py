"""`Dcgan`: the generator of a deep convolutional generative adversarial network."""

from __future__ import annotations

from typing import ClassVar

import attrs
import torch
from torch import Tensor, nn
from wellposed import param, whole_number
from wellposed.training import Restored

from .blocks import channels_last
from .projection import project
from .trained import TrainedGenerator

__all__ = ["Dcgan", "DcganGenerator"]

_STEPS, _RATE = 100, 0.1  # of the projection that measures how near the generator comes


class DcganGenerator(nn.Module):
    """From codes to colour pictures of 64 x 64 pixels in [-1, 1].

        dense to 4 x 4 pixels of 8 x width channels, batch normalisation, ReLU,
        3 x [5x5 transposed convolution of stride 2, batch normalisation, ReLU] to 4, 2, 1 x width,
        5x5 transposed convolution of stride 2 to three channels, tanh

    Shapes: `(N, latent)` -> `(N, 3, 64, 64)`.
    Source: Radford, Metz and Chintala, 2016, Unsupervised representation learning with deep
    convolutional generative adversarial networks, ICLR, figure 1, with the widths of the authors
    of the generative bilinear solver: 8192 values after the dense layer.
    """

    def __init__(self, *, latent: int, width: int) -> None:
        """Make the layers."""
        super().__init__()
        sizes = [width * 2**n for n in range(3, -1, -1)]
        self.inner = (sizes[0], 4, 4)
        self.dense = nn.Linear(latent, 16 * sizes[0], bias=False)
        layers: list[nn.Module] = []
        for before, after in zip(sizes, [*sizes[1:], 3], strict=True):
            layers += [nn.BatchNorm2d(before), nn.ReLU()]
            layers.append(
                nn.ConvTranspose2d(before, after, 5, stride=2, padding=2, output_padding=1)
            )
        self.layers = nn.Sequential(*layers, nn.Tanh())

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights as DCGAN does: N(0, 0.02), of batch normalisation N(1, 0.02)."""
        with torch.no_grad():
            for module in self.modules():
                if isinstance(module, nn.Linear | nn.ConvTranspose2d | nn.BatchNorm2d):
                    mean = 1.0 if isinstance(module, nn.BatchNorm2d) else 0.0
                    module.weight.normal_(mean, 0.02, generator=generator)
                    if module.bias is not None:
                        module.bias.zero_()

    def forward(self, code: Tensor) -> Tensor:
        """Return the pictures."""
        v = self.dense(code).unflatten(1, self.inner)
        x: Tensor = self.layers(channels_last(v))
        return x


@attrs.frozen(eq=False, kw_only=True)
class Dcgan(TrainedGenerator[DcganGenerator]):
    """Faces of 64 x 64 pixels by the generator of a DCGAN, as the paper has them.

        C(m) = (G(m) + 1) / 2

    In training codes come from N(0, I), as the solver's starts do (the original draws them
    uniformly from [-1, 1]), and no picture belongs to another: `loss: []`, and an `adversarial`
    part. The quality of held-out pictures is how near the generator comes to each, in 100 steps of
    Adam on the code. No weights ship.

    Shapes: codes `(*batch, 100)` -> pictures `(*batch, 3, 64, 64)`.
    Units: pictures in [0, 1].
    Raises: WeightsError; ParameterError without weights; IncompatibleError for those of another
    prior.
    Cost: 5.1 million parameters, 330 MFLOP a picture.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, section 4.3; Radford, Metz and Chintala, 2016, Unsupervised representation learning
    with deep convolutional generative adversarial networks, ICLR.
    """

    shape: ClassVar[tuple[int, int, int]] = (3, 64, 64)
    paired: ClassVar[bool] = False

    width: int = param(64, doc="channels next to the picture", check=whole_number(1))

    def network(self) -> DcganGenerator:
        """Return the network."""
        return DcganGenerator(latent=self.latent, width=self.width)

    def reconstructed(self, x: Tensor, *, sampling: bool) -> Restored:
        """Return as many new pictures, or those in the generator's range next to x."""
        if not sampling:
            with torch.autocast(x.device.type, enabled=False):
                return Restored(
                    project(
                        self,
                        x,
                        restarts=1,
                        max_steps=_STEPS,
                        step_size=_RATE,
                        update="adam",
                        seed=0,
                    )
                )
        codes = torch.randn(len(x), self.latent, device=x.device)
        return Restored((self.loaded()(codes) + 1) / 2)

    def decode(self, z: Tensor) -> Tensor:
        """Return the picture of each code, `(*batch, latent)` -> `(*batch, 3, 64, 64)`."""
        self._check_codes(z)
        pictures: Tensor = (self.loaded(z)(z.reshape(-1, self.latent)) + 1) / 2
        return pictures.reshape(*z.shape[:-1], *self.shape)

    def _drawn(self, network: DcganGenerator, generator: torch.Generator) -> None:
        network.initialise(generator)
