"""Regularisation by denoising."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Denoiser, IterativeSolver, Needs, Problem, param, real_number, whole_number

from .plug import data_step, denoised, noise_level
from .steps import lipschitz, spread

__all__ = ["Red"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Picture, weight rho of the penalty, and |A|^2."""

    x: Tensor
    rho: Tensor
    steepness: Tensor


@attrs.frozen(eq=False, kw_only=True)
class Red(IterativeSolver[State]):
    """Least squares with the penalty `rho/2 x^H (x - denoise(x, sigma))`.

        fixed_point:  x <- argmin_x 1/2 |A x - y|^2 + rho/2 |x - denoise(x_old, sigma)|^2
        gradient:     x <- x - (A^H (A x - y) + rho (x - denoise(x, sigma))) / (|A|^2 + rho)

    with `rho = weight (noise_sigma / sigma)^2`: a weight of 1 takes the denoiser at its word. At a
    fixed point `A^H (A x - y) + rho (x - denoise(x, sigma)) = 0`, the gradient's zero for denoisers
    that are locally homogeneous with a symmetric Jacobian. Both ways reach the same picture; `auto`
    takes the first where `data_prox` is closed.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`.
    Units: sigma: picture units; noise_sigma: those of the measurement.
    Cost: one denoising per step, and one `data_prox` or one forward and one adjoint.
    Source: Romano, Elad and Milanfar, 2017, The little engine that could: regularization by
    denoising (RED), SIAM J. Imaging Sci. 10(4), the fixed-point and
    the gradient-descent methods.
    """

    needs = Needs(priors=(Denoiser,))
    default_prior = "nlm"

    max_steps: int = param(30, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-3, doc="Relative change of the picture to stop at.", check=real_number(least=0)
    )
    sigma: float = param(
        0.03, doc="Denoising level.", unit="picture units", check=real_number(above=0)
    )
    noise_sigma: float | None = param(
        None,
        doc="Noise of the measurement; left out, of the noise model, or else 0.01 |A|.",
        check=real_number(above=0),
    )
    weight: float = param(
        0.5, doc="Trust in the denoiser against the data.", check=real_number(above=0)
    )
    method: str = param("auto", doc="How to descend.", choices=("auto", "fixed_point", "gradient"))

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate."""
        rho = self.weight * (noise_level(problem, self.noise_sigma) / self.sigma).square()
        return State(x=problem.start(), rho=rho, steepness=lipschitz(problem))

    def step(self, problem: Problem, state: State) -> State:
        """One denoising and one data step."""
        level = torch.full_like(state.rho, self.sigma)
        clean = denoised(problem, state.x, level)
        if self._is_fixed_point(problem):
            x = data_step(problem, clean, 1 / state.rho, tolerance=self.tolerance)
            return attrs.evolve(state, x=x)
        space = problem.image_space
        slope = problem.data_grad(state.x) + spread(state.rho, space) * (state.x - clean)
        step = 1 / (state.steepness + state.rho)
        return attrs.evolve(state, x=state.x - spread(step, space) * slope)

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture."""
        return state.x

    def _is_fixed_point(self, problem: Problem) -> bool:
        closed = problem.linear.has_closed_prox
        return closed if self.method == "auto" else self.method == "fixed_point"
