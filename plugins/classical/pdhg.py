"""Primal-dual hybrid gradient (Chambolle-Pock) with steps that balance themselves per sample."""

from __future__ import annotations

import dataclasses
import functools
import operator
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

from .splitting import Block, Prox
from .steps import TV_PRIOR, lipschitz, norm_of, ratio, spread

__all__ = ["Pdhg"]

_DECAY = 0.95
_FAR = 1.5


@dataclasses.dataclass(frozen=True, eq=False)
class Plan:
    """Terms behind an operator (each gets a dual variable), and the one on the picture itself."""

    dual: tuple[Block, ...]
    primal: Prox | None


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Picture, dual variables p_i, images K_i x, pull-backs K_i^H p_i, steps: unit, balance."""

    x: Tensor
    p: tuple[Tensor, ...]
    image: tuple[Tensor, ...]
    backs: tuple[Tensor, ...]
    norms: tuple[Tensor, ...]
    unit: Tensor
    balance: Tensor
    eagerness: Tensor
    primal: Tensor
    dual: Tensor
    plan: Plan


@attrs.frozen(eq=False, kw_only=True)
class Pdhg(IterativeSolver[State]):
    """Chambolle and Pock's first-order primal-dual method for `D(A x) + R(x)`, D of any noise.

        x   <- prox_{tau G}(x - tau K^H p)
        p_i <- prox_{sigma_i F_i*}(p_i + sigma_i K_i (2 x_new - x_old))

    No linear system is solved. With an analysis prior `R = g o L` the rows of K are A and L, or L
    alone where the data term is quadratic with a closed `data_prox` (then that is G); with a
    proximal prior K = A and G = R. Steps: `sigma_i = balance c |A|^2 / |K_i|^2` for each of n rows
    and `tau = 1 / (balance c |A|^2 n)`, hence `tau sum_i sigma_i |K_i|^2 = 1`; c is the curvature
    of D near y, one for Gaussian noise, so that the units of A, x and y drop out.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; steps per sample.
    Units: balance has none.
    Cost: one application of K and one of K^H per step, and the proximal maps; norms once.
    Source: Chambolle and Pock, 2011, A first-order primal-dual algorithm for convex problems, JMIV
    40, algorithm 1; one step per block: Pock and Chambolle, 2011, ICCV, lemma 2;
    balance: Goldstein, Li and Yuan, 2015, Adaptive primal-dual splitting methods, algorithm 1,
    with both residuals relative.
    """

    needs = Needs(priors=(ProximalPrior, AnalysisPrior), quadratic=False)
    default_prior = TV_PRIOR

    max_steps: int = param(500, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-4, doc="Relative primal and dual residual to stop at.", check=real_number(least=0)
    )
    balance: float = param(
        0.01, doc="First ratio of dual to primal step.", check=real_number(above=0)
    )
    adapt: float = param(
        0.5,
        doc="How boldly the balance adapts at first; decays by 5 % each time.",
        check=real_number(least=0, below=1),
    )

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate, with dual variables of zero."""
        plan = _plan(problem)
        x = problem.start()
        image = tuple(block.operator._apply(x) for block in plan.dual)
        norms = tuple(norm_of(problem, block.operator) for block in plan.dual)
        norms = tuple(torch.where(n == 0, 1, n) for n in norms)
        one = torch.ones_like(norms[0])
        return State(
            x=x,
            p=tuple(torch.zeros_like(k) for k in image),
            image=image,
            backs=tuple(torch.zeros_like(x) for _ in image),
            norms=norms,
            unit=_unit(problem),
            balance=self.balance * one,
            eagerness=self.adapt * one,
            primal=one,
            dual=one,
            plan=plan,
        )

    def step(self, problem: Problem, state: State) -> State:
        """One primal step, one dual step, and the balance of the next ones."""
        plan, space = state.plan, problem.image_space
        rho = state.balance * state.unit
        tau = 1 / (len(state.norms) * rho)
        sigmas = tuple(rho / n.square() for n in state.norms)
        x = state.x - spread(tau, space) * _total(state.backs)
        if plan.primal is not None:
            x = plan.primal(x, tau)
        image = tuple(block.operator._apply(x) for block in plan.dual)
        p = tuple(
            _dual_prox(block, v + spread(s, block.operator.out_space) * (2 * new - old), s)
            for block, v, s, new, old in zip(
                plan.dual, state.p, sigmas, image, state.image, strict=True
            )
        )
        backs = tuple(b.operator._adjoint(v) for b, v in zip(plan.dual, p, strict=True))
        primal, dual = _residuals(problem, state, tau, sigmas, x, p, image, backs)
        balance, eagerness = _rebalanced(state, primal, dual)
        return attrs.evolve(
            state,
            x=x,
            p=p,
            image=image,
            backs=backs,
            balance=balance,
            eagerness=eagerness,
            primal=primal,
            dual=dual,
        )

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture."""
        return state.x

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the larger of the two relative residuals."""
        return torch.maximum(new.primal, new.dual)

    def monitor(self, problem: Problem, state: State) -> Mapping[str, Tensor]:
        """Return both residuals and the balance of the steps."""
        return {
            "primal_residual": state.primal,
            "dual_residual": state.dual,
            "balance": state.balance,
        }

    def finish(self, problem: Problem, state: State) -> Mapping[str, Any]:
        """Return the last balance, a good first one for similar problems."""
        return {"balance": state.balance}


