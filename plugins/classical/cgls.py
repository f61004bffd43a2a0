"""CGLS: conjugate gradients on the normal equations, every sample at its own pace."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import IterativeSolver, Needs, Problem, param, real_number, whole_number

from .steps import ratio, spread

__all__ = ["Cgls"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Iterate, residuals of the data and of the normal equations, direction; `first`: |A^H y|."""

    x: Tensor
    r: Tensor
    s: Tensor
    p: Tensor
    gamma: Tensor
    first: Tensor


@attrs.frozen(eq=False, kw_only=True)
class Cgls(IterativeSolver[State]):
    """Least squares by conjugate gradients, without forming `A^H A`.

        argmin_x |A x - y|^2 + damp^2 |x|^2

    Started at zero (no `initial`) and without damping it tends to the solution of least norm.
    Stopping early regularises: few steps for a noisy measurement. The tolerance is on the relative
    residual of the normal equations, `|A^H (y - A x) - damp^2 x| / |A^H y|` (where that is zero,
    over the residual at the start).

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`.
    Units: damp in those of A.
    Cost: one forward and one adjoint per step.
    Source: Bjorck, 1996, Numerical methods for least squares problems, algorithm 7.4.1.
    """

    needs = Needs()

    max_steps: int = param(200, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-6,
        doc="Relative residual of the normal equations to stop at.",
        check=real_number(least=0),
    )
    damp: float = param(0.0, doc="Weight of the penalty damp^2 |x|^2.", check=real_number(least=0))

    def init(self, problem: Problem) -> State:
        """Start at `initial`, or at zero."""
        op, y = problem.linear, problem.measurement
        space = op.in_space
        back = op._adjoint(y)
        if problem.initial is None:
            x, r, s = torch.zeros_like(back), y, back
        else:
            x = problem.initial
            r = y - op._apply(x)
            s = op._adjoint(r) - self.damp**2 * x
        size, residual = space.norm(back), space.norm(s)
        first = torch.where(size > 0, size, residual)
        return State(x=x, r=r, s=s, p=s, gamma=residual.square(), first=first)

    def step(self, problem: Problem, state: State) -> State:
        """One step of CGLS; a sample that is solved stays where it is."""
        op = problem.linear
        q = op._apply(state.p)
        size = op.out_space.norm(q).square()
        if self.damp:
            size = size + self.damp**2 * op.in_space.norm(state.p).square()
        alpha = ratio(state.gamma, size)
        x = state.x + spread(alpha, op.in_space) * state.p
        r = state.r - spread(alpha, op.out_space) * q
        s = op._adjoint(r)
        if self.damp:
            s = s - self.damp**2 * x
        gamma = op.in_space.norm(s).square()
        p = s + spread(ratio(gamma, state.gamma), op.in_space) * state.p
        return State(x=x, r=r, s=s, p=p, gamma=gamma, first=state.first)

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the iterate."""
        return state.x

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the relative residual of the normal equations."""
        return ratio(new.gamma.sqrt(), new.first)
