"""Regularisation by denoising."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Denoiser, IterativeSolver, Needs, Problem, param

from .checks import count, not_negative, positive
from .plug import data_step, denoised, norm_or_one
from .steps import spread

__all__ = ["Red"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Picture, and weight of the denoiser in units of the data term."""

    x: Tensor
    weight: Tensor


@attrs.frozen(eq=False, kw_only=True)
class Red(IterativeSolver[State]):
    """Least squares with the penalty `weight/2 x^H (x - denoise(x, sigma))`.

        fixed_point:  x <- argmin_x 1/2 |A x - y|^2 + weight/2 |x - denoise(x_old, sigma)|^2
        gradient:     x <- x - (A^H (A x - y) + weight (x - denoise(x, sigma))) / (|A|^2 + weight)

    At a fixed point `A^H (A x - y) + weight (x - denoise(x, sigma)) = 0`, the gradient's zero for
    denoisers that are locally homogeneous with a symmetric Jacobian. Both reach the same picture;
    `auto` takes the fixed point where `data_prox` is closed.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`.
    Units: sigma: picture units; weight: those of |A|^2.
    Cost: one denoising per step, and one `data_prox` or one forward and one adjoint.
    Source: Romano, Elad and Milanfar, 2017, The little engine that could: regularization by
    denoising (RED), SIAM J. Imaging Sci. 10(4), equations (29) and (37).
    """

    needs = Needs(priors=(Denoiser,))
    default_prior = "nlm"

    max_steps: int = param(50, doc="Largest number of steps.", check=count)
    tolerance: float = param(
        1e-3, doc="Relative change of the picture to stop at.", check=not_negative
    )
    sigma: float = param(0.03, doc="Denoising level.", unit="picture units", check=positive)
    weight: float = param(0.02, doc="Of the penalty.", unit="|A|^2", check=positive)
    method: str = param("auto", doc="How to descend.", choices=("auto", "fixed_point", "gradient"))

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate."""
        return State(x=problem.start(), weight=self.weight * norm_or_one(problem).square())

    def step(self, problem: Problem, state: State) -> State:
        """One denoising and one data step."""
        level = torch.full_like(state.weight, self.sigma)
        clean = denoised(problem, state.x, level)
        if self._is_fixed_point(problem):
            x = data_step(problem, clean, 1 / state.weight, tolerance=self.tolerance)
            return attrs.evolve(state, x=x)
        weight = spread(state.weight, problem.image_space)
        slope = problem.data_grad(state.x) + weight * (state.x - clean)
        return attrs.evolve(state, x=state.x - slope * self.weight / (weight * (1 + self.weight)))

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture."""
        return state.x

    def _is_fixed_point(self, problem: Problem) -> bool:
        closed = problem.linear.has_closed_prox
        return closed if self.method == "auto" else self.method == "fixed_point"
