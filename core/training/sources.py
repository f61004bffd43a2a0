"""Where training pictures come from: a folder, a zip archive, one .npy array or one idx file."""

from __future__ import annotations

import gzip
import os
import re
import struct
import zipfile
import zlib
from abc import ABC, abstractmethod
from pathlib import Path
from typing import Any, Final, cast

import attrs
import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, ImageFileError
from ..images import SUFFIXES, _scaled
from ..rasters import decode

__all__ = ["Source", "open_source"]

_PICTURES: Final = tuple(suffix for suffix in SUFFIXES if suffix != ".npy")
_MOST_BYTES: Final = 2**30  # of one member of an archive, unpacked
_IDX: Final = re.compile(r"idx\d+-ubyte(\.gz)?$")


class Source(ABC):
    """A numbered collection of pictures, read one at a time."""

    names: tuple[str, ...]

    @abstractmethod
    def load(self, number: int) -> Tensor:
        """Return a picture as floats in [0, 1], `(C, H, W)`. Raises: ImageFileError."""


@attrs.frozen(eq=False)
class _Folder(Source):
    root: Path
    names: tuple[str, ...]

    def load(self, number: int) -> Tensor:
        return _decoded(self.root / self.names[number])


@attrs.define(eq=False)
class _Archive(Source):
    root: Path
    names: tuple[str, ...]
    _open: zipfile.ZipFile | None = attrs.field(default=None, repr=False)
    _owner: int = 0

    def load(self, number: int) -> Tensor:
        if self._open is None or self._owner != os.getpid():  # a worker must not share the offset
            self._open, self._owner = zipfile.ZipFile(self.root), os.getpid()
        name = self.names[number]
        if self._open.getinfo(name).file_size > _MOST_BYTES:
            raise ImageFileError(f"{self.root}/{name} unpacks to more than {_MOST_BYTES} bytes.")
        # it opens, names and describes itself as a path does, which is all that decoding asks for
        return _decoded(cast(Path, zipfile.Path(self._open, name)))

    def __getstate__(self) -> tuple[Path, tuple[str, ...]]:
        return self.root, self.names

    def __setstate__(self, state: tuple[Path, tuple[str, ...]]) -> None:
        self.root, self.names = state
        self._open, self._owner = None, 0


@attrs.frozen(eq=False)
class _Array(Source):
    array: np.ndarray
    names: tuple[str, ...]
    top: float

    def load(self, number: int) -> Tensor:
        values = torch.from_numpy(np.array(self.array[number], dtype=np.float32)) / self.top
        bad = int((~torch.isfinite(values)).sum())
        if bad:
            raise ImageFileError(f"{self.names[number]} holds NaN or Inf at {bad} values.")
        return values


def open_source(path: str | os.PathLike[str]) -> Source:
    """Return the pictures of a folder (with its subfolders), a zip archive, a .npy or an idx file.

    An array is (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, of uint8, uint16 or floats in
    [0, 1]. An idx file, as MNIST's, ends in `idx3-ubyte` or `idx3-ubyte.gz`, and holds bytes
    (N, H, W). Pictures come in the order of their names, on every system.
    Raises: DataError when there is nothing to read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"there is no folder or file {path}. --data expects a folder of pictures, a zip "
            "archive of pictures, a .npy array or an idx file."
        )
    if path.is_dir():
        found = sorted(
            file.relative_to(path).as_posix()
            for file in path.rglob("*")
            if file.suffix.lower() in _PICTURES and not _hidden(file.relative_to(path))
        )
        return _Folder(path, _some(found, path))
    if path.suffix.lower() == ".npy":
        return _array(path)
    if _IDX.search(path.name):
        return _idx(path)
    if not zipfile.is_zipfile(path):
        raise DataError(
            f"{path} is neither a folder nor a zip archive nor a .npy array nor an idx file."
        )
    with zipfile.ZipFile(path) as archive:
        members = [info.filename for info in archive.infolist() if not info.is_dir()]
    found = sorted(
        name
        for name in members
        if Path(name).suffix.lower() in _PICTURES and not _hidden(Path(name))
    )
    return _Archive(path, _some(found, path))


def _hidden(path: Path) -> bool:
    return any(part.startswith(".") for part in path.parts)


def _some(names: list[str], path: Path) -> tuple[str, ...]:
    if not names:
        raise DataError(f"{path} holds no pictures ({', '.join(_PICTURES)}).")
    return tuple(names)


def _decoded(path: Path) -> Tensor:
    raster = decode(path)
    values = _scaled(raster.pixels, raster.top).float()
    if not bool(torch.isfinite(values).all()):
        raise ImageFileError(f"{path} holds NaN or Inf.")
    return values


def _array(path: Path) -> _Array:
    try:
        array: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise DataError(f"{path} cannot be read as .npy: {error}") from error
    if not isinstance(array, np.ndarray) or array.ndim not in (3, 4) or 0 in array.shape:
        shape = getattr(array, "shape", None)
        raise DataError(
            f"{path} must hold pictures (N, H, W), (N, H, W, C) or (N, C, H, W); got {shape}."
        )
    if not (array.dtype.kind == "f" or array.dtype in (np.uint8, np.uint16)):
        raise DataError(
            f"{path} has dtype {array.dtype}; expected uint8, uint16 or floats in [0, 1]."
        )
    if array.ndim == 3:
        array = array[:, None]
    elif array.shape[-1] in (1, 3):
        array = np.moveaxis(array, -1, 1)
    elif array.shape[1] not in (1, 3):
        raise DataError(
            f"{path} has shape {array.shape}: neither its second nor its last axis is 1 or 3 "
            "channels long."
        )
    top = {"uint8": 255.0, "uint16": 65535.0}.get(str(array.dtype), 1.0)
    return _Array(array, tuple(f"{path.name}[{i}]" for i in range(len(array))), top)


def _idx(path: Path) -> _Array:
    """Return the pictures of a file as MNIST has them: a header of big-endian lengths, bytes."""
    try:
        with gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            data = file.read(_MOST_BYTES + 1)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if len(data) > _MOST_BYTES:
        raise DataError(f"{path} unpacks to more than {_MOST_BYTES} bytes.")
    if len(data) < 16 or data[:4] != b"\0\0\x08\x03":
        raise DataError(
            f"{path} does not begin as an idx file of pictures does: bytes, in three dimensions "
            "(number, height, width)."
        )
    shape = struct.unpack(">3I", data[4:16])
    if 0 in shape or len(data) - 16 != shape[0] * shape[1] * shape[2]:
        raise DataError(
            f"{path} says that it holds {shape[0]} pictures of {shape[1]} x {shape[2]} bytes, and "
            f"has {len(data) - 16}. Get it again."
        )
    array = np.frombuffer(data, np.uint8, offset=16).reshape(shape)[:, None]
    return _Array(array, tuple(f"{path.name}[{i}]" for i in range(len(array))), 255.0)
