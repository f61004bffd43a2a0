"""A new plugin package from a template, which installs and passes its tests as it is."""

from __future__ import annotations

import importlib.machinery
import importlib.metadata
import keyword
import os
import re
import secrets
import shutil
import sys
from importlib import resources
from importlib.resources.abc import Traversable
from pathlib import Path

from ..errors import ParameterError

__all__ = ["new_plugin"]

_PACKAGE = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_SUFFIX = ".in"


def new_plugin(folder: str | Path, name: str) -> list[Path]:
    """Write a plugin package named `name` into `folder`, and return its files.

    The folder must not exist, or be empty; it appears complete or not at all. `name` becomes the
    distribution (with `-`) and the import package (with `_`).
    Raises: ParameterError for a folder that holds something, or a name that no package can have, or
    that one has already.
    """
    words = _words(name)
    target = Path(folder)
    _check_free(target)
    parent = target.resolve().parent
    draft = parent / f".{target.name}-{secrets.token_hex(4)}"
    try:
        parent.mkdir(parents=True, exist_ok=True)
        draft.mkdir()
        for path, text in _files(words).items():
            file = draft / path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text, encoding="utf-8")
        if target.exists():
            target.rmdir()  # empty, or this fails: nothing is ever replaced
        os.rename(draft, target)
    except OSError as error:
        raise ParameterError(
            f"cannot write a plugin to {target}: {error.strerror or error}. Choose a new folder "
            "in a place that you may write to."
        ) from None
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return sorted(path for path in target.rglob("*") if path.is_file())


def _words(name: str) -> dict[str, str]:
    """Return what the placeholders of the template stand for."""
    package = re.sub(r"[-.\s]+", "_", name.strip()).lower()
    taken = keyword.iskeyword(package) or package in sys.stdlib_module_names
    if not _PACKAGE.fullmatch(package) or taken or package in ("wellposed", "tests"):
        raise ParameterError(
            f"a plugin needs a name that Python can import, such as 'wellposed-acme'; got {name!r}."
        )
    if _is_taken(package):
        raise ParameterError(
            f"a package {package!r} is installed already, and the plugin would take its place; "
            "choose another name (--name)."
        )
    short = package.removeprefix("wellposed_") or package
    return {
        "package": package,
        "distribution": package.replace("_", "-"),
        "component": f"{short}_binning",
    }


def _is_taken(package: str) -> bool:
    """Whether something else can be imported, or uninstalled, by that name; a plugin may come anew.

    A folder that merely lies where Python was started is no package.
    """
    points = importlib.metadata.entry_points(group="wellposed")
    if package in {point.module.partition(".")[0] for point in points}:
        return False
    found = importlib.machinery.PathFinder.find_spec(package)
    if found is not None and found.origin is not None:
        return True
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _check_free(target: Path) -> None:
    if target.is_symlink() or (target.exists() and not target.is_dir()):
        raise ParameterError(f"{target} is no folder; choose a new folder for the plugin.")
    if target.is_dir() and any(target.iterdir()):
        raise ParameterError(f"the folder {target} is not empty; choose a new one for the plugin.")


def _files(words: dict[str, str]) -> dict[str, str]:
    """Return path and text of every file, filled in."""
    found: dict[str, str] = {}

    def fill(text: str) -> str:
        for word, value in words.items():
            text = text.replace(f"@{word}@", value)
        return text

    def walk(folder: Traversable, prefix: str) -> None:
        for item in folder.iterdir():
            if item.is_dir():
                walk(item, f"{prefix}{words.get(item.name, item.name)}/")
            elif item.name.endswith(_SUFFIX):
                path = prefix + item.name.removesuffix(_SUFFIX)
                found[path] = fill(item.read_text(encoding="utf-8"))

    walk(resources.files(__name__) / "template", "")
    return found
