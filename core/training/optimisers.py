"""Optimisers and schedules of a recipe."""

from __future__ import annotations

import math
from collections.abc import Iterable
from typing import Literal

import attrs
import torch
from wellposed.registry import param

from ..errors import ParameterError

__all__ = ["OptimiserRecipe", "ScheduleRecipe"]


@attrs.frozen(kw_only=True)
class OptimiserRecipe:
    """Which optimiser, with torch's own defaults for what is not given."""

    name: Literal["adam", "adamw", "sgd"] = param("adam", doc="the optimiser")
    rate: float = param(1e-3, doc="learning rate", check=attrs.validators.gt(0))
    betas: tuple[float, float] = param((0.9, 0.999), doc="decay of the two moments (adam, adamw)")
    epsilon: float = param(
        1e-8, doc="added to the root (adam, adamw)", check=attrs.validators.gt(0)
    )
    momentum: float = param(0.9, doc="of sgd", check=attrs.validators.ge(0))
    weight_decay: float = param(
        0.0, doc="pull of the weights to zero", check=attrs.validators.ge(0)
    )

    def __attrs_post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ParameterError(
                f"expected two numbers from 0 to below 1; got {list(self.betas)}", where="betas"
            )

    def build(self, parameters: Iterable[torch.nn.Parameter]) -> torch.optim.Optimizer:
        """Return the optimiser of some parameters."""
        if self.name == "sgd":
            return torch.optim.SGD(
                parameters, self.rate, momentum=self.momentum, weight_decay=self.weight_decay
            )
        cls = torch.optim.Adam if self.name == "adam" else torch.optim.AdamW
        return cls(
            parameters, self.rate, self.betas, eps=self.epsilon, weight_decay=self.weight_decay
        )


@attrs.frozen(kw_only=True)
class ScheduleRecipe:
    """The learning rate as a function of the step alone, so that resuming needs no state.

        constant: 1      cosine: final + (1 - final) (1 + cos(pi t)) / 2, with t = step / steps
        linear: 1 + (final - 1) t      steps: factor^(number of milestones passed)

    During a warmup it rises linearly instead.
    """

    name: Literal["constant", "cosine", "linear", "steps"] = param("constant", doc="the shape")
    warmup: int = param(
        0, doc="steps in which the rate rises linearly", check=attrs.validators.ge(0)
    )
    final: float = param(0.0, doc="fraction at the end (cosine, linear)")
    milestones: tuple[int, ...] = param((), doc="steps at which the rate falls (steps)")
    factor: float = param(0.1, doc="by what it is multiplied there", check=attrs.validators.gt(0))

    def __attrs_post_init__(self) -> None:
        if not 0 <= self.final <= 1:
            raise ParameterError(f"expected a number from 0 to 1; got {self.final}", where="final")
        if self.name == "steps" and not self.milestones:
            raise ParameterError("this schedule needs milestones: [...]", where="milestones")

    def fraction(self, step: int, steps: int) -> float:
        """Return the factor of the learning rate at a step, counted from 0."""
        if step < self.warmup:
            return (step + 1) / self.warmup
        t = min(step / steps, 1.0)
        if self.name == "cosine":
            return self.final + (1 - self.final) * 0.5 * (1 + math.cos(math.pi * t))
        if self.name == "linear":
            return 1 + (self.final - 1) * t
        if self.name == "steps":
            passed = sum(step >= milestone for milestone in self.milestones)
            return float(self.factor**passed)
        return 1.0
