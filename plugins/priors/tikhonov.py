"""Tikhonov regularisation."""

from __future__ import annotations

import attrs
from torch import Tensor
from wellposed import (
    AnalysisPrior,
    ForwardOperator,
    SmoothPrior,
    Space,
    param,
    short,
    solve_normal,
)

from .bounded import BoundedProx, Bounds, clamp
from .differences import gradient_operator, identity_operator
from .dual import Accuracy, prox_by_dual
from .values import above, non_negative, per_sample, picture_space, scaled, total

__all__ = ["Tikhonov"]


@attrs.frozen(eq=False, kw_only=True)
class Tikhonov(BoundedProx, SmoothPrior, AnalysisPrior):
    """Small energy of the picture, or of its gradient.

        R(x) = weight/2 |L x|^2,   grad R(x) = weight L^H L x,
        prox(v, tau) = (I + tau weight L^H L)^-1 v

    with the identity or the forward differences as L. With `A^H A + weight L^H L`, from
    `analysis(space)` and `weight`, a solver has the normal equations of the whole problem.

    Shapes: pictures `(*batch, C, H, W)`, real or complex; L x `(*batch, 2, C, H, W)` for the
    gradient.
    Units: weight: none (the ratio of noise to signal energy, for the identity).
    Raises: ShapeError, DtypeError, ParameterError.
    Warns: NotConvergedWarning, where conjugate gradients are used.
    Cost: the proximal map: one pass for the identity, two FFTs for the circular gradient,
    conjugate gradients for the other; within bounds, iterated unless L is the identity.
    Source: Tikhonov, 1963, Solution of incorrectly formulated problems and the regularization
    method, Soviet Mathematics Doklady 4.
    """

    weight: float | Tensor = param(
        1e-2,
        doc="Multiplies the functional; one value, or one per sample.",
        check=non_negative,
        repr=short,
    )
    operator: str = param(
        "gradient", choices=("identity", "gradient"), doc="L: what should be small."
    )
    boundary: str = param(
        "circular",
        choices=("circular", "zero"),
        doc="The difference across the border: to the opposite side (closed forms), or zero.",
    )
    tolerance: float = param(
        1e-6, doc="Relative error of the proximal map within bounds.", check=above(0)
    )
    max_steps: int = param(
        2000, doc="Budget of the proximal map within bounds.", check=above(0, whole=True)
    )

    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample; shape `batch`."""
        space = picture_space(x, who=self.name)
        return self.analysis_value(self.analysis(space)._apply(x))

    def grad(self, x: Tensor) -> Tensor:
        """Return `weight L^H L x`."""
        space = picture_space(x, who=self.name)
        return per_sample(self.weight, x, who=self.name, name="weight") * self.analysis(
            space
        )._gram(x)

    def lipschitz(self, space: Space) -> float:
        """Return `weight |L|^2`, the largest over the samples."""
        weight = float(self.weight.max()) if isinstance(self.weight, Tensor) else self.weight
        return weight * float(self.analysis(space).norm_bound()) ** 2

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return `(I + tau weight L^H L)^-1 v`."""
        space = picture_space(v, who=self.name)
        step = per_sample(tau, v, who=self.name, name="tau")
        factor = step * per_sample(self.weight, v, who=self.name, name="weight")
        if self.operator == "identity":
            return v / (1 + factor)
        return solve_normal([(factor, self.analysis(space))], v, shift=1.0, x0=v)

    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return `argmin over lower <= x <= upper of R(x) + 1/(2 tau) |x - v|^2`."""
        if self.operator == "identity" or bounds == (None, None):
            return clamp(self.prox(v, tau), bounds, who=self.name)
        space = picture_space(v, who=self.name)
        accuracy = Accuracy(self.tolerance, self.max_steps, self.name)
        return prox_by_dual(
            [(self, self.analysis(space))], v, tau, bounds=bounds, accuracy=accuracy
        )

    def analysis(self, space: Space) -> ForwardOperator:
        """Return L."""
        if self.operator == "identity":
            return identity_operator(space)
        return gradient_operator(space, self.boundary)

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return `weight/2 |u|^2` for each sample."""
        energy = total(u.abs().square(), self._event_ndim)
        return scaled(0.5 * energy, self.weight, who=self.name)

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return `u / (1 + tau weight)`."""
        n = self._event_ndim
        step = per_sample(tau, u, who=self.name, name="tau", event_ndim=n)
        weight = per_sample(self.weight, u, who=self.name, name="weight", event_ndim=n)
        return u / (1 + step * weight)

    @property
    def _event_ndim(self) -> int:
        return 3 if self.operator == "identity" else 4
