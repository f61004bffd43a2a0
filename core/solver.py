"""`Solver`: what it needs, and the two kinds of it, direct and iterative."""

from __future__ import annotations

import time
from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import Any, ClassVar, Generic, TypeVar

import attrs
import torch
from torch import Tensor

from .bilinear import BilinearOperator
from .component import Component
from .describe import describe, versions
from .errors import IncompatibleError
from .loop import IterationEvent, run
from .moves import repeated
from .observe import notify
from .operator import ForwardOperator
from .prior import Prior
from .problem import AnyOperator, Problem
from .solution import Provenance, Solution, Status, final_statuses
from .space import real_partner

__all__ = [
    "BlindSolver",
    "Callback",
    "DirectSolver",
    "IterativeSolver",
    "Needs",
    "OperatorEstimate",
    "Reconstruction",
    "Solver",
]

Callback = Callable[[IterationEvent], object]
State = TypeVar("State")


@attrs.frozen(kw_only=True)
class Needs:
    """What a solver can work with; checked before it runs.

    operators: it takes an operator of any of these types. operator_check: returns what is wrong
    with an operator, or None. priors: it takes a prior of any of these types (none at all when
    empty). quadratic: it knows only the Gaussian data term.
    """

    operators: tuple[type, ...] = (ForwardOperator,)
    operator_check: Callable[[Any], str | None] | None = None
    priors: tuple[type[Prior], ...] = ()
    prior_optional: bool = False
    quadratic: bool = True

    def check(self, who: str, problem: Problem) -> None:
        """Raise IncompatibleError, saying what would fit, unless the problem can be solved."""
        self._check_operator(who, problem.operator)
        self._check_prior(who, problem.prior)
        if self.quadratic and not problem.is_quadratic:
            assert problem.noise is not None
            raise IncompatibleError(
                f"{who} knows only the Gaussian data term 1/2 |Ax - y|^2; got noise "
                f"{problem.noise.name}. Leave the noise out, or take a solver for any data term."
            )

    def _check_operator(self, who: str, op: AnyOperator) -> None:
        if not isinstance(op, self.operators):
            wanted = " or ".join(t.__name__ for t in self.operators)
            hint = (
                " It is bilinear: fix one argument first, with at_w(w) or at_x(x), or take a "
                "solver that finds both."
                if isinstance(op, BilinearOperator)
                else ""
            )
            raise IncompatibleError(f"{who} needs a {wanted}; got {op.name}.{hint}")
        wrong = self.operator_check(op) if self.operator_check else None
        if wrong:
            raise IncompatibleError(f"{who} cannot use {op.name}: {wrong}")

    def _check_prior(self, who: str, prior: Prior | None) -> None:
        wanted = " or ".join(t.__name__ for t in self.priors)
        if prior is None:
            if self.priors and not self.prior_optional:
                raise IncompatibleError(f"{who} needs a prior ({wanted}); got none.")
        elif not self.priors:
            raise IncompatibleError(
                f"{who} takes no prior; got {prior.name}. Leave it out, or take a solver that "
                f"uses one: {_solvers_for(prior)}."
            )
        elif not isinstance(prior, self.priors):
            kinds = ", ".join(
                t.__name__ for t in type(prior).__mro__ if t.__module__ == Prior.__module__
            )
            raise IncompatibleError(
                f"{who} needs a prior that is a {wanted}; {prior.name} is a {kinds}. "
                f"Solvers that take it: {_solvers_for(prior)}."
            )


