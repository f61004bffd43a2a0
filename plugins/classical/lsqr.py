"""LSQR, batched: bidiagonalisation with one set of scalars per sample."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import IterativeSolver, Problem, Space, param, real_number, whole_number

from .steps import ratio, spread

__all__ = ["Lsqr"]


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Names as in the paper; `normal`: residual of the normal equations, `first`: |A^H y|."""

    x: Tensor
    u: Tensor
    v: Tensor
    w: Tensor
    alpha: Tensor
    phi_bar: Tensor
    rho_bar: Tensor
    normal: Tensor
    first: Tensor


@attrs.frozen(eq=False, kw_only=True)
class Lsqr(IterativeSolver[State]):
    """Least squares by Golub-Kahan bidiagonalisation; steadier than CGLS on ill-conditioned A.

        argmin_x |A x - y|^2 + damp^2 |x|^2

    Started at zero, it tends to the solution of least norm (`initial`, when given, is where the
    correction is measured from). The tolerance is on the residual of the normal equations, relative
    to |A^H y| (where that is zero, to the residual at the start).

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`.
    Units: damp in those of A.
    Cost: one forward and one adjoint per step.
    Source: Paige and Saunders, 1982, LSQR: an algorithm for sparse linear equations and sparse
    least squares, ACM TOMS 8(1), section 5.1; departure: with an `initial`, the damping is of the
    correction, as in their own code.
    """

    max_steps: int = param(200, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-6,
        doc="Relative residual of the normal equations to stop at.",
        check=real_number(least=0),
    )
    damp: float = param(0.0, doc="Weight of the penalty damp^2 |x|^2.", check=real_number(least=0))

    def init(self, problem: Problem) -> State:
        """Start the bidiagonalisation."""
        op, y = problem.linear, problem.measurement
        size = torch.zeros_like(op.out_space.norm(y))
        if problem.initial is not None:
            size = op.in_space.norm(op._adjoint(y))
            y = y - op._apply(problem.initial)
        beta, u = _normalised(y, op.out_space)
        alpha, v = _normalised(op._adjoint(u), op.in_space)
        x = torch.zeros_like(v) if problem.initial is None else problem.initial
        return State(
            x=x,
            u=u,
            v=v,
            w=v,
            alpha=alpha,
            phi_bar=beta,
            rho_bar=alpha,
            normal=alpha * beta,
            first=torch.where(size > 0, size, alpha * beta),
        )

    def step(self, problem: Problem, state: State) -> State:
        """One step of bidiagonalisation, and one rotation."""
        op = problem.linear
        a, b = op.in_space, op.out_space
        beta, u = _normalised(op._apply(state.v) - spread(state.alpha, b) * state.u, b)
        alpha, v = _normalised(op._adjoint(u) - spread(beta, a) * state.v, a)
        # Rotate the damping away first, then the subdiagonal.
        rho_damped = torch.hypot(state.rho_bar, torch.full_like(state.rho_bar, self.damp))
        phi_bar = state.phi_bar * ratio(state.rho_bar, rho_damped)
        rho = torch.hypot(rho_damped, beta)
        c, s = ratio(rho_damped, rho), ratio(beta, rho)
        theta, rho_bar = s * alpha, -c * alpha
        phi, phi_bar = c * phi_bar, s * phi_bar
        x = state.x + spread(ratio(phi, rho), a) * state.w
        w = v - spread(ratio(theta, rho), a) * state.w
        return State(
            x=x,
            u=u,
            v=v,
            w=w,
            alpha=alpha,
            phi_bar=phi_bar,
            rho_bar=rho_bar,
            normal=(phi_bar * alpha * c).abs(),
            first=state.first,
        )

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the iterate."""
        return state.x

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the relative residual of the normal equations."""
        return ratio(new.normal, new.first)


def _normalised(x: Tensor, space: Space) -> tuple[Tensor, Tensor]:
    size = space.norm(x)
    return size, ratio(x, spread(size, space))
