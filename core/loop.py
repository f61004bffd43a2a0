"""The one iteration loop: budget, tolerance, divergence and non-finite values, per sample.

No decision is made over the whole batch: a sample that converges, diverges or meets a NaN keeps
its last good state while the others go on. On CUDA the host asks only now and then whether any
sample is still running, so that steps queue up without synchronisation.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, TypeVar, cast

import attrs
import numpy as np
import torch
from torch import Tensor

from .moves import fields_of
from .observe import has_observers, notify
from .operator import ForwardOperator
from .solution import Status

if TYPE_CHECKING:
    from .problem import Problem
    from .solver import IterativeSolver, Solver

__all__ = ["Ended", "IterationEvent", "Watchers", "run"]

T = TypeVar("T")

_CUDA_CHECK_EVERY = 10
# A picture this much larger than any sensible start is not on its way to a solution.
_DIVERGED = 1e4


@attrs.frozen(eq=False, kw_only=True)
class IterationEvent:
    """What a callback, and a plugin's `wellposed_iteration`, see after each step.

    `change` and `active` are tensors of the batch shape on the device of the problem: reading
    them on the host makes it wait. `estimate()` computes the picture on demand, `details()` what
    else the solver can show: a blind one the kernel that it has so far.
    """

    step: int
    max_steps: int
    change: Tensor
    active: Tensor
    estimate: Callable[[], Tensor]
    solver: Solver
    problem: Problem
    details: Callable[[], Mapping[str, Tensor]] = dict


class Watchers:
    """Whoever follows a solve: the caller's callback, and plugins; false when there is nobody."""

    def __init__(self, callback: Callable[[IterationEvent], object] | None) -> None:
        """Look for plugins that follow."""
        self._callback = callback
        self._observed = has_observers("wellposed_iteration")

    def __bool__(self) -> bool:
        """Whether an event need be made at all."""
        return self._callback is not None or self._observed

    def tell(self, event: IterationEvent) -> bool:
        """Show everybody an event; return whether anybody asks to stop."""
        answers = notify("wellposed_iteration", event=event) if self._observed else []
        if self._callback is not None:
            answers.append(self._callback(event))
        return any(_is_true(answer) for answer in answers)


def _is_true(answer: object) -> bool:
    """Whether an answer is True, also as a comparison of tensors or arrays gives it."""
    if isinstance(answer, Tensor):
        return answer.dtype == torch.bool and answer.ndim == 0 and bool(answer)
    return isinstance(answer, (bool, np.bool_)) and bool(answer)


@attrs.frozen(eq=False, kw_only=True)
class Ended:
    """Where the loop ended, with one code and one number of steps per sample."""

    state: Any
    codes: Tensor
    steps: Tensor
    history: Mapping[str, Tensor]


def run(
    solver: IterativeSolver[Any],
    problem: Problem,
    callback: Callable[[IterationEvent], object] | None,
) -> Ended:
    """Iterate until every sample has converged or failed, or the budget is spent."""
    state = solver.init(problem)
    batch, device = problem.batch, problem.measurement.device
    limit = _DIVERGED * _reference(solver, problem, state)
    codes = torch.full(batch, int(Status.BUDGET_SPENT), dtype=torch.int8, device=device)
    codes = _mark(codes, ~_finite(solver, problem, state), Status.NONFINITE)
    active = codes == int(Status.BUDGET_SPENT)
    steps = torch.zeros(batch, dtype=torch.int32, device=device)
    curves: dict[str, list[Tensor]] = {}
    check_every = _CUDA_CHECK_EVERY if device.type == "cuda" else 1
    watchers = Watchers(callback)
    for k in range(solver.max_steps):
        if k % check_every == 0 and not bool(active.any()):
            break
        new = solver.step(problem, state)
        change = solver.change(problem, state, new)
        size = problem.image_space.norm(solver.estimate(problem, new))
        finite = torch.isfinite(size) & torch.isfinite(change)
        diverged = finite & (size > limit)
        state = _choose(active & finite & ~diverged, new, state, len(batch))
        steps = steps + active
        codes = _mark(codes, active & ~finite, Status.NONFINITE)
        codes = _mark(codes, active & diverged, Status.DIVERGED)
        codes = _mark(
            codes, active & finite & ~diverged & (change < solver.tolerance), Status.CONVERGED
        )
        active = codes == int(Status.BUDGET_SPENT)
        for name, value in {"change": change, **solver.monitor(problem, state)}.items():
            curves.setdefault(name, []).append(value.detach())
        if watchers and _told_to_stop(watchers, solver, problem, state, k, change, active):
            codes = _mark(codes, active, Status.STOPPED)
            break
    history = {name: torch.stack(values, -1).cpu() for name, values in curves.items()}
    return Ended(state=state, codes=codes, steps=steps, history=history)


def _reference(solver: IterativeSolver[Any], problem: Problem, state: object) -> Tensor:
    """Return a size that every sensible picture stays near to, per sample."""
    size = problem.image_space.norm(solver.estimate(problem, state))
    if isinstance(problem.operator, ForwardOperator):
        start = problem.operator.initial_estimate(problem.measurement)
        size = torch.maximum(size, problem.image_space.norm(start))
    # A sample whose measurement is zero has no scale of its own.
    return torch.where(size > 0, size, torch.inf)


def _finite(solver: IterativeSolver[Any], problem: Problem, state: object) -> Tensor:
    start = torch.isfinite(problem.image_space.norm(solver.estimate(problem, state)))
    y = torch.isfinite(problem.operator.out_space.norm(problem.measurement))
    return start & y


def _mark(codes: Tensor, where: Tensor, status: Status) -> Tensor:
    return codes.masked_fill(where, int(status))


def _choose(keep: Tensor, new: T, old: T, batch_ndim: int) -> T:
    """Take each sample's tensors from `new` where `keep`, else from `old`."""
    if isinstance(new, Tensor):
        mask = keep[(...,) + (None,) * (new.ndim - batch_ndim)]
        return cast(T, torch.where(mask, new, cast(Tensor, old)))
    if isinstance(new, tuple) and isinstance(old, tuple):
        pairs = zip(new, old, strict=True)
        return tuple(_choose(keep, n, o, batch_ndim) for n, o in pairs)  # type: ignore[return-value]
    if attrs.has(type(new)):
        names = [f.name for f in fields_of(new) if f.init]
        fields = {n: _choose(keep, getattr(new, n), getattr(old, n), batch_ndim) for n in names}
        return type(new)(**fields)
    return new


def _told_to_stop(
    watchers: Watchers,
    solver: IterativeSolver[Any],
    problem: Problem,
    state: object,
    k: int,
    change: Tensor,
    active: Tensor,
) -> bool:
    event = IterationEvent(
        step=k + 1,
        max_steps=solver.max_steps,
        change=change,
        active=active,
        estimate=lambda: solver.estimate(problem, state),
        solver=solver,
        problem=problem,
    )
    return watchers.tell(event)
