"""The weights that the tables of the generative bilinear solver need: generators, and a network."""

from __future__ import annotations

import argparse
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import yaml
from torch import Tensor
from wellposed import GenerativePrior, Solver
from wellposed.errors import WeightsError
from wellposed.training import prior_from_weights, solver_from_weights

from ._trained import readable

__all__ = ["Weights"]

# The first of these that is installed, when none are named.
_FACES: Final[Mapping[str, str]] = {"CelebA": "faces", "SVHN": "svhn"}
_KERNELS: Final[Mapping[str, tuple[str, ...]]] = {
    "shake": ("blur_shake", "blur_large"),
    "Blur A": ("blur_a",),
    "Blur B": ("blur_b",),
}
_NETWORKS: Final[Mapping[str, tuple[str, ...]]] = {  # of faces, by their blur
    "shake": ("deblurring_cnn_faces_shake_small",),
    "Blur A": ("deblurring_cnn_faces", "deblurring_cnn_faces_small"),
}
_CNN: Final = "hradis_cnn"


class Weights:
    """What the command line names, or else what is installed; `notes` says what there is not."""

    def __init__(self, options: argparse.Namespace) -> None:
        """Look at nothing yet."""
        self._options = options
        self.notes: list[str] = []

    def faces(self, name: str, x: Tensor) -> GenerativePrior | None:
        """Return the generator of the pictures of a set; None, with a note, without any.

        Raises: WeightsError for what is named.
        """
        given = self._options.faces
        usual = (_FACES[name],) if name in _FACES else ()
        found = self._generator(given, usual)
        if found is not None and found.out_space.shape != tuple(x.shape[-3:]):
            raise WeightsError(
                f"the generator of --faces makes pictures of shape {found.out_space.shape}; those "
                f"of {name} have {tuple(x.shape[-3:])}. Name other weights, or another --set."
            )
        if found is None:
            told = f"{_command(usual[0])}, then `--faces RUN/weights.safetensors`" if usual else ""
            self.notes.append(f"no generator of {name}: {told or 'no recipe ships'}")
        return found

    def kernels(self, kind: str) -> GenerativePrior | None:
        """Return the generator of a class of kernels, by --kernels for `shake` only; or None.

        Raises: WeightsError for what is named.
        """
        usual = _KERNELS[kind]
        found = self._generator(self._options.kernels if kind == "shake" else None, usual)
        if found is None:
            self.notes.append(f"no generator of kernels, {kind}: {_command(usual[0])}")
        return found

    def network(self, name: str, kind: str) -> tuple[Solver | None, str]:
        """Return the network for pictures of a set and a class of blurs, and its name for a row.

        Those that are installed are of faces. Raises: WeightsError for what is named.
        """
        given, usual = self._options.network, _NETWORKS[kind] if name == "CelebA" else ()
        known, problems = readable([Path(given)] if given else [])
        found = [one for one in known if _network_of(one.card.get("recipe") or {}) == _CNN]
        if given and not found:
            raise WeightsError(
                (problems or [f"{given} holds no {_CNN}; see {_NETWORKS[kind][-1]}."])[0]
            )
        if not given:
            mine = {one.path.stem: one for one in found}
            found = [mine[stem] for stem in usual if stem in mine]
        if not found:
            pictures = "" if usual else f" with pictures like those of {name}"
            self.notes.append(f"no network for {name}: {_command(_NETWORKS[kind][-1])}{pictures}")
            return None, ""
        path, recipe = found[0].path, found[0].card["recipe"]
        self.notes.append(
            f"CNN: {path.stem}, {found[0].card.get('steps', '?')} steps; trained for "
            f"{_flow(recipe.get('operator'))}, noise {_flow(recipe.get('noise'))}"
        )
        return solver_from_weights(path, device=self._options.device), f": {path.stem}"

    def _generator(self, given: str | None, usual: tuple[str, ...]) -> GenerativePrior | None:
        for name in (given,) if given else usual:
            try:
                prior: Any = prior_from_weights(name, device=self._options.device)
            except WeightsError:
                if given:
                    raise
                continue
            if not isinstance(prior, GenerativePrior):
                raise WeightsError(f"{name} holds {type(prior).__name__}, no generator.")
            return prior
        return None


def _command(recipe: str) -> str:
    data = "" if recipe.startswith("blur") else " --data PICTURES"
    return f"`wellposed train {recipe}{data} --out RUN`"


def _flow(value: Any) -> str:
    """Return data as YAML on one line."""
    text = yaml.safe_dump(value, default_flow_style=True, width=math.inf, sort_keys=False)
    return text.removesuffix("...\n").strip()


def _network_of(recipe: Mapping[str, Any]) -> str | None:
    given = recipe.get("network")
    return given.get("name") if isinstance(given, Mapping) else given
