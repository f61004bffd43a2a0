"""A kernel from a file."""

from __future__ import annotations

import math
from pathlib import Path
from typing import NoReturn

import attrs
import numpy as np
import torch
from torch import Tensor
from wellposed import Kernel, param
from wellposed.errors import ParameterError

from .sampling import Device, checked_stride

__all__ = ["FileKernel"]

_MOST_TAPS = 2**24


def _path(value: Path) -> Path:  # or a string, where a constructor is called by hand
    if not isinstance(value, (str, Path)):
        raise ParameterError(
            f"FileKernel.path expects the path of a file; got {type(value).__name__}."
        )
    return Path(value)


@attrs.frozen(eq=False, kw_only=True)
class FileKernel(Kernel):
    """A kernel read from a `.npy`, `.mat` or `.png` file, centred on its index `n // 2`.

    It is used as it stands, for every stride: a kernel that was estimated for another convention
    (centred between pixels, or for correlation) must be shifted or flipped first.

    Shapes: an array `(kh, kw)`, `(C, kh, kw)` or `(B, C, kh, kw)` gives `(1|B, 1|C, kh, kw)`; a
    `.mat` file holds the variable `key` (or just one); a `.png` is grey, or one kernel a channel,
    without its transparency.
    Raises: ParameterError for a file that is missing, unreadable, or holds no such array.
    Source: the files that blind deblurring and super-resolution benchmarks publish.
    """

    path: Path = param(doc="the file: .npy, .mat or .png", converter=_path)
    key: str = param("", doc="variable in a .mat file; default: the only one")
    normalized: bool = param(True, doc="divide by the sum, so that brightness is kept")

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        checked_stride(stride)
        array = self._read()
        if not 2 <= array.ndim <= 4 or array.size == 0:
            self._fail(f"expected an array of 2 to 4 axes; got the shape {array.shape}")
        self._check_count(array.shape)
        if array.dtype.kind not in "biufc":
            self._fail(f"expected numbers; got {array.dtype}")
        if not np.isfinite(array).all():
            self._fail("it holds NaN or Inf")
        if np.iscomplexobj(array) and not dtype.is_complex:
            self._fail(f"it is complex, but the operator's dtype is {dtype}")
        kernel = torch.from_numpy(
            np.array(array, np.complex128 if array.dtype.kind == "c" else float)
        )
        kernel = kernel[(None,) * (4 - kernel.ndim)].to(device)
        if self.normalized:
            total = kernel.sum((-2, -1), keepdim=True)
            if bool((total.abs() <= 1e-9 * kernel.abs().sum((-2, -1), keepdim=True)).any()):
                self._fail("its sum is zero; set normalized to false")
            kernel = kernel / total
        return kernel.to(dtype)

    def _read(self) -> np.ndarray[tuple[int, ...], np.dtype[np.generic]]:
        readers = {".npy": self._npy, ".mat": self._mat, ".png": self._png}
        suffix = self.path.suffix.lower()
        if suffix not in readers:
            self._fail(f"expected one of {', '.join(readers)}")
        try:
            return np.asarray(readers[suffix]())
        except ParameterError:
            raise
        except Exception as error:  # scipy and Pillow raise whatever a damaged file leads to
            self._fail(f"{type(error).__name__}: {error}")

    def _npy(self) -> object:
        return np.load(self.path, allow_pickle=False)

    def _mat(self) -> object:
        from scipy.io import loadmat, whosmat

        # The shapes are looked at first: a small file can unpack to any size.
        found = {k: shape for k, shape, _ in whosmat(self.path) if not k.startswith("__")}
        name = self.key or (next(iter(found)) if len(found) == 1 else "")
        if name not in found:
            self._fail(f"choose a variable with key=, one of {', '.join(sorted(found))}")
        self._check_count(found[name])
        return loadmat(self.path, variable_names=[name])[name]

    def _png(self) -> object:
        from PIL import Image

        with Image.open(self.path) as picture:
            self._check_count(picture.size)
            plain = picture.convert() if picture.mode.startswith("P") else picture  # no palette
            pixels = np.atleast_3d(np.asarray(plain))
            colours = [i for i, band in enumerate(plain.getbands()) if band not in "aA"]
        kernels = np.moveaxis(pixels[..., colours], -1, 0)
        # A grey picture in colour is one kernel.
        return kernels[0] if (kernels == kernels[0]).all() else kernels

    def _check_count(self, shape: tuple[int, ...]) -> None:
        if math.prod(shape) > _MOST_TAPS:
            self._fail(f"an array of {' x '.join(map(str, shape))} is no kernel")

    def _fail(self, why: str) -> NoReturn:
        raise ParameterError(f"cannot read a kernel from {self.path}: {why}.")
