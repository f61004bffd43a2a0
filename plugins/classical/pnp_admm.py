"""Plug-and-play ADMM."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor
from wellposed import Denoiser, IterativeSolver, Needs, Problem, param, real_number, whole_number

from .plug import data_step, denoised, noise_level
from .steps import relative

__all__ = ["PnpAdmm"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Denoised picture, scaled multiplier, noise of the measurement, denoising level, residual."""

    z: Tensor
    u: Tensor
    noise: Tensor
    level: Tensor
    residual: Tensor


@attrs.frozen(eq=False, kw_only=True)
class PnpAdmm(IterativeSolver[State]):
    """ADMM with a denoiser in the place of the prior's proximal map.

        x   = argmin_x |A x - y|^2 / (2 noise_sigma^2) + weight / (2 sigma^2) |x - (z - u)|^2
        z   = denoise(x + u, sigma)
        u  <- u + x - z,    sigma <- shrink * sigma

    A `shrink` below 1 makes it converge for any bounded denoiser; at 1 it converges for those that
    are proximal maps, and mostly for others.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; levels per sample.
    Units: sigma: picture units; noise_sigma: those of the measurement.
    Cost: one `data_prox` and one denoising per step.
    Source: Venkatakrishnan, Bouman and Wohlberg, 2013, Plug-and-play priors for model based
    reconstruction, IEEE GlobalSIP, section III; shrinking level: Chan, Wang and Elgendy, 2017,
    Plug-and-play ADMM for image restoration, IEEE TCI 3(1), algorithm 1 (there on the penalty).
    """

    needs = Needs(priors=(Denoiser,))
    default_prior = "nlm"

    max_steps: int = param(20, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-3, doc="Relative size of x - z, and change of z, to stop at.", check=real_number(least=0)
    )
    sigma: float = param(
        0.05, doc="First denoising level.", unit="picture units", check=real_number(above=0)
    )
    shrink: float = param(
        0.95,
        doc="Factor on the denoising level in each step.",
        check=real_number(above=0, below=1 + 1e-12),
    )
    noise_sigma: float | None = param(
        None,
        doc="Noise of the measurement; left out, of the noise model, or else 0.01 |A|.",
        check=real_number(above=0),
    )
    weight: float = param(
        0.4, doc="Trust in the denoiser against the data.", check=real_number(above=0)
    )

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate."""
        z, noise = problem.start(), noise_level(problem, self.noise_sigma)
        level = torch.full_like(noise, self.sigma)
        return State(
            z=z, u=torch.zeros_like(z), noise=noise, level=level, residual=torch.ones_like(noise)
        )

    def step(self, problem: Problem, state: State) -> State:
        """One data step, one denoising, one update of the multiplier."""
        level, space = state.level, problem.image_space
        tau = (level / state.noise).square() / self.weight
        x = data_step(problem, state.z - state.u, tau, tolerance=self.tolerance)
        z = denoised(problem, x + state.u, level)
        u = state.u + x - z
        residual = torch.maximum(relative(space, x - z, z), relative(space, z - state.z, z))
        # The multiplier is held divided by the penalty, which grows as the level falls.
        return State(
            z=z,
            u=u * self.shrink**2,
            noise=state.noise,
            level=level * self.shrink,
            residual=residual,
        )

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the denoised picture."""
        return state.z

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the larger of the relative residuals."""
        return new.residual

    def monitor(self, problem: Problem, state: State) -> Mapping[str, Tensor]:
        """Return the denoising level of the next step."""
        return {"sigma": state.level}
