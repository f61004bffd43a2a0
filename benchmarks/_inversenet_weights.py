"""Which row of the tables a weights file, or a recipe, belongs to: by what its operator does."""

from __future__ import annotations

import math
import shlex
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs
import torch
import yaml
from wellposed import Space
from wellposed.errors import WellposedError
from wellposed.training import recipe_from
from wellposed.training.degradations import Degradation
from wellposed.training.distributions import draws_for, is_random
from wellposed.training.one_operator import is_another

from . import _inversenet_protocol as protocol
from ._inversenet_paper import INVERSENET, PIX2PIX
from ._trained import readable, shipped

__all__ = ["Kind", "Trained", "commands", "find", "kind_of", "recipes"]

_SIDE: Final = 64
_SAME: Final = 1e-3
_NETWORKS: Final = ("inversion", "denoiser", "network")


@attrs.frozen
class Kind:
    """A row of a table: what is undone, the method, and whether it learned faces or `natural`."""

    task: str
    method: str
    pictures: str


@attrs.frozen
class Trained:
    """A weights file and the row that it belongs to; `details` tells it from others there."""

    path: Path
    kind: Kind
    card: Mapping[str, Any] = attrs.field(repr=False)

    @property
    def details(self) -> str:
        """Its networks, what the loss lacks of the paper's, steps and batch."""
        recipe = self.card["recipe"]
        shown = [_described(*_named(given)) for given in _networks(recipe)]
        params = _named(recipe.get("solver"))[1]
        shown += [f"{key} {value}" for key, value in params.items() if key not in _NETWORKS]
        shown += [f"no {name}" for name in ("adversarial", "comparator") if not recipe.get(name)]
        return ", ".join([*shown, f"{self.card.get('steps', '?')} steps of {recipe['batch']}"])


def find(folders: Iterable[Path]) -> tuple[list[Trained], list[str]]:
    """Return the weights of folders (none: the installed) that have a row, and notes on them.

    Raises: DataError for a folder without weights.
    """
    known, notes = readable(folders)
    found = []
    for one in known:
        kind = kind_of(one.card["recipe"])
        if kind is None:
            continue
        found.append(Trained(one.path, kind, one.card))
        away = _away(kind.task, one.card["recipe"])
        if away > _SAME:
            notes.append(
                f"{one.path} was trained with another boundary, or a kernel a little different: "
                f"its measurements are {away:.2g} away, relatively, from those here."
            )
    return found, notes


def recipes() -> Iterator[tuple[str, Mapping[str, Any], Kind]]:
    """Yield name, content and row of the recipes that ship and have one."""
    for name, recipe in shipped("wellposed.plugins.inversenet"):
        kind = kind_of(recipe)
        if kind is not None:
            yield name, recipe, kind


def commands(kind: Kind) -> list[str]:
    """Return how to train weights for a row, by recipes that ship or changes of them."""
    found = [name for name, _, its in recipes() if its == kind]
    ways = [f"`wellposed train {name} --data PICTURES --out RUN`" for name in found]
    whole = attrs.evolve(kind, method=INVERSENET)
    for name, recipe, its in recipes():
        if kind.method == PIX2PIX and its == whole:
            options = "".join(f" --set {shlex.quote(change)}" for change in halved(recipe))
            ways.append(f"`wellposed train {name}{options} --data PICTURES --out RUN`")
    return ways


def halved(recipe: Mapping[str, Any]) -> list[str]:
    """Return what makes of a recipe of InverseNet that of its first network alone."""
    network = _named(recipe["solver"])[1]["inversion"]
    terms = [term for term in recipe["loss"] if "of" not in term]
    changes = {"solver": None, "network": network, "loss": terms, "watch": []}
    texts = [f"{key}={_flow(value)}" for key, value in changes.items()]
    given = (name for name in ("adversarial", "comparator") if recipe.get(name))
    return [*texts, *(f"{name}.of=[picture]" for name in given)]


def kind_of(recipe: Mapping[str, Any]) -> Kind | None:
    """Return the row of a recipe, as plain data; None for what is not compared here."""
    task = _task(recipe.get("operator"))
    method = _method(recipe)
    if task is None or method is None:
        return None
    data = recipe.get("data") or {}
    # Faces are aligned: their middle is cut out and resized. Of natural pictures parts are taken.
    aligned = data.get("middle") is not None and data.get("resize") is not None
    return Kind(task, method, "faces" if aligned else "natural")


def _method(recipe: Mapping[str, Any]) -> str | None:
    if _named(recipe.get("solver"))[0] == "inversenet":
        return INVERSENET
    names = [_named(given)[0] for given in _networks(recipe)]
    return PIX2PIX if names == ["inversenet_unet"] else None


def _task(given: Any) -> str | None:
    """Return the task whose operator does what a recipe's does."""
    try:
        if given is None or is_random(list(Degradation.from_data(given, None).operators)):
            return None
    except WellposedError:
        return None
    for task in protocol.OPERATORS:
        try:
            if not is_another(protocol.operator_of(task, (3, _SIDE, _SIDE)), given):
                return task
        except WellposedError:  # not for pictures of three channels, say
            continue
    return None


def _away(task: str, recipe: Mapping[str, Any]) -> float:
    """Return the relative difference of a recipe's measurements, the frame included."""
    space = Space((3, _SIDE, _SIDE))
    x = torch.rand(1, *space.shape, generator=torch.Generator().manual_seed(0))
    made = recipe_from(recipe).degradation()
    theirs = made.operator(space, draws_for(0, 0, stream=3, batch=1))(x)
    ours = protocol.operator_of(task, space.shape)(x)
    return float((theirs - ours).norm() / ours.norm())


def _networks(recipe: Mapping[str, Any]) -> list[Any]:
    """Return the networks that a recipe trains, as it gives them."""
    params = _named(recipe.get("solver"))[1]
    given = [params.get(name) for name in _NETWORKS]
    return [one for one in (*given, recipe.get("network")) if one is not None]


def _described(name: str | None, params: Mapping[str, Any]) -> str:
    return " ".join([name or "?", *(f"{key} {value}" for key, value in params.items())])


def _named(given: Any) -> tuple[str | None, Mapping[str, Any]]:
    if isinstance(given, Mapping):
        return given.get("name"), given.get("params") or {}
    return given, {}


def _flow(value: Any) -> str:
    """Return data as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False)
    return text.removesuffix("...\n").strip()
