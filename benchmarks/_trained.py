"""Weights and recipes, wherever they are: what the benchmarks of trained methods read first."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from importlib.resources import files
from pathlib import Path
from typing import Any

import wellposed.registry as reg
from wellposed.training import InstalledWeights, installed_weights
from wellposed.training.installed import weights_in

__all__ = ["readable", "shipped"]


def readable(folders: Iterable[Path]) -> tuple[list[InstalledWeights], list[str]]:
    """Return the weights of folders (none: the installed), and what is wrong with others.

    Raises: DataError for a folder without weights.
    """
    folders = list(folders)
    known: list[InstalledWeights] = (
        [one for folder in folders for one in weights_in(folder)]
        if folders
        else installed_weights()
    )
    return [one for one in known if not one.problem], [one.problem for one in known if one.problem]


def shipped(plugin: str) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield name and content of the recipes of a plugin, by its package."""
    folder = files(plugin).joinpath("recipes")
    for entry in sorted(folder.iterdir(), key=lambda one: one.name):
        if entry.name.endswith(".yaml"):
            yield Path(entry.name).stem, reg.load_yaml(entry.read_text(encoding="utf-8"))
