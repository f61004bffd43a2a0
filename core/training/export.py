"""From a finished run to weights with a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from ..space import Space
from .batches import Batches
from .degradation_levels import ranges_of
from .recipe import Recipe
from .weights import save_weights

__all__ = ["export"]


def export(
    path: Path,
    module: nn.Module,
    recipe: Recipe,
    batches: Batches,
    *,
    step: int,
    quality: Mapping[str, float],
    held_out: int,
) -> dict[str, Any]:
    """Write the weights of a run and their card; return the card. Raises: as `save_weights`."""
    pool = batches.pool
    card = {
        "recipe": recipe.as_data(),
        "trained_for": _trained_for(recipe, batches),
        "data": {
            "pictures": len(pool.names),
            "values": sum(c * h * w for c, h, w in pool.shapes),
            "digest": pool.digest(),
        },
        "seed": recipe.seed,
        "steps": step,
        "quality": {
            **{key: round(value, 4) for key, value in quality.items()},
            "measured_on": f"{held_out} held-out pictures" if held_out else "training pictures",
        },
        "licence": recipe.licence,
    }
    return save_weights(path, module, card)


def _trained_for(recipe: Recipe, batches: Batches) -> dict[str, Any]:
    given = {"operator": recipe.operator, "noise": recipe.noise}
    found = {key: value for key, value in given.items() if value is not None}
    if recipe.operator is not None and recipe.data.kind != "measurements":
        space = Space(batches.shape)
        found["levels"] = ranges_of(recipe.degradation(), space, seed=recipe.seed)
    return found
