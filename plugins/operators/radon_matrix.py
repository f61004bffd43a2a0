"""The system matrix of parallel-beam tomography: geometry, construction, and what is kept of it.

Detector k at angle a sums the picture, interpolated linearly, at the points of a line:

    y[k, a] = sum_u x(row = -t sin a + u cos a, column = t cos a + u sin a),   t = k - D // 2

with rows and columns counted from pixel (H // 2, W // 2), and u from `-N // 2` in steps of one
pixel over the N pixels of the canvas. This is scikit-image's `radon`, which rotates the picture
with bilinear interpolation and adds up the rows.

The weight of a pixel in a ray depends only on where its centre lies between the rays and points:
with (t0, u0) its rotated position, `sum_u hat(dt cos a + du sin a) hat(du cos a - dt sin a)` over
the three nearest u, for each of the three nearest t. So no duplicates need merging.

Only one angle of each orbit under quarter turns and mirroring has its weights stored: a quarter of
them for a multiple of four angles evenly spaced over half a turn. See radon_symmetry.py.
"""

from __future__ import annotations

import functools
import math
from collections import OrderedDict

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from .matrix_cache import remembered
from .radon_symmetry import Block, blocks, moved_pixels, moved_rays
from .sparse_product import SparsePair

__all__ = ["Geometry", "system"]

_VERSION = 3
_REACH = math.sqrt(2)  # a pixel's bilinear weight ends this far from its centre, at most
_ROUNDING = 1e-12  # weights are of the order of one: this is a zero
_TOO_SMALL_FOR_DISK = 2**20
_KEPT_BYTES = 2**30

Array = NDArray[np.float64]
Indices = NDArray[np.int64]


@attrs.frozen
class Geometry:
    """Which pixels, rays and points there are."""

    height: int
    width: int
    angles: tuple[float, ...]  # degrees
    detectors: int
    circle: bool

    @property
    def canvas(self) -> int:
        """Side of the square that is rotated."""
        if self.circle:
            return min(self.height, self.width)
        return math.ceil(math.sqrt(2) * max(self.height, self.width))

    @property
    def entries(self) -> int:
        """Estimate of the number of weights that are stored."""
        stored = sum(len(block.angles) for block in blocks(self.angles))
        return 2 * self.height * self.width * stored

    def centre(self) -> tuple[int, int]:
        """Return the pixel about which the picture is rotated."""
        if not self.circle:
            return self.height // 2, self.width // 2
        n = self.canvas
        first = [math.ceil((size - n) / 2) for size in (self.height, self.width)]
        return first[0] + n // 2, first[1] + n // 2

    def positions(self) -> tuple[Indices, Indices, NDArray[np.bool_]]:
        """Return rows and columns from the centre, and which pixels lie on the canvas; flat."""
        top, left = self.centre()
        rows, columns = np.meshgrid(
            np.arange(self.height) - top, np.arange(self.width) - left, indexing="ij"
        )
        half, n = self.canvas // 2, self.canvas
        inside = np.ones(rows.shape, dtype=bool)
        if self.circle:  # a picture that is not square is cropped
            for axis in (rows, columns):
                inside &= (axis >= -half) & (axis < n - half)
        return rows.ravel(), columns.ravel(), inside.ravel()

    def key(self, block: Block) -> str:
        """Return what identifies the matrix of a block on disk."""
        return f"radon {_VERSION} {attrs.astuple(attrs.evolve(self, angles=()))} {block}"


