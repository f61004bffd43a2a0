"""Small instances of the convolutions for the conformance kit, in double precision."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor
from wellposed.testing.strategies import image_shapes, tensors

from .bilinear import CircularConvolution, Product
from .blur import Blur, MotionBlur
from .boundary import BOUNDARIES
from .geometry import METHODS
from .strided_blur import StridedBlur

__all__ = ["blur", "convolution", "motion_blur", "product", "strided_blur"]

Draw = st.DrawFn
_dtypes = st.sampled_from([torch.float64, torch.float64, torch.complex128])
_sides = st.sampled_from([1, 2, 3, 4, 5, 11])


@st.composite
def blur(draw: Draw) -> Blur:
    """Draw kernels of every parity, also larger than the picture, per sample and per channel."""
    shape = draw(image_shapes())
    kernel, method = draw(_kernels(shape))
    boundary = draw(st.sampled_from(BOUNDARIES))
    if boundary == "valid":
        kernel = kernel[..., : shape[-2], : shape[-1]]
    return Blur(in_shape=shape, kernel=kernel, boundary=boundary, method=method)


def motion_blur() -> st.SearchStrategy[MotionBlur]:
    """Draw as for `blur`."""
    return blur().map(
        lambda op: MotionBlur(
            in_shape=op.in_shape, kernel=op.kernel, boundary=op.boundary, method=op.method
        )
    )


@st.composite
def strided_blur(draw: Draw) -> StridedBlur:
    """Draw strides that divide the size and strides that do not, with every offset."""
    shape = draw(image_shapes())
    stride = draw(st.sampled_from([1, 2, 3, 4]))
    if draw(st.booleans()):  # a whole number of strides wide: the closed form, when circular
        shape = (shape[0], min(shape[1], 4) * stride, min(shape[2], 4) * stride)
    kernel, method = draw(_kernels(shape))
    boundary = draw(st.sampled_from(BOUNDARIES))
    offset = draw(st.integers(0, min(stride, *shape[1:]) - 1))
    if boundary == "valid":
        height, width = (max(n - stride + 1, 1) for n in shape[1:])
        kernel = kernel[..., :height, :width]
    return StridedBlur(
        in_shape=shape,
        stride=stride,
        offset=offset,
        kernel=kernel,
        boundary=boundary,
        method=method,
    )


@st.composite
def convolution(draw: Draw) -> CircularConvolution:
    """Draw kernels smaller and larger than the picture, shared and per channel."""
    shape = draw(image_shapes())
    return CircularConvolution(
        in_shape=shape,
        kernel_shape=(draw(_sides), draw(_sides)),
        per_channel=draw(st.booleans()),
        dtype=draw(_dtypes),
    )


@st.composite
def product(draw: Draw) -> Product:
    """Draw weights shared and per channel."""
    return Product(
        in_shape=draw(image_shapes()), per_channel=draw(st.booleans()), dtype=draw(_dtypes)
    )


@st.composite
def _kernels(draw: Draw, shape: tuple[int, int, int]) -> tuple[Tensor, str]:
    """Draw a kernel and a method that can use it."""
    method, dtype = draw(st.sampled_from(METHODS)), draw(_dtypes)
    # As many samples as the picture is wide, so that the two cannot be told apart by their size.
    batch = draw(st.sampled_from([1, 1, 3, shape[2]]))
    lead = (batch, draw(st.sampled_from([1, shape[0]])))
    height, width = draw(_sides), draw(_sides)
    if method != "separable":
        return draw(tensors((*lead, height, width), dtype=dtype)), method
    column = draw(tensors((*lead, height, 1), dtype=dtype))
    return column * draw(tensors((*lead, 1, width), dtype=dtype)), method
