"""Watching what a solver finds on the way: how far it is from the truth, and from the picture."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, final

import torch
from torch import Tensor

from .averages import RunningMean
from .strategy import Outcome, Strategy

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Watch"]

_ERROR, _CHANGE = "error", "change"


@final
class Watch(Strategy):
    """Logs mean and variance of `v - x` (error) and of `f(y) - v` (change) for each part v.

    Over all pixels, and over the steps between two lines of the log. It changes nothing.
    Source: Fan et al., 2017, InverseNet, section 4.1, "annealing training", and figure 4.
    """

    def __init__(self, parts: Sequence[str], fabric: Fabric) -> None:
        """Watch the parts of these names."""
        self._parts = tuple(parts)
        names = [f"{part}_{what}" for part in self._parts for what in (_ERROR, _CHANGE)]
        self.columns = tuple(f"{name}_{kind}" for name in names for kind in ("mean", "variance"))
        self._moments = {
            name: (RunningMean(fabric), RunningMean(fabric)) for name in names
        }  # of the first and second order

    def objective(self, so_far: Tensor, outcome: Outcome) -> Tensor:
        """Take note of the differences."""
        assert outcome.truth is not None
        for part in self._parts:
            v = outcome.restored.like(part, outcome.truth).detach()
            self._note(f"{part}_{_ERROR}", v - outcome.truth)
            self._note(f"{part}_{_CHANGE}", outcome.restored.picture.detach() - v)
        return so_far

    def figures(self) -> Mapping[str, float]:
        """Return mean and variance of each difference."""
        found = {}
        for name, (first, second) in self._moments.items():
            mean, square = first.value(), second.value()
            found[f"{name}_mean"] = float(mean)
            found[f"{name}_variance"] = float(torch.clamp(square - mean**2, min=0))
            first.reset()
            second.reset()
        return found

    def state(self) -> dict[str, Any]:
        """Return the moments so far."""
        return {name: [m.state() for m in pair] for name, pair in self._moments.items()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the moments."""
        for name, pair in self._moments.items():
            for moment, kept in zip(pair, state[name], strict=True):
                moment.load(kept)

    def _note(self, name: str, difference: Tensor) -> None:
        first, second = self._moments[name]
        first.add(difference.real.mean())
        second.add(difference.abs().square().mean())
