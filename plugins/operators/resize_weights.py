"""The weights of one-dimensional resampling, as MATLAB's imresize computes them."""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

__all__ = ["METHODS", "resize_matrix"]

Array = NDArray[np.float64]


def _cubic(x: Array) -> Array:
    near, far = np.abs(x) <= 1, np.abs(x) <= 2
    x = np.abs(x)
    inner = (1.5 * x - 2.5) * x**2 + 1
    outer = ((-0.5 * x + 2.5) * x - 4) * x + 2
    return np.where(near, inner, np.where(far, outer, 0))


def _triangle(x: Array) -> Array:
    result: Array = np.maximum(1 - np.abs(x), 0)
    return result


def _box(x: Array) -> Array:
    return ((x >= -0.5) & (x < 0.5)).astype(float)


def _lanczos2(x: Array) -> Array:
    return np.where(np.abs(x) < 2, np.sinc(x) * np.sinc(x / 2), 0)


def _lanczos3(x: Array) -> Array:
    return np.where(np.abs(x) < 3, np.sinc(x) * np.sinc(x / 3), 0)


# Kernel and its width, in pixels of the coarser grid.
_KERNELS: dict[str, tuple[Callable[[Array], Array], int]] = {
    "bicubic": (_cubic, 4),
    "bilinear": (_triangle, 2),
    "nearest": (_box, 1),
    "box": (_box, 1),
    "lanczos2": (_lanczos2, 4),
    "lanczos3": (_lanczos3, 6),
}
METHODS = tuple(_KERNELS)


def resize_matrix(size: int, new: int, scale: float, method: str, antialias: bool) -> Array:
    """Return the matrix `(new, size)` that resamples a row of `size` pixels by a factor `scale`.

    Output i is centred on input `(i + 1/2) / scale - 1/2`. When shrinking with `antialias`, the
    kernel is stretched by `1 / scale`. Weights sum to 1, and the row goes on symmetrically.
    """
    kernel, width = _KERNELS[method]
    stretch = min(scale, 1.0) if antialias else 1.0
    reach = width / stretch
    # As MATLAB counts, from 1, and in its order: half way between two pixels, rounding decides.
    centre = np.arange(1, new + 1) / scale + 0.5 * (1 - 1 / scale)
    taps = math.ceil(reach) + 2  # the extra ones have weight 0
    first = np.floor(centre - reach / 2)
    places = first[:, None].astype(np.int64) + np.arange(taps)
    weights = stretch * kernel(stretch * (centre[:, None] - places))
    weights /= weights.sum(1, keepdims=True)
    mirrored = np.mod(places - 1, 2 * size)
    mirrored = np.minimum(mirrored, 2 * size - 1 - mirrored)
    matrix = np.zeros((new, size))
    np.add.at(matrix, (np.arange(new)[:, None], mirrored), weights)
    return matrix
