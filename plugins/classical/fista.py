"""FISTA with restarts, and with a step size that can be found on the way."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import (
    IterativeSolver,
    Needs,
    Problem,
    ProximalPrior,
    param,
    real_number,
    whole_number,
)

from .steps import TV_PRIOR, lipschitz, ratio, relative, spread

__all__ = ["Fista"]

_GROWTH = 1.5


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Iterate, extrapolated point, momentum, Lipschitz estimate, and the relative residual."""

    x: Tensor
    z: Tensor
    t: Tensor
    steepness: Tensor
    residual: Tensor


@attrs.frozen(eq=False, kw_only=True)
class Fista(IterativeSolver[State]):
    """Proximal gradient steps with Nesterov's momentum, restarted per sample when it overshoots.

        x_k     = prox_{R / L}(z_k - A^H (A z_k - y) / L)
        z_{k+1} = x_k + (t_k - 1) / t_{k+1} (x_k - x_{k-1}),  t_{k+1} = (1 + sqrt(1 + 4 t_k^2)) / 2

    L is `|A|^2`, or found by backtracking. The tolerance is on the fixed-point residual
    `|x_k - z_k| / |x_k|`, which is zero only at a minimiser.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one L and one momentum per sample.
    Cost: one forward, one adjoint and one proximal map per step (another forward when
    backtracking); the norm of A once (never when backtracking).
    Source: Beck and Teboulle, 2009, A fast iterative shrinkage-thresholding algorithm for linear
    inverse problems, SIAM J. Imaging Sci. 2(1), equations (4.1)-(4.3); restarts: O'Donoghue and
    Candes, 2015, Adaptive restart for accelerated gradient schemes, section 3.2.
    Departure: a step that backtracking rejects counts as a step, so that samples stay independent.
    """

    needs = Needs(priors=(ProximalPrior,))
    default_prior = TV_PRIOR

    max_steps: int = param(200, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(1e-5, doc="Relative residual to stop at.", check=real_number(least=0))
    restart: bool = param(True, doc="Whether to drop the momentum when it points uphill.")
    backtracking: bool = param(
        False, doc="Whether to find L on the way instead of from the norm of A."
    )

    def init(self, problem: Problem) -> State:
        """Start at the initial estimate."""
        x = problem.start()
        steepness = self._first_guess(problem, x) if self.backtracking else lipschitz(problem)
        one = torch.ones_like(steepness)
        return State(x=x, z=x, t=one, steepness=steepness, residual=one)

    def step(self, problem: Problem, state: State) -> State:
        """One proximal gradient step from the extrapolated point."""
        assert isinstance(problem.prior, ProximalPrior)
        space = problem.image_space
        inverse = 1 / state.steepness
        slope = problem.data_grad(state.z)
        x = problem.prior.prox(state.z - spread(inverse, space) * slope, inverse)
        ahead = x - state.x
        t = (1 + (1 + 4 * state.t.square()).sqrt()) / 2
        momentum = (state.t - 1) / t
        if self.restart:
            uphill = space.inner(state.z - x, ahead).real > 0
            t, momentum = torch.where(uphill, 1, t), torch.where(uphill, 0, momentum)
        new = State(
            x=x,
            z=torch.addcmul(x, spread(momentum, space), ahead),
            t=t,
            steepness=state.steepness,
            residual=relative(space, x - state.z, x),
        )
        return self._unless_too_long(problem, state, new) if self.backtracking else new

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the iterate."""
        return state.x

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return the fixed-point residual."""
        return new.residual

    def _first_guess(self, problem: Problem, x: Tensor) -> Tensor:
        """Return the curvature along the gradient, which is at most |A|^2."""
        slope = problem.data_grad(x)
        return _or_one(_curvature(problem, slope))

    def _unless_too_long(self, problem: Problem, old: State, new: State) -> State:
        """Keep the old point, with a larger L, where the quadratic bound does not hold."""
        # The data term is quadratic: f(x) <= f(z) + <f'(z), d> + L/2 |d|^2 reads |A d|^2 <= L |d|^2
        found = _curvature(problem, new.x - old.z)
        slack = 1 + 10 * torch.finfo(found.dtype).eps
        good = ~(found > slack * old.steepness)
        held = spread(good, problem.image_space)
        return State(
            x=torch.where(held, new.x, old.x),
            z=torch.where(held, new.z, old.z),
            t=torch.where(good, new.t, old.t),
            steepness=torch.where(
                good, old.steepness, torch.maximum(found, _GROWTH * old.steepness)
            ),
            residual=torch.where(good, new.residual, 1),
        )


def _curvature(problem: Problem, direction: Tensor) -> Tensor:
    op = problem.linear
    along = op.out_space.norm(op._apply(direction)).square()
    return ratio(along, op.in_space.norm(direction).square())


def _or_one(value: Tensor) -> Tensor:
    return torch.where(value == 0, 1, value)
