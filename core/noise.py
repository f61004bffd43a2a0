"""`Noise`: how measurements scatter, and the data term that follows."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from .component import Component
from .space import Space

__all__ = ["Noise"]


class Noise(Component):
    """A noise model: it draws measurements, and gives the data term D(z) of a clean z = A x.

    Gaussian noise has `D(z) = 1/2 |z - y|^2` whatever its sigma: the weight of a prior is
    relative to that. All methods treat samples apart.
    """

    @abstractmethod
    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a noisy copy of a clean measurement; the generator lies on its device."""

    @abstractmethod
    def value(self, z: Tensor, y: Tensor, space: Space) -> Tensor:
        """Return D(z) for each sample; shape `batch`."""

    @abstractmethod
    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the gradient of D at z."""

    @abstractmethod
    def prox(self, v: Tensor, y: Tensor, tau: Tensor | float) -> Tensor:
        """Return `argmin_z D(z) + 1/(2 tau) |z - v|^2`; tau broadcasts against v."""

    @property
    def is_quadratic(self) -> bool:
        """Whether `D(z) = 1/2 |z - y|^2`, which `ForwardOperator.data_prox` solves."""
        return False
