"""Half-quadratic splitting: a penalty that grows, no multipliers."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import (
    AnalysisPrior,
    IterativeSolver,
    Needs,
    Problem,
    ProximalPrior,
    param,
    real_number,
    whole_number,
)

from .splitting import Splitting, split
from .steps import TV_PRIOR, geometric, inner_rtol, penalty_unit, relative

__all__ = ["Hqs"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Picture, copies z of K x, natural unit of the penalty, steps done."""

    x: Tensor
    z: tuple[Tensor, ...]
    unit: Tensor
    done: int
    plan: Splitting


@attrs.frozen(eq=False, kw_only=True)
class Hqs(IterativeSolver[State]):
    """Half-quadratic splitting of `1/2 |A x - y|^2 + f(K x)`, for convex and other priors.

        z = prox_{f / rho}(K x)
        x = argmin_x 1/2 |A x - y|^2 + rho/2 |K x - z|^2

    while rho grows from `first` to `last` in `continuation` steps; then rho stays, and the
    tolerance counts. For a convex prior `admm` is exact at any penalty; the continuation is what
    finds good minima of priors that are not convex, such as `hyper_laplacian`.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one unit of rho per sample.
    Units: first and last in those of `|A|^2 / |K|^2`.
    Cost: per step one linear solve and the proximal map.
    Source: Geman and Yang, 1995, Nonlinear image recovery with half-quadratic regularization, IEEE
    TIP 4(7); continuation: Krishnan and Fergus, 2009, Fast image deconvolution using
    hyper-Laplacian priors, algorithm 1.
    """

    needs = Needs(priors=(ProximalPrior, AnalysisPrior))
    default_prior = TV_PRIOR

    max_steps: int = param(40, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-4, doc="Relative change to stop at once rho has grown.", check=real_number(least=0)
    )
    first: float = param(
        1e-2, doc="First penalty.", unit="|A|^2 / |K|^2", check=real_number(above=0)
    )
    last: float = param(1e2, doc="Last penalty.", unit="|A|^2 / |K|^2", check=real_number(above=0))
    continuation: int = param(30, doc="Number of steps in which rho grows.", check=whole_number(1))

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate."""
        plan = split(problem, rtol=inner_rtol(problem, self.tolerance))
        x = problem.start()
        return State(
            x=x, z=plan.forward(x), unit=penalty_unit(problem, plan.operators), done=0, plan=plan
        )

    def step(self, problem: Problem, state: State) -> State:
        """One proximal map and one linear solve at the penalty of this step."""
        plan = state.plan
        rho = state.unit * geometric(self.first, self.last, state.done, self.continuation)
        z = plan.prox(plan.forward(state.x), 1 / rho)
        x = plan.solve(z, rho, state.x)
        return State(x=x, z=z, unit=state.unit, done=state.done + 1, plan=plan)

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture; of a proximal prior the copy that obeys its constraints."""
        return state.x if isinstance(problem.prior, AnalysisPrior) else state.z[0]

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the relative change, never below the tolerance while rho still grows."""
        after = self.estimate(problem, new)
        moved = relative(problem.image_space, after - self.estimate(problem, old), after)
        growing = new.done < self.continuation
        return torch.clamp_min(moved, self.tolerance) if growing else moved
