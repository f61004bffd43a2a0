"""On-demand learning: train more on those levels that are restored worst."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, final

import attrs
import torch

from ..metrics import psnr
from ..space import Space
from .batches import Batches
from .degradations import Degradation
from .distributions import Draws, draws_for
from .learner import Learner
from .levels import Levels, LevelsRecipe
from .step import measured
from .strategy import Strategy

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["OnDemand", "shares_of"]

_LEAST: Final = 1.0
_MOST: Final = 100.0


def shares_of(scores: list[float]) -> list[float]:
    """Return the share of each level, inversely proportional to its mean PSNR.

        share_a = (1 / P_a) / sum_b (1 / P_b)

    P is kept between 1 and 100 dB, where its inverse makes sense, and rounded to 0.01 dB, so that
    the last digits, which differ between one process and two, do not change what is drawn.
    """
    inverse = [1 / round(min(max(score, _LEAST), _MOST), 2) for score in scores]
    return [one / sum(inverse) for one in inverse]


@final
class OnDemand(Strategy):
    """Draws each level as often as its held-out pictures are hard to restore.

    All levels have equal shares until they were measured for the first time, after `every`
    steps. Each is then measured with the same held-out crops; the crops, and what is drawn
    within a level, belong to the seed alone.

    Source: Gao & Grauman, 2017, On-demand learning for deep image restoration, ICCV: after each
    epoch the number of examples of a sub-task in a batch is made inversely proportional to its
    mean PSNR on validation pictures. Departures: shares of a batch are rounded at random instead
    of once and for all; a round comes after a number of steps, which does not depend on the size
    of the data set (theirs: 1000 steps of 100 samples).
    """

    def __init__(
        self,
        levels: Levels,
        given: LevelsRecipe,
        *,
        fabric: Fabric,
        learner: Learner,
        degradation: Degradation,
        held: Batches,
    ) -> None:
        """Start with equal shares."""
        self._levels, self._given, self._fabric = levels, given, fabric
        self._learner, self._degradation = learner, degradation
        self._held = attrs.evolve(held, own=slice(0, held.batch))
        self.scores: list[float] = []
        self.shares = [1 / levels.count] * levels.count
        numbers = range(1, levels.count + 1)
        self.columns = (*(f"psnr_{a}" for a in numbers), *(f"share_{a}" for a in numbers))

    def choose(self, draws: Draws) -> Draws:
        """Return draws in which each level has its share."""
        return self._levels.by_share(draws, self.shares)

    def after(self, step: int) -> None:
        """Measure the levels when a round is due; the first process does."""
        if step % self._given.every:
            return
        scores = self._measure() if self._fabric.global_rank == 0 else []
        self.scores = self._fabric.broadcast(scores)
        self.shares = shares_of(self.scores)

    def figures(self) -> Mapping[str, float]:
        """Return the last PSNR of each level, and its share."""
        return dict(zip(self.columns[-self._levels.count :], self.shares, strict=True)) | dict(
            zip(self.columns, self.scores, strict=False)
        )

    def state(self) -> dict[str, Any]:
        """Return the PSNR of the last round."""
        return {"scores": list(self.scores)}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on with the shares of the last round."""
        self.scores = list(state["scores"])
        if self.scores:
            self.shares = shares_of(self.scores)

    def _measure(self) -> list[float]:
        learner, held = self._learner, self._held
        found = torch.zeros(self._levels.count, dtype=torch.float64, device=self._fabric.device)
        rounds = max(self._given.samples // held.batch, 1)
        training = learner.training
        learner.eval()
        with torch.no_grad():
            for number in range(rounds):
                sample = held[number]
                for level in range(self._levels.count):
                    draws = self._draws(number, level)
                    x, y, operator, noise, conditions = measured(
                        sample, self._degradation, Space(held.shape), draws
                    )
                    assert x is not None
                    scores = psnr(learner(y, operator, noise, conditions).picture.float(), x)
                    found[level] += scores.clamp(_LEAST, _MOST).mean()
        learner.train(training)
        return [float(score) for score in found / rounds]

    def _draws(self, number: int, level: int) -> Draws:
        held = self._held
        draws = draws_for(held.seed, number, stream=3, batch=held.batch, device=self._fabric.device)
        return self._levels.only(draws, level)