class Solver(Component):
    """Turns a `Problem` into a `Solution`; final classes are frozen attrs classes."""

    needs: ClassVar[Needs] = Needs()
    default_prior: ClassVar[Mapping[str, Any] | str | None] = None
    """The prior that `wellposed.solve` takes when none is given: a name, or {name:, params:}."""

    homogeneous: ClassVar[bool] = True
    """Whether, without a prior, s times the measurement gives s times the picture. What learns
    from pictures in [0, 1] knows their scale."""

    takes_conditions: ClassVar[bool] = False
    """Whether it makes use of `Problem.conditions`; otherwise a problem that has some is refused,
    since it would be solved as if nobody had given them."""

    def solve(self, problem: Problem, *, callback: Callback | None = None) -> Solution:
        """Solve the problem; gradients follow the caller's grad mode (`wellposed.solve`: none).

        `callback` sees an `IterationEvent` after every step, and stops the solve by returning
        True.
        Raises: IncompatibleError when the solver cannot use the operator, prior, noise or
        conditions. A failed iteration is no error: see `Solution.status` and `Solution.require`.
        """
        self.needs.check(self.name, problem)
        if problem.conditions and not self.takes_conditions:
            raise IncompatibleError(
                f"{self.name} takes no conditions; got {', '.join(problem.conditions)}. Leave them "
                "out, or take a solver with a network that uses them, such as `dlnet`.",
                where="conditions",
            )
        notify("wellposed_solve_started", problem=problem, solver=self)
        started = time.perf_counter()
        found = self._solve(problem, callback)
        if found.image.is_cuda:
            torch.cuda.synchronize(found.image.device)
        solution = self._solution(problem, found, time.perf_counter() - started)
        notify("wellposed_solve_finished", solution=solution)
        return solution

    @abstractmethod
    def _solve(self, problem: Problem, callback: Callback | None) -> Reconstruction:
        """Compute the picture; written by the two kinds of solver below."""

    def _solution(self, problem: Problem, found: Reconstruction, seconds: float) -> Solution:
        operator = problem.operator if found.operator is None else found.operator
        assert found.codes is not None and found.steps is not None
        return Solution(
            image=found.image,
            operator=operator,
            statuses=final_statuses(found.codes),
            steps=found.steps,
            history=found.history,
            extras=found.extras,
            measurement=problem.measurement,
            provenance=Provenance(
                operator=describe(operator),
                solver=describe(found.solver or self),
                prior=describe(problem.prior) if problem.prior else None,
                noise=describe(problem.noise) if problem.noise else None,
                seed=problem.seed,
                dtype=str(found.image.dtype).removeprefix("torch."),
                device=str(found.image.device),
                seconds=seconds,
                versions=versions(),
            ),
        )


@attrs.frozen(eq=False, kw_only=True)
class Reconstruction:
    """What a solver's author returns: the picture, and what else is worth keeping."""

    image: Tensor
    operator: AnyOperator | None = None
    """The estimated operator of a blind solver; None means the problem's own."""
    extras: Mapping[str, Any] = attrs.field(factory=dict)
    history: Mapping[str, Tensor] = attrs.field(factory=dict)
    solver: Solver | None = None
    """The solver with what it had left open, such as trained weights, for the provenance."""
    codes: Tensor | None = None
    """`Status` values of shape `batch`; filled in for direct solvers when None."""
    steps: Tensor | None = None


class DirectSolver(Solver):
    """A solver without iterations worth watching: closed forms, one pass of a network."""

    @abstractmethod
    def _reconstruct(self, problem: Problem) -> Tensor | Reconstruction:
        """Return the picture, `(*batch, *image_space.shape)`."""

    def _solve(self, problem: Problem, callback: Callback | None) -> Reconstruction:
        found = self._reconstruct(problem)
        if isinstance(found, Tensor):
            found = Reconstruction(image=found)
        if found.codes is not None:
            return found
        finite = torch.isfinite(found.image).flatten(len(problem.batch)).all(-1)
        codes = torch.where(finite, int(Status.DIRECT), int(Status.NONFINITE))
        steps = torch.zeros_like(codes) if found.steps is None else found.steps
        return attrs.evolve(found, codes=codes, steps=steps)


class IterativeSolver(Solver, Generic[State]):
    """A solver written as pure functions on a frozen attrs `State`; `core/loop.py` iterates.

    Every tensor in the state must start with the batch axes: the loop freezes samples that have
    ended by choosing between the old and the new state, sample by sample. A final class has the
    fields `max_steps: int` and `tolerance: float` (relative change per step; 0 never stops).
    """

    max_steps: int
    tolerance: float

    @abstractmethod
    def init(self, problem: Problem) -> State:
        """Return the first state."""

    @abstractmethod
    def step(self, problem: Problem, state: State) -> State:
        """Return the next state; a pure function, without host-device synchronisation."""

    @abstractmethod
    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the picture of a state."""

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return what is compared with `tolerance`: the relative change of the estimate.

        Shape `batch`, real. Override where another measure is nearer to optimality.
        """
        space = problem.image_space
        after = self.estimate(problem, new)
        moved = space.norm(after - self.estimate(problem, old))
        size = space.norm(after)
        return torch.where(moved > 0, moved / torch.where(size > 0, size, 1), 0)

    def monitor(self, problem: Problem, state: State) -> Mapping[str, Tensor]:
        """Return cheap quantities worth a curve, each of shape `batch`; none by default."""
        return {}

    def finish(self, problem: Problem, state: State) -> Mapping[str, Any]:
        """Return extras for the solution: multipliers, the last dual variable; none by default."""
        return {}

    def _solve(self, problem: Problem, callback: Callback | None) -> Reconstruction:
        ended = run(self, problem, callback)
        return Reconstruction(
            image=self.estimate(problem, ended.state),
            extras=self.finish(problem, ended.state),
            history=ended.history,
            codes=ended.codes,
            steps=ended.steps,
        )


