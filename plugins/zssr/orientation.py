"""The eight orientations of a picture, and those of them that an operator does not notice."""

from __future__ import annotations

import itertools

import torch
from torch import Tensor

from .downscaling import Downscaling, sized

__all__ = ["ORIENTATIONS", "orient", "restore", "symmetries"]

ORIENTATIONS = tuple(itertools.product((False, True), range(4)))
"""Mirrored or not, then turned by so many quarters; the first leaves a picture as it is."""

_SAME = 0.01


def orient(x: Tensor, orientation: tuple[bool, int]) -> Tensor:
    """Return a picture mirrored and turned."""
    mirrored, quarters = orientation
    return torch.rot90(x.flip(-1) if mirrored else x, quarters, (-2, -1))


def restore(x: Tensor, orientation: tuple[bool, int]) -> Tensor:
    """Undo `orient`."""
    mirrored, quarters = orientation
    x = torch.rot90(x, -quarters, (-2, -1))
    return x.flip(-1) if mirrored else x


def symmetries(op: Downscaling) -> tuple[tuple[bool, int], ...]:
    """Return the orientations T with `A T x = T A x` away from the frame, within one percent.

    It is tried on noise, and on pictures whose sides leave the same rest as those of the real
    picture when divided by the stride: where that is not zero, a mirror image is sampled at other
    places.
    """
    height, width = op.in_shape[1:]
    reach = -(-max(op.kernel.shape[-2:]) // op.stride) + 1
    sides = [4 * reach * op.stride + n % op.stride for n in (height, width)]
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(op.in_shape[0], *sides, dtype=op.kernel.dtype, generator=generator)
    x = x.to(op.kernel.device)
    y = _inner(sized(op, *sides)._apply(x), reach)
    same = []
    for orientation in ORIENTATIONS:
        turned = orient(x, orientation)
        other = _inner(sized(op, *turned.shape[-2:])._apply(turned), reach)
        if other.shape[-2:] != orient(y, orientation).shape[-2:]:
            continue
        if float((restore(other, orientation) - y).norm()) <= _SAME * float(y.norm()):
            same.append(orientation)
    return tuple(same)


def _inner(y: Tensor, reach: int) -> Tensor:
    return y[..., reach:-reach, reach:-reach]
