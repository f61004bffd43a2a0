"""Geometry of a strided convolution: what is kept, and what lies beyond the frame.

Everywhere, `y[i] = sum_j k[j] x[offset + stride i + n // 2 - j]` along each axis, for a kernel of
n taps: convolution (the kernel is flipped), centred on index `n // 2`, one pixel in `stride` kept.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Kernel, Space, kernel_tensor
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.registry import build, default_registry

__all__ = [
    "METHODS",
    "Axis",
    "Geometry",
    "as_offset",
    "as_stride",
    "geometry",
    "named_kernel",
    "smallest_picture",
    "whole",
]

# All give the same numbers up to rounding. 'separable' is two passes if the kernel is one column
# times one row, and 'direct' otherwise: also while a kernel is being learned, since the gradient
# leaves the kernels of rank one.
METHODS = ("auto", "direct", "separable", "fft")


def named_kernel(value: object, default: object, *, stride: int, dtype: torch.dtype) -> Tensor:
    """Return a kernel given as a tensor or by name, or the default one, as a 4-D tensor."""
    if value is None:
        value = build(default_registry(), "kernel", default, path="kernel")
    return kernel_tensor(value, stride=stride, dtype=dtype)


def whole(value: object, name: str, low: int) -> int:
    """Return a whole number of at least `low`. Raises: ParameterError."""
    if isinstance(value, bool) or not isinstance(value, int) or value < low:
        raise ParameterError(f"{name} expects a whole number of at least {low}; got {value!r}.")
    return value


def as_stride(value: int) -> int:
    """Check a stride while an operator is built, since other defaults depend on it."""
    return whole(value, "stride", 1)


def as_offset(value: int) -> int:
    """Check an offset while an operator is built."""
    return whole(value, "offset", 0)


@attrs.frozen
class Axis:
    """One axis of a strided convolution: what is kept, and what it needs beyond the frame.

    Output i reads `taps` pixels of the extended row from `stride * i` on. `margin` extends the
    row (negative: cuts it) so that this holds; `first` is the pixel that output 0 is centred on.
    `fft_count` is the size of a periodic convolution that holds this one.
    """

    size: int
    taps: int
    stride: int
    offset: int
    valid: bool
    fft_count: int = attrs.field(init=False)

    @fft_count.default
    def _fft_count(self) -> int:
        """Outputs of a periodic convolution that holds this one, of a length that is fast."""
        return _fast_length(-(-self.reach // self.stride))

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

    @property
    def fft_margin(self) -> tuple[int, int]:
        """Pixels to add before and after the row for a periodic convolution of `fft_count`."""
        before = self.left - self.first
        return before, self.fft_count * self.stride - self.size - before


@attrs.frozen
class Geometry:
    """Everything about a convolution but the values of its kernel."""

    in_space: Space
    out_space: Space
    rows: Axis
    columns: Axis
    stride: int
    boundary: str

    @property
    def periodic(self) -> bool:
        """Whether the picture itself is periodic and a whole number of strides wide."""
        whole_strides = self.rows.size % self.stride == self.columns.size % self.stride == 0
        return self.boundary == "circular" and whole_strides

    @property
    def folds(self) -> bool:
        """Whether the adjoint adds what lies beyond the frame to pixels within it.

        Not where nothing is there, nor where it is the picture's other side.
        """
        return not self.periodic and self.boundary not in ("zero", "valid")


def geometry(
    kernel: Tensor, in_shape: tuple[int, ...], *, stride: int, offset: int, boundary: str, who: str
) -> Geometry:
    """Return the geometry of a convolution. Raises: DtypeError, ParameterError, ShapeError."""
    _check_kernel(kernel, who)
    in_space = Space(in_shape, kernel.dtype)
    if in_space.ndim != 3:
        raise ShapeError(f"{who} expects in_shape as (C, H, W); got {in_shape}.")
    if kernel.shape[1] not in (1, in_shape[0]):
        raise ShapeError(
            f"{who} expects a kernel for 1 or {in_shape[0]} channels; got one for "
            f"{kernel.shape[1]}."
        )
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


def smallest_picture(
    y_space: Space, kernel: Tensor, *, stride: int, offset: int, valid: bool, who: str
) -> Space:
    """Return the space of the smallest picture (or, unless `valid`, `stride` times the size)."""
    if y_space.ndim != 3:
        raise ShapeError(f"{who} measures pictures of shape (C, H, W); got {y_space.shape}.")
    if not valid:
        sizes = [n * stride for n in y_space.shape[1:]]
        return Space((y_space.shape[0], *sizes), y_space.dtype)
    _check_kernel(kernel, who)
    sizes = []
    for count, taps in zip(y_space.shape[1:], kernel.shape[-2:], strict=True):
        axis = Axis(taps, taps, stride, offset, valid)
        sizes.append(axis.first + (count - 1) * stride + axis.right + 1)
    return Space((y_space.shape[0], *sizes), y_space.dtype)


def _check_kernel(kernel: object, who: str) -> None:
    if not isinstance(kernel, Tensor):
        hint = "; call its .tensor(stride=...) first" if isinstance(kernel, Kernel) else ""
        raise ParameterError(
            f"{who} expects its kernel as a torch.Tensor; got {type(kernel).__name__}{hint}."
        )
    if not (kernel.is_floating_point() or kernel.is_complex()):
        raise DtypeError(f"{who} expects a floating-point kernel; got {kernel.dtype}.")
    if kernel.ndim != 4 or 0 in kernel.shape:
        raise ShapeError(
            f"{who} expects a kernel of shape (B or 1, C or 1, kh, kw); got {tuple(kernel.shape)}. "
            "Add the missing axes: kernel[None, None]."
        )


def _fast_length(n: int) -> int:
    """Return the least length from n on without prime factors above 7."""
    n = max(n, 1)
    while True:
        rest = n
        for prime in (2, 3, 5, 7):
            while rest % prime == 0:
                rest //= prime
        if rest == 1:
            return n
        n += 1
