"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .errors import ImageFileError

__all__ = ["check_place", "write_bytes"]


def check_place(path: str | Path) -> None:
    """Check, before the work is done, that a file can be written there.

    Raises: ImageFileError, naming the reason.
    """
    path = Path(path)
    _check_free(path)
    if not os.access(path.parent, os.W_OK | os.X_OK):
        raise ImageFileError(
            f"cannot write {path}: you may not write to the folder {path.parent}. Name another."
        )


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file under a temporary name in the same folder, then rename it; return its path.

    Whatever happens on the way, `path` holds either its old content or all of the new one.
    Raises: ImageFileError when it cannot be written, naming the reason.
    """
    path = Path(path)
    _check_free(path)
    part = path.with_name(f".{path.name[:100]}.{secrets.token_hex(4)}.part")
    try:
        # os.open with the usual mode, not mkstemp: the result must obey the user's umask.
        handle = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666)
        try:
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            os.replace(part, path)
        except BaseException:
            part.unlink(missing_ok=True)
            raise
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise ImageFileError(f"cannot write {path}: {reason}.") from error
    return path


def _check_free(path: Path) -> None:
    try:
        taken = path.exists() and not path.is_file()
    except OSError as error:  # a name that is too long, or a folder that may not be looked into
        raise ImageFileError(f"cannot write {path}: {error.strerror}.") from error
    if taken:
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise ImageFileError(f"cannot write {path}: it is {kind}. Name a file.")
    if not path.parent.is_dir():
        what = "is not a folder" if path.parent.exists() else "does not exist"
        raise ImageFileError(f"cannot write {path}: {path.parent} {what}. Create the folder first.")