def build_matrix(
    geometry: Geometry, angles: tuple[float, ...], rows: Indices, columns: Indices
) -> sparse.csr_matrix:
    """Return weights in float64: rows by detector, then by angle; columns as the pixels given.

    Detectors are those from `-(D // 2)` to `D // 2`.
    """
    count, detectors = len(angles), 2 * (geometry.detectors // 2) + 1
    parts = []
    for degrees in angles:
        weight, detector = _weights(geometry, math.radians(degrees), rows, columns)
        keep = weight > _ROUNDING
        starts = np.zeros(rows.size + 1, np.int64)
        np.cumsum(keep.sum(1), out=starts[1:])
        by_pixel = sparse.csr_matrix(
            (weight[keep], detector[keep], starts), shape=(rows.size, detectors)
        )
        parts.append(by_pixel.T.tocsr())
    order = np.arange(count * detectors).reshape(count, detectors).T.ravel()
    return sparse.vstack(parts, format="csr")[order]


def _weights(
    geometry: Geometry, angle: float, rows: Indices, columns: Indices
) -> tuple[Array, Indices]:
    """Return each pixel's weight in three rays of one angle, and their detectors, `(pixels, 3)`."""
    c, s = math.cos(angle), math.sin(angle)
    t0, u0 = c * columns - s * rows, s * columns + c * rows
    first_t, first_u = np.ceil(t0 - _REACH), np.ceil(u0 - _REACH)
    half, n = geometry.canvas // 2, geometry.canvas
    weights = np.zeros((3, rows.size))
    for k in range(3):
        dt = first_t + k - t0
        for m in range(3):
            u = first_u + m
            du = u - u0
            hats = np.maximum(1 - np.abs(c * dt + s * du), 0)
            hats *= np.maximum(1 - np.abs(c * du - s * dt), 0)
            weights[k] += hats * ((u >= -half) & (u < n - half))
    reach = geometry.detectors // 2
    detector = (first_t + reach).astype(np.int64)[:, None] + np.arange(3)
    beside = (detector < 0) | (detector > 2 * reach)
    return np.where(beside, 0, weights.T), detector


@attrs.frozen(eq=False)
class System:
    """The matrices of all blocks on a device."""

    pairs: tuple[SparsePair, ...]

    def apply(self, x: Tensor) -> Tensor:
        """Return the rays `(*, rays)` of flat pictures `(*, pixels)`."""
        return functools.reduce(torch.add, (pair.apply(x) for pair in self.pairs))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return flat pictures from rays."""
        return functools.reduce(torch.add, (pair.adjoint(y) for pair in self.pairs))

    @property
    def nbytes(self) -> int:
        """Memory that all take."""
        return sum(pair.nbytes for pair in self.pairs)


_recent: OrderedDict[object, System] = OrderedDict()


def system(geometry: Geometry, dtype: torch.dtype, device: torch.device | None) -> System:
    """Return the matrices on a device; from memory, from disk, or built.

    Operators of one geometry share them. Cost: for 256 x 256 pixels and 180 angles, about a second
    once, then about a fifth of a second per process, and 100 MB.
    """
    key = (geometry, dtype, str(device))
    found = _recent.pop(key, None)
    if found is None:
        found = System(tuple(_pair(geometry, b, dtype, device) for b in blocks(geometry.angles)))
    _recent[key] = found
    while len(_recent) > 1 and sum(s.nbytes for s in _recent.values()) > _KEPT_BYTES:
        _recent.popitem(last=False)
    return found


def _pair(
    geometry: Geometry, block: Block, dtype: torch.dtype, device: torch.device | None
) -> SparsePair:
    rows, columns, pixels = moved_pixels(*geometry.positions(), block.moves)
    values = np.float32 if dtype == torch.float32 else np.float64

    def build() -> sparse.csr_matrix:
        return build_matrix(geometry, block.angles, rows, columns).astype(values)

    if 2 * rows.size * len(block.angles) < _TOO_SMALL_FOR_DISK:
        matrix = build()
    else:
        matrix = remembered(f"{geometry.key(block)} {values.__name__}", build)
    sizes = geometry.height * geometry.width, geometry.detectors * len(geometry.angles)
    rays = moved_rays(block, geometry.detectors, len(geometry.angles))
    return SparsePair.of(matrix, dtype, device, slots=(pixels, rays), sizes=sizes)
