"""`--condition NAME=FILE`: what is given beside a picture, for one picture or for many."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from wellposed.registry import ParameterError

from ..errors import ImageFileError

__all__ = ["conditions_for", "conditions_from"]


def conditions_from(texts: Sequence[str]) -> dict[str, Any]:
    """Return `name=file` texts as a problem file holds them; a name given again makes a list.

    Raises: ParameterError for a text without `=`.
    """
    found: dict[str, Any] = {}
    for text in texts:
        name, _, file = text.partition("=")
        if not name.strip() or not file:
            raise ParameterError(
                f"--condition expects NAME=FILE, as in --condition edges=edges.png; got {text!r}"
            )
        found.setdefault(name.strip(), []).append(file)
    return {name: files[0] if len(files) == 1 else files for name, files in found.items()}


def conditions_for(conditions: Mapping[str, Any] | None, source: Path) -> dict[str, Any] | None:
    """Return the conditions of one picture: a folder stands for its file with the same name.

    The suffix may differ.
    Raises: ImageFileError when there is none in the folder, or more than one.
    """
    if not conditions:
        return None

    def one(name: str, file: object) -> object:
        if isinstance(file, list):
            return [one(name, item) for item in file]
        if not isinstance(file, str) or not Path(file).is_dir():
            return file
        found = sorted(p for p in Path(file).iterdir() if p.stem == source.stem and p.is_file())
        if len(found) != 1:
            raise ImageFileError(
                f"expected one file named {source.stem} in the folder {file}; found "
                f"{', '.join(p.name for p in found) or 'none'}.",
                where=f"conditions.{name}",
            )
        return str(found[0])

    return {name: one(name, file) for name, file in conditions.items()}
