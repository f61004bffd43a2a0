"""Richardson-Lucy: maximum likelihood for photon counts, by multiplication."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import IterativeSolver, Needs, Problem, param, real_number, whole_number
from wellposed.errors import IncompatibleError, ParameterError

from .gradient import gradient_of
from .steps import ratio, spread

__all__ = ["RichardsonLucy"]

# Rounding of an FFT leaves values this far below zero, relative to the largest.
_ROUNDING = 1e-4


def _wrong_operator(op: Any) -> str | None:
    if op.in_space.dtype.is_complex or op.out_space.dtype.is_complex:
        return "it multiplies real, non-negative pictures; this operator is complex. Take cg."
    return None


@attrs.frozen(eq=False, kw_only=True)
class State:
    """The picture, and the adjoint of ones."""

    x: Tensor
    coverage: Tensor


@attrs.frozen(eq=False, kw_only=True)
class RichardsonLucy(IterativeSolver[State]):
    """Richardson and Lucy's multiplicative update; the picture stays non-negative.

        x <- x / (A^T 1 - tv div(grad x / |grad x|)) * A^T (y / (A x))

    It ascends the Poisson likelihood of y under A x. Noise appears after enough steps: stop early
    (`max_steps`), or take `tv` around 0.002 to 0.02. Pixels that nothing measures are kept.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`, real.
    Units: any; the scale of y drops out. tv has none.
    Raises: ParameterError for negative measurements; IncompatibleError for an operator with
    negative weights.
    Cost: one forward and one adjoint per step.
    Source: Richardson, 1972, JOSA 62(1); Lucy, 1974, Astronomical Journal 79(6); tv: Dey et al.,
    2006, Microscopy Research and Technique 69, the regularised iteration, with the length of the
    gradient rounded off at 10 tv x, below which the steps would oscillate, and the denominator
    kept above a tenth of A^T 1.
    """

    needs = Needs(operator_check=_wrong_operator, quadratic=False)

    max_steps: int = param(30, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-4, doc="Relative change of the picture to stop at.", check=real_number(least=0)
    )
    tv: float = param(0.0, doc="Weight of total variation.", check=real_number(least=0))

    def init(self, problem: Problem) -> State:
        """Start at `initial`, or at a constant picture of the measured brightness."""
        op, y = problem.linear, problem.measurement
        _check_measurement(y)
        coverage = op._adjoint(torch.ones_like(y))
        floor = -_ROUNDING * coverage.abs().amax((-3, -2, -1), keepdim=True)
        if bool((coverage < floor).any()):
            raise IncompatibleError(
                f"{self.name} needs an operator with non-negative weights; the adjoint of "
                f"{op.name} turns ones into negative values. Take fista or pdhg with a prior "
                "within bounds."
            )
        coverage = coverage.clamp_min(0)
        if problem.initial is not None:
            return State(x=problem.initial.clamp_min(0), coverage=coverage)
        ones = torch.ones_like(coverage)
        seen = op._apply(ones).clamp_min(0).sum(_events(op.out_space.ndim))
        mean = ratio(y.clamp_min(0).sum(_events(op.out_space.ndim)), seen)
        return State(x=spread(mean, op.in_space) * ones, coverage=coverage)

    def step(self, problem: Problem, state: State) -> State:
        """One multiplicative update."""
        op, y = problem.linear, problem.measurement
        expected = op._apply(state.x).clamp_min(0)
        gain = op._adjoint(ratio(y.clamp_min(0), expected)).clamp_min(0)
        weight = state.coverage
        if self.tv:
            weight = torch.maximum(weight - self.tv * self._curvature(problem, state), 0.1 * weight)
        # What nothing measures has no gain and no coverage.
        x = torch.where(state.coverage > 0, state.x * ratio(gain, weight), state.x)
        return State(x=x, coverage=state.coverage)

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture."""
        return state.x

    def _curvature(self, problem: Problem, state: State) -> Tensor:
        """Return `coverage div(grad x / |grad x|)`: tv has no unit, whatever that of A."""
        space = problem.image_space
        gradient = gradient_of(space, circular=False)
        slopes = gradient._apply(state.x)
        length = torch.hypot(
            torch.linalg.vector_norm(slopes, dim=-4), 10 * self.tv * state.x
        ).unsqueeze(-4)
        return -state.coverage * gradient._adjoint(ratio(slopes, length))


def _check_measurement(y: Tensor) -> None:
    """Raise ParameterError for negative values beyond rounding (and none for NaN)."""
    negative = y < -_ROUNDING * y.abs().nan_to_num(0, 0, 0).amax((-3, -2, -1), keepdim=True)
    if bool(negative.any()):
        raise ParameterError(
            f"richardson_lucy expects a non-negative measurement; {int(negative.sum())} of "
            f"{y.numel()} values are negative. Clip them (y.clamp_min(0)) if that is noise, add "
            "the background that was subtracted, or take a solver for Gaussian noise."
        )


def _events(ndim: int) -> tuple[int, ...]:
    return tuple(range(-ndim, 0))
