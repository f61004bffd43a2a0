"""How fast to learn, and when to stop."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs

__all__ = ["TEST_EVERY", "HalfCosine", "SlopePolicy", "slope_and_deviation"]

TEST_EVERY = 50
_CHECK_EVERY = 60
_PATIENCE = 256
_FITTED = 5
_RATIO = 1.5


def slope_and_deviation(steps: Sequence[float], errors: Sequence[float]) -> tuple[float, float]:
    """Return the slope of the least-squares line through three points or more, and its deviation.

    The deviation is the standard error of the slope, from the residuals with n - 2 degrees of
    freedom. Source: Draper and Smith, 1998, Applied regression analysis, section 1.4.
    """
    n = len(steps)
    centre, mean = sum(steps) / n, sum(errors) / n
    spread = sum((s - centre) ** 2 for s in steps)
    slope = sum((s - centre) * (e - mean) for s, e in zip(steps, errors, strict=True)) / spread
    residual = sum(
        (e - mean - slope * (s - centre)) ** 2 for s, e in zip(steps, errors, strict=True)
    )
    return slope, math.sqrt(residual / (n - 2) / spread)


@attrs.define
class SlopePolicy:
    """Divides the learning rate by ten when the reconstruction error no longer falls clearly.

    Every 60 steps, 256 after the last change at the earliest, a line is fitted through the last
    five errors, measured 50 steps apart: where `-1.5 slope <= deviation`, the rate falls. Below
    `last_rate`, training is over.

    Source: Shocher, Cohen and Irani, 2018, section 3.1; the numbers are those of the authors' code.
    """

    rate: float
    last_rate: float
    changed_at: int = 0

    @property
    def ended(self) -> bool:
        """Whether training is over."""
        return self.rate < self.last_rate

    def rate_at(self, share: float) -> float:
        """Return the rate, however much of the budget is spent."""
        return self.rate

    def is_due(self, step: int) -> bool:
        """Whether the errors must be looked at after `step` steps."""
        return step % _CHECK_EVERY == 0 and step - 1 - self.changed_at > _PATIENCE

    def update(self, step: int, steps: Sequence[float], errors: Sequence[float]) -> None:
        """Look at the errors measured at `steps`, and change the rate if they stand still."""
        slope, deviation = slope_and_deviation(steps[-_FITTED:], errors[-_FITTED:])
        if -_RATIO * slope <= deviation:
            self.rate /= 10
            self.changed_at = step - 1


@attrs.define
class HalfCosine:
    """Lets the learning rate fall to zero over the budget, along half a period of the cosine.

    Source: Loshchilov and Hutter, 2017, SGDR: stochastic gradient descent with warm restarts,
    equation (5), without restarts.
    """

    rate: float
    ended: bool = attrs.field(default=False, init=False)

    def is_due(self, step: int) -> bool:
        """Never: the errors do not matter."""
        return False

    def update(self, step: int, steps: Sequence[float], errors: Sequence[float]) -> None:
        """Change nothing."""

    def rate_at(self, share: float) -> float:
        """Return the rate after a share of the budget, from 0 to 1."""
        return self.rate * 0.5 * (1 + math.cos(math.pi * min(share, 1.0)))
