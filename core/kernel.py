"""`Kernel`: a named point spread function, turned into a tensor for a given sampling."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor

from .component import Component
from .errors import ParameterError

__all__ = ["Kernel", "kernel_tensor"]


class Kernel(Component):
    """A point spread function that knows its phase.

    Convention (all of wellposed): convolution, `y[i] = sum_j k[j] x[i + n // 2 - j]` for a kernel
    of n taps, so the centre is index `n // 2`. A kernel for sampling with `stride` s is centred on
    the middle of the s x s block of pixels that a measured pixel stands for, given the default
    offset `(s - 1) // 2` of a strided operator: at index `n // 2` for odd s (odd n), half a pixel
    beyond it for even s (even n, a symmetric kernel).
    """

    @abstractmethod
    def tensor(
        self,
        *,
        stride: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return the kernel as `(B|1, C|1, kh, kw)`; computed in float64 where that is exact."""


def kernel_tensor(value: object, *, stride: int, dtype: torch.dtype) -> Tensor:
    """Return a kernel given as a `Kernel` or as a tensor of 2, 3 or 4 axes as a 4-D tensor.

    Raises: ParameterError for anything else.
    """
    if isinstance(value, Kernel):
        return value.tensor(stride=stride, dtype=dtype)
    if isinstance(value, Tensor) and 2 <= value.ndim <= 4:
        kernel = value if value.dtype.is_complex else value.to(dtype)
        return kernel[(None,) * (4 - value.ndim)]
    shown = tuple(value.shape) if isinstance(value, Tensor) else type(value).__name__
    raise ParameterError(
        f"a kernel is a registered name, or a tensor of shape (kh, kw), (C, kh, kw) or "
        f"(B, C, kh, kw); got {shown}."
    )
