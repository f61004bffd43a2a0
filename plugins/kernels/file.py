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


@attrs.frozen(eq=False, kw_only=True)
class FileKernel(Kernel):
    """A kernel read from a `.npy`, `.mat` or `.png` file, centred on its index `n // 2`.

    It is used as it stands, for every stride: a kernel that was estimated for another convention
    (centred between pixels, or for correlation) must be shifted or flipped first.

    Shapes: an array `(kh, kw)`, `(C, kh, kw)` or `(B, C, kh, kw)` gives `(1|B, 1|C, kh, kw)`; a
    `.mat` file holds the variable `key` (or just one); a `.png` is grey, or one kernel a channel.
    Raises: ParameterError for a file that is missing, unreadable, or holds no such array.
    Source: the files that blind deblurring and super-resolution benchmarks publish.
    """

    path: Path = param(doc="the file: .npy, .mat or .png")
    key: str = param("", doc="variable in a .mat file; default: the only one")
    normalized: bool = param(True, doc="divide by the sum, so that brightness is kept")

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        checked_stride(stride)
        array = self._read()
        if not 2 <= array.ndim <= 4 or array.size == 0 or array.size > _MOST_TAPS:
            self._fail(f"expected an array of 2 to 4 axes; got the shape {array.shape}")
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
        from scipy.io import loadmat

        found = {k: v for k, v in loadmat(self.path).items() if not k.startswith("__")}
        name = self.key or (next(iter(found)) if len(found) == 1 else "")
        if name not in found:
            self._fail(f"choose a variable with key=, one of {', '.join(sorted(found))}")
        return found[name]

    def _png(self) -> object:
        from PIL import Image

        with Image.open(self.path) as picture:
            if math.prod(picture.size) > _MOST_TAPS:
                self._fail(f"a picture of {picture.size} is no kernel")
            pixels = np.asarray(picture)
        return pixels if pixels.ndim == 2 else np.moveaxis(pixels[..., :3], -1, 0)

    def _fail(self, why: str) -> NoReturn:
        raise ParameterError(f"cannot read a kernel from {self.path}: {why}.")
