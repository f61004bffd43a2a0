"""Descent on the codes of generators: pictures and restarts side by side, in one program.

`LatentDescent` holds what its solvers share. A solver says what is unknown (`Block`s of codes, each
with the map from codes to what they stand for) and what is made small.

The state starts with the batch axes, as the loop wants it: `(*batch, restarts, *code)`. Generators
and operators are given `(restarts, *batch, ...)`, since an operator's parameters per sample go with
the last batch axis.
"""

from __future__ import annotations

import itertools
import math
from abc import abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import (
    Callback,
    ForwardOperator,
    IterativeSolver,
    Problem,
    Reconstruction,
)

from .state import Decoded, Kept, Resting, State, Turn, taken
from .updates import groups, moments_for, moved

__all__ = ["Block", "LatentDescent"]


@attrs.frozen(eq=False, kw_only=True)
class Block:
    """One unknown: codes of a shape, drawn from N(mean, deviation^2), and what they stand for.

    penalty: the weight of `1/2 |code|^2`.
    """

    name: str
    shape: tuple[int, ...]
    decode: Callable[[Tensor], Tensor]
    penalty: float = 0.0
    mean: float = 0.0
    deviation: float = 1.0


class LatentDescent(IterativeSolver[State]):
    """Makes an energy small over the codes of generators, from several random starts at once.

    A final class has these fields, and writes `_blocks`, `_energy` and `_operator`.
    """

    restarts: int
    halve_every: int | None
    step_size: float
    decay: float | None
    update: str

    @abstractmethod
    def _blocks(self, problem: Problem) -> Sequence[Block]:
        """Return the unknowns; what the last one stands for is the picture."""

    @abstractmethod
    def _energy(self, problem: Problem, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return what is made small, without the penalties, and `|y - ...|^2`.

        parts: what the codes of each block stand for, `(restarts, *batch, ...)`; both results are
        `(restarts, *batch)`.
        """

    @abstractmethod
    def _operator(self, problem: Problem, shown: Sequence[Tensor]) -> ForwardOperator | None:
        """Return the operator that has been found; None for the problem's own."""

    def _starts(self, problem: Problem, points: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return where to start, given what was drawn."""
        return points

    def _extras(self, shown: Sequence[Tensor]) -> Mapping[str, Any]:
        """Return what else to tell of the best restart; nothing by default."""
        return {}

    # ---- the loop -----------------------------------------------------------------------------

    def init(self, problem: Problem) -> State:
        """Draw the starts: the same for each picture, so that none depends on the others."""
        stream, y, batch = problem.generator(), problem.measurement, problem.batch
        dtype = y.real.dtype
        blocks = self._blocks(problem)
        drawn: list[list[Tensor]] = [[] for _ in blocks]
        for _ in range(self.restarts):  # one after the other: more restarts keep the first ones
            for block, rows in zip(blocks, drawn, strict=True):
                values = torch.randn(block.shape, generator=stream, dtype=dtype, device=y.device)
                rows.append(block.mean + block.deviation * values)
        stacked = [torch.stack(rows) for rows in drawn]
        points = self._starts(problem, tuple(p.expand(*batch, *p.shape) for p in stacked))
        losses, shown = self._best(problem, points)
        first = State(
            points=points,
            moments=tuple(moments_for(self.update, p) for p in points),
            count=y.real.new_zeros(batch),
            losses=losses,
            shown=shown,
        )
        if self.halve_every is not None:
            order = torch.arange(self.restarts, device=y.device).expand(*batch, -1).clone()
            resting = Resting(order=order, shown=shown, moving=self.restarts)
            first = attrs.evolve(first, resting=resting)
        if y.is_cuda:
            return self._with_turn(problem, first)
        torch.empty(_ROOM, dtype=torch.uint8)
        return first

    def step(self, problem: Problem, state: State) -> State:
        """Move all codes once, but those at rest."""
        new = self._advance(problem, state) if state.turn is None else state.turn(state)
        rest = state.resting
        if self.halve_every is None or rest is None:
            return new
        rest = attrs.evolve(rest, steps=rest.steps + 1)  # which the graph of a step cannot count
        new = attrs.evolve(new, resting=rest)
        due = rest.steps % self.halve_every == 0 and rest.steps < self.max_steps
        return self._halved(problem, new, rest) if due and rest.moving > 1 else new

    def estimate(self, problem: Problem, state: State) -> Tensor:
        """Return the best restart's picture, before the last step: no generator runs for it."""
        return state.shown[-1]

    def change(self, problem: Problem, old: State, new: State) -> Tensor:
        """Return how far the best restart's codes moved, relative; NaN when all have diverged."""
        lead = len(problem.batch)
        moved_by, size = new.losses.new_zeros(()), new.losses.new_zeros(())
        for before, after in zip(old.points, new.points, strict=True):
            moved_by = moved_by + (after - before).flatten(lead + 1).square().sum(-1)
            size = size + after.flatten(lead + 1).square().sum(-1)
        relative = (moved_by / torch.where(size > 0, size, 1)).sqrt()
        if new.resting is not None:  # at rest is not converged
            relative = relative.scatter(-1, new.resting.others, 1.0)
        best = torch.take_along_dim(relative, new.losses.argmin(-1, keepdim=True), -1).squeeze(-1)
        return torch.where(new.losses.isfinite().any(-1), best, torch.nan)

    def monitor(self, problem: Problem, state: State) -> Mapping[str, Tensor]:
        """Return the smallest loss of all restarts."""
        return {"loss": state.losses.amin(-1)}

    def finish(self, problem: Problem, state: State) -> Mapping[str, Any]:
        """Return where all restarts ended, and what the best one stands for."""
        losses, shown = self._best(problem, state.points)
        known = losses.isfinite().any(-1)  # else the last step went astray everywhere

        def safe(new: Tensor, old: Tensor) -> Tensor:
            return torch.where(known[(...,) + (None,) * (new.ndim - known.ndim)], new, old)

        names = [block.name for block in self._blocks(problem)]
        return {
            "shown": [safe(n, o) for n, o in zip(shown, state.shown, strict=True)],
            "losses": losses,
            "best": losses.argmin(-1),
            "latents": dict(zip(names, state.points, strict=True)),
        }

    def _solve(self, problem: Problem, callback: Callback | None) -> Reconstruction:
        """Iterate, and look at all restarts once more after the last step."""
        found = super()._solve(problem, callback)
        extras = dict(found.extras)
        shown = extras.pop("shown")
        return attrs.evolve(
            found,
            image=shown[-1],
            operator=self._operator(problem, shown),
            extras={**extras, **self._extras(shown)},
        )

    # ---- one step -----------------------------------------------------------------------------

    def _advance(self, problem: Problem, state: State) -> State:
        return state.with_moved(self._all_moved(problem, state.moving()))

    def _all_moved(self, problem: Problem, state: State) -> State:
        lead, count = len(problem.batch), state.count + 1
        pieces = _pieces(problem, state.losses.shape[-1])
        kept = [] if state.kept is None else state.kept.taken(self, problem)
        if len(kept) != len(pieces):
            kept = [{} for _ in pieces]
        # Gradients are needed whatever the caller's mode is; inference tensors could not have any.
        with torch.inference_mode(False), torch.enable_grad():
            points = [_restarts_first(p, lead) for p in state.points]
            moments = [tuple(m.movedim(lead, 0) for m in pair) for pair in state.moments]
            done = [
                self._descend(
                    problem,
                    [p[some].requires_grad_() for p in points],
                    [tuple(m[some] for m in pair) for pair in moments],
                    count,
                    decoded,
                )
                for some, decoded in zip(pieces, kept, strict=True)
            ]
        ended, moved_on, seen, squares = _joined(done, lead)
        losses = _finite_or_inf(squares, ended)
        return State(
            points=ended,
            moments=moved_on,
            count=count,
            losses=losses,
            shown=tuple(_picked(p, losses) for p in seen),
            turn=state.turn,
            kept=None if count.is_cuda else Kept(self, problem, kept),
        )

    def _descend(
        self,
        problem: Problem,
        points: list[Tensor],
        moments: list[tuple[Tensor, ...]],
        count: Tensor,
        decoded: Decoded,
    ) -> tuple[Any, ...]:
        """Return points and moments after a step, what the points stood for before it, and
        `|y - ...|^2` there; leave in `decoded` what the next step can use.
        """
        blocks, keeps = self._blocks(problem), not count.is_cuda
        parts = []
        for i, block in enumerate(blocks):
            codes, part = decoded.pop(i, (None, None))
            if codes is None or part is None or not torch.equal(codes, points[i]):
                codes, part = points[i], block.decode(points[i])
            points[i] = codes
            parts.append(part)
        seen, first = tuple(p.detach() for p in parts), None
        turns = groups(self.update, len(blocks))
        for group in turns:
            held = [p if i in group else p.detach() for i, p in enumerate(parts)]
            energy, squares = self._energy(problem, held)
            first = squares.detach() if first is None else first
            grads = torch.autograd.grad(energy.sum(), [points[i] for i in group])
            for i, grad in zip(group, grads, strict=True):
                with torch.no_grad():
                    points[i], moments[i] = self._moved(
                        points[i], grad + blocks[i].penalty * points[i], moments[i], count
                    )
                if group is not turns[-1]:
                    with torch.set_grad_enabled(keeps):
                        parts[i] = blocks[i].decode(points[i].requires_grad_(keeps))
                    if keeps:
                        decoded[i] = points[i], parts[i]
        return tuple(p.detach() for p in points), tuple(moments), seen, first

    def _moved(
        self, point: Tensor, grad: Tensor, moments: tuple[Tensor, ...], count: Tensor
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        axes = tuple(range(1 + count.ndim, point.ndim))
        count = count.reshape(*count.shape, *(1,) * len(axes))
        rate = torch.full_like(count, self.step_size)
        if self.decay is not None:
            rate = rate * torch.exp(-count / self.decay)
        return moved(self.update, point, grad, moments, rate=rate, count=count, axes=axes)

    def _halved(self, problem: Problem, state: State, rest: Resting) -> State:
        """Let the worse half of the restarts that still move rest, at the codes they have now."""
        some = state.moving()
        losses, shown = self._best(problem, some.points)
        state = state.with_moved(attrs.evolve(some, losses=losses, shown=shown, kept=None))
        rest, axis = rest.halved(state.losses), len(problem.batch)
        left = self._best(problem, [taken(p, rest.others, axis) for p in state.points])[1]
        state = attrs.evolve(state, resting=attrs.evolve(rest, shown=left))
        return state if state.turn is None else self._with_turn(problem, state)

    def _with_turn(self, problem: Problem, state: State) -> State:
        """Return the state with a step as a graph: one for as many restarts as move now."""
        turn = Turn(lambda state: self._advance(problem, state), state)
        return attrs.evolve(state, turn=turn)

    @torch.no_grad()
    def _best(
        self, problem: Problem, points: Sequence[Tensor]
    ) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Return the losses of all restarts, and what the best one stands for."""
        lead, blocks, done = len(problem.batch), self._blocks(problem), []
        work = [_restarts_first(p, lead) for p in points]
        for some in _pieces(problem, len(work[0])):
            parts = [b.decode(p[some]) for b, p in zip(blocks, work, strict=True)]
            done.append((self._energy(problem, parts)[1], tuple(parts)))
        squares, shown = _joined(done, lead)
        losses = _finite_or_inf(squares, points)
        return losses, tuple(_picked(p, losses) for p in shown)


# The C library of Linux gives memory at the end of its heap back to the system when there is much
# of it, and each step would fetch 40 MB again, page by page, for a quarter of its time. A block of
# just under 32 MB that was used and freed raises what it may hold back to twice as much.
_ROOM = 31 * 2**20

# Pixels of pictures that go through a step together on a CPU. More would take memory in proportion;
# with less, hundreds of small operations cost more than the large ones: 200 codes of 28 x 28 at
# once take 0.6 of the time of ten times 20.
_PIXELS = 200_000


def _pieces(problem: Problem, restarts: int) -> list[slice]:
    """Return which restarts move together: on a GPU all."""
    pixels = restarts * math.prod(problem.batch) * problem.image_space.numel
    number = 1 if problem.measurement.is_cuda else math.ceil(pixels / _PIXELS)
    number = max(1, min(restarts, number))
    ends = [restarts * i // number for i in range(number + 1)]
    return [slice(*pair) for pair in itertools.pairwise(ends)]


def _joined(pieces: Sequence[Any], lead: int) -> Any:
    """Return tuples of tensors `(restarts, *batch, ...)` as ones `(*batch, restarts, ...)`."""
    if isinstance(pieces[0], Tensor):
        return torch.cat(list(pieces)).movedim(0, lead)
    return tuple(_joined(same, lead) for same in zip(*pieces, strict=True))


def _restarts_first(point: Tensor, lead: int) -> Tensor:
    return point.detach().movedim(lead, 0).clone(memory_format=torch.contiguous_format)


def _finite_or_inf(losses: Tensor, points: Sequence[Tensor]) -> Tensor:
    """Return losses `(*batch, restarts)`, infinite where they or the codes are not finite."""
    good = losses.isfinite()
    for point in points:
        good = good & point.isfinite().flatten(losses.ndim).all(-1)
    return torch.where(good, losses, torch.inf)


def _picked(values: Tensor, losses: Tensor) -> Tensor:
    """Return those of the restart with the smallest loss, `(*batch, ...)`."""
    at = losses.ndim - 1
    best = losses.argmin(-1)
    best = best.reshape(*best.shape, *(1,) * (values.ndim - at))
    return torch.take_along_dim(values, best, at).squeeze(at)
