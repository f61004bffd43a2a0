"""Hypothesis strategies that draw shapes, strides and a seed; tensors come from a Generator.

Drawing the numbers of a tensor one by one is slow and shrinks badly; a seed and a shape do both
well. The small and odd sizes that break padding and strides come up often.
"""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from torch import Tensor

__all__ = [
    "batch_shapes",
    "channels",
    "image_shapes",
    "kernels",
    "masks",
    "seeds",
    "sides",
    "strides",
    "tensors",
]


def seeds() -> st.SearchStrategy[int]:
    """Return seeds for `torch.Generator`."""
    return st.integers(0, 2**16)


def strides() -> st.SearchStrategy[int]:
    """Return strides from 1 to 4."""
    return st.integers(1, 4)


def channels() -> st.SearchStrategy[int]:
    """Return 1 to 3 channels."""
    return st.integers(1, 3)


def sides(least: int = 1, most: int = 16) -> st.SearchStrategy[int]:
    """Return the length of one side: odd, even and 1 come up often."""
    return st.one_of(st.integers(least, min(least + 3, most)), st.integers(least, most))


@st.composite
def image_shapes(
    draw: st.DrawFn,
    least: int = 1,
    most: int = 16,
    multiple: int = 1,
) -> tuple[int, int, int]:
    """Draw `(C, H, W)`; with `multiple`, sides that it divides."""
    side = sides(-(-least // multiple), max(most // multiple, 1))
    return draw(channels()), multiple * draw(side), multiple * draw(side)


def batch_shapes(parameters: tuple[int, ...] = (), width: int = 3) -> list[tuple[int, ...]]:
    """Return batch shapes that end in `parameters`: none, 1, 3, two axes, and as many as wide.

    A batch as large as the picture is wide is where a value per sample of the wrong shape is taken
    for values along the width.
    """
    if parameters:
        extra: list[tuple[int, ...]] = [(), (2,), (1,), (2, 2)]
        return [(*lead, *parameters) for lead in extra]
    return [(), (3,), (1,), (width,), (2, 2)]


@st.composite
def tensors(
    draw: st.DrawFn,
    shape: tuple[int, ...],
    dtype: torch.dtype = torch.float64,
    *,
    uniform: bool = False,
) -> Tensor:
    """Draw a tensor of standard normal values, or of values in [0, 1)."""
    generator = torch.Generator().manual_seed(draw(seeds()))
    fill = torch.rand if uniform else torch.randn
    return fill(shape, dtype=dtype, generator=generator)


@st.composite
def kernels(
    draw: st.DrawFn,
    *,
    batch: tuple[int, ...] = (1,),
    channels: int = 1,
    most: int = 7,
    dtype: torch.dtype = torch.float64,
    normalised: bool = True,
) -> Tensor:
    """Draw a kernel `(*batch, channels, kh, kw)`, asymmetric and far from a Dirac.

    Sides are odd, even, 1 and 2, drawn apart from each other: a horizontal motion blur is 1 x n.
    """
    kh, kw = draw(sides(1, most)), draw(sides(1, most))
    kernel = draw(tensors((*batch, channels, kh, kw), dtype, uniform=True))
    if dtype.is_complex:
        return kernel
    kernel = kernel + 0.1
    return kernel / kernel.sum((-2, -1), keepdim=True) if normalised else kernel


@st.composite
def masks(draw: st.DrawFn, shape: tuple[int, ...], dtype: torch.dtype = torch.float64) -> Tensor:
    """Draw a mask of zeros and ones with at least one of each where there is room."""
    values = (draw(tensors(shape, torch.float64, uniform=True)) < 0.6).flatten()
    values[0] = True
    if values.numel() > 1:
        values[-1] = False
    return values.reshape(shape).to(dtype)
