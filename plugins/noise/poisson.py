"""Poisson noise."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Noise, Space, param, short
from wellposed.errors import DtypeError

from .scales import scale_for, strength

__all__ = ["Poisson"]

_MOST_COUNTS = 2.0**62  # beyond, the noise is a billionth of the picture: it is left out


@attrs.frozen(eq=False, kw_only=True)
class Poisson(Noise):
    """Photon counting: `y = Poisson(gain z) / gain`, so that the mean of y is z.

    The data term is the Kullback-Leibler divergence in picture units, i.e. the negative
    log-likelihood over `gain`, up to a constant:

        D(z) = sum_i z_i - y_i + y_i log(y_i / z_i),   infinite where z_i < 0, or z_i = 0 < y_i.

    Near z = y it is `sum_i (z_i - y_i)^2 / (2 y_i)`: a prior needs about the weight that it has
    with Gaussian noise. Negative measurements (a dark frame subtracted) count as zero.

    Shapes: z `(*batch, *event)`, real; gain a number, `(B,)` for measurements of three axes, or
    `(B, 1, ..., 1)` with an axis for each of theirs.
    Units: gain: counts per picture unit. A larger gain is less noise: the standard deviation of y
    is `sqrt(z / gain)`.
    Raises: ParameterError, ShapeError, DtypeError.
    Source: Bertero et al., 2009, Image deblurring with Poisson data: from cells to galaxies,
    Inverse Problems 25, equations (8)-(12); the proximal map: Combettes and Pesquet, 2007, A
    Douglas-Rachford splitting approach, table I (x).
    """

    gain: float | Tensor = param(
        100.0,
        doc="counts per picture unit; a tensor (B,) gives one per sample",
        unit="counts per picture unit",
        check=strength(zero=False),
        repr=short,
    )

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return counts over the gain; negative values of `clean` count as zero, NaN stays.

        Raises: DtypeError for complex measurements.
        """
        _require_real(clean)
        gain = scale_for(self.gain, clean, who="Poisson.gain")
        rate = gain * clean.clamp_min(0)
        # torch draws whole numbers of 64 bits, and refuses a batch for one NaN.
        drawn = rate < _MOST_COUNTS
        counts = torch.poisson(torch.where(drawn, rate, 0), generator)
        return torch.where(drawn, counts, rate) / gain

    def value(self, z: Tensor, y: Tensor, space: Space) -> Tensor:
        """Return D(z) for each sample; shape `batch`."""
        _require_real(z)
        y = y.clamp_min(0)
        # Where y = 0 there is no logarithm, whose gradient would be 0 / 0 at z = 0.
        safe = torch.where(y > 0, z, 1)
        terms = z - y + torch.special.xlogy(y, y) - torch.special.xlogy(y, safe)
        terms = torch.where((z < 0) | ((z == 0) & (y > 0)), torch.inf, terms)
        return terms.sum(dim=tuple(range(-space.ndim, 0)))

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """Return `1 - y / z`; minus infinity where D is infinite because z <= 0 < y."""
        _require_real(z)
        y = y.clamp_min(0)
        inside = z > 0
        ratio = torch.where(inside, y / torch.where(inside, z, 1), torch.inf)
        return 1 - torch.where(y > 0, ratio, 0)

    def prox(self, v: Tensor, y: Tensor, tau: Tensor | float) -> Tensor:
        """Return the positive root of `z^2 - (v - tau) z - tau y = 0`."""
        _require_real(v)
        centre = v - tau
        offset = tau * y.clamp_min(0)
        root = (centre.square() + 4 * offset).sqrt()
        # For a negative centre the sum cancels; the product of both roots is -offset.
        below = centre < 0
        small = 2 * offset / torch.where(below, root - centre, 1)
        return torch.where(below, small, (root + centre) / 2)


def _require_real(z: Tensor) -> None:
    if z.is_complex():
        raise DtypeError(
            f"Poisson expects real measurements, which count something; got {z.dtype}. "
            "Take gaussian noise for complex ones."
        )
