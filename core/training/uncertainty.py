"""Multi-task learning with a learned weight for each level: the uncertainty of its task."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, final

import torch
from torch import Tensor, nn

from .distributions import Draws
from .levels import Levels
from .losses import LossTerm, sample_losses
from .strategy import Outcome, Strategy

__all__ = ["Uncertainty"]


@final
class Uncertainty(Strategy):
    """Weighs the loss of each sample by the learned uncertainty of its level.

        c mean_n [ exp(-s_a(n)) L_n + s_a(n) ],   c = 1/2 if the loss is l2, else 1

    with s_a the logarithm of the variance of level a (of the scale, for l1) and L_n the loss of
    sample n, of level a(n). It is smallest at `s_a = log L_a`, where the levels weigh `1 / L_a`:
    none is too hard or too easy to matter. All s start at 0, where all levels weigh the same.

    Source: Kendall, Gal & Cipolla, 2018, Multi-task learning using uncertainty to weigh losses
    for scene geometry and semantics, CVPR, equations 5 to 7: the negative logarithm of a Gaussian
    likelihood is `L / (2 sigma^2) + log sigma`, that of a Laplacian `L / b + log b`. Theirs is a
    sum over tasks, each with its own mean loss; the mean over samples is an unbiased estimate of
    that sum, divided by the number of levels (if all are equally frequent), also when a batch
    lacks some of them. It does not change with the size of the batch.
    """

    def __init__(
        self, levels: Levels, terms: Sequence[LossTerm], device: torch.device | str
    ) -> None:
        """Start with equal weights."""
        self._levels, self._terms = levels, terms
        self._factor = 0.5 if all(term.norm == "l2" for term in terms) else 1.0
        self.log_variance = nn.Parameter(torch.zeros(levels.count, device=device))
        self.columns = tuple(f"weight_{a}" for a in range(1, levels.count + 1))

    def parameters(self) -> Sequence[nn.Parameter]:
        """Return the logarithms s of the variances."""
        return (self.log_variance,)

    def choose(self, draws: Draws) -> Draws:
        """Return draws of which the levels are known."""
        return draws if draws.level is not None else self._levels.as_drawn(draws)

    def objective(self, so_far: Tensor, outcome: Outcome) -> Tensor:
        """Return the weighted loss in place of the plain one."""
        losses = sample_losses(
            self._terms,
            outcome.restored,
            truth=outcome.truth,
            measurement=outcome.measurement,
            operator=outcome.operator,
        )
        draws = outcome.draws
        assert draws.level is not None
        index = torch.from_numpy(draws.level.index[draws.own]).to(losses.device)
        s = self.log_variance[index]
        return self._factor * (torch.exp(-s) * losses + s).mean()

    def figures(self) -> Mapping[str, float]:
        """Return the weights exp(-s)."""
        weights = torch.exp(-self.log_variance.detach()).tolist()
        return dict(zip(self.columns, weights, strict=True))

    def state(self) -> dict[str, Any]:
        """Return s."""
        return {"log_variance": self.log_variance.detach().clone()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up s."""
        with torch.no_grad():
            self.log_variance.copy_(state["log_variance"])
