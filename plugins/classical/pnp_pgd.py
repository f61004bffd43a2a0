"""Plug-and-play proximal gradient descent."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Denoiser, IterativeSolver, Needs, Problem, param

from .checks import between, count, not_negative, positive
from .plug import denoised
from .steps import Point, lipschitz, spread

__all__ = ["PnpPgd"]


@attrs.frozen(eq=False, kw_only=True)
class PnpPgd(IterativeSolver[Point]):
    """A gradient step on the data term, then a denoiser.

        x <- denoise(x - step A^H (A x - y), sigma),    step = relaxation / |A|^2

    Needs no linear solve: for operators whose `data_prox` has no closed form.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one step size per sample.
    Units: sigma: picture units.
    Cost: one forward, one adjoint and one denoising per step; the norm of A once.
    Source: Kamilov, Mansour and Wohlberg, 2017, A plug-and-play priors approach for solving
    nonlinear imaging inverse problems, IEEE SPL 24(12), algorithm 1, without momentum.
    """

    needs = Needs(priors=(Denoiser,))
    default_prior = "nlm"

    max_steps: int = param(50, doc="Largest number of steps.", check=count)
    tolerance: float = param(
        1e-3, doc="Relative change of the picture to stop at.", check=not_negative
    )
    sigma: float = param(0.02, doc="Denoising level.", unit="picture units", check=positive)
    relaxation: float = param(1.0, doc="Step in units of 1 / |A|^2.", check=between(0, 2))

    def init(self, problem: Problem) -> Point:
        """Start at the initial estimate, with one step size per sample."""
        return Point(x=problem.start(), step=self.relaxation / lipschitz(problem))

    def step(self, problem: Problem, state: Point) -> Point:
        """One gradient step and one denoising."""
        moved = state.x - spread(state.step, problem.image_space) * problem.data_grad(state.x)
        level = torch.full_like(state.step, self.sigma)
        return Point(x=denoised(problem, moved, level), step=state.step)

    def estimate(self, problem: Problem, state: Point) -> Tensor:
        """Return the picture."""
        return state.x
