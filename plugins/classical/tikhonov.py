"""Tikhonov regularisation, in closed form where there is one, with a weight that finds itself."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor
from wellposed import (
    DirectSolver,
    ForwardOperator,
    Problem,
    Reconstruction,
    param,
    real_number,
    solve_normal,
    whole_number,
)

from .fourier import SpectralFilter, frequencies, is_diagonal
from .gradient import gradient_of
from .steps import norm_of, spread
from .weight import best_weight

__all__ = ["Tikhonov"]

_RELATIVE_WEIGHT = 1e-3
_GROUND = 1e-6


@attrs.frozen(eq=False, kw_only=True)
class Tikhonov(DirectSolver):
    """Least squares with a quadratic penalty on the gradient, or on the picture itself.

        x = argmin_x 1/2 |A x - y|^2 + weight/2 (|L x|^2 + ground |x|^2)

    L: differences to the right and below (`gradient`), with `ground = 8e-6` so that there is one
    answer even where A measures no mean, or the identity (`identity`, no ground).

    weight left out: where A is shift-equivariant, the one of least predicted risk, by the sigma of
    a Gaussian noise model or else by generalised cross-validation; for other operators
    `1e-3 |A|^2 / |L|^2`. Extras: `weight`, of shape `batch`.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one weight per sample.
    Units: weight in those of `|A|^2 / |L|^2`: data units per picture unit, squared.
    Warns: NotConvergedWarning when conjugate gradients end above their tolerance.
    Cost: FFTs for a shift-equivariant A, or any A with a closed `data_prox` for `identity`;
    otherwise conjugate gradients.
    Source: Tikhonov, 1963, Soviet Mathematics Doklady 4; with a stride: Zhao et al., 2016, IEEE TIP
    25(8), the analytical l2-l2 solution; weight: Mallows, 1973, Technometrics 15(4), and Golub,
    Heath and Wahba, 1979, Technometrics 21(2).
    """

    weight: float | None = param(
        None, doc="Of the penalty; left out, found.", check=real_number(above=0)
    )
    penalty: str = param(
        "gradient", doc="What the penalty measures.", choices=("gradient", "identity")
    )
    max_steps: int = param(
        500, doc="Largest number of steps of conjugate gradients.", check=whole_number(1)
    )
    tolerance: float | None = param(
        None,
        doc="Relative residual of conjugate gradients; left out, 1e-5, in float64 1e-10.",
        check=real_number(least=0),
    )

    def _reconstruct(self, problem: Problem) -> Reconstruction:
        op, y = problem.linear, problem.measurement
        circulant = is_diagonal(op)
        root = self._root(problem) if circulant and self.penalty == "gradient" else None
        flat = op if root is None else op @ root
        weight = self._weight(problem, flat if circulant else None)
        if self.penalty == "gradient" and root is None:
            return Reconstruction(image=self._iterate(problem, weight), extras={"weight": weight})
        zero = torch.zeros_like(op._adjoint(y))
        z = flat.data_prox(zero, y, 1 / weight, rtol=self._rtol(y), max_steps=self.max_steps)
        return Reconstruction(image=z if root is None else root(z), extras={"weight": weight})

    def _root(self, problem: Problem) -> SpectralFilter:
        """Return `(L^H L + ground)^(-1/2)` for circular differences."""
        y, space = problem.measurement, problem.image_space
        down, across = frequencies(space, y.device)
        square = 4 * (torch.sin(math.pi * down).square() + torch.sin(math.pi * across).square())
        response = (square + 8 * _GROUND).rsqrt()
        return SpectralFilter(response=response.to(y.real.dtype), space=space)

    def _iterate(self, problem: Problem, weight: Tensor) -> Tensor:
        op, y = problem.linear, problem.measurement
        step = spread(weight, op.in_space)
        gradient = gradient_of(op.in_space, circular=False)
        # Divided by the weight, so that the ground is a plain shift.
        return solve_normal(
            [(1 / step, op), (1.0, gradient)],
            op._adjoint(y) / step,
            shift=8 * _GROUND,
            x0=problem.start(),
            rtol=self._rtol(y),
            max_steps=self.max_steps,
        )

    def _weight(self, problem: Problem, flat: ForwardOperator | None) -> Tensor:
        size = norm_of(problem, problem.linear)
        if self.weight is not None:
            return torch.full_like(size, self.weight)
        if flat is not None:
            return best_weight(problem, flat)
        size = torch.where(size == 0, 1, size)
        return _RELATIVE_WEIGHT / (8 if self.penalty == "gradient" else 1) * size.square()

    def _rtol(self, y: Tensor) -> float:
        if self.tolerance is not None:
            return self.tolerance
        return 1e-10 if y.real.dtype == torch.float64 else 1e-5
