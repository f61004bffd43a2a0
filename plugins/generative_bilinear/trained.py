"""What generators whose network is trained by a recipe have in common."""

from __future__ import annotations

import functools
from abc import abstractmethod
from typing import ClassVar, Generic, Self, TypeVar

import attrs
import torch
from torch import Tensor, nn
from wellposed import GenerativePrior, Space, derived, param, short, whole_number
from wellposed.errors import IncompatibleError, ParameterError
from wellposed.training import prior_from_weights

__all__ = ["TrainedGenerator"]

N = TypeVar("N", bound=nn.Module)


@attrs.frozen(eq=False, kw_only=True)
class TrainedGenerator(GenerativePrior, Generic[N]):
    """A network from codes to pictures, by its weights; a class says what it is made of."""

    shape: ClassVar[tuple[int, int, int]]
    usual: ClassVar[str | None] = None  # the weights that are meant when none are named

    latent: int = param(100, doc="length of a code", check=whole_number(1))
    width: int = param(64, doc="channels of the widest picture inside", check=whole_number(1))
    weights: str | None = param(
        None, doc="Path of a weights file, or the name of installed ones; left out, the usual ones."
    )
    trained: N | None = param(None, doc="The network itself.", repr=short)
    dtype: torch.dtype = param(
        torch.float32, doc="Precision in which weights are loaded.", repr=False
    )

    @abstractmethod
    def network(self) -> N:
        """Return the network with whatever weights."""

    @abstractmethod
    def _drawn(self, network: N, generator: torch.Generator) -> None:
        """Draw the weights of a new network."""

    @property
    def latent_shape(self) -> tuple[int, ...]:
        """`(latent,)`."""
        return (self.latent,)

    @property
    def out_space(self) -> Space:
        """Pictures of the network's size."""
        own = None if self.trained is None else next(self.trained.parameters(), None)
        return Space(self.shape, self.dtype if own is None else own.dtype)

    def for_training(self, *, seed: int) -> Self:
        """Return the prior with a new network, its weights drawn from `seed`."""
        network = self.network()
        self._drawn(network, torch.Generator().manual_seed(seed))
        return attrs.evolve(self, trained=network)

    def loaded(self, like: Tensor | None = None) -> N:
        """Return the network, on the device and in the precision of a tensor.

        Raises: WeightsError; IncompatibleError for weights of another prior; ParameterError
        without any.
        """
        if self.trained is not None:
            return self.trained
        device, dtype = ("cpu", self.dtype) if like is None else (like.device, like.dtype)
        load = functools.partial(self._load, torch.device(device), dtype)
        return derived(self, f"network {device} {dtype}", load)

    def _check_codes(self, z: Tensor) -> None:
        Space(self.latent_shape, z.dtype).check(z, who=self.name, name="z")

    def _load(self, device: torch.device, dtype: torch.dtype) -> N:
        weights = self.weights or self.usual
        if weights is None:
            raise ParameterError(
                f"no weights of {self.name} are installed. Train some, `wellposed train RECIPE`, "
                "and give their path.",
                where="weights",
            )
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
