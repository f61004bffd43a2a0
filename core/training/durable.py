"""Files that survive being killed: whole checkpoints, and logs that can be cut back to one."""

from __future__ import annotations

import io
import os
import secrets
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import IO, Any, Final

import torch

from ..errors import TrainingError, TrainingWarning

__all__ = ["Journal", "checkpoints", "load_checkpoint", "save_checkpoint", "write_durably"]

_KEPT: Final = 2


def write_durably(path: Path, data: bytes) -> None:
    """Write a file so that, whatever happens, it has its old content or all of the new one.

    Temporary name, fsync, rename, fsync of the folder.
    Raises: TrainingError, naming the reason; the old content is then still there.
    """
    part = path.with_name(f".{path.name}.{secrets.token_hex(4)}.part")
    try:
        with part.open("xb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(part, path)
        _sync_folder(path.parent)
    except OSError as error:
        part.unlink(missing_ok=True)
        raise TrainingError(
            f"cannot write {path} ({len(data) / 1e6:.1f} MB): {error.strerror or error}. "
            "Everything saved before is untouched: make room, and go on with --resume."
        ) from error


def _sync_folder(folder: Path) -> None:
    if os.name != "posix":
        return
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def checkpoints(folder: Path) -> list[Path]:
    """Return the checkpoints of a run, oldest first."""
    return sorted(folder.glob("checkpoint-*.pt"))


def save_checkpoint(folder: Path, step: int, state: Mapping[str, Any]) -> Path:
    """Write a checkpoint and remove all but the last two. Raises: TrainingError."""
    buffer = io.BytesIO()
    torch.save(dict(state), buffer)
    path = folder / f"checkpoint-{step:09d}.pt"
    write_durably(path, buffer.getvalue())
    for old in checkpoints(folder)[:-_KEPT]:
        old.unlink(missing_ok=True)
    for part in folder.glob(".*.part"):  # of a run that was killed while writing
        part.unlink(missing_ok=True)
    return path


def load_checkpoint(folder: Path) -> dict[str, Any] | None:
    """Return the newest checkpoint that can be read; None when there is none at all.

    Only tensors and plain data are ever read. Raises: TrainingError when all are damaged.
    """
    found = checkpoints(folder)
    for path in reversed(found):
        try:
            state = torch.load(path, map_location="cpu", weights_only=True)
            if isinstance(state, dict) and "step" in state:
                return state
            reason = "it is no checkpoint"
        except Exception as error:  # torch raises many kinds on damaged files
            reason = (str(error) or type(error).__name__).splitlines()[0]
        warnings.warn(
            f"{path} cannot be read ({reason}); the one before it is taken",
            TrainingWarning,
            stacklevel=2,
        )
    if found:
        raise TrainingError(
            f"none of the checkpoints in {folder} can be read. Start again in another folder."
        )
    return None


class Journal:
    """A CSV file that only grows, but for being cut back to the checkpoint a run resumes from."""

    def __init__(self, path: Path, columns: Sequence[str], *, keep: int | None = None) -> None:
        """Open the file: empty with a header, or cut to its first `keep` bytes.

        Raises: TrainingError when it cannot be written.
        """
        self.path, self.columns = path, tuple(columns)
        header = (",".join(columns) + "\n").encode()
        try:
            if keep is None or not path.exists() or path.stat().st_size < len(header):
                path.write_bytes(header)
            elif path.stat().st_size > keep:
                os.truncate(path, keep)
            self._file: IO[bytes] = path.open("ab", buffering=0)
        except OSError as error:
            raise self._failed(error) from error

    def write(self, row: Mapping[str, object]) -> None:
        """Append a row in one write; floats keep all their digits. Raises: TrainingError."""
        cells = ("" if row.get(c) is None else str(row[c]) for c in self.columns)
        try:
            self._file.write((",".join(cells) + "\n").encode())
        except OSError as error:
            raise self._failed(error) from error

    def sync(self) -> int:
        """Bring the rows to the disk; return the length in bytes. Raises: TrainingError."""
        try:
            os.fsync(self._file.fileno())
            return os.fstat(self._file.fileno()).st_size
        except OSError as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Close the file."""
        self._file.close()

    def _failed(self, error: OSError) -> TrainingError:
        return TrainingError(
            f"cannot write {self.path}: {error.strerror or error}. Checkpoints are untouched: make "
            "room, and go on with --resume."
        )
