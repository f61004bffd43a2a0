"""Kernels in files, for other programs and for a look at them."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from torch import Tensor

from .encoding import encode, npy
from .errors import ParameterError
from .files import write_bytes
from .parts import parts_of

__all__ = ["kernel_paths", "write_kernel"]

_SUFFIXES = (".npy", ".mat", ".png")


def write_kernel(path: str | Path, operator: object) -> list[Path]:
    """Write the kernel of an operator, or of the one part of it that has one; see `Solution`."""
    paths = kernel_paths(Path(path))
    kernel = _kernel_of(operator)
    # (B, C, kh, kw): drop what there is only one of.
    array = kernel.reshape(*(n for n in kernel.shape[:2] if n > 1), *kernel.shape[2:])
    return [write_bytes(p, _encoded(array, p.suffix.lower())) for p in paths]


def kernel_paths(path: Path) -> list[Path]:
    """Return the files that are written for a path.

    Raises: ParameterError for a suffix of another format.
    """
    if not path.suffix:
        return [path.with_suffix(s) for s in _SUFFIXES]
    if path.suffix.lower() not in _SUFFIXES:
        raise ParameterError(
            f"a kernel is written as one of {', '.join(_SUFFIXES)}, or without a suffix as all of "
            f"them; got {path}."
        )
    return [path]


def _kernel_of(operator: object) -> np.ndarray:
    kernels = (getattr(part, "kernel", None) for part in parts_of(operator))
    found = [k for k in kernels if isinstance(k, Tensor)]
    if len(found) != 1:
        raise ParameterError(
            f"expected an operator of which one part has a kernel; got {len(found)} such parts."
        )
    array: np.ndarray = found[0].detach().cpu().numpy()
    return array


def _encoded(array: np.ndarray, suffix: str) -> bytes:
    if suffix == ".npy":
        return npy(array)
    if suffix == ".mat":
        from scipy.io import savemat

        buffer = io.BytesIO()
        savemat(buffer, {"Kernel": array})
        return buffer.getvalue()
    row = np.concatenate(np.abs(array.reshape(-1, *array.shape[-2:])), -1)
    top = row.max()
    pixels = np.round(row / (top if top > 0 else 1) * 65535).astype(np.uint16)
    return encode(".png", pixels[..., None])
