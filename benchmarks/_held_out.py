"""The pictures of a data set that training did not see, by the function that training calls."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

import attrs
import torch
from torch import Tensor
from wellposed.errors import DataError
from wellposed.training import recipe_from
from wellposed.training.pool import Pool, load_pool
from wellposed.training.prepare import floats
from wellposed.training.sources import open_source

__all__ = ["Split", "faces", "held_out"]


class HasCard(Protocol):
    """A weights file with its card."""

    @property
    def path(self) -> Path:
        """The file."""

    @property
    def card(self) -> Mapping[str, Any]:
        """Its card."""


@attrs.frozen(eq=False)
class Split:
    """The pictures of a data set that a recipe trains on, as a digest, and those it does not."""

    digest: str
    held: Mapping[str, Tensor]


def faces(path: Path, recipe: Mapping[str, Any]) -> Split:
    """Return the pictures that a recipe, as plain data, holds out, by name, in [0, 1].

    Raises: DataError.
    """
    whole = recipe_from(recipe)
    trained, held = load_pool(open_source(path), whole.data, seed=whole.seed)
    return Split(trained.digest(), _pictures(held))


def held_out(
    path: Path, rows: Sequence[HasCard], otherwise: Sequence[Mapping[str, Any]]
) -> tuple[Tensor, list[str]]:
    """Return the pictures that none of the rows was trained on, and notes.

    otherwise: recipes that say it where there are no rows. Raises: DataError.
    """
    splits: dict[str, Split] = {}
    notes, held = [], []
    given: list[tuple[Mapping[str, Any], HasCard | None]]
    given = [(row.card["recipe"], row) for row in rows]
    for recipe, one in given or [(recipe, None) for recipe in otherwise]:
        key = repr((recipe.get("data"), recipe.get("seed", 0)))
        if key not in splits:
            splits[key] = faces(path, recipe)
        split = splits[key]
        held.append(split.held)
        if one is not None and split.digest != one.card["data"]["digest"]:
            notes.append(
                f"{one.path} was trained on other pictures than those of --data that its recipe "
                "does not hold out: some of the test pictures may be among them."
            )
    if not held:
        raise DataError("no recipe says which of these pictures training holds out; give --weights")
    names = sorted(set.intersection(*(set(one) for one in held)))
    if not names:
        raise DataError("the weights hold out no picture that they share; give fewer of them.")
    return torch.stack([held[0][name] for name in names]), notes


def _pictures(pool: Pool | None) -> dict[str, Tensor]:
    if pool is None:
        return {}
    return {name: floats(pool.picture(i)) for i, name in enumerate(pool.names)}
