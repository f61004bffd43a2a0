"""Kernels of resizing: antialiased bicubic, and none at all."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Kernel

from .sampling import Device, checked_stride, finished, size_for, spans

__all__ = ["Bicubic", "Delta"]

_A = -0.5


@attrs.frozen(eq=False, kw_only=True)
class Bicubic(Kernel):
    """Antialiased bicubic reduction by the stride, as MATLAB's imresize.

        k[j] ~ h(d_j / stride),    h: Keys' cubic with a = -1/2,    |d_j| < 2 stride

    with d_j the distance from the middle of the block that a measured pixel stands for. With the
    boundary 'symmetric' the strided blur then equals imresize exactly; without a stride the kernel
    is the identity.

    Shapes: `(1, 1, n, n)`, n = 4 stride (even strides) or 4 stride - 1 (odd ones).
    Source: Keys, 1981, Cubic convolution interpolation for digital image processing, equation (8);
    stretched by the stride against aliasing as imresize does.
    """

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        checked_stride(stride)
        size = size_for(2 * stride - 1 if stride % 2 else 2 * stride - 0.5, stride)
        rows, columns = spans((size, size), stride, device)
        kernel = _keys(rows / stride) * _keys(columns / stride)
        return finished(kernel[None, None], dtype)


@attrs.frozen(eq=False, kw_only=True)
class Delta(Kernel):
    """No blur: the pixel at the operator's offset itself.

    The one kernel by name that is not centred on the block of the stride when that is even, since
    there is no pixel at that place.

    Shapes: `(1, 1, 1, 1)`.
    Source: the definition.
    """

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        checked_stride(stride)
        return torch.ones((1, 1, 1, 1), dtype=dtype, device=device)


def _keys(t: Tensor) -> Tensor:
    t = t.abs()
    inner = ((_A + 2) * t - (_A + 3)) * t**2 + 1
    outer = _A * (((t - 5) * t + 8) * t - 4)
    return torch.where(t <= 1, inner, torch.where(t < 2, outer, 0.0))
