"""Strategies: what a recipe adds to the plain loop.

The loop calls them in a fixed order: first what is drawn, then what is minimised. A recipe with
none of them takes the same steps as if they did not exist.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from .adversarial import Adversarial
from .batches import Batches
from .comparator import Comparator
from .degradations import Degradation
from .learner import Learner
from .on_demand import OnDemand
from .recipe import Recipe
from .strategy import Strategy
from .uncertainty import Uncertainty
from .watch import Watch

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["build_strategies"]


def build_strategies(
    recipe: Recipe,
    *,
    fabric: Fabric,
    learner: Learner,
    degradation: Degradation | None,
    batches: Batches,
    held: Batches | None,
) -> dict[str, Strategy]:
    """Return the strategies of a recipe by name, in the order in which they are called.

    Raises: ParameterError.
    """
    found: dict[str, Strategy] = {}
    if recipe.levels is not None:
        assert degradation is not None
        levels = recipe.cut_levels(degradation)
        if recipe.levels.sampling == "on_demand":
            assert held is not None
            found["on_demand"] = OnDemand(
                levels,
                recipe.levels,
                fabric=fabric,
                learner=learner,
                degradation=degradation,
                held=held,
            )
        if recipe.levels.weighting == "uncertainty":
            found["uncertainty"] = Uncertainty(levels, recipe.loss, fabric.device)
    if recipe.comparator is not None:
        found["comparator"] = Comparator(recipe, recipe.comparator, fabric, batches.shape)
    if recipe.watch:
        found["watch"] = Watch(recipe.watch, fabric)
    if recipe.adversarial is not None:
        found["adversarial"] = Adversarial(recipe, recipe.adversarial, fabric, batches.shape)
    return found