@attrs.frozen(eq=False, kw_only=True)
class OperatorEstimate:
    """What a blind solver found out about the operator.

    why: for each sample (by its index) whose estimate is not to be trusted, the reason.
    """

    operator: ForwardOperator
    why: Mapping[int, str] = attrs.field(factory=dict)
    steps: Tensor | None = None
    history: Mapping[str, Tensor] = attrs.field(factory=dict)
    extras: Mapping[str, Any] = attrs.field(factory=dict)
    stopped: bool = False


class BlindSolver(Solver):
    """A solver to which the problem's operator is a structure with an unknown part."""

    @abstractmethod
    def estimate_operator(
        self, problem: Problem, *, callback: Callback | None = None
    ) -> OperatorEstimate:
        """Return the operator with its unknown part filled in, for use with any other solver."""

    def _prior_for(self, nonblind: Solver, problem: Problem) -> Prior | None:
        """Return the problem's prior, or the one that the non-blind solver takes by default."""
        given = usual_prior(nonblind)
        if problem.prior is not None or given is None:
            return problem.prior
        from wellposed.registry import build, default_registry

        prior: Any = build(default_registry(), "prior", given, path="prior")
        y = problem.measurement
        moved: Prior = prior.to(device=y.device, dtype=y.dtype)
        return moved

    def _flattened(self, problem: Problem) -> Problem:
        """Return the problem with one batch axis, with which kernels per sample go.

        What the noise and the prior say of each sample of the last axis is repeated.
        Raises: IncompatibleError where a linear operator has parameters for each sample.
        """
        batch = problem.batch
        if len(batch) < 2:
            return problem
        if isinstance(problem.operator, ForwardOperator) and problem.operator.batch_shape:
            raise IncompatibleError(
                f"{self.name} takes one batch axis where the operator has parameters for each "
                f"sample; got the batch {batch}. Flatten it, and repeat them."
            )
        return attrs.evolve(
            problem,
            measurement=problem.measurement.flatten(0, len(batch) - 1),
            noise=repeated(problem.noise, batch),
            prior=repeated(problem.prior, batch),
            initial=None,
        )

    def _codes(self, inner: Solution, found: OperatorEstimate) -> Tensor:
        """Return how each sample ended: as the non-blind solver did, or worse; on the CPU."""
        codes = torch.tensor([int(status) for status in inner.statuses])
        if found.stopped:
            codes = codes.clamp_min(int(Status.STOPPED))
        for i in found.why:
            codes[i] = codes[i].clamp_min(int(Status.DEGENERATE))
        return codes


def usual_prior(solver: Solver) -> Mapping[str, Any] | str | None:
    """Return the prior that a solver takes where none is given; None where it can do without."""
    needs = solver.needs
    return solver.default_prior if needs.priors and not needs.prior_optional else None


def _solvers_for(prior: Prior) -> str:
    """Name the registered solvers that take a prior of this type."""
    from wellposed.registry import default_registry

    registry = default_registry()
    names = []
    for spec in registry.specs("solver"):
        name = registry.reference(spec)
        try:
            cls = registry.load("solver", name)
        except ImportError:
            continue
        if (
            isinstance(cls, type)
            and issubclass(cls, Solver)
            and isinstance(prior, cls.needs.priors)
        ):
            names.append(name)
    return ", ".join(names) or "none is installed"


def real_dtype_of(problem: Problem) -> torch.dtype:
    """Return the real dtype in which step sizes and norms of a problem are held."""
    return real_partner(problem.image_space.dtype)
