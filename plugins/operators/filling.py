"""Filling missing pixels smoothly from those around them: a picture for solvers to start from."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .boundary import extend

__all__ = ["fill"]

_SWEEPS = 4


def fill(y: Tensor, mask: Tensor) -> Tensor:
    """Return a picture that fits `y = mask * x` where the mask is strong, smooth elsewhere.

    Pull and push over a pyramid: each level holds sums over 2 x 2 blocks of `m y` and `m^2`, whose
    ratio is the weighted least-squares value of the block; going back up, a few Jacobi sweeps of
    the Laplace equation smooth what the coarser level says where the level itself knows nothing.
    A pixel counts as known by `g = 1 - (1 - w)^16` with `w = m^2 / max m^2`: entirely at the
    largest weight, and ever less as noise would be amplified more. There is no threshold, and the
    map is linear in y.

    Shapes: y `(*batch, C, H, W)`; mask broadcasts against it.
    Cost: about 40 passes over the picture.
    Source: Gortler et al., 1996, The lumigraph, section 3.4.2 (pull-push, whose weights saturate
    in the same way).
    """
    power = mask.square()
    power = power[(None,) * max(3 - power.ndim, 0)]
    strongest = power.amax((-2, -1), keepdim=True)
    strongest = torch.where(strongest > 0, strongest, 1)
    return _level(mask / strongest * y, power / strongest)


def _level(total: Tensor, weight: Tensor) -> Tensor:
    """Fill a level from `total = sum m y` and `weight = sum m^2`, both over `max m^2`."""
    known = 1 - (1 - weight.clamp(max=1)) ** 16
    own = torch.where(weight > 0, total / torch.where(weight > 0, weight, 1), 0)
    height, width = total.shape[-2:]
    if max(height, width) == 1:
        return own
    coarse = _level(_blocks(total), _blocks(weight))
    fresh, rest = known * own, 1 - known
    x = fresh + rest * _doubled(coarse, height, width)
    for _ in range(_SWEEPS):
        x = fresh + rest * _neighbours(x)
    return x


def _blocks(x: Tensor) -> Tensor:
    """Return sums over 2 x 2 pixels; those beyond an odd border count nothing."""
    x = F.pad(x, (0, x.shape[-1] % 2, 0, x.shape[-2] % 2))
    x = x[..., 0::2, :] + x[..., 1::2, :]
    return x[..., 0::2] + x[..., 1::2]


def _doubled(x: Tensor, height: int, width: int) -> Tensor:
    x = x.repeat_interleave(2, -2).repeat_interleave(2, -1)
    return x[..., :height, :width]


def _neighbours(x: Tensor) -> Tensor:
    """Return the mean of the four neighbours, a border pixel being its own beyond the border."""
    wide = extend(x, (1, 1), (1, 1), "replicate")
    rows, columns = wide[..., 1:-1], wide[..., 1:-1, :]
    vertical = rows[..., :-2, :] + rows[..., 2:, :]
    return (vertical + columns[..., :-2] + columns[..., 2:]) / 4
