"""The data term of Gaussian noise."""

from __future__ import annotations

from torch import Tensor
from wellposed import Noise, Space

__all__ = ["Quadratic"]


class Quadratic(Noise):
    """`D(z) = 1/2 |z - y|^2`."""

    def value(self, z: Tensor, y: Tensor, space: Space) -> Tensor:
        """Return `1/2 |z - y|^2` for each sample; shape `batch`."""
        return 0.5 * space.norm(z - y).square()

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """Return `z - y`."""
        return z - y

    def prox(self, v: Tensor, y: Tensor, tau: Tensor | float) -> Tensor:
        """Return `(v + tau y) / (1 + tau)`."""
        return v + tau / (1 + tau) * (y - v)

    @property
    def is_quadratic(self) -> bool:
        """True."""
        return True
