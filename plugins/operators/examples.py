"""Small instances of the operators for the conformance kit, in double precision."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from wellposed.testing.strategies import image_shapes, masks, seeds, tensors

from .finite_difference import FiniteDifference
from .identity import Denoising
from .mask import HoleMask, Mask, RandomMask

__all__ = ["finite_difference", "hole_mask", "identity", "mask", "random_mask"]

REAL, COMPLEX = torch.float64, torch.complex128
Draw = st.DrawFn
_dtypes = st.sampled_from([REAL, REAL, COMPLEX])


@st.composite
def finite_difference(draw: Draw) -> FiniteDifference:
    """Draw both boundaries, also for pictures one pixel wide."""
    return FiniteDifference(
        in_shape=draw(image_shapes()),
        boundary=draw(st.sampled_from(["zero", "circular"])),
        dtype=draw(_dtypes),
    )


@st.composite
def identity(draw: Draw) -> Denoising:
    """Draw a size."""
    return Denoising(in_shape=draw(image_shapes()), dtype=draw(_dtypes))


@st.composite
def mask(draw: Draw) -> Mask:
    """Draw binary and real masks: of two axes, per channel, per sample."""
    channels, height, width = shape = draw(image_shapes())
    lead = draw(st.sampled_from([(), (1,), (channels,), (1, 1), (3, 1), (3, channels), (width, 1)]))
    size = (*lead, height, width)
    kind = draw(st.sampled_from(["binary", "real", "bool"]))
    values = draw(masks(size)) if kind != "real" else draw(tensors(size))
    return Mask(
        in_shape=shape,
        mask=values > 0 if kind == "bool" else values,
        dtype=draw(_dtypes),
    )


@st.composite
def random_mask(draw: Draw) -> RandomMask:
    """Draw fractions from nothing missing to everything missing."""
    return RandomMask(
        in_shape=draw(image_shapes()),
        missing=draw(st.sampled_from([0.0, 0.3, 0.8, 1.0])),
        per_channel=draw(st.booleans()),
        seed=draw(seeds()),
        dtype=draw(_dtypes),
    )


@st.composite
def hole_mask(draw: Draw) -> HoleMask:
    """Draw holes centred, placed and at random, up to the whole picture."""
    shape = draw(image_shapes())
    size = draw(st.one_of(st.none(), st.integers(1, min(shape[1:]))))
    corner = draw(st.sampled_from([None, 0]))
    return HoleMask(
        in_shape=shape,
        size=size,
        top=corner,
        left=corner,
        seed=draw(st.one_of(st.none(), seeds())),
        dtype=draw(_dtypes),
    )
