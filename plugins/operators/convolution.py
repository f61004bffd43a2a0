"""Geometry of a strided convolution, and the ways to compute it and its adjoint.

Everywhere, `y[i] = sum_j k[j] x[offset + stride i + n // 2 - j]` along each axis, for a kernel of
n taps: convolution (the kernel is flipped), centred on index `n // 2`, one pixel in `stride` kept.
"""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError

__all__ = ["Axis", "Geometry", "geometry"]


@attrs.frozen
class Axis:
    """One axis of a strided convolution: what is kept, and what it needs beyond the frame.

    Output i reads `taps` pixels of the extended row from `stride * i` on. `margin` extends the
    row (negative: cuts it) so that this holds; `first` is the pixel that output 0 is centred on.
    """

    size: int
    taps: int
    stride: int
    offset: int
    valid: bool

    @property
    def left(self) -> int:
        """Pixels before the centre that a tap reaches."""
        return self.taps - 1 - self.taps // 2

    @property
    def right(self) -> int:
        """Pixels after the centre that a tap reaches."""
        return self.taps // 2

    @property
    def first(self) -> int:
        """The first kept pixel."""
        if not self.valid or self.left <= self.offset:
            return self.offset
        return self.offset + -(-(self.left - self.offset) // self.stride) * self.stride

    @property
    def count(self) -> int:
        """Number of outputs."""
        last = self.size - 1 - (self.right if self.valid else 0)
        return max((last - self.first) // self.stride + 1, 0)

    @property
    def reach(self) -> int:
        """Pixels of the extended row that the outputs read."""
        return (self.count - 1) * self.stride + self.taps

    @property
    def margin(self) -> tuple[int, int]:
        """Pixels to add before and after the row so that it starts and ends with that reach."""
        before = self.left - self.first
        return before, self.reach - self.size - before


@attrs.frozen
class Geometry:
    """Everything about a convolution but the values of its kernel."""

    in_space: Space
    out_space: Space
    rows: Axis
    columns: Axis
    stride: int
    boundary: str


def geometry(
    kernel: Tensor, in_shape: tuple[int, ...], *, stride: int, offset: int, boundary: str, who: str
) -> Geometry:
    """Return the geometry of a convolution. Raises: DtypeError, ParameterError, ShapeError."""
    in_space = Space(in_shape, kernel.dtype)
    if in_space.ndim != 3:
        raise ShapeError(f"{who} expects in_shape as (C, H, W); got {in_shape}.")
    _check_kernel(kernel, in_shape[0], who)
    if not 0 <= offset < stride:
        raise ParameterError(f"{who} expects 0 <= offset < stride = {stride}; got offset {offset}.")
    _, height, width = in_shape
    valid = boundary == "valid"
    rows = Axis(height, kernel.shape[-2], stride, offset, valid)
    columns = Axis(width, kernel.shape[-1], stride, offset, valid)
    if not (rows.count and columns.count):
        raise ShapeError(
            f"{who} keeps no pixel of a picture of {height} x {width} with a kernel of "
            f"{rows.taps} x {columns.taps}, stride {stride}, offset {offset} and boundary "
            f"{boundary!r}. Take a larger picture or a smaller kernel."
        )
    out_space = Space((in_shape[0], rows.count, columns.count), kernel.dtype)
    return Geometry(in_space, out_space, rows, columns, stride, boundary)


def _check_kernel(kernel: Tensor, channels: int, who: str) -> None:
    if not (kernel.is_floating_point() or kernel.is_complex()):
        raise DtypeError(f"{who} expects a floating-point kernel; got {kernel.dtype}.")
    if kernel.ndim != 4 or 0 in kernel.shape:
        raise ShapeError(
            f"{who} expects a kernel of shape (B or 1, C or 1, kh, kw); got {tuple(kernel.shape)}. "
            "Add the missing axes: kernel[None, None]."
        )
    if kernel.shape[1] not in (1, channels):
        raise ShapeError(
            f"{who} expects a kernel for 1 or {channels} channels; got one for {kernel.shape[1]}."
        )
