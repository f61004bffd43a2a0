"""What becomes of each sample, and what is told to whoever follows the solve."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor
from wellposed import IterationEvent, Problem, Reconstruction, Solver, Status, Watchers

__all__ = ["Journal", "Restored"]


@attrs.frozen(eq=False, kw_only=True)
class Restored:
    """One sample: its picture, how training ended, and its curves."""

    image: Tensor
    status: Status
    steps: int = 0
    loss: Sequence[Tensor] = ()
    error: Sequence[Tensor] = ()


@attrs.define(eq=False, kw_only=True)
class Journal:
    """Collects the samples of a batch, which are trained one after the other.

    Steps are counted through the whole batch, `budget` for each sample: a sample that ends before
    makes the next one start further on. The `change` of an event is each sample's training loss.
    """

    solver: Solver
    problem: Problem
    watchers: Watchers
    budget: int
    done: list[Restored] = attrs.field(factory=list)
    losses: list[Tensor] = attrs.field(factory=list)

    @property
    def stopped(self) -> bool:
        """Whether somebody has asked to stop."""
        return bool(self.done) and self.done[-1].status == Status.STOPPED

    def tell(self, step: int, loss: Tensor, estimate: Callable[[], Tensor]) -> bool:
        """Show a step of the sample at work; return whether to stop."""
        if not self.watchers:
            return False
        batch, index = self.problem.batch, len(self.done)
        count = torch.Size(batch).numel()
        waiting = torch.full_like(loss, torch.inf)
        changes = [*self.losses, loss, *[waiting] * (count - index - 1)]
        event = IterationEvent(
            step=index * self.budget + step,
            max_steps=count * self.budget,
            change=torch.stack(changes).reshape(batch),
            active=torch.arange(count, device=loss.device).ge(index).reshape(batch),
            estimate=lambda: self._estimate(estimate()),
            solver=self.solver,
            problem=self.problem,
        )
        return self.watchers.tell(event)

    def add(self, restored: Restored) -> None:
        """Keep a sample that has ended."""
        self.done.append(restored)
        self.losses.append(restored.loss[-1] if restored.loss else self._zero())

    def reconstruction(self) -> Reconstruction:
        """Return all samples in the shape of the batch."""
        batch, device = self.problem.batch, self.problem.measurement.device
        codes = torch.tensor([int(r.status) for r in self.done], dtype=torch.int8)
        steps = torch.tensor([r.steps for r in self.done], dtype=torch.int32)
        curves = {
            "loss": [r.loss for r in self.done],
            "reconstruction_error": [r.error for r in self.done],
        }
        return Reconstruction(
            image=self._shaped([r.image for r in self.done]),
            codes=codes.reshape(batch).to(device),
            steps=steps.reshape(batch).to(device),
            history={name: self._curve(rows) for name, rows in curves.items()},
        )

    def _estimate(self, running: Tensor) -> Tensor:
        with torch.inference_mode(False), torch.no_grad():
            batch = torch.Size(self.problem.batch)
            start = self.problem.linear._initial_estimate(self.problem.measurement)
            waiting = start.detach().reshape(batch.numel(), *start.shape[len(batch) :])
            known = [*(r.image for r in self.done), running]
            return self._shaped([*known, *waiting[len(known) :]])

    def _shaped(self, images: Sequence[Tensor]) -> Tensor:
        batch, space = self.problem.batch, self.problem.image_space
        if not images:
            return space.zeros(batch, device=self.problem.measurement.device)
        return torch.stack([*images]).reshape(*batch, *space.shape)

    def _curve(self, rows: Sequence[Sequence[Tensor]]) -> Tensor:
        """Return curves as `(*batch, steps)`; each goes on with its last value."""
        longest = max(map(len, rows), default=0)
        if longest == 0:
            return torch.zeros(*self.problem.batch, 0, dtype=self.problem.measurement.dtype)
        full = [
            torch.stack([*row, *[row[-1] if row else self._zero()] * (longest - len(row))])
            for row in rows
        ]
        return torch.stack(full).reshape(*self.problem.batch, longest).cpu()

    def _zero(self) -> Tensor:
        return self.problem.measurement.new_zeros(())
