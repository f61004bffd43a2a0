"""No noise."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from .quadratic import Quadratic

__all__ = ["NoNoise"]


@attrs.frozen(eq=False, kw_only=True)
class NoNoise(Quadratic):
    """The measurement is exact: `y = z`, with the data term `1/2 |z - y|^2`.

    Source: the definition.
    """

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a copy of `clean`."""
        return clean.clone()
