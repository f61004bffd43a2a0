"""Small instances of the operators for the conformance kit, in double precision."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed.testing.strategies import image_shapes, masks, seeds, tensors

from .boundary import BOUNDARIES
from .channel_mix import ChannelMix, Grayscale
from .finite_difference import FiniteDifference
from .fourier import Complexify, FourierSampling, MulticoilFourier
from .framing import Crop, Pad
from .identity import Denoising
from .mask import HoleMask, Mask, RandomMask
from .matrix import Matrix
from .radon import Radon
from .resize import Resize
from .resize_weights import METHODS
from .sensing import GaussianSensing
from .sparse_matrix import SparseMatrix
from .wavelet import Wavelet
from .wavelet_filters import FILTERS

__all__ = [
    "channel_mix",
    "complexify",
    "crop",
    "finite_difference",
    "fourier_sampling",
    "gaussian_sensing",
    "grayscale",
    "hole_mask",
    "identity",
    "mask",
    "matrix",
    "multicoil_fourier",
    "pad",
    "radon",
    "random_mask",
    "resize",
    "sparse_matrix",
    "wavelet",
]

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


@st.composite
def crop(draw: Draw) -> Crop:
    """Draw even and uneven margins, also none."""
    channels, height, width = draw(image_shapes())
    top, bottom, left, right = margin = draw(st.tuples(*[st.integers(0, 5)] * 4))
    if draw(st.booleans()):
        margin, (bottom, left, right) = top, (top,) * 3
    shape = (channels, height + top + bottom, width + left + right)
    return Crop(in_shape=shape, margin=margin, dtype=draw(_dtypes))


@st.composite
def pad(draw: Draw) -> Pad:
    """Draw every boundary, and margins wider than the picture."""
    return Pad(
        in_shape=draw(image_shapes(most=9)),
        margin=draw(st.one_of(st.integers(0, 9), st.tuples(*[st.integers(0, 9)] * 4))),
        boundary=draw(st.sampled_from([name for name in BOUNDARIES if name != "valid"])),
        dtype=draw(_dtypes),
    )


@st.composite
def channel_mix(draw: Draw) -> ChannelMix:
    """Draw responses to fewer and to more channels, one for all or one per sample."""
    channels, _, width = shape = draw(image_shapes())
    lead = draw(st.sampled_from([(), (1,), (3,), (width,)]))
    size = (*lead, draw(st.integers(1, 5)), channels)
    return ChannelMix(in_shape=shape, response=draw(tensors(size)), dtype=draw(_dtypes))


@st.composite
def grayscale(draw: Draw) -> Grayscale:
    """Draw a size."""
    return Grayscale(in_shape=(3, *draw(image_shapes())[1:]), dtype=draw(_dtypes))


@st.composite
def _sampling(draw: Draw, plane: tuple[int, int]) -> dict[str, Any]:
    """Draw a mask, given for all or per sample, or Cartesian."""
    if draw(st.booleans()):
        lead = draw(st.sampled_from([(), (1,), (1, 1), (3, 1), (plane[1], 1)]))
        values = draw(st.one_of(masks((*lead, *plane)), tensors((*lead, *plane))))
        return {"mask": values > 0 if draw(st.booleans()) else values}
    return {
        "acceleration": draw(st.sampled_from([None, 1.0, 2.5, 8.0])),
        "centre_fraction": draw(st.sampled_from([None, 0.0, 0.3, 1.0])),
        "pattern": draw(st.sampled_from(["random", "equispaced"])),
        "seed": draw(seeds()),
    }


@st.composite
def fourier_sampling(draw: Draw) -> FourierSampling:
    """Draw odd and even sizes, given masks and Cartesian ones."""
    shape = draw(image_shapes())
    return FourierSampling(in_shape=shape, dtype=COMPLEX, **draw(_sampling(shape[1:])))


@st.composite
def multicoil_fourier(draw: Draw) -> MulticoilFourier:
    """Draw maps given for all or per sample, or computed."""
    _, height, width = draw(image_shapes(most=10))
    sampling = draw(_sampling((height, width)))
    given = sampling.get("mask")
    batch = given.shape[0] if isinstance(given, torch.Tensor) and given.ndim == 4 else 1
    maps, coils = None, draw(st.sampled_from([None, 1, 3]))
    if draw(st.booleans()):
        sizes = [(), (1,), (3,), (width,)] if batch == 1 else [(), (1,), (batch,)]
        lead = draw(st.sampled_from(sizes))
        maps = draw(tensors((*lead, draw(st.integers(1, 3)), height, width), COMPLEX))
        coils = None
    return MulticoilFourier(
        in_shape=(1, height, width), sensitivities=maps, coils=coils, dtype=COMPLEX, **sampling
    )


@st.composite
def complexify(draw: Draw) -> Complexify:
    """Draw a size."""
    return Complexify(in_shape=draw(image_shapes()), dtype=REAL)


@st.composite
def radon(draw: Draw) -> Radon:
    """Draw pictures that are not square, few and uneven angles, few and many detectors."""
    some = st.lists(st.floats(-200, 200, width=32), min_size=1, max_size=4).map(tuple)
    return Radon(
        in_shape=draw(image_shapes()),
        angles=draw(st.one_of(st.integers(1, 6), some, st.just((0.0, 45.0, 90.0, 180.0)))),
        detectors=draw(st.one_of(st.none(), st.integers(1, 20))),
        circle=draw(st.booleans()),
        dtype=draw(_dtypes),
    )


@st.composite
def resize(draw: Draw) -> Resize:
    """Draw factors up and down, uneven ones and sizes, every method."""
    factors = st.sampled_from([0.3, 0.5, 1 / 3, 1.0, 1.7, 3])
    given: dict[str, Any] = draw(
        st.one_of(
            st.just({}),
            st.builds(dict, scale=st.one_of(factors, st.tuples(factors, factors))),
            st.builds(dict, size=st.tuples(st.integers(1, 20), st.integers(1, 20))),
        )
    )
    return Resize(
        in_shape=draw(image_shapes()),
        method=draw(st.sampled_from(METHODS)),
        antialias=draw(st.sampled_from([None, True, False])),
        dtype=draw(_dtypes),
        **given,
    )


@st.composite
def matrix(draw: Draw) -> Matrix:
    """Draw wide and tall matrices, real and complex, one for all or one per sample."""
    shape = draw(image_shapes(most=6))
    lead = draw(st.sampled_from([(), (1,), (3,), (shape[-1],)]))
    rows = draw(st.integers(1, 30))
    values = draw(tensors((*lead, rows, shape[0] * shape[1] * shape[2]), draw(_dtypes)))
    out_shape = (1, rows) if draw(st.booleans()) else None
    return Matrix(in_shape=shape, matrix=values, out_shape=out_shape)


@st.composite
def sparse_matrix(draw: Draw) -> SparseMatrix:
    """Draw entries, some of them in one place, and empty rows and columns."""
    shape, rows = draw(image_shapes(most=8)), draw(st.integers(1, 20))
    values = draw(tensors((draw(st.integers(1, 60)),)))
    places = draw(tensors((2, len(values)), uniform=True))
    size = torch.tensor([[rows], [shape[0] * shape[1] * shape[2]]])
    row, column = (places * size).long()
    return SparseMatrix(
        in_shape=shape,
        rows=row,
        columns=column,
        values=values,
        out_shape=(rows,) if draw(st.booleans()) else None,
        dtype=draw(_dtypes),
    )


@st.composite
def gaussian_sensing(draw: Draw) -> GaussianSensing:
    """Draw few and many measurements, also orthonormal ones."""
    shape = draw(image_shapes(most=8))
    most = shape[0] * shape[1] * shape[2]
    return GaussianSensing(
        in_shape=shape,
        measurements=draw(st.one_of(st.none(), st.integers(1, min(most, 20)))),
        orthonormal=draw(st.booleans()),
        seed=draw(seeds()),
        dtype=draw(_dtypes),
    )


@st.composite
def wavelet(draw: Draw) -> Wavelet:
    """Draw sizes smaller than the filter, odd ones, and more levels than they hold."""
    return Wavelet(
        in_shape=draw(image_shapes()),
        wavelet=sorted(FILTERS)[draw(seeds()) % len(FILTERS)],
        levels=draw(st.one_of(st.none(), st.integers(1, 4))),
        dtype=draw(_dtypes),
    )
