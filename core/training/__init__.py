"""Training of learned methods: recipes, data, the loop, checkpoints and weights.

A learned solver is a network, a loss and a distribution of operators, and a recipe names all
three. `wellposed train` runs one; the same from Python:

    from wellposed.training import load_recipe, train

    result = train(load_recipe("recipe.yaml"), data="pictures", out="run")

Names are loaded on first use: weights are listed and verified without importing torch.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from .distributions import Draws
    from .engine import TrainingResult, train
    from .installed import InstalledWeights, installed_weights, verify_weights
    from .recipe import Recipe, load_recipe, recipe_from
    from .restored import Restored
    from .trained import prior_from_weights, solver_from_weights, trained_solver
    from .weights import load_weights, read_weights, save_weights

__all__ = [
    "Draws",
    "InstalledWeights",
    "Recipe",
    "Restored",
    "TrainingResult",
    "installed_weights",
    "load_recipe",
    "load_weights",
    "prior_from_weights",
    "read_weights",
    "recipe_from",
    "save_weights",
    "solver_from_weights",
    "train",
    "trained_solver",
    "verify_weights",
]

_WHERE: Final = {
    "Draws": "distributions",
    "InstalledWeights": "installed",
    "Recipe": "recipe",
    "Restored": "restored",
    "TrainingResult": "engine",
    "installed_weights": "installed",
    "load_recipe": "recipe",
    "load_weights": "weights",
    "prior_from_weights": "trained",
    "read_weights": "weights",
    "recipe_from": "recipe",
    "save_weights": "weights",
    "solver_from_weights": "trained",
    "train": "engine",
    "trained_solver": "trained",
    "verify_weights": "installed",
}


def __getattr__(name: str) -> object:
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_WHERE[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted(__all__)
