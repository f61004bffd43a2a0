"""The interface of a strategy: what a recipe adds to the plain loop."""

from __future__ import annotations

from abc import ABC
from collections.abc import Mapping, Sequence
from typing import Any

import attrs
from torch import Tensor, nn

from ..operator import ForwardOperator
from .distributions import Draws
from .restored import Restored

__all__ = ["Outcome", "Strategy"]


@attrs.frozen(eq=False, kw_only=True)
class Outcome:
    """What the samples of one step came from, and what they were restored to."""

    step: int
    restored: Restored
    truth: Tensor | None
    measurement: Tensor
    operator: ForwardOperator | None
    draws: Draws


class Strategy(ABC):  # noqa: B024 - every method has a default
    """Something beside the plain loop; every method but what a subclass needs does nothing.

    All processes of a run call every method together.
    """

    columns: tuple[str, ...] = ()

    def parameters(self) -> Sequence[nn.Parameter]:
        """Return what the optimiser trains beside the learner, without weight decay."""
        return ()

    def choose(self, draws: Draws) -> Draws:
        """Return the draws of a step, with whatever is decided about them."""
        return draws

    def objective(self, so_far: Tensor, outcome: Outcome) -> Tensor:
        """Return what this process minimises, from what it would minimise so far."""
        return so_far

    def after(self, step: int) -> None:  # noqa: B027
        """Do what is due when `step` steps are done."""

    def figures(self) -> Mapping[str, float]:
        """Return the numbers for the next line of the log, under the names of `columns`."""
        return {}

    def state(self) -> dict[str, Any]:
        """Return tensors and plain data for the checkpoint."""
        return {}

    def load(self, state: Mapping[str, Any]) -> None:  # noqa: B027
        """Take up what `state` returned."""
