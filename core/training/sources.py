"""Where training pictures come from: a folder, a zip archive, or one .npy array."""

from __future__ import annotations

import os
import zipfile
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
    """Return the pictures of a folder (with its subfolders), a zip archive or a .npy file.

    An array is (N, H, W), (N, H, W, C) or (N, C, H, W) with C 1 or 3, of uint8, uint16 or floats in
    [0, 1]. Pictures come in the order of their names, on every system.
    Raises: DataError when there is nothing to read.
    """
    path = Path(path)
    if not path.exists():
        raise DataError(
            f"there is no folder or file {path}. --data expects a folder of pictures, a zip "
            "archive of pictures, or a .npy array."
        )
    if path.is_dir():
        found = sorted(
            file.relative_to(path).as_posix()
            for file in path.rglob("*")
            if file.suffix.lower() in _PICTURES and not file.name.startswith(".")
        )
        return _Folder(path, _some(found, path))
    if path.suffix.lower() == ".npy":
        return _array(path)
    if not zipfile.is_zipfile(path):
        raise DataError(f"{path} is neither a folder nor a zip archive nor a .npy array.")
    with zipfile.ZipFile(path) as archive:
        members = [info.filename for info in archive.infolist() if not info.is_dir()]
    found = sorted(
        name
        for name in members
        if Path(name).suffix.lower() in _PICTURES and not Path(name).name.startswith(".")
    )
    return _Archive(path, _some(found, path))


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
