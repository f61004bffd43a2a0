"""Plug-and-play half-quadratic splitting with a falling denoising level (DPIR)."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor
from wellposed import Denoiser, IterativeSolver, Needs, Problem, param, real_number, whole_number

from .plug import data_step, denoised, noise_level, norm_or_one
from .steps import geometric

__all__ = ["PnpHqs"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """The denoised picture, noise of the measurement, first, last and present level, steps."""

    z: Tensor
    noise: Tensor
    first: Tensor
    last: Tensor
    level: Tensor
    done: int


@attrs.frozen(eq=False, kw_only=True)
class PnpHqs(IterativeSolver[State]):
    """Data step and denoiser in turn, while the denoising level falls.

        x = argmin_x |A x - y|^2 / (2 noise_sigma^2) + weight / (2 sigma_k^2) |x - z|^2
        z = denoise(x, sigma_k)

    with sigma_k falling geometrically from `sigma` to `last_sigma` over `max_steps`. The fixed
    schedule is what makes a handful of steps enough. Holes need more of them (24 and up), since
    nothing but the denoiser fills them.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one schedule per sample.
    Units: sigma, last_sigma: picture units; noise_sigma: those of the measurement.
    Cost: one `data_prox` and one denoising per step.
    Source: Zhang et al., 2021, Plug-and-play image restoration with deep denoiser prior, IEEE
    TPAMI 44(10), its half-quadratic splitting and section 4.2.
    """

    needs = Needs(priors=(Denoiser,))
    default_prior = "nlm"

    max_steps: int = param(8, doc="Number of steps, those of the schedule.", check=whole_number(1))
    tolerance: float = param(0.0, doc="Relative change to stop at.", check=real_number(least=0))
    sigma: float = param(
        49 / 255, doc="First denoising level.", unit="picture units", check=real_number(above=0)
    )
    last_sigma: float | None = param(
        None,
        doc="Last denoising level; left out, noise_sigma / |A|.",
        unit="picture units",
        check=real_number(above=0),
    )
    noise_sigma: float | None = param(
        None,
        doc="Noise of the measurement; left out, of the noise model, or else 0.01 |A|.",
        check=real_number(above=0),
    )
    weight: float = param(
        0.23, doc="Trust in the denoiser against the data.", check=real_number(above=0)
    )

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate."""
        noise = noise_level(problem, self.noise_sigma)
        last = noise / norm_or_one(problem)
        if self.last_sigma is not None:
            last = torch.full_like(last, self.last_sigma)
        first = last.clamp_min(self.sigma)
        return State(z=problem.start(), noise=noise, first=first, last=last, level=first, done=0)

    def step(self, problem: Problem, state: State) -> State:
        """One data step and one denoising at the level of this step."""
        level = geometric(state.first, state.last, state.done, self.max_steps)
        tau = (level / state.noise).square() / self.weight
        x = data_step(problem, state.z, tau, tolerance=1e-3)
        return attrs.evolve(state, z=denoised(problem, x, level), level=level, done=state.done + 1)

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the denoised picture."""
        return state.z

    def monitor(self, problem: Problem, state: State) -> Mapping[str, Tensor]:
        """Return the denoising level."""
        return {"sigma": state.level}
