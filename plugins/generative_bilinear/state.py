"""Where a descent is: the state from step to step, and what a step leaves for the next one."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial

import attrs
import torch
from torch import Tensor
from wellposed import replayed

__all__ = ["Decoded", "Kept", "Resting", "State", "Turn"]


@attrs.frozen(eq=False, kw_only=True)
class Resting:
    """Which restarts still move, where the worse ones of each picture come to rest.

    order `(*batch, restarts)`: all restarts, first the `moving` ones that still do; shown: what the
    codes of the best of the others stand for, as in `State`; steps: how many have been done. These
    numbers are the host's own: shapes depend on them, and no step should ask the device.
    """

    order: Tensor
    shown: tuple[Tensor, ...]
    moving: int
    steps: int = 0

    @property
    def all_move(self) -> bool:
        """Whether none is at rest."""
        return self.moving == self.order.shape[-1]

    @property
    def first(self) -> Tensor:
        """Return the restarts that move."""
        return self.order[..., : self.moving]

    @property
    def others(self) -> Tensor:
        """Return those that do not."""
        return self.order[..., self.moving :]

    def halved(self, losses: Tensor) -> Resting:
        """Return this with the better half of those that move first, and as many as it has.

        A diverged restart moves on only where too few others are left: those that rested last, the
        best of them first, take its place.
        """
        axis = losses.ndim - 1
        best = taken(losses, self.first, axis).argsort(dim=-1, stable=True)
        order = torch.cat((taken(self.first, best, axis), self.others), -1)
        gone = taken(losses, order, axis).isinf().argsort(dim=-1, stable=True)
        return attrs.evolve(self, order=taken(order, gone, axis), moving=(self.moving + 1) // 2)

    def tensors(self) -> list[Tensor]:
        """Return all of them."""
        return [self.order, *self.shown]

    def copied(self) -> Resting:
        """Return the same with tensors of its own."""
        return attrs.evolve(
            self, order=self.order.clone(), shown=tuple(s.clone() for s in self.shown)
        )


@attrs.frozen(eq=False, kw_only=True)
class State:
    """Where all restarts are.

    points: the codes of each block; moments: Adam's, else empty; count `batch`: steps done;
    losses `(*batch, restarts)`: `|y - ...|^2` before the last step, infinite where a restart has
    diverged; shown: what the codes of the best restart stood for, one tensor `(*batch, ...)` for
    each block; resting: where the worse restarts come to rest, which ones do; turn: on CUDA, the
    step as a graph; kept: elsewhere, what the next step need not decode again.
    """

    points: tuple[Tensor, ...]
    moments: tuple[tuple[Tensor, ...], ...]
    count: Tensor
    losses: Tensor
    shown: tuple[Tensor, ...]
    resting: Resting | None = None
    turn: Turn | None = None
    kept: Kept | None = None

    def tensors(self) -> list[Tensor]:
        """Return all of them."""
        inner = [m for pair in self.moments for m in pair]
        rest = [] if self.resting is None else self.resting.tensors()
        return [*self.points, *inner, self.count, self.losses, *self.shown, *rest]

    def copied(self) -> State:
        """Return a state with tensors of its own, and nothing else."""
        return State(
            points=tuple(p.clone() for p in self.points),
            moments=tuple(tuple(m.clone() for m in pair) for pair in self.moments),
            count=self.count.clone(),
            losses=self.losses.clone(),
            shown=tuple(s.clone() for s in self.shown),
            resting=None if self.resting is None else self.resting.copied(),
        )

    def moving(self) -> State:
        """Return the state of the restarts that still move; of all, this one."""
        if self.resting is None or self.resting.all_move:
            return self
        some, axis = self.resting.first, self.losses.ndim - 1
        return attrs.evolve(
            self,
            points=tuple(taken(p, some, axis) for p in self.points),
            moments=tuple(tuple(taken(m, some, axis) for m in pair) for pair in self.moments),
            losses=taken(self.losses, some, axis),
        )

    def with_moved(self, new: State) -> State:
        """Return `new`, of the restarts that move, with those at rest where they are here."""
        rest = self.resting
        if rest is None or rest.all_move:
            return attrs.evolve(new, resting=rest)
        some, axis = rest.first, self.losses.ndim - 1
        left = taken(self.losses, rest.others, axis).amin(-1)
        ahead = left < new.losses.amin(-1)  # the best at rest is, of those that had moved on
        pairs = zip(rest.shown, new.shown, strict=True)
        moments = zip(self.moments, new.moments, strict=True)
        return attrs.evolve(
            new,
            points=tuple(map(partial(placed, some, axis), self.points, new.points)),
            moments=tuple(tuple(map(partial(placed, some, axis), *pair)) for pair in moments),
            losses=placed(some, axis, self.losses, new.losses),
            shown=tuple(torch.where(_beside(ahead, r), r, s) for r, s in pairs),
            resting=rest,
        )


# For blocks by their number: codes, and what they stand for, with autograd's graph of it.
Decoded = dict[int, tuple[Tensor, Tensor]]


class Kept:
    """What a step has decoded and the next one needs again, for each piece of the restarts.

    Where unknowns take turns, the new codes of those that move first are decoded within the step,
    for the gradients of the others. The next step goes on from there: one forward pass of three
    less, and a fifth of its time. It serves once, the same solver, problem and codes; whatever
    else, such as a copy, decodes again and comes to the same. Weights must rest between two steps.
    """

    def __init__(
        self, solver: object = None, problem: object = None, pieces: Sequence[Decoded] = ()
    ) -> None:
        """Keep what `solver` decoded for `problem`."""
        self._solver, self._problem, self._pieces = solver, problem, list(pieces)

    def taken(self, solver: object, problem: object) -> list[Decoded]:
        """Return it, and keep it no longer: a graph goes with the first gradient."""
        pieces, self._pieces = self._pieces, []
        return pieces if self._solver is solver and self._problem is problem else []

    def __reduce__(self) -> tuple[type[Kept], tuple[()]]:
        """Copy and pickle as nothing kept."""
        return Kept, ()


class Turn:
    """A step on tensors that stay where they are, to be replayed as one CUDA graph."""

    def __init__(self, advance: Callable[[State], State], like: State) -> None:
        """Keep room for a state."""
        self._advance, self._room = advance, like.copied()
        self._go = replayed(self._once, like.count.device)

    def _once(self) -> None:
        self._fill(self._advance(self._room))

    def _fill(self, state: State) -> None:
        for mine, given in zip(self._room.tensors(), state.tensors(), strict=True):
            mine.copy_(given)

    def __call__(self, state: State) -> State:
        """Return the next state."""
        self._fill(state)
        self._go()
        return attrs.evolve(self._room.copied(), turn=self)


def taken(values: Tensor, some: Tensor, axis: int) -> Tensor:
    """Return `(*batch, some, ...)` of values `(*batch, restarts, ...)`; axis: of the restarts."""
    return torch.take_along_dim(values, _beside(some, values), axis)


def placed(some: Tensor, axis: int, values: Tensor, new: Tensor) -> Tensor:
    """Return values with `new` for some of the restarts."""
    return values.scatter(axis, _beside(some, new).expand_as(new), new)


def _beside(index: Tensor, values: Tensor) -> Tensor:
    return index[(...,) + (None,) * (values.ndim - index.ndim)]
