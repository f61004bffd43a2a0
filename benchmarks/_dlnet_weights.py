"""Which row of the paper's tables a weights file, or a recipe, belongs to."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from ._trained import readable, shipped

__all__ = ["Kind", "Trained", "commands", "find", "kind_of", "recipes"]

_NAMES = {"context_encoder": "Autoencoder", "edge_connect": "EdgeConnect"}
_BACKBONES = ("VDSR", "DRRN", "IDN")
_PLAIN = "solver.params.steps=1"
_HOLE = "operator.params.mask.hole"
_LEARNED = {
    "Autoencoder (Joint)": [_PLAIN],
    "On-Demand Learning": [_PLAIN, "levels.sampling=on_demand", "levels.count=5"],
    "Multi-Task Learning": [_PLAIN, "levels.weighting=uncertainty", "levels.count=30"],
}
_FACES = {
    "inpainting": {
        **_LEARNED,
        "Autoencoder (Default)": [_PLAIN, f"{_HOLE}.size=32", f"{_HOLE}.shift=0"],
        "Autoencoder (s = 20, centered)": [_PLAIN, f"{_HOLE}.size=20", f"{_HOLE}.shift=0"],
    },
    "interpolation": {
        **_LEARNED,
        "Autoencoder (Default)": [_PLAIN, "operator.params.mask.missing_pixels=0.75"],
    },
}
_RANDOM = ("uniform", "log_uniform", "integers", "choice", "per_step")


@attrs.frozen
class Kind:
    """A row of a table: what is restored, the paper's name of the method, and the scale."""

    task: str
    method: str
    scale: int = 1


@attrs.frozen
class Trained:
    """A weights file and the row that it belongs to; `details` tells it from others there."""

    path: Path
    kind: Kind
    card: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def recipe(self) -> Mapping[str, Any]:
        """The recipe of its card."""
        recipe: Mapping[str, Any] = self.card["recipe"]
        return recipe

    @property
    def details(self) -> str:
        """What differs from the paper: parameters of the network, K, steps and batch."""
        network, params = _network(self.recipe)
        shown = [f"{key} {value}" for key, value in network.items() if key != "scale"]
        shown += [f"K = {params['steps']}"] if params.get("steps", 1) != 1 else []
        shown += ["levels"] if self.recipe.get("levels") and self.kind.method == "DL-Net" else []
        return ", ".join([*shown, f"{self.card.get('steps', '?')} steps of {_batch(self.recipe)}"])


def find(folders: Iterable[Path]) -> tuple[list[Trained], list[str]]:
    """Return the weights of folders (none: the installed), and what is wrong with others.

    Raises: DataError for a folder without weights.
    """
    known, wrong = readable(folders)
    found = []
    for one in known:
        if (kind := kind_of(one.card["recipe"])) is not None:
            found.append(Trained(one.path, kind, one.card))
    return found, wrong


def recipes() -> Iterator[tuple[str, Mapping[str, Any], Kind]]:
    """Yield name, content and row of the recipes that ship and have one."""
    for name, recipe in shipped("wellposed.plugins.dlnet"):
        kind = kind_of(recipe)
        if kind is not None:
            yield name, recipe, kind


def commands(kind: Kind) -> list[str]:
    """Return how to train weights for a row, each by other changes of recipes that ship."""
    ways: dict[tuple[str, ...], list[str]] = {}
    for name, recipe, its in recipes():
        changes = [] if its == kind else _changes(recipe, its, kind)
        if changes is not None:
            ways.setdefault(tuple(changes), []).append(name)
    found = []
    for changes, (name, *others) in ways.items():
        options = "".join(f" --set {shlex.quote(change)}" for change in changes)
        more = f" (or {', '.join(others)})" if others else ""
        found.append(f"`wellposed train {name}{options} --data PICTURES --out RUN`{more}")
    return found


