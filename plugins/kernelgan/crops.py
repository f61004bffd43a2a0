"""Which crops to learn from: drawn with a probability that follows the gradient's magnitude."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["crop_corners", "grey_of", "importance", "places"]

_PERCENTILE = 0.97
_FRAME = 5  # pixels at the edge of the gradient maps that count nothing
_BOX = 5


def importance(picture: Tensor, covered: Tensor | None = None) -> Tensor:
    """Return how much each pixel is worth seeing, `(H, W)`, of mean about one.

    The gradients along rows and columns, each as the map of its largest 3 % and as its plain
    magnitude, each of sum one, added up and smoothed over 5 x 5 pixels. `covered (H, W)` in [0, 1]
    says which pixels were measured at all.

    Source: the authors' code, which clips a second magnitude that it then does not use.
    """
    grey = grey_of(picture.double())
    down, across = torch.gradient(grey)
    maps = [_largest(down), _largest(across), (down.square() + across.square()).sqrt()]
    total = torch.zeros_like(grey)
    for found in maps:
        inside = torch.zeros_like(found)
        cut = (..., slice(_FRAME, -_FRAME), slice(_FRAME, -_FRAME))
        inside[cut] = found[cut]
        amount = inside.sum()
        total += inside / torch.where(amount > 0, amount, 1)
    if covered is not None:
        total = total * covered.to(total)
    total = _box(total, _BOX)
    mean = total.mean()
    return total / torch.where(mean > 0, mean, 1)


def crop_corners(weights: Tensor, side: int, count: int, stream: torch.Generator) -> Tensor:
    """Return the top left corners `(count, 2)` of crops, drawn independently.

    The centre is drawn with the probability of the weights around it, in a box of half the side;
    corners are moved into the picture and rounded down to even pixels.
    """
    height, width = weights.shape
    half = side // 2
    around = _box(weights, half)
    chance = torch.zeros_like(around)
    cut = (slice(half, height - half + 1), slice(half, width - half + 1))
    chance[cut] = around[cut]
    if not bool(chance.sum() > 0):  # a picture of this size has no more than one crop to give
        chance[cut] = 1.0
    ladder = chance.flatten().cumsum(0)
    draws = torch.rand(count, generator=stream, device=stream.device, dtype=torch.float64)
    centres = torch.searchsorted(ladder, draws.to(ladder.device) * ladder[-1], right=True)
    centres = centres.clamp(max=ladder.numel() - 1)
    rows = (centres // width - half).clamp(0, height - side)
    columns = (centres % width - half).clamp(0, width - side)
    return torch.stack((rows, columns), -1) // 2 * 2


def places(pictures: Tensor, index: Tensor, corners: Tensor, side: int) -> tuple[Tensor, ...]:
    """Return the index into `(B, C, H, W)` of one crop for each of N corners."""
    along = torch.arange(side, device=pictures.device)
    rows = (corners[:, :1] + along)[:, None, :, None]
    columns = (corners[:, 1:] + along)[:, None, None, :]
    channels = torch.arange(pictures.shape[1], device=pictures.device)[None, :, None, None]
    return index[:, None, None, None], channels, rows, columns


def grey_of(picture: Tensor) -> Tensor:
    """Return `(H, W)` of `(C, H, W)`: the luma of three channels, else their mean."""
    if picture.shape[0] != 3:
        return picture.mean(0)
    weights = picture.new_tensor([0.299, 0.587, 0.114])
    luma: Tensor = torch.tensordot(weights, picture, 1)
    return luma


def _largest(gradient: Tensor) -> Tensor:
    """Return the magnitudes between the 97th percentile and the next value, less the former."""
    size = gradient.abs()
    ordered = size.flatten().sort().values
    rank = _PERCENTILE * (ordered.numel() - 1)
    below = int(rank)
    low = torch.lerp(ordered[below], ordered[min(below + 1, ordered.numel() - 1)], rank - below)
    above = ordered[torch.searchsorted(ordered, low, right=True).clamp(max=ordered.numel() - 1)]
    return size.clamp(low, torch.maximum(above, low)) - low


def _box(x: Tensor, side: int) -> Tensor:
    """Return the mean over a square around each pixel, with zeros beyond the frame."""
    before = side // 2
    padded = F.pad(x[None, None], (before, side - 1 - before, before, side - 1 - before))
    ladder = F.pad(padded[0, 0].cumsum(0).cumsum(1), (1, 0, 1, 0))
    total = ladder[side:, side:] - ladder[:-side, side:] - ladder[side:, :-side]
    total = total + ladder[:-side, :-side]
    return total.clamp_min_(0) / side**2
