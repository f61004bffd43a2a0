"""`SolverKit`: a solver solves, stops, keeps samples apart, and says how it went."""

from __future__ import annotations

import math
import pickle
import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor

from ..edge import build_prior
from ..errors import IncompatibleError, NotConvergedWarning
from ..loop import IterationEvent
from ..noise import Noise
from ..nonlinear import NonlinearOperator
from ..operator import ForwardOperator
from ..prior import Prior
from ..problem import Problem
from ..solution import Solution, Status
from ..solver import IterativeSolver
from ..space import Space
from .cases import SolverCase
from .cuda_checks import CudaChecks, iterates
from .engine import Trial, check, fail
from .measure import assert_close, assert_same, norm

__all__ = ["SolverKit"]

T = Trial[SolverCase]


class SolverKit(CudaChecks[SolverCase]):
    """Checks of a `Solver`; examples are `SolverCase`s in double precision."""

    kind = "solver"
    max_examples = 8

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return the picture."""
        return {"image": component.solve(trial.subject.problem).image}

    def device_accuracy(self, trial: Trial[Any]) -> float:
        """Return that of the answer; where none is known, numbers drawn elsewhere are others."""
        case = trial.subject
        return math.inf if case.expected is None else max(2 * case.rtol, 1e-9)

    def may_wait(self, trial: Trial[Any]) -> bool:
        """Whether it looks at what it has: see `test_cuda_waits_seldom`."""
        return True

    @check(share=0.3)
    def test_cuda_waits_seldom(self, trial: T) -> None:
        """On CUDA 20 more steps make the host wait twice at most: steps queue up."""
        case = trial.subject
        if not torch.cuda.is_available() or not isinstance(case.solver, IterativeSolver):
            return
        if _iterates_within(case.problem):
            return
        there = trial.to("cuda").subject
        few, many = (_waits(_limited(there.solver, n), there.problem) for n in (10, 30))
        if many - few > 2:
            fail(f"{case.solver.name} on CUDA waits {many - few} times in 20 steps; 2 allowed.")

    @check()
    def test_reaches_the_expected_solution(self, trial: T) -> None:
        """The example's own answer, within its tolerance, for each sample."""
        case = trial.subject
        found = case.solver.solve(case.problem)
        self._has_shape(case.problem, found)
        if case.expected is None:
            return
        space = case.problem.image_space
        what = f"{case.solver.name} ({found.status}, {int(found.steps.max())} steps)"
        assert_close(found.image, case.expected, space, what=what, rtol=case.rtol)

    @check()
    def test_never_exceeds_its_budget(self, trial: T) -> None:
        """At most `max_steps` steps, in the solution, its history and the callback."""
        case = trial.subject
        if not isinstance(case.solver, IterativeSolver):
            return
        for budget in (1, 2, 3):
            solver = _limited(case.solver, budget)
            seen: list[int] = []
            found = solver.solve(case.problem, callback=_recorder(seen))
            longest = max([v.shape[-1] for v in found.history.values()], default=0)
            most = max(int(found.steps.max()), longest, *seen, 0)
            if most > budget or len(seen) > budget:
                fail(f"{solver.name} took {most} steps; max_steps was {budget}.")

    @check()
    def test_says_when_it_did_not_converge(self, trial: T) -> None:
        """After one step, far from the answer, the status is not CONVERGED."""
        case = trial.subject
        if not isinstance(case.solver, IterativeSolver) or case.expected is None:
            return
        found = _limited(case.solver, 1).solve(case.problem)
        space = case.problem.image_space
        error = norm(found.image - case.expected, space) / norm(case.expected, space)
        for status, far in zip(found.statuses, error.reshape(-1), strict=True):
            if status == Status.CONVERGED and float(far) > max(1e3 * case.rtol, 0.1):
                fail(f"{case.solver.name} says it converged, {float(far):.1e} from the answer.")

    @check()
    def test_is_deterministic(self, trial: T) -> None:
        """The problem's seed decides, and torch's global random state is left alone."""
        case = trial.subject
        problem = attrs.evolve(case.problem, seed=3)
        torch.manual_seed(1)
        before = torch.get_rng_state()
        first = case.solver.solve(problem).image
        if not torch.equal(before, torch.get_rng_state()):
            fail(f"{case.solver.name} changes torch's global random state.")
        torch.manual_seed(2)
        if not torch.equal(first, case.solver.solve(problem).image):
            fail(f"{case.solver.name} gives two pictures for one seed.")

    @check()
    def test_nan_sample_is_reported_alone(self, trial: T) -> None:
        """A sample with NaN ends as NONFINITE; the others do not notice."""
        case = trial.subject
        y = case.problem.measurement
        bad = _spoiled(y, case.problem)
        with warnings.catch_warnings():  # it is right to say that an inner solve failed
            warnings.simplefilter("ignore", NotConvergedWarning)
            found = case.solver.solve(_stacked(case.problem, [y, bad]))
        half = len(found.statuses) // 2
        if any(status != Status.NONFINITE for status in found.statuses[half:]):
            shown = ", ".join(map(str, found.statuses[half:]))
            fail(f"{case.solver.name}: samples with NaN ended as {shown}; expected nonfinite.")
        if any(status == Status.NONFINITE for status in found.statuses[:half]):
            fail(f"{case.solver.name}: a sample without NaN ended as nonfinite.")
        want = case.solver.solve(_stacked(case.problem, [y, y])).image[0]
        self._close(found.image[0], want, case, "a sample beside one with NaN")

    @check()
    def test_zero_sample_harms_no_other(self, trial: T) -> None:
        """A sample of zeros is solved; the others do not notice."""
        case = trial.subject
        y = case.problem.measurement
        found = case.solver.solve(_stacked(case.problem, [y, torch.zeros_like(y)]))
        worst = max(found.statuses[len(found.statuses) // 2 :])
        if worst >= Status.DIVERGED or not bool(found.image[1].isfinite().all()):
            fail(f"{case.solver.name}: a zero measurement ended as {worst}.")
        want = case.solver.solve(_stacked(case.problem, [y, y])).image[0]
        self._close(found.image[0], want, case, "a sample beside one of zeros")

    @check()
    def test_batch_equals_loop(self, trial: T) -> None:
        """Each sample of a batch is what the solver gives for it alone."""
        case = trial.subject
        y = case.problem.measurement
        other = 0.5 * y + 0.1 * y.flip(-1)
        together = case.solver.solve(_stacked(case.problem, [y, other]))
        self._has_shape(_stacked(case.problem, [y, other]), together)
        for i, given in enumerate((y, other)):
            alone = case.solver.solve(attrs.evolve(case.problem, measurement=given))
            self._close(together.image[i], alone.image, case, f"sample {i} of a batch of 2")

    @check()
    def test_has_no_scale(self, trial: T) -> None:
        """Without a prior, solving for s y gives s times the picture, from 1e-6 to 1e6."""
        case = trial.subject
        problem = case.problem
        if problem.prior is not None or not problem.is_quadratic or not case.solver.homogeneous:
            return
        want = case.solver.solve(problem).image
        for s in (1e-6, 1e6):
            initial = None if problem.initial is None else s * problem.initial
            scaled = attrs.evolve(problem, measurement=s * problem.measurement, initial=initial)
            got = case.solver.solve(scaled).image
            self._close(got / s, want, case, f"a measurement {s:g} times as large")

    @check()
    def test_history_has_a_row_per_sample(self, trial: T) -> None:
        """`statuses`, `steps` and each curve have one entry per sample; curves are finite."""
        case = trial.subject
        found = case.solver.solve(case.problem)
        batch = case.problem.batch
        if len(found.statuses) != torch.Size(batch).numel():
            fail(f"{case.solver.name}: {len(found.statuses)} statuses for a batch {batch}.")
        if tuple(found.steps.shape) != batch:
            fail(f"{case.solver.name}: steps of shape {tuple(found.steps.shape)}, not {batch}.")
        for name, curve in found.history.items():
            if tuple(curve.shape[:-1]) != batch or curve.is_cuda or curve.requires_grad:
                fail(f"{case.solver.name}: history {name!r} of shape {tuple(curve.shape)}.")
            if not bool(curve.isfinite().all()):
                fail(f"{case.solver.name}: history {name!r} is not finite.")

    @check()
    def test_callback_can_stop(self, trial: T) -> None:
        """Steps are told in order, and True ends the solve there."""
        case = trial.subject
        if not isinstance(case.solver, IterativeSolver):
            return
        seen: list[int] = []
        found = case.solver.solve(case.problem, callback=_recorder(seen, stop=2))
        if seen != list(range(1, len(seen) + 1)) or len(seen) > 2:
            fail(f"{case.solver.name}: a callback that stops at step 2 saw the steps {seen}.")
        if len(seen) == 2 and case.solver.max_steps > 2:
            allowed = (Status.STOPPED, Status.CONVERGED, Status.NONFINITE, Status.DIVERGED)
            if any(status not in allowed for status in found.statuses):
                fail(f"{case.solver.name}: stopped by the callback, it ended as {found.status}.")

    @check()
    def test_refuses_what_it_cannot_use(self, trial: T) -> None:
        """An unknown prior, a missing one, another noise or operator, conditions: an error."""
        case = trial.subject
        needs, problem = case.solver.needs, case.problem
        wrong: list[tuple[str, Problem]] = []
        if Prior not in needs.priors:
            wrong.append(("a prior without capabilities", _with(problem, prior=_Alien())))
        if needs.priors and not needs.prior_optional:
            wrong.append(("no prior", _with(problem, prior=None)))
        if needs.quadratic:
            wrong.append(("a noise that is not Gaussian", _with(problem, noise=_Cubic())))
        if NonlinearOperator not in needs.operators:
            op: Any = _Squared(space=problem.operator.out_space)
            wrong.append(("a nonlinear operator", _with(problem, operator=op, initial=None)))
        if not case.solver.takes_conditions:
            odd = {"odd": problem.measurement.real.new_zeros(1, 1, 1)}
            wrong.append(("conditions", _with(problem, conditions=odd)))
        for what, given in wrong:
            try:
                case.solver.solve(given)
            except IncompatibleError as error:
                if case.solver.name not in str(error):
                    fail(f"the error for {what} does not name {case.solver.name}: {error}")
                continue
            fail(f"{case.solver.name} took {what}; expected an IncompatibleError.")

    @check()
    def test_problem_is_not_modified(self, trial: T) -> None:
        """Neither the measurement nor the start is written to."""
        case = trial.subject
        given = [t for t in (case.problem.measurement, case.problem.initial) if t is not None]
        kept = [(t.clone(), t._version) for t in given]
        case.solver.solve(case.problem)
        for t, (value, version) in zip(given, kept, strict=True):
            if t._version != version or not torch.equal(t, value):
                fail(f"{case.solver.name} changed the problem in place.")

    @check()
    def test_works_in_single_precision(self, trial: T) -> None:
        """Moved to float32, it gives a float32 picture that is finite."""
        case = trial.subject
        problem = case.problem.to(dtype=torch.float32)
        found = case.solver.to(dtype=torch.float32).solve(problem)
        like = problem.image_space.zeros(problem.batch)
        assert_same(found.image, like, what=f"{case.solver.name} in float32")
        if not bool(found.image.isfinite().all()):
            fail(f"{case.solver.name} in float32 is not finite.")

    @check(share=0.3)
    def test_solution_pickles(self, trial: T) -> None:
        """A solution can be sent to another process, and reports how it went."""
        case = trial.subject
        found = case.solver.solve(case.problem)
        again = pickle.loads(pickle.dumps(found))
        if not torch.equal(again.image, found.image) or not found.report():
            fail(f"{case.solver.name}: the solution does not survive pickling.")

    @check(share=0.2)
    def test_default_prior_can_be_built(self, trial: T) -> None:
        """What `solve` takes when no prior is given exists, and is of a kind that is needed."""
        solver = trial.subject.solver
        if solver.default_prior is None:
            return
        given = solver.default_prior
        prior = build_prior(given if isinstance(given, str) else dict(given))
        if not isinstance(prior, solver.needs.priors):
            fail(f"{solver.name}.default_prior is a {type(prior).__name__}, which it cannot use.")

    @staticmethod
    def _has_shape(problem: Problem, found: Solution) -> None:
        like = problem.image_space.zeros(problem.batch)
        assert_same(found.image, like, what=f"the picture of {found.provenance.solver}")

    @staticmethod
    def _close(got: Tensor, want: Tensor, case: SolverCase, what: str) -> None:
        """Compare two runs: rounding may move the step at which a sample stops, not the answer."""
        tolerance = float(getattr(case.solver, "tolerance", None) or 0.0)
        rtol = max(10 * tolerance, 1e-7)
        space = case.problem.image_space
        assert_close(got, want, space, what=f"{case.solver.name}: {what}", rtol=rtol)


@attrs.frozen(eq=False)
class _Alien(Prior):
    """A prior that can do nothing."""


@attrs.frozen(eq=False)
class _Cubic(Noise):
    """A data term that is not quadratic."""

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return the measurement as it is."""
        return clean

    def value(self, z: Tensor, y: Tensor, space: Space) -> Tensor:
        """Return `|z - y|^3 / 3`."""
        return space.norm(z - y) ** 3 / 3

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """Return the gradient in each pixel."""
        return (z - y) * (z - y).abs()

    def prox(self, v: Tensor, y: Tensor, tau: Tensor | float) -> Tensor:
        """Return v; never asked for."""
        return v


@attrs.frozen(eq=False, kw_only=True)
class _Squared(NonlinearOperator):
    """Each pixel squared."""

    space: Space

    @property
    def in_space(self) -> Space:
        """The space."""
        return self.space

    @property
    def out_space(self) -> Space:
        """The space."""
        return self.space

    def _apply(self, x: Tensor) -> Tensor:
        return x * x


def _with(problem: Problem, **changes: Any) -> Problem:
    return attrs.evolve(problem, **changes)


def _limited(solver: Any, budget: int) -> Any:
    return attrs.evolve(solver, max_steps=budget)


def _iterates_within(problem: Problem) -> bool:
    """Whether a step has to solve something by iterations of its own, which wait, too."""
    op = problem.operator
    indirect = isinstance(op, ForwardOperator) and not op.has_closed_prox
    return indirect or iterates(problem.prior)


def _waits(solver: Any, problem: Problem) -> int:
    """Return how often the host waits for CUDA in a second solve that spends its whole budget."""
    if getattr(solver, "tolerance", None) is not None:
        solver = attrs.evolve(solver, tolerance=0.0)
    solver.solve(problem)
    before = torch.cuda.get_sync_debug_mode()
    torch.cuda.set_sync_debug_mode("warn")
    try:
        with warnings.catch_warnings(record=True) as told:
            warnings.simplefilter("always")
            solver.solve(problem)
    finally:
        torch.cuda.set_sync_debug_mode(before)
    return sum("synchronizing" in str(each.message) for each in told)


def _stacked(problem: Problem, measurements: Sequence[Tensor]) -> Problem:
    """Return the problem with several measurements along a new first batch axis."""
    initial = problem.initial
    if initial is not None:
        initial = torch.stack([initial] * len(measurements))
    return attrs.evolve(problem, measurement=torch.stack(list(measurements)), initial=initial)


def _spoiled(y: Tensor, problem: Problem) -> Tensor:
    """Return the measurement with one NaN in every sample."""
    rows = y.reshape(-1, problem.operator.out_space.numel).clone()
    rows[:, -1] = torch.nan
    return rows.reshape(y.shape)


def _recorder(seen: list[int], stop: int | None = None) -> Any:
    def callback(event: IterationEvent) -> bool:
        seen.append(event.step)
        return event.step == stop

    return callback