def _changes(recipe: Mapping[str, Any], its: Kind, kind: Kind) -> list[str] | None:
    """Return what turns a recipe of DL-Net into that of another row; None: it cannot."""
    if (its.task, its.scale) != (kind.task, kind.scale) or "DL-Net" not in its.method:
        return None
    if recipe.get("conditions"):  # of no table so far
        return None
    if kind.task != "super_resolution":
        return _FACES[kind.task].get(kind.method)
    backbone, _, role = kind.method.partition(" (")
    changes = []
    if backbone not in _BACKBONES:
        return None
    if backbone != its.method.partition(" (")[0]:
        if set(_network(recipe)[0]) != {"scale"}:
            return None
        changes.append(f"solver.params.network.name={backbone.lower()}")
    if role != "DL-Net)":
        changes.append(_PLAIN)
    if not role:
        params = dict(_parts(recipe["operator"])[0].get("params") or {})
        shown = ", ".join(f"{key}: {value}" for key, value in params.items())
        changes.append(f"operator=[{{name: strided_blur, params: {{{shown}}}}}]")
    return changes


def kind_of(recipe: Mapping[str, Any]) -> Kind | None:
    """Return the row of a recipe, as plain data; None for what the tables do not compare."""
    given = recipe.get("operator")
    parts = {part["name"]: part.get("params") or {} for part in _parts(given)}
    name, params = _named(recipe.get("solver"))
    if name not in ("dlnet", "network", None):
        return None
    network, _ = _network(recipe)
    backbone = _named(params.get("network") or recipe.get("network"))[0] or ""
    label = _NAMES.get(backbone, backbone.upper())
    if network.get("mask_channels"):
        label += "+SFT"
    role = _role(recipe, params)
    if set(parts) == {"mask"}:
        mask = parts["mask"].get("mask")
        if not isinstance(mask, Mapping) or not {"hole", "missing_pixels"} & set(mask):
            return None
        task = "inpainting" if "hole" in mask else "interpolation"
        if role == "DL-Net" and label == "Autoencoder":
            return Kind(task, role)
        if role == "plain":
            level = _level(mask)
            return Kind(task, f"{label} ({level})") if level else None
        learned = ("On-Demand Learning", "Multi-Task Learning")
        return Kind(
            task, role if role in learned and label == "Autoencoder" else f"{label} ({role})"
        )
    if "strided_blur" in parts and set(parts) <= {"strided_blur", "blur"}:
        scale = parts["strided_blur"].get("stride", 2)
        plain = role == "plain" and "blur" not in parts
        return Kind("super_resolution", label if plain else f"{label} ({role})", scale)
    return None


def _role(recipe: Mapping[str, Any], params: Mapping[str, Any]) -> str:
    levels = recipe.get("levels") or {}
    if (recipe.get("solver") is not None) and params.get("steps", 5) != 1 and "network" in params:
        return "DL-Net"
    if levels.get("sampling") == "on_demand":
        return "On-Demand Learning"
    if levels.get("weighting") == "uncertainty":
        return "Multi-Task Learning"
    loss = recipe.get("loss")
    terms = loss if isinstance(loss, list | tuple) else [loss]
    if any(isinstance(term, Mapping) and term.get("on") == "measurement" for term in terms):
        return "Naive Likelihood"
    return "Joint" if _drawn(recipe.get("operator")) else "plain"


def _level(mask: Mapping[str, Any]) -> str | None:
    """Return the paper's name of one level of difficulty: `Default` is the hardest."""
    if "missing_pixels" in mask:
        return "Default" if mask["missing_pixels"] == 0.75 else None
    hole = mask["hole"]
    size = hole.get("size") if isinstance(hole, Mapping) else hole
    return {32: "Default", 20: "s = 20, centered"}.get(size)


def _drawn(tree: Any) -> bool:
    """Tell whether the operator differs from sample to sample: in more than where a hole lies."""
    if isinstance(tree, Mapping):
        return any(key in _RANDOM or _drawn(value) for key, value in tree.items())
    return isinstance(tree, list | tuple) and any(map(_drawn, tree))


def _network(recipe: Mapping[str, Any]) -> tuple[dict[str, Any], Mapping[str, Any]]:
    """Return the parameters of a recipe's network, and of its solver."""
    params = _named(recipe.get("solver"))[1]
    return dict(_named(params.get("network") or recipe.get("network"))[1]), params


def _named(given: Any) -> tuple[str | None, Mapping[str, Any]]:
    if isinstance(given, Mapping):
        return given.get("name"), given.get("params") or {}
    return given, {}


def _parts(given: Any) -> list[Mapping[str, Any]]:
    items = given if isinstance(given, list | tuple) else [given]
    return [item if isinstance(item, Mapping) else {"name": item} for item in items]


def _batch(recipe: Mapping[str, Any]) -> str:
    return str(recipe.get("batch", 16))
