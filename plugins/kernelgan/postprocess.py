"""From the generator's kernel to the one that is used: thinned out, centred, for a stride of 4."""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage, signal

__all__ = ["centred", "kernel_for_four", "thinned"]

Array = NDArray[np.float64]
_KEPT = 40
_SHARE = 0.75


def thinned(k: Array) -> Array:
    """Return the kernel less 3/4 of its 41st largest value, clipped at 0, of sum 1; else NaN.

    Source: the authors' code. It is a soft threshold: it also narrows the kernel.
    """
    threshold = _SHARE * np.sort(k, axis=None)[-_KEPT - 1] if k.size > _KEPT else 0.0
    return _normalised(np.clip(k - threshold, 0, None))


def centred(k: Array) -> Array:
    """Return a kernel of odd side, its centre of mass moved to half a pixel past the middle.

    In correlation order that is the middle of the pixels of a block, seen from the pixel at
    `(stride - 1) // 2` in it, for every even stride. Moved by a cubic spline; the kernel grows by
    what that takes. Source: the authors' code.
    """
    if not np.isfinite(k).all():
        return k
    shift = np.array(k.shape) // 2 + 0.5 - np.array(ndimage.center_of_mass(k))
    margin = math.ceil(np.abs(shift).max()) + 1
    moved: Array = ndimage.shift(np.pad(k, margin), shift)
    return moved


def kernel_for_four(k: Array) -> Array:
    """Return the kernel of stride 4 that is two steps of stride 2: section 4.2 of the paper.

    `k4 = k2 * dilate(k2)`, cut to its middle and normalised.
    """
    side = k.shape[0]
    dilated = np.zeros((2 * side - 1, 2 * side - 1))
    dilated[::2, ::2] = k
    whole = signal.convolve2d(dilated, k)
    cut = side // 2
    return _normalised(whole[cut : whole.shape[0] - cut, cut : whole.shape[1] - cut])


def _normalised(k: Array) -> Array:
    total = k.sum()
    return k / total if total > 0 else np.full_like(k, np.nan)
