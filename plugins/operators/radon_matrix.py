"""The system matrix of parallel-beam tomography: geometry, construction, and what is kept of it.

Detector k at angle a sums the picture, interpolated linearly, at the points of a line:

    y[k, a] = sum_u x(row = -t sin a + u cos a, column = t cos a + u sin a),   t = k - D // 2

with rows and columns counted from pixel (H // 2, W // 2), and u from `-N // 2` in steps of one
pixel over the N pixels of the canvas. This is scikit-image's `radon`, which rotates the picture
with bilinear interpolation and adds up the rows.

The weight of a pixel in a ray depends only on where its centre lies between the rays and points:
with (t0, u0) its rotated position, `sum_u hat(dt cos a + du sin a) hat(du cos a - dt sin a)` over
the three nearest u, for each of the three nearest t. So no duplicates need merging.
"""

from __future__ import annotations

import math
from collections import OrderedDict

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from .matrix_cache import remembered
from .sparse_product import SparsePair

__all__ = ["Geometry", "system"]

_VERSION = 2
_TILE = 8
_REACH = math.sqrt(2)  # a pixel's bilinear weight ends this far from its centre, at most
_ROUNDING = 1e-12  # weights are of the order of one: this is a zero
_TOO_SMALL_FOR_DISK = 2**20
_KEPT_BYTES = 2**30

Array = NDArray[np.float64]


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
        """Estimate of the number of weights that are not zero."""
        return 2 * self.height * self.width * len(self.angles)

    def centre(self) -> tuple[int, int]:
        """Return the pixel about which the picture is rotated."""
        if not self.circle:
            return self.height // 2, self.width // 2
        n = self.canvas
        first = [math.ceil((size - n) / 2) for size in (self.height, self.width)]
        return first[0] + n // 2, first[1] + n // 2

    def positions(self) -> tuple[Array, Array, NDArray[np.bool_]]:
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
        return rows.ravel().astype(float), columns.ravel().astype(float), inside.ravel()

    def order(self) -> NDArray[np.int64]:
        """Return the pixels tile by tile, the order of the matrix's columns.

        A ray then reads neighbours from the cache: a third faster than row by row.
        """
        i, j = np.indices((self.height, self.width)).reshape(2, -1)
        return np.lexsort((j, i, j // _TILE, i // _TILE))

    def key(self) -> str:
        """Return what identifies the matrix on disk."""
        return f"radon {_VERSION} {attrs.astuple(self)}"


def build_matrix(geometry: Geometry) -> sparse.csr_matrix:
    """Return the matrix in float64: rows by detector, then by angle; columns tile by tile."""
    order = geometry.order()
    rows, columns, inside = geometry.positions()
    rows, columns, inside = rows[order], columns[order], inside[order]
    count, pixels = len(geometry.angles), geometry.height * geometry.width
    blocks = []
    for degrees in geometry.angles:
        weight, detector = _weights(geometry, math.radians(degrees), rows, columns)
        keep = (weight > _ROUNDING) & inside[:, None]
        starts = np.zeros(pixels + 1, np.int64)
        np.cumsum(keep.sum(1), out=starts[1:])
        parts = (weight[keep], detector[keep], starts)
        by_pixel = sparse.csr_matrix(parts, shape=(pixels, geometry.detectors))
        blocks.append(by_pixel.T.tocsr())
    stacked = sparse.vstack(blocks, format="csr")
    order = np.arange(count * geometry.detectors).reshape(count, geometry.detectors).T.ravel()
    return stacked[order]


def _weights(
    geometry: Geometry, angle: float, rows: Array, columns: Array
) -> tuple[Array, NDArray[np.int64]]:
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
    detector = (first_t + geometry.detectors // 2).astype(np.int64)[:, None] + np.arange(3)
    beside = (detector < 0) | (detector >= geometry.detectors)
    return np.where(beside, 0, weights.T), detector


@attrs.frozen(eq=False)
class System:
    """A matrix on a device, with the order of the pixels in its columns and the way back."""

    pair: SparsePair
    order: Tensor
    back: Tensor

    def apply(self, x: Tensor) -> Tensor:
        """Return the rays `(*, rays)` of flat pictures `(*, pixels)`."""
        return self.pair.apply(x.index_select(-1, self.order))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return flat pictures from rays."""
        return self.pair.adjoint(y).index_select(-1, self.back)


_recent: OrderedDict[object, System] = OrderedDict()


def system(geometry: Geometry, dtype: torch.dtype, device: torch.device | None) -> System:
    """Return the matrix on a device; from memory, from disk, or built.

    Operators of one geometry share it. Cost: for 256 x 256 pixels and 180 angles, about 3 s once,
    then about half a second per process, and 370 MB.
    """
    key = (geometry, dtype, str(device))
    found = _recent.pop(key, None)
    if found is None:
        pair = SparsePair.of(_matrix(geometry, dtype), dtype, device)
        # As in SparsePair.of: these must outlive inference mode and torch.func transforms.
        with torch.inference_mode(False), torch._C._DisableFuncTorch():
            order = torch.from_numpy(geometry.order()).to(device)
            found = System(pair, order, order.argsort())
    _recent[key] = found
    while len(_recent) > 1 and sum(s.pair.nbytes for s in _recent.values()) > _KEPT_BYTES:
        _recent.popitem(last=False)
    return found


def _matrix(geometry: Geometry, dtype: torch.dtype) -> sparse.csr_matrix:
    values = np.float32 if dtype == torch.float32 else np.float64

    def build() -> sparse.csr_matrix:
        return build_matrix(geometry).astype(values)

    if geometry.entries < _TOO_SMALL_FOR_DISK:
        return build()
    return remembered(f"{geometry.key()} {values.__name__}", build)
