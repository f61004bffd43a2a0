"""Sparse matrices kept on disk between runs: bounded, atomic, and never in the way."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
import warnings
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
from scipy import sparse

__all__ = ["LIMIT_BYTES", "cache_folder", "remembered"]

LIMIT_BYTES = 2 * 2**30

_SUFFIX = ".npz"


def cache_folder() -> Path:
    """Return the folder of the cache: WELLPOSED_CACHE, or the platform's own rule."""
    given = os.environ.get("WELLPOSED_CACHE")
    if given:
        return Path(given)
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = Path.home() / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "wellposed"


def remembered(
    key: str, build: Callable[[], sparse.csr_matrix], *, limit: int = LIMIT_BYTES
) -> sparse.csr_matrix:
    """Return the matrix stored under `key`, or build it and store it.

    A file that cannot be read is built anew, with a warning; a folder that cannot be written to
    is done without. Files used longest ago make room, so that all stay within `limit` bytes.
    """
    name = hashlib.sha256(key.encode()).hexdigest()[:32] + _SUFFIX
    try:
        folder = cache_folder()
    except RuntimeError:  # no home folder
        return build()
    path = folder / name
    found = _load(path)
    if found is None:
        found = build()
        _save(path, found, limit)
    return found


def _load(path: Path) -> sparse.csr_matrix | None:
    try:
        # Reading checks the checksum of each array, which the zip format holds.
        with path.open("rb") as stream, np.load(stream, allow_pickle=False) as data:
            shape = tuple(int(n) for n in data["shape"])
            parts = (data["data"], data["indices"], data["indptr"])
        found = sparse.csr_matrix(parts, shape=shape, copy=False)
    except (FileNotFoundError, PermissionError, NotADirectoryError):
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        warnings.warn(
            f"the stored matrix {path} cannot be read ({error}); it is computed again.",
            RuntimeWarning,
            stacklevel=2,
        )
        return None
    with contextlib.suppress(OSError):
        os.utime(path)  # the order in which files make room is that of use
    return found


def _save(path: Path, matrix: sparse.csr_matrix, limit: int) -> None:
    size = matrix.data.nbytes + matrix.indices.nbytes + matrix.indptr.nbytes
    if size > limit:
        return
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        _make_room(path.parent, limit - size)
        with tempfile.NamedTemporaryFile(
            dir=path.parent, prefix=".partial-", delete=False
        ) as stream:
            temporary = stream.name
            np.savez(
                stream,
                data=matrix.data,
                indices=matrix.indices,
                indptr=matrix.indptr,
                shape=np.array(matrix.shape),
            )
        os.replace(temporary, path)
    except OSError:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)


def _make_room(folder: Path, allowed: int) -> None:
    """Delete the files used longest ago until the others take at most `allowed` bytes."""
    files = []
    for path in folder.glob("*" + _SUFFIX):
        with contextlib.suppress(OSError):
            found = path.stat()
            files.append((found.st_mtime, found.st_size, path))
    total = sum(size for _, size, _ in files)
    for _, size, path in sorted(files):
        if total <= allowed:
            return
        with contextlib.suppress(OSError):
            path.unlink()
        total -= size
