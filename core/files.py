"""Files that appear whole or not at all."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from .errors import ImageFileError

__all__ = ["write_bytes"]


def write_bytes(path: str | Path, data: bytes) -> Path:
    """Write a file under a temporary name in the same folder, then rename it; return its path.

    Whatever happens on the way, `path` holds either its old content or all of the new one.
    Raises: ImageFileError when it cannot be written, naming the reason.
    """
    path = Path(path)
    if path.exists() and not path.is_file():
        kind = "a folder" if path.is_dir() else "not a regular file"
        raise ImageFileError(f"cannot write {path}: it is {kind}. Name a file.")
    if not path.parent.is_dir():
        what = "is not a folder" if path.parent.exists() else "does not exist"
        raise ImageFileError(f"cannot write {path}: {path.parent} {what}. Create the folder first.")
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
