"""Cartesian sampling patterns of magnetic resonance imaging: which columns are measured."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

__all__ = ["PATTERNS", "cartesian_mask"]

PATTERNS = ("random", "equispaced")


def cartesian_mask(
    width: int, *, acceleration: float, centre_fraction: float, pattern: str, seed: int
) -> Tensor:
    """Return which of `width` columns are measured, `(width,)`, of zeros and ones.

    A full band of `round(centre_fraction width)` columns (one at least) lies around frequency 0
    at index `width // 2`. Of the others, each is drawn with equal probability (`random`), or they
    are evenly spaced from a random start (`equispaced`), so that `width / acceleration` columns
    are measured in all (on average, and to a rounding).
    Source: Zbontar et al., 2018, fastMRI, arXiv:1811.08839, section 5; and its code, whose random
    numbers are others.
    """
    generator = np.random.default_rng(seed)
    band = min(max(round(centre_fraction * width), 1), width)
    first = (width - band + 1) // 2
    wanted = max(width / acceleration - band, 0.0)
    others = width - band
    mask = np.zeros(width, dtype=bool)
    if pattern == "random":
        mask = generator.random(width) < (wanted / others if others else 0.0)
    elif wanted > 0:
        step = others / wanted
        start = generator.integers(max(round(step), 1))
        # up to the last column, which fastMRI's own code leaves out
        places = np.around(np.arange(start, width - 0.5, step)).astype(int)
        mask[places] = True
    mask[first : first + band] = True
    return torch.from_numpy(mask)
