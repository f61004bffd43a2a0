"""A generator from which descents go astray."""

from __future__ import annotations

import attrs
import torch
from wellposed import GenerativePrior, Space, param

F64 = torch.float64


@attrs.frozen(eq=False, kw_only=True)
class Cubic(GenerativePrior):
    """Cubes of the code: they grow so fast that plain steps go astray from large codes."""

    latent_shape: tuple[int, ...] = param((3,), doc="three numbers")

    @property
    def out_space(self):
        return Space((1, 1, 3), F64)

    def decode(self, z):
        return (z**3).reshape(*z.shape[:-1], 1, 1, 3)
