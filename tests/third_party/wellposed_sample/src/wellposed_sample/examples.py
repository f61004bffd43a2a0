"""Instances for the conformance kit: draw sizes and a seed, fill tensors from a Generator."""

from __future__ import annotations

import torch
from hypothesis import strategies as st
from wellposed.testing.strategies import image_shapes, tensors

from .binning import Binning

__all__ = ["binnings"]


@st.composite
def binnings(draw: st.DrawFn) -> Binning:
    """Draw odd, even, one-wide and oblong pictures, real and complex, with and without gains."""
    factor = draw(st.integers(1, 3))
    gain = draw(st.one_of(st.none(), tensors((3,), uniform=True)))
    return Binning(
        in_shape=draw(image_shapes(multiple=factor)),
        factor=factor,
        gain=None if gain is None else gain + 0.5,
        dtype=draw(st.sampled_from([torch.float64, torch.complex128])),
    )
