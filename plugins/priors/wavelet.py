"""Sparsity in a wavelet basis, and its translation-invariant form as a denoiser."""

from __future__ import annotations

import itertools
import math
from typing import Any, cast

import attrs
import torch
from torch import Tensor
from wellposed import (
    AnalysisPrior,
    Denoiser,
    ForwardOperator,
    ProximalPrior,
    Space,
    param,
    short,
)
from wellposed.errors import ParameterError

from .differences import wavelet_operator
from .values import (
    above,
    magnitude,
    non_negative,
    per_sample,
    picture_space,
    scaled,
    shrink,
    total,
)

__all__ = ["CycleSpinning", "WaveletL1"]


def _known(instance: object, attribute: Any, value: object) -> None:
    """Check the name of a wavelet with the transform that knows them, before it is needed."""
    try:
        wavelet_operator(Space((1, 1, 1), torch.float32), cast(str, value), None)
    except (ParameterError, TypeError) as error:
        raise ParameterError(
            f"{type(instance).__name__}.wavelet is not one that the transform knows: {error}"
        ) from error


def _depth(instance: object, attribute: Any, value: object) -> None:
    if value is not None:
        above(0, whole=True)(instance, attribute, value)


def _details(space: Space, op: Any, device: torch.device) -> Tensor:
    """Return where the coefficients are details, `(H, W)`."""
    height, width = op.approximation
    rows = torch.arange(space.shape[-2], device=device) >= height
    columns = torch.arange(space.shape[-1], device=device) >= width
    details: Tensor = rows[:, None] | columns
    return details


@attrs.frozen(eq=False, kw_only=True)
class WaveletL1(ProximalPrior, AnalysisPrior):
    """Sparsity of the wavelet coefficients, in an orthonormal basis.

        R(x) = weight sum_i |(W x)_i|;   prox(v, tau) = W^H soft(W v, tau weight)

    The sum is over the details, and over the coarsest approximation as well unless it is left
    free (`free_approximation`), which keeps the local mean. Coefficients of a pixel's channels
    count one by one, or by their common length (`joint_channels`). Complex: magnitudes.

    The basis is not translation-invariant: see `wavelet_cycle_spinning` for pictures without its
    blocky traces.

    Shapes: pictures `(*batch, C, H, W)` of any size; L x of the same shape.
    Units: weight: picture units. To denoise at standard deviation sigma, about `2 sigma` for RGB
    with `joint_channels`, `1.2 sigma` for one channel or separate ones.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: the proximal map, exact: one transform and its inverse.
    Source: Donoho and Johnstone, 1994, Ideal spatial adaptation by wavelet shrinkage, Biometrika
    81(3); Yuan and Lin, 2006, Model selection and estimation in regression with grouped variables,
    JRSS B 68(1), for the common length.
    """

    weight: float | Tensor = param(
        1e-2,
        doc="Multiplies the functional; one value, or one per sample.",
        check=non_negative,
        repr=short,
    )
    wavelet: str = param("db4", doc="Filters, named as in the wavelet operator.", check=_known)
    levels: int | None = param(
        None,
        doc="How often the picture is split; None: as that operator does.",
        check=_depth,
    )
    free_approximation: bool = param(True, doc="Leave the coarsest approximation unpenalised.")
    joint_channels: bool = param(True, doc="One length for the coefficients of all channels.")

    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample; shape `batch`."""
        space = picture_space(x, who=self.name)
        return self.analysis_value(self.analysis(space)._apply(x))

    def analysis(self, space: Space) -> ForwardOperator:
        """Return W."""
        return cast(ForwardOperator, wavelet_operator(space, self.wavelet, self.levels))

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return the weighted sum of magnitudes of each sample."""
        length = magnitude(u, self._dims)
        if self.free_approximation:
            length = torch.where(self._counted(u), length, 0)
        return scaled(total(length, 3), self.weight, who=self.name)

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Shorten every magnitude by `tau weight`."""
        step = per_sample(tau, u, who=self.name, name="tau")
        weight = per_sample(self.weight, u, who=self.name, name="weight")
        small = shrink(u, step * weight, self._dims)
        return torch.where(self._counted(u), small, u) if self.free_approximation else small

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return `W^H analysis_prox(W v, tau)`."""
        op = self.analysis(picture_space(v, who=self.name))
        return op._adjoint(self.analysis_prox(op._apply(v), tau))

    def _counted(self, u: Tensor) -> Tensor:
        space = Space(tuple(u.shape[-3:]), u.dtype)
        return _details(space, self.analysis(space), u.device)

    @property
    def _dims(self) -> tuple[int, ...]:
        return (-3,) if self.joint_channels else ()


@attrs.frozen(eq=False, kw_only=True)
class CycleSpinning(Denoiser):
    """Wavelet shrinkage, averaged over circular shifts of the picture.

        z = mean over shifts s of  S_s^H W^H T(W S_s v),   T at the threshold strength sigma

    with T the hard threshold (a coefficient stays or goes) or the soft one. `shifts` n stands for
    all pairs of 0, ..., n - 1 pixels; 2^levels give full translation invariance, 4 most of it.
    It is a denoiser, not the proximal map of a prior. The coarsest approximation is kept.

    Shapes: pictures `(*batch, C, H, W)` of any size; sigma a number or `(*batch,)`.
    Units: sigma: standard deviation in picture units; zero returns v. With `joint_channels`, the
    length of the C coefficients is compared with `sigma sqrt(strength^2 + C - 1)`, since noise
    alone has the mean square `C sigma^2`.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: shifts^2 transforms and inverses.
    Source: Coifman and Donoho, 1995, Translation-invariant de-noising, section 3.
    """

    strength: float = param(2.8, doc="The threshold in units of sigma.", check=above(0))
    threshold: str = param("hard", choices=("hard", "soft"), doc="Keep or shorten what is above.")
    wavelet: str = param("db4", doc="Filters, named as in the wavelet operator.", check=_known)
    levels: int | None = param(
        None,
        doc="How often the picture is split; None: as that operator does.",
        check=_depth,
    )
    shifts: int = param(4, doc="Shifts along each axis.", unit="pixels", check=above(0, whole=True))
    joint_channels: bool = param(True, doc="One length for the coefficients of all channels.")

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return v with noise of standard deviation `sigma` removed."""
        space = picture_space(v, who=self.name)
        level = per_sample(sigma, v, who=self.name, name="sigma")
        op = wavelet_operator(space, self.wavelet, self.levels)
        details = _details(space, op, v.device)
        others = space.shape[0] - 1 if self.joint_channels else 0
        limit = math.sqrt(self.strength**2 + others) * level
        mean = torch.zeros_like(v)
        # A shift by a whole period is none.
        sizes = (min(self.shifts, n) for n in space.shape[-2:])
        pairs = list(itertools.product(*map(range, sizes)))
        for shift in pairs:
            u = op._apply(v.roll(shift, (-2, -1)))
            kept = self._keep(u, limit)
            z = op._adjoint(torch.where(details, kept, u))
            mean = mean + z.roll((-shift[0], -shift[1]), (-2, -1))
        found = mean / len(pairs)
        if isinstance(level, Tensor):
            return torch.where(level > 0, found, v)
        return found if level else v

    def _keep(self, u: Tensor, level: Tensor | float) -> Tensor:
        dims = (-3,) if self.joint_channels else ()
        if self.threshold == "soft":
            return shrink(u, level, dims)
        return torch.where(magnitude(u, dims) > level, u, 0)
