"""The weights and recipes that ship with the installed plugins; needs no torch."""

from __future__ import annotations

import functools
import importlib.util
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
from wellposed.registry import default_registry
from wellposed.registry.errors import suggestion

from ..errors import DataError, WeightsError
from .cards import card_path, check_hash, read_bytes, read_card, read_header

__all__ = ["InstalledWeights", "find_recipe", "installed_weights", "verify_weights"]


@attrs.frozen
class InstalledWeights:
    """One weights file: where it is, its card, and what is wrong with it ('' when nothing is)."""

    path: Path
    plugin: str = ""
    card: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    problem: str = ""
    size: int = 0


def installed_weights() -> list[InstalledWeights]:
    """Return the files in the `weights/` folder beside each plugin's manifest, verified."""
    found = []
    for plugin in default_registry().plugins():
        for folder in _folders(plugin.module):
            found += [
                verify_weights(path, plugin=plugin.entry_point)
                for path in sorted((folder / "weights").glob("*.safetensors"))
            ]
    return found


def find_recipe(name: str) -> Path:
    """Return the path of a recipe: a file, or the name of one that ships with a plugin.

    Raises: DataError, with the names that there are.
    """
    if Path(name).suffix or Path(name).is_file():
        return Path(name)
    shipped = {
        path.stem: path
        for plugin in default_registry().plugins()
        for folder in _folders(plugin.module)
        for path in sorted((folder / "recipes").glob("*.yaml"))
    }
    if name not in shipped:
        raise DataError(
            f"there is no recipe {name!r}.{suggestion(name, list(shipped))} Give a .yaml file, or "
            f"one of {', '.join(sorted(shipped))}."
        )
    return shipped[name]


def verify_weights(path: Path, *, plugin: str = "") -> InstalledWeights:
    """Return a weights file with what is wrong with it, if anything; raises nothing.

    A file that has not changed since is not read again: a solver asks for every picture.
    """
    return _verified(path, plugin, (_stamp(path), _stamp(card_path(path))))


def _stamp(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError:
        return 0, 0  # what is wrong is said by the reader
    return found.st_mtime_ns, found.st_size


@functools.lru_cache(maxsize=64)
def _verified(path: Path, plugin: str, stamps: object) -> InstalledWeights:
    card: Mapping[str, Any] = {}
    size = 0
    try:
        data = read_bytes(path)
        size = len(data)
        card = read_card(path)
        check_hash(path, data, card)
        wide = [k for k, v in read_header(data, path).items() if v["dtype"] in ("F32", "F64")]
        if wide:
            raise WeightsError(f"{path} holds {wide[0]} in more than half precision.")
    except WeightsError as error:
        return InstalledWeights(path, plugin, card, str(error), size)
    return InstalledWeights(path, plugin, card, "", size)


def weights_in(path: Path) -> list[InstalledWeights]:
    """Return the weights of a folder, with its subfolders, or one file. Raises: DataError."""
    files = sorted(path.rglob("*.safetensors")) if path.is_dir() else [path]
    if not files or not path.exists():
        raise DataError(f"{path} holds no weights (.safetensors).")
    return [verify_weights(file) for file in files]


def _folders(module: str) -> list[Path]:
    try:
        spec = importlib.util.find_spec(module)
    except (ImportError, ValueError, AttributeError):
        return []
    if spec is None:
        return []
    if spec.submodule_search_locations:
        return [Path(folder) for folder in spec.submodule_search_locations]
    return [Path(spec.origin).parent] if spec.origin else []
