"""ADMM with relative residuals, over-relaxation and a penalty that balances itself per sample."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

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
from .steps import TV_PRIOR, inner_rtol, penalty_unit, ratio, spread

__all__ = ["Admm"]

_FAR = 3.0  # residuals this far apart ask for another penalty
_LIMIT = 2.0  # the largest change of the penalty in one step
# Multipliers below this part of |A|^2 |x| count as that: they vanish where a prior is idle, such as
# bounds that nothing exceeds, and say nothing then about how far there is to go.
_IDLE = 1e-3


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Picture, copies z of K x, scaled multipliers u, penalty and its unit, relative residuals."""

    x: Tensor
    z: tuple[Tensor, ...]
    u: tuple[Tensor, ...]
    rho: Tensor
    unit: Tensor
    primal: Tensor
    dual: Tensor
    done: int
    plan: Splitting


@attrs.frozen(eq=False, kw_only=True)
class Admm(IterativeSolver[State]):
    """Alternating direction method of multipliers for `1/2 |A x - y|^2 + R(x)`.

        x   = argmin_x 1/2 |A x - y|^2 + rho/2 |K x - z + u|^2
        z   = prox_{f / rho}(K x + u)
        u  <- u + K x - z

    with `R = f o K`: K = I for a proximal prior, K = L for an analysis prior. The linear solve is
    closed in the Fourier domain where A and L allow it. Where only `data_prox` is closed (masks,
    strided blurs, Fourier sampling) the data term becomes a second block with K = I, so that every
    step stays closed. Otherwise conjugate gradients go on from the last picture.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one penalty per sample.
    Units: rho in those of `|A|^2 / |K|^2`.
    Cost: per step one linear solve (two to four FFTs where closed) and the proximal maps.
    Source: Boyd et al., 2011, Distributed optimization and statistical learning via ADMM,
    equations (3.5)-(3.7), over-relaxation section 3.4.3, stopping section 3.3.1 with both residuals
    relative; penalty: Wohlberg, 2017, ADMM penalty parameter selection by residual balancing,
    section 4; two blocks: Afonso, Bioucas-Dias and Figueiredo, 2011, IEEE TIP 20(3), C-SALSA.
    """

    needs = Needs(priors=(ProximalPrior, AnalysisPrior))
    default_prior = TV_PRIOR

    max_steps: int = param(200, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-4, doc="Relative primal and dual residual to stop at.", check=real_number(least=0)
    )
    rho: float = param(1.0, doc="First penalty.", unit="|A|^2 / |K|^2", check=real_number(above=0))
    relaxation: float = param(
        1.6, doc="Over-relaxation; 1 for none.", check=real_number(above=0, below=2)
    )
    balance: int = param(
        50, doc="Number of first steps in which the penalty adapts.", check=whole_number(0)
    )

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate, with multipliers of zero."""
        plan = split(problem, rtol=inner_rtol(problem, self.tolerance))
        x = problem.start()
        z = plan.forward(x)
        unit = penalty_unit(problem, plan.operators)
        rho = self.rho * unit
        return State(
            x=x,
            z=z,
            u=tuple(torch.zeros_like(v) for v in z),
            rho=rho,
            unit=unit,
            primal=torch.ones_like(rho),
            dual=torch.ones_like(rho),
            done=0,
            plan=plan,
        )

    def step(self, problem: Problem, state: State) -> State:
        """One round of the three updates, and then of the penalty."""
        plan = state.plan
        targets = tuple(z - u for z, u in zip(state.z, state.u, strict=True))
        x = plan.solve(targets, state.rho, state.x)
        image = plan.forward(x)
        mixed = tuple(
            torch.lerp(z, k, self.relaxation) for k, z in zip(image, state.z, strict=True)
        )
        z = plan.prox(tuple(m + u for m, u in zip(mixed, state.u, strict=True)), 1 / state.rho)
        u = tuple(u + m - v for u, m, v in zip(state.u, mixed, z, strict=True))
        primal = ratio(_gap(plan, image, z), torch.maximum(_size(plan, image), _size(plan, z)))
        idle = _IDLE * state.unit / state.rho * _size(plan, z)
        dual = ratio(_gap(plan, z, state.z), torch.maximum(_size(plan, u), idle))
        rho, u = self._balanced(state, primal, dual, u)
        return attrs.evolve(
            state, x=x, z=z, u=u, rho=rho, primal=primal, dual=dual, done=state.done + 1
        )

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture; of a proximal prior the copy that obeys its constraints."""
        return state.x if isinstance(problem.prior, AnalysisPrior) else state.z[0]

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the larger of the two relative residuals."""
        return torch.maximum(new.primal, new.dual)

    def monitor(self, problem: Problem, state: State) -> Mapping[str, Tensor]:
        """Return both residuals and the penalty."""
        return {"primal_residual": state.primal, "dual_residual": state.dual, "rho": state.rho}

    def finish(self, problem: Problem, state: State) -> Mapping[str, Any]:
        """Return the last penalty (absolute), shape `batch`."""
        return {"rho": state.rho}

    def _balanced(
        self, state: State, primal: Tensor, dual: Tensor, u: tuple[Tensor, ...]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Raise the penalty where the primal residual is far above the dual one, and conversely."""
        if state.done >= self.balance:
            return state.rho, u
        # Copies that do not move, far from K x, also ask for a larger penalty.
        stuck = torch.where(primal > 0, torch.inf, 1)
        apart = torch.where(dual > 0, primal / torch.where(dual > 0, dual, 1), stuck)
        factor = apart.sqrt().clamp(1 / _LIMIT, _LIMIT)
        factor = torch.where((apart > _FAR) | (apart < 1 / _FAR), factor, 1)
        spaces = (op.out_space for op in state.plan.operators)
        # u is the multiplier divided by rho.
        return state.rho * factor, tuple(
            v / spread(factor, space) for v, space in zip(u, spaces, strict=True)
        )


def _size(plan: Splitting, parts: tuple[Tensor, ...]) -> Tensor:
    spaces = (op.out_space for op in plan.operators)
    squares = [space.norm(p).square() for p, space in zip(parts, spaces, strict=True)]
    return torch.stack(squares).sum(0).sqrt()


def _gap(plan: Splitting, a: tuple[Tensor, ...], b: tuple[Tensor, ...]) -> Tensor:
    return _size(plan, tuple(v - w for v, w in zip(a, b, strict=True)))
