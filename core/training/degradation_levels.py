"""How hard an operator is, in numbers: what a card records, and what a new operator is held to.

    ratio     pixels of the picture for one of the measurement, along each side
    channels  of the picture for one of the measurement; none for measurements that are a list of
              numbers
    spread    standard deviation of one measurement's footprint, along its longest axis
    narrow    the same along its shortest axis
    stretch   by how much the first exceeds the second
    peak      largest value of the footprint, as a fraction of that of a Gaussian of this spread,
              narrow and gain: 1/2 for a disk; none for a footprint narrower than half a pixel
    shift     of the footprint from where the measurement's place in its frame would put it; none
              for measurements that are a list of numbers
    gain      sum of the footprint
    missing   fraction of the pixels that no measurement sees
    gap       mean distance from such a pixel to the nearest one that is seen; none: not a number

The footprint of a measurement is its row of A, as a picture of absolute values. These numbers
depend on what an operator does, not on how it is written: a mask behind a blur of width 0, a
kernel from a file and a composition are all measured alike.

Widths alone are not enough: on three pictures of Set5, a DL-Net for Gaussian blurs of width 0 to 3
before bicubic reduction is 0.7 to 2 dB from `tikhonov` for such blurs, but 6 to 7 dB behind it for
a disk of radius 3, a box of 7 pixels and a diagonal of 5, whose widths are within those trained.

A footprint that reaches from one side of the picture to the other is cut, or folded: in a picture
that small, or for an operator that sees all of it at once. Its widths are then only known to be at
least what was measured, and its place is not known.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Mapping
from typing import Any, Final

import numpy as np
import torch
from torch import Tensor

from ..cache import derived
from ..moves import tensors_in
from ..operator import ForwardOperator
from ..space import Space, real_partner
from .degradations import Degradation
from .distributions import draws_for

__all__ = ["levels_of", "ranges_of", "what_is_outside"]

# unit, and by how much an operator may leave the range: absolutely, and relative to its end
_LEVELS: Final = {
    "ratio": ("", 0.0, 0.02),
    "channels": ("", 0.0, 0.0),
    "spread": ("pixels", 0.1, 0.1),
    "narrow": ("pixels", 0.1, 0.1),
    "stretch": ("pixels", 0.5, 0.1),
    "peak": ("", 0.1, 0.0),
    "shift": ("pixels", 0.1, 0.1),
    "gain": ("", 0.0, 0.05),
    "missing": ("", 0.03, 0.0),
    "gap": ("pixels", 0.3, 0.1),
}
_AT_LEAST: Final = ("spread", "narrow")  # all that is known of a footprint that is cut
_UNKNOWN: Final = ("stretch", "peak", "shift")
_DRAWS: Final = 256
_NEGLIGIBLE: Final = 1e-4  # of a footprint's largest value: what an FFT leaves everywhere
_UNSEEN: Final = 1e-6


def levels_of(operator: ForwardOperator) -> Mapping[str, np.ndarray]:
    """Return each level, for every sample with parameters of its own: arrays `(B,)`, B >= 1.

    Cost: three applications of A or its adjoint, once for an operator.
    """
    return _found(operator)[0]


def _found(operator: ForwardOperator) -> tuple[Mapping[str, np.ndarray], np.ndarray]:
    """Return the levels, and for every sample whether its footprint is cut."""
    compute = functools.partial(_measured, operator)
    return derived(operator, "degradation_levels", compute, *tensors_in(operator))


def ranges_of(degradation: Degradation, space: Space, *, seed: int) -> dict[str, list[float]]:
    """Return `[least, greatest]` of each level, over 256 draws of a recipe's operators."""
    draws = draws_for(seed, 0, stream=3, batch=_DRAWS)
    found = levels_of(degradation.operator(space, draws))
    return {
        key: [float(np.nanmin(values)), float(np.nanmax(values))]
        for key, values in found.items()
        if not np.isnan(values).all()
    }


def what_is_outside(operator: ForwardOperator, ranges: Mapping[str, Any]) -> dict[str, str]:
    """Return the levels in which an operator is harder or easier than what was trained, in words.

    A level that `ranges` lacks was not measured, and is not held against the operator.
    """
    wrong = {}
    levels, cut = _found(operator)
    for key, values in levels.items():
        if key not in ranges:
            continue
        unit, absolute, relative = _LEVELS[key]
        low, high = ranges[key]
        least = low - absolute - relative * abs(low)
        greatest = high + absolute + relative * abs(high)
        easy, hard = values < least, values > greatest
        if key in (*_AT_LEAST, *_UNKNOWN):
            easy &= ~cut
        if key in _UNKNOWN:
            hard &= ~cut
        odd = values[easy | hard]
        if len(odd):
            trained = _shown(low) if high - low < 1e-3 else f"{_shown(low)} to {_shown(high)}"
            wrong[key] = f"{_shown(odd[0])}{unit and ' ' + unit}, trained for {trained}"
    return wrong


def _shown(value: float) -> str:
    return f"{round(float(value), 3):.3g}"  # what is left of 0 after rounding is 0