def _plan(problem: Problem) -> Plan:
    op, prior, y = problem.linear, problem.prior, problem.measurement
    noise, space = problem.noise, op.out_space

    def measured(v: Tensor, tau: Tensor) -> Tensor:
        step = spread(tau, space)
        return (v + step * y) / (1 + step) if noise is None else noise.prox(v, y, step)

    data = Block(op, measured)
    if not isinstance(prior, AnalysisPrior):
        assert isinstance(prior, ProximalPrior)
        return Plan((data,), prior.prox)
    regulariser = Block(prior.analysis(op.in_space), prior.analysis_prox)
    if problem.is_quadratic and op.has_closed_prox:
        return Plan((regulariser,), lambda v, tau: op.data_prox(v, y, tau))
    return Plan((data, regulariser), None)


def _unit(problem: Problem) -> Tensor:
    """Return `c |A|^2`, the curvature of D(A x) in x, with c taken between y and 2 y."""
    y, space, noise = problem.measurement, problem.linear.out_space, problem.noise
    if noise is None or noise.is_quadratic:
        return lipschitz(problem)
    c = ratio(space.norm(noise.grad(2 * y, y)), space.norm(y))
    return torch.where(c == 0, 1, c) * lipschitz(problem)


def _dual_prox(block: Block, v: Tensor, sigma: Tensor) -> Tensor:
    """Return `prox_{sigma F*}(v)` by Moreau's identity, `v - sigma prox_{F / sigma}(v / sigma)`."""
    step = spread(sigma, block.operator.out_space)
    return v - step * block.prox(v / step, 1 / sigma)


def _residuals(
    problem: Problem,
    old: State,
    tau: Tensor,
    sigmas: tuple[Tensor, ...],
    x: Tensor,
    p: tuple[Tensor, ...],
    image: tuple[Tensor, ...],
    backs: tuple[Tensor, ...],
) -> tuple[Tensor, Tensor]:
    """Return the distances to optimality, relative to |K| |p| and |K| |x|.

    0 is in `dG(x) + K^H p` up to the first, and in `dF*(p) - K x` up to the second. (|K^H p| and
    |K x| themselves may tend to zero: for exact data, and for flat pictures.)
    """
    space = problem.image_space
    miss = (old.x - x) / spread(tau, space) - _total(old.backs) + _total(backs)
    primal_size = torch.zeros_like(tau)
    dual = torch.zeros_like(tau)
    for block, norm, s, new, v, k, before in zip(
        old.plan.dual, old.norms, sigmas, p, old.p, image, old.image, strict=True
    ):
        out = block.operator.out_space
        gap = (v - new) / spread(s, out) + (k - before)
        dual = torch.maximum(dual, ratio(out.norm(gap), norm * space.norm(x)))
        primal_size = torch.maximum(primal_size, norm * out.norm(new))
    return ratio(space.norm(miss), primal_size), dual


def _total(parts: tuple[Tensor, ...]) -> Tensor:
    return functools.reduce(operator.add, parts)


def _rebalanced(state: State, primal: Tensor, dual: Tensor) -> tuple[Tensor, Tensor]:
    """Shift the balance towards the side that lags; ever less, as convergence requires."""
    # A large dual residual asks for larger dual steps.
    up, down = dual > _FAR * primal, primal > _FAR * dual
    keep = 1 - state.eagerness
    factor = torch.where(up, 1 / keep, torch.where(down, keep, 1))
    eagerness = torch.where(up | down, _DECAY * state.eagerness, state.eagerness)
    return state.balance * factor, eagerness
