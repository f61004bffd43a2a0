"""`StridedBlur`: convolution, then keeping every `stride`-th pixel."""

from __future__ import annotations

from typing import Any, Self

import attrs
import torch
from torch import Tensor
from wellposed import Space, param, tensor_param

from .boundary import BOUNDARIES
from .convolution import Convolution
from .geometry import (
    METHODS,
    Geometry,
    as_offset,
    as_stride,
    geometry,
    named_kernel,
    smallest_picture,
)

__all__ = ["StridedBlur"]

_DEFAULT_STRIDE = 2


def _default_kernel(op: StridedBlur) -> Tensor:
    return named_kernel(None, "bicubic", stride=op.stride, dtype=torch.float32)


def _default_offset(op: StridedBlur) -> int:
    return (op.stride - 1) // 2


@attrs.frozen(eq=False, kw_only=True)
class StridedBlur(Convolution):
    """Convolution with a kernel, then every `stride`-th pixel: the model of super-resolution.

        y[c, i, j] = sum_{a, b} k[c, a, b] x[c, offset + stride i + kh // 2 - a,
                                                offset + stride j + kw // 2 - b]

    The kernel is flipped (convolution) and centred on its index `n // 2`. Kernels by name are
    centred on the block of `stride` x `stride` pixels that a measured pixel stands for, given the
    default offset `(stride - 1) // 2`.

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, C, h, w)` with `h = ceil((H - offset) / stride)`;
    kernel `(1|B, 1|C, kh, kw)`. With the boundary 'valid', y holds only those kept pixels whose
    taps all lie inside the picture: a crop of what every other boundary gives.
    Units: the kernel is used as given; one that sums to 1 keeps brightness.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: the cheapest of direct convolution, two passes and FFTs at the size of y, by a cost model.
    Source: `data_prox`: Zhao et al., 2016, Fast single image super-resolution using a new
    analytical solution for l2-l2 problems, equations (12)-(19), with circular boundaries.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    stride: int = param(
        _DEFAULT_STRIDE, doc="one pixel in `stride` is kept, along each axis", converter=as_stride
    )
    offset: int = param(
        attrs.Factory(_default_offset, takes_self=True),
        doc="first pixel kept; default (stride - 1) // 2",
        unit="pixels",
        converter=as_offset,
    )
    kernel: Tensor = tensor_param(
        default=attrs.Factory(_default_kernel, takes_self=True),
        doc="point spread function (1|B, 1|C, kh, kw), or a name; default: bicubic, "
        "antialiased for the stride. Its dtype is the operator's",
    )
    boundary: str = param("reflect", doc="the picture beyond its frame", choices=BOUNDARIES)
    method: str = param(
        "auto", doc="how to compute: same numbers, other cost; auto: cheapest", choices=METHODS
    )
    plan: Geometry = attrs.field(init=False, repr=False)

    @plan.default
    def _make_plan(self) -> Geometry:
        return geometry(
            self.kernel,
            self.in_shape,
            stride=self.stride,
            offset=self.offset,
            boundary=self.boundary,
            who="StridedBlur",
        )

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the picture of `stride` times the size (with 'valid': the smallest that fits)."""
        stride = params.get("stride", _DEFAULT_STRIDE)
        return smallest_picture(
            y_space,
            named_kernel(params.get("kernel"), "bicubic", stride=stride, dtype=y_space.dtype),
            stride=stride,
            offset=params.get("offset", (stride - 1) // 2),
            valid=params.get("boundary") == "valid",
            who="StridedBlur",
        )

    @classmethod
    def for_image(cls, space: Space, **params: Any) -> Self:
        """Build the operator for pictures of `space`; the kernel may be a name."""
        params["kernel"] = named_kernel(
            params.get("kernel"),
            "bicubic",
            stride=params.get("stride", _DEFAULT_STRIDE),
            dtype=space.dtype,
        )
        params.setdefault("in_shape", space.shape)
        return cls(**params)
