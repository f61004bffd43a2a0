"""Priors that treat every pixel alone: their proximal maps are exact, also within bounds."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor
from wellposed import (
    AnalysisPrior,
    ForwardOperator,
    ProximalPrior,
    SmoothPrior,
    Space,
    param,
    short,
)

from .bounded import BoundedProx, Bounds, check_order, clamp, meet
from .differences import identity_operator
from .values import finite, non_negative, per_sample, picture_space, scaled, shrink, total

__all__ = ["L0", "L1", "Box", "NonNegative", "Zero"]


@attrs.frozen(eq=False, kw_only=True)
class L1(BoundedProx, AnalysisPrior):
    """Sparsity of the pixels: the sum of their magnitudes.

        R(x) = weight sum_i |x_i|;   prox(v, tau)_i = v_i max(0, 1 - tau weight / |v_i|)

    Shapes: pictures `(*batch, C, H, W)`, real or complex.
    Units: weight: picture units (an entry below `tau weight` becomes 0).
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: a few passes over the picture.
    Source: Donoho, 1995, De-noising by soft-thresholding, IEEE TIT 41(3), equation (7); within
    bounds: the soft threshold, then the clip, since a convex function of one variable is least
    within an interval at the point nearest to its minimiser.
    """

    weight: float | Tensor = param(
        1e-2,
        doc="Multiplies the functional; one value, or one per sample.",
        check=non_negative,
        repr=short,
    )

    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample; shape `batch`."""
        picture_space(x, who=self.name)
        return scaled(total(x.abs(), 3), self.weight, who=self.name)

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return the soft threshold of v at `tau weight`."""
        picture_space(v, who=self.name)
        step = per_sample(tau, v, who=self.name, name="tau")
        return shrink(v, step * per_sample(self.weight, v, who=self.name, name="weight"))

    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return the soft threshold of v, moved within the bounds."""
        return clamp(self.prox(v, tau), bounds, who=self.name)

    def analysis(self, space: Space) -> ForwardOperator:
        """Return the identity."""
        return identity_operator(space)

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return R(u)."""
        return self.value(u)

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return `prox(u, tau)`."""
        return self.prox(u, tau)


@attrs.frozen(eq=False, kw_only=True)
class L0(ProximalPrior):
    """Sparsity of the pixels: how many are not 0. Not convex.

        R(x) = weight #{i: x_i != 0};   prox(v, tau)_i = v_i where |v_i|^2 > 2 tau weight, else 0

    Shapes: pictures `(*batch, C, H, W)`, real or complex.
    Units: weight: squared picture units.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: a few passes over the picture.
    Source: Blumensath and Davies, 2008, Iterative thresholding for sparse approximations, Journal
    of Fourier Analysis and Applications 14, section 2.1.
    """

    weight: float | Tensor = param(
        1e-4,
        doc="Multiplies the functional; one value, or one per sample.",
        check=non_negative,
        repr=short,
    )

    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample; shape `batch`."""
        picture_space(x, who=self.name)
        return scaled(total((x != 0).to(x.abs().dtype), 3), self.weight, who=self.name)

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return the hard threshold of v at `sqrt(2 tau weight)`."""
        picture_space(v, who=self.name)
        step = per_sample(tau, v, who=self.name, name="tau")
        level = 2 * step * per_sample(self.weight, v, who=self.name, name="weight")
        root = level.sqrt() if isinstance(level, Tensor) else math.sqrt(level)
        return torch.where(v.abs() > root, v, 0)


@attrs.frozen(eq=False, kw_only=True)
class Box(BoundedProx):
    """Pixels within bounds: 0 where all are, infinite elsewhere.

        R(x) = 0 if lower <= x_i <= upper for all i, else infinity;   prox(v, tau) = clip(v)

    Shapes: pictures `(*batch, C, H, W)`, real.
    Units: lower, upper: picture units; None is no bound.
    Raises: ShapeError; DtypeError for complex pictures; ParameterError for lower > upper.
    Cost: one pass over the picture.
    Source: Parikh and Boyd, 2014, Proximal algorithms, section 6.2, projections.
    """

    lower: float | None = param(0.0, doc="Least value; none if None.", check=finite)
    upper: float | None = param(1.0, doc="Largest value; none if None.", check=finite)

    def __attrs_post_init__(self) -> None:
        check_order(self.lower, self.upper, who=self.name)

    def value(self, x: Tensor) -> Tensor:
        """Return 0 or infinity for each sample; shape `batch`."""
        picture_space(x, who=self.name)
        inside = total((x != self._clip(x)).to(x.dtype), 3) == 0
        return torch.where(inside, 0.0, math.inf).to(x.dtype)

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return v moved within the bounds, whatever the step."""
        picture_space(v, who=self.name)
        per_sample(tau, v, who=self.name, name="tau")
        return self._clip(v)

    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return v moved within these bounds and its own, which must meet."""
        return clamp(v, meet((self.lower, self.upper), bounds, who=self.name), who=self.name)

    def _clip(self, x: Tensor) -> Tensor:
        return clamp(x, (self.lower, self.upper), who=self.name)


@attrs.frozen(eq=False, kw_only=True)
class NonNegative(BoundedProx):
    """Pixels of at least 0: `prox(v, tau) = max(v, 0)`; see `Box`.

    Shapes: pictures `(*batch, C, H, W)`, real.
    Raises: ShapeError; DtypeError for complex pictures.
    Cost: one pass over the picture.
    Source: Parikh and Boyd, 2014, Proximal algorithms, section 6.2, projections.
    """

    def value(self, x: Tensor) -> Tensor:
        """Return 0 or infinity for each sample; shape `batch`."""
        return Box(lower=0.0, upper=None).value(x)

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return the positive part of v, whatever the step."""
        return Box(lower=0.0, upper=None).prox(v, tau)

    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return v moved within the bounds and above 0."""
        return Box(lower=0.0, upper=None).prox_within(v, tau, bounds)


@attrs.frozen(eq=False, kw_only=True)
class Zero(BoundedProx, SmoothPrior, AnalysisPrior):
    """Nothing is known: `R(x) = 0`, for plain least squares from solvers that ask for a prior.

    Shapes: pictures `(*batch, C, H, W)`, real or complex.
    Raises: ShapeError, DtypeError.
    Source: the definition; its proximal map is the identity.
    """

    def value(self, x: Tensor) -> Tensor:
        """Return 0 for each sample; shape `batch`."""
        picture_space(x, who=self.name)
        # A sum that depends on x, so that autograd finds the gradient 0.
        return total(torch.where(torch.zeros_like(x, dtype=torch.bool), x.abs(), 0), 3)

    def grad(self, x: Tensor) -> Tensor:
        """Return 0."""
        return torch.zeros_like(x)

    def lipschitz(self, space: Space) -> float:
        """Return 0."""
        return 0.0

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return v."""
        picture_space(v, who=self.name)
        per_sample(tau, v, who=self.name, name="tau")
        return v

    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return v moved within the bounds."""
        return clamp(self.prox(v, tau), bounds, who=self.name)

    def analysis(self, space: Space) -> ForwardOperator:
        """Return the identity."""
        return identity_operator(space)

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return 0 for each sample."""
        return self.value(u)

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return u."""
        return self.prox(u, tau)
