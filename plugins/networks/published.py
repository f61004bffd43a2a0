"""Tensors of files that others published: checked before they are read, never unpickled."""

from __future__ import annotations

import contextlib
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import numpy as np
import torch
from torch import Tensor
from wellposed.errors import WeightsError

__all__ = ["read_published"]

Shapes = Mapping[str, tuple[int, ...]]

_NAMED: Final = 3
_PICKLES: Final = (".pth", ".pt", ".pkl", ".bin", ".ckpt", ".tar")


class _File(Protocol):
    """An open file of tensors."""

    names: list[str]

    def header(self, name: str) -> tuple[tuple[int, ...], bool]:
        """Return the shape of a tensor, and whether it holds real numbers, without reading it."""

    def tensor(self, name: str) -> Tensor:
        """Read a tensor."""


def read_published(path: str | Path, shapes: Shapes, what: str) -> dict[str, Tensor]:
    """Return the tensors of these names and shapes of a `.safetensors` or `.npz` file.

    Others in the file are not looked at. Shapes are checked before anything of their size is read.
    what: whose weights they are, for messages.
    Raises: WeightsError for a file that is missing, cannot be read, or has not these tensors.
    """
    path = Path(path)
    opened = {".safetensors": _safetensors, ".npz": _npz}.get(path.suffix.lower())
    if opened is None:
        raise _not_read(path)
    if not path.is_file():
        raise WeightsError(
            f"there is no file {path}; give the path of the weights of {what}, or none to start "
            "from random ones."
        )
    try:
        with opened(path) as file:
            _check(file, path, shapes, what)
            tensors = {name: file.tensor(name) for name in shapes}
    except WeightsError:
        raise
    except Exception as error:  # the readers raise whatever a damaged file leads to
        reason = f"{type(error).__name__}: {error!s:.200}"
        raise WeightsError(f"{path} cannot be read ({reason}); get it again.") from error
    bad = [name for name, tensor in tensors.items() if not bool(tensor.isfinite().all())]
    if bad:
        raise WeightsError(
            f"{path} holds numbers that are not finite, in {_some(bad)}; get it again."
        )
    return tensors


def _check(file: _File, path: Path, shapes: Shapes, what: str) -> None:
    missing = [name for name in shapes if name not in file.names]
    wrong = [f"it lacks {_some(missing)}"] if missing else []
    other = []
    for name in shapes:
        if name in file.names:
            shape, real = file.header(name)
            if shape != shapes[name]:
                other.append(f"{name} has shape {shape}, expected {shapes[name]}")
            elif not real:
                other.append(f"{name} holds no floating-point numbers")
    wrong += [_some(other)] if other else []
    if wrong:
        raise WeightsError(
            f"{path} does not fit {what}: {'; '.join(wrong)}. It holds "
            f"{_some([f'{name:.60}' for name in file.names]) or 'nothing'}. Give the weights of "
            f"{what} under the names that their publisher gave them, or rename what is in the file."
        )


class _Safetensors:
    def __init__(self, file: Any) -> None:
        self.file, self.names = file, list(file.keys())

    def header(self, name: str) -> tuple[tuple[int, ...], bool]:
        part = self.file.get_slice(name)
        return tuple(part.get_shape()), part.get_dtype() in ("F64", "F32", "F16", "BF16")

    def tensor(self, name: str) -> Tensor:
        tensor: Tensor = self.file.get_tensor(name)
        return tensor


class _Npz:
    def __init__(self, file: zipfile.ZipFile) -> None:
        self.file = file
        self.names = [n.removesuffix(".npy") for n in file.namelist() if n.endswith(".npy")]

    def header(self, name: str) -> tuple[tuple[int, ...], bool]:
        layout = np.lib.format
        with self.file.open(f"{name}.npy") as member:
            old = layout.read_magic(member) == (1, 0)
            read = layout.read_array_header_1_0 if old else layout.read_array_header_2_0
            shape, _, dtype = read(member)
        return tuple(shape), dtype.kind == "f" and dtype.itemsize <= 8

    def tensor(self, name: str) -> Tensor:
        with self.file.open(f"{name}.npy") as member:
            array = np.lib.format.read_array(member, allow_pickle=False)
        return torch.from_numpy(np.array(array, np.float64))


@contextlib.contextmanager
def _safetensors(path: Path) -> Iterator[_File]:
    from safetensors import safe_open

    with safe_open(path, framework="pt", device="cpu") as file:
        yield _Safetensors(file)


@contextlib.contextmanager
def _npz(path: Path) -> Iterator[_File]:
    with zipfile.ZipFile(path) as file:
        yield _Npz(file)


def _not_read(path: Path) -> WeightsError:
    if path.suffix.lower() in _PICKLES:
        return WeightsError(
            f"{path} is a file of torch.save, which may run code as it is read, so it is not. "
            "Convert it once: `from safetensors.torch import save_file; "
            f"save_file(torch.load({path.name!r}, weights_only=True), "
            f"{path.with_suffix('.safetensors').name!r})`, and give the path of that."
        )
    return WeightsError(f"weights are read from .safetensors and .npz files; got {path}.")


def _some(names: list[str]) -> str:
    more = f" and {len(names) - _NAMED} more" if len(names) > _NAMED else ""
    return f"{', '.join(names[:_NAMED])}{more}"
