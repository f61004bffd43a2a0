"""From a finished run to weights with a card."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import nn

from .batches import Batches
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
        "trained_for": {
            key: value
            for key, value in (("operator", recipe.operator), ("noise", recipe.noise))
            if value is not None
        },
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
