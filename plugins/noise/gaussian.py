"""Gaussian noise."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import param, short

from .quadratic import Quadratic
from .scales import scale_for, strength

__all__ = ["Gaussian"]


@attrs.frozen(eq=False, kw_only=True)
class Gaussian(Quadratic):
    """White Gaussian noise: `y = z + sigma n`.

    n has unit variance for each value; that of a complex value is shared equally between its real
    and imaginary parts. The data term is `1/2 |z - y|^2`, whatever sigma is.

    Shapes: z `(*batch, *event)`; sigma a number, `(B,)` for measurements of three axes, or
    `(B, 1, ..., 1)` with an axis for each of theirs.
    Units: sigma: picture units (the standard deviation).
    Raises: ParameterError, ShapeError.
    Source: Boyd and Vandenberghe, 2004, Convex optimization, section 7.1.1.
    """

    sigma: float | Tensor = param(
        0.05,
        doc="standard deviation; a tensor (B,) gives one per sample",
        unit="picture units",
        check=strength(zero=True),
        repr=short,
    )

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return `clean + sigma n`."""
        n = torch.randn(clean.shape, dtype=clean.dtype, device=clean.device, generator=generator)
        return clean + scale_for(self.sigma, clean, who="Gaussian.sigma") * n