def _measured(operator: ForwardOperator) -> tuple[Mapping[str, np.ndarray], np.ndarray]:
    with torch.no_grad():
        foot, place = _footprint(operator)
        seen = _seen(operator)
    weight = foot.sum((-2, -1))
    foot = np.where(foot > _NEGLIGIBLE * foot.max((-2, -1), keepdims=True), foot, 0)
    mass = np.maximum(foot.sum((-2, -1)), np.finfo(float).tiny)
    rows, columns = (np.arange(n, dtype=float) for n in foot.shape[-2:])
    top, left = (foot.sum(-1) @ rows) / mass, (foot.sum(-2) @ columns) / mass
    dy, dx = rows - top[:, None], columns - left[:, None]
    yy = ((foot.sum(-1)) * dy**2).sum(-1) / mass
    xx = ((foot.sum(-2)) * dx**2).sum(-1) / mass
    xy = np.einsum("bhw,bh,bw->b", foot, dy, dx) / mass
    middle, half = (yy + xx) / 2, np.hypot((yy - xx) / 2, xy)
    off = abs(np.stack([top, left], -1) - place).max(-1).min(0)
    highest = foot.max((-2, -1))
    long, short = np.sqrt(middle + half), np.sqrt(np.maximum(middle - half, 0))
    ends = foot[:, [0, -1], :].any(-1).all(-1), foot[:, :, [0, -1]].any(-2).all(-1)
    levels = {
        "ratio": np.full(len(foot), _ratio(operator)),
        "channels": np.full(len(foot), _channels(operator)),
        "spread": long,
        "narrow": short,
        "stretch": long - short,
        "peak": np.where(short < 0.5, np.nan, 2 * np.pi * long * short * highest / mass),
        "shift": off,
        "gain": weight,
        "missing": 1 - seen.mean((-2, -1)),
        "gap": np.array([_gap(one) for one in seen]),
    }
    return levels, np.logical_or(*ends)


def _ratio(operator: ForwardOperator) -> float:
    """Return the ratio of the sides; for 7 pixels of 13, where the last block is cut, it is 2."""
    inner, outer = operator.in_space.shape[-2:], operator.out_space.shape[-2:]
    whole = {round(n / m) for n, m in zip(inner, outer, strict=False)}
    if len(inner) == len(outer) and len(whole) == 1:
        s = max(whole.pop(), 1)
        if all(n // s <= m <= -(-n // s) for n, m in zip(inner, outer, strict=True)):
            return float(s)
    return float(np.sqrt(np.prod(inner) / np.prod(outer)))


def _channels(operator: ForwardOperator) -> float:
    inner, outer = operator.in_space.shape, operator.out_space.shape
    return math.prod(inner[:-2]) / math.prod(outer[:-2]) if len(outer) > 1 else math.nan


def _footprint(operator: ForwardOperator) -> tuple[np.ndarray, np.ndarray]:
    """Return the footprint `(B, H, W)` of the measurement nearest the middle that sees anything,

    and where its place in the frame of measurements would put it, `(2, B, 2)`: in blocks of whole
    pixels, of which the last is cut, or in as many equal parts as there are measurements.
    """
    inner, outer = operator.in_space, operator.out_space
    batch = operator.batch_shape or (1,)
    ones = torch.ones((*batch, *inner.shape), dtype=inner.dtype, device=operator.device)
    y = operator._apply(ones)
    frame = (1, *outer.shape)[-2:]  # a list of numbers is one row
    alive = (y.abs() > 0).reshape(len(y), -1, *frame)[:, 0].cpu().numpy()
    sides = np.array(alive.shape[1:])
    grid = np.stack(np.meshgrid(*map(np.arange, sides), indexing="ij"), -1)
    far = np.square(grid - sides // 2).sum(-1) + np.where(alive, 0, 1e12)
    at = far.reshape(len(far), -1).argmin(-1)
    one = torch.zeros_like(y).reshape(len(y), -1)
    one[torch.arange(len(y)), torch.from_numpy(at).to(y.device)] = 1  # of the first channel
    foot = operator._adjoint(one.reshape(y.shape)).abs()
    if len(outer.shape) < 2:  # whose numbers have no place
        return _pictures(foot).sum(1), np.full((2, len(foot), 2), np.nan)
    blocks = np.full(2, _ratio(operator)), np.array(inner.shape[-2:]) / sides
    places = np.stack([(grid.reshape(-1, 2)[at] + 0.5) * block - 0.5 for block in blocks])
    return _pictures(foot).sum(1), places


def _seen(operator: ForwardOperator) -> np.ndarray:
    """Return which pixels any measurement sees, `(B, H, W)`: where A^H A v is not 0.

    Two random v, since what is seen may cancel in one of them.
    """
    inner = operator.in_space
    batch = operator.batch_shape or (1,)
    v = torch.randn((2, 1, *inner.shape), generator=torch.Generator().manual_seed(0)).sign()
    v = v.to(dtype=inner.dtype, device=operator.device).expand(2, *batch, *inner.shape)
    back = operator._adjoint(operator._apply(v)).abs().amax(0)
    most = _pictures(back).max(1)
    seen: np.ndarray = most > _UNSEEN * most.max((-2, -1), keepdims=True)
    return seen


def _pictures(x: Tensor) -> np.ndarray:
    x = x.to(real_partner(x.dtype)).double().cpu()
    return x.reshape(len(x), -1, *x.shape[-2:]).numpy()


def _gap(seen: np.ndarray) -> float:
    from scipy.ndimage import distance_transform_cdt

    if seen.all():
        return float("nan")
    if not seen.any():
        return float(max(seen.shape))
    return float(distance_transform_cdt(~seen, "chessboard")[~seen].mean())
