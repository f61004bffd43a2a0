"""Any network from codes to pictures as a generative prior."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor, nn
from wellposed import GenerativePrior, Space, param, short
from wellposed.errors import DeviceError, DtypeError, ParameterError, ShapeError

__all__ = ["NetworkGenerator"]


def _generator(instance: object, attribute: Any, value: object) -> None:
    who = f"{type(instance).__name__}.{attribute.name}"
    if not isinstance(value, nn.Module):
        raise ParameterError(
            f"{who} expects a torch.nn.Module from codes to pictures; got {type(value).__name__}."
        )
    for name, part in value.named_modules():
        kinds = (nn.modules.batchnorm._BatchNorm, nn.modules.dropout._DropoutNd)
        if isinstance(part, kinds) and part.training:
            raise ParameterError(
                f"{who} has {type(part).__name__} ({name or 'itself'}) in training mode, which "
                "would make a picture depend on chance or on the others; call network.eval()."
            )


def _shape(instance: object, attribute: Any, value: tuple[int, ...]) -> None:
    Space(value)  # refuses what is no shape


def _range(instance: object, attribute: Any, value: tuple[float, float]) -> None:
    if len(value) != 2 or not value[0] < value[1]:
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects (lowest, highest) in rising "
            f"order, such as (-1, 1); got {value}."
        )


@attrs.frozen(eq=False, kw_only=True)
class NetworkGenerator(GenerativePrior):
    """A generator given as a network: the decoder of a VAE, the generator of a GAN, or any other.

        C(z) = (network(z) - low) / (high - low)    with value_range (low, high)

    The network is called with a batch `(B, *latent_shape)` and returns `(B, C, H, W)`. It runs in
    the mode (train or eval) that it is in, and `to` moves a copy of it. Its weights need no grad.

    Shapes: codes `(*batch, *latent_shape)` -> pictures `(*batch, C, H, W)`.
    Units: pictures in [0, 1], once value_range says what the network gives.
    Raises: ParameterError, also for batch normalisation or dropout in training mode; DeviceError,
    DtypeError when codes and network lie apart or differ in precision; ShapeError for other
    shapes.
    Cost: that of the network.
    Source: Bora et al., 2017, Compressed sensing using generative models, section 2; for [-1, 1],
    Radford, Metz, Chintala, 2015, DCGAN.
    """

    network: nn.Module = param(doc="The network.", check=_generator, repr=short)
    latent_shape: tuple[int, ...] = param(
        doc="Shape of one code as the network takes it: (100,), or (100, 1, 1) for DCGAN.",
        check=_shape,
    )
    out_shape: tuple[int, int, int] = param(
        doc="Shape (C, H, W) of a picture.", unit="pixels", check=_shape
    )
    value_range: tuple[float, float] = param(
        (0.0, 1.0),
        doc="The network's values for black and white: (-1, 1) where it ends in tanh.",
        check=_range,
    )
    dtype: torch.dtype = param(torch.float32, doc="Precision of the network.")

    @property
    def out_space(self) -> Space:
        """Pictures."""
        return Space(self.out_shape, self.dtype)

    def decode(self, z: Tensor) -> Tensor:
        """Return the network's pictures."""
        codes = Space(self.latent_shape, self.dtype)
        codes.check(z, who=self.name, name="z")
        self._check_place(z)
        batch = codes.batch_of(z)
        flat = z.reshape(-1, *self.latent_shape)
        found = self.network(flat)
        self._check_pictures(found, len(flat))
        low, high = self.value_range
        if self.value_range != (0, 1):
            found = (found - low) / (high - low)
        pictures: Tensor = found.reshape(*batch, *self.out_shape)
        return pictures

    def _check_place(self, z: Tensor) -> None:
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        if weight is None:
            return
        if weight.device != z.device:
            raise DeviceError(
                f"{self.name} has its network on {weight.device}; got z on {z.device}. "
                "Move one of them: prior.to(device=...)."
            )
        if weight.dtype != z.dtype:
            raise DtypeError(
                f"{self.name} has a network of {weight.dtype}, and says dtype={self.dtype}. "
                "Make them one: prior.to(dtype=...)."
            )

    def _check_pictures(self, found: object, count: int) -> None:
        wanted = (count, *self.out_shape)
        if not isinstance(found, Tensor) or tuple(found.shape) != wanted:
            got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
            raise ShapeError(
                f"{self.name} expects its network to return pictures of shape {wanted}; got {got}."
            )
        if found.dtype != self.dtype:
            raise DtypeError(
                f"{self.name} expects its network to return {self.dtype}; got {found.dtype}."
            )
