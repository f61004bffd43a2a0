"""Plug-and-play proximal gradient descent."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Denoiser, IterativeSolver, Needs, Problem, param, real_number, whole_number

from .plug import denoised, noise_level, norm_or_one
from .steps import lipschitz, relative, spread

__all__ = ["PnpPgd"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Picture, extrapolated point, momentum, step, denoising level, relative residual."""

    x: Tensor
    z: Tensor
    t: Tensor
    step: Tensor
    level: Tensor
    residual: Tensor


@attrs.frozen(eq=False, kw_only=True)
class PnpPgd(IterativeSolver[State]):
    """A gradient step on the data term, then a denoiser; with Nesterov's momentum.

        x_k     = denoise(z_k - A^H (A z_k - y) / |A|^2, sigma)
        z_{k+1} = x_k + (t_k - 1) / t_{k+1} (x_k - x_{k-1})

    Needs no linear solve: for operators whose `data_prox` has no closed form. The tolerance is on
    the fixed-point residual `|x_k - z_k| / |x_k|`.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one step size per sample.
    Units: sigma: picture units.
    Cost: one forward, one adjoint and one denoising per step; the norm of A once.
    Source: Kamilov, Mansour and Wohlberg, 2017, A plug-and-play priors approach for solving
    nonlinear imaging inverse problems, IEEE SPL 24(12), algorithm 1 with its accelerating q_k.
    """

    needs = Needs(priors=(Denoiser,))
    default_prior = "nlm"

    max_steps: int = param(30, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(1e-3, doc="Relative residual to stop at.", check=real_number(least=0))
    sigma: float | None = param(
        None,
        doc="Denoising level; left out, the noise over |A|, or else 0.01.",
        unit="picture units",
        check=real_number(above=0),
    )
    momentum: bool = param(True, doc="Whether to extrapolate.")

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate, with one step size per sample."""
        x = problem.start()
        steepness = lipschitz(problem)
        one = torch.ones_like(steepness)
        level = noise_level(problem, None) / norm_or_one(problem)
        if self.sigma is not None:
            level = torch.full_like(level, self.sigma)
        return State(x=x, z=x, t=one, step=1 / steepness, level=level, residual=one)

    def step(self, problem: Problem, state: State) -> State:
        """One gradient step and one denoising."""
        space = problem.image_space
        moved = state.z - spread(state.step, space) * problem.data_grad(state.z)
        x = denoised(problem, moved, state.level)
        t = (1 + (1 + 4 * state.t.square()).sqrt()) / 2
        ahead = (state.t - 1) / t if self.momentum else torch.zeros_like(t)
        return attrs.evolve(
            state,
            x=x,
            z=torch.addcmul(x, spread(ahead, space), x - state.x),
            t=t,
            residual=relative(space, x - state.z, x),
        )

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture."""
        return state.x

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the fixed-point residual."""
        return new.residual
