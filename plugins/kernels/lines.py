"""Kernels of constant height on a shape: motion, box and disk, with exact pixel areas."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor
from wellposed import Kernel, param

from .sampling import (
    Device,
    finished,
    finite,
    largest,
    per_sample,
    positive,
    same_count,
    shown,
    size_for,
    spans,
)

__all__ = ["Box", "Disk", "Motion"]

_LANES = 64


@attrs.frozen(eq=False, kw_only=True)
class Motion(Kernel):
    """Uniform motion along a straight line, one pixel wide.

    Each tap is the part of a `length` x 1 rectangle that lies in its pixel: exact along the line,
    and by 64 lanes across it. The rectangle lies at `angle` degrees counter-clockwise from the
    horizontal, as seen on a screen. A horizontal motion of odd length n is n equal taps.

    Shapes: `(1, 1, n, n)` without empty outer rows and columns, or `(B, 1, n, n)` for parameters
    of shape `(B,)`, through which gradients flow.
    Source: the model of MATLAB's fspecial('motion', length, angle), which weighs pixels by their
    distance to the line; here by area, so that the variance along the line is exact.
    """

    length: float | Tensor = param(
        15.0, doc="length of the path", unit="pixels", check=positive, repr=shown
    )
    angle: float | Tensor = param(
        0.0,
        doc="direction, counter-clockwise from the horizontal",
        unit="degrees",
        check=finite,
        repr=shown,
    )

    def __attrs_post_init__(self) -> None:
        """Check the parameters against each other."""
        same_count(self)

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        turn = per_sample(self.angle, "Motion.angle", device) * (math.pi / 180)
        length = per_sample(self.length, "Motion.length", device)
        size = self._size(turn, length, stride)
        down, right = spans(size, stride, device)
        lanes = (torch.arange(_LANES, dtype=torch.float64, device=device) + 0.5) / _LANES - 0.5
        # A convolution flips its kernel, under which a centred line is symmetric.
        lanes = lanes.reshape(-1, 1, 1, 1, 1)
        near, far = _crossing(right + lanes * turn.sin(), turn.cos())
        low, high = _crossing(down + lanes * turn.cos(), -turn.sin())
        start = torch.maximum(torch.maximum(near, low), -length / 2)
        end = torch.minimum(torch.minimum(far, high), length / 2)
        total = (end - start).clamp_min(0).sum(0)
        return finished(total, dtype)

    def _size(self, turn: Tensor, length: Tensor, stride: int) -> tuple[int, int]:
        half, c, s = length.detach() / 2, turn.detach().cos().abs(), turn.detach().sin().abs()
        # Pixels whose square meets the rectangle only by rounding get no row of their own.
        down = largest(half * s + c / 2) - 0.5 - 1e-6
        right = largest(half * c + s / 2) - 0.5 - 1e-6
        return size_for(max(down, 0.0), stride), size_for(max(right, 0.0), stride)


@attrs.frozen(eq=False, kw_only=True)
class Box(Kernel):
    """Mean over a square of `width` x `width` pixels, partly covered pixels by their area.

    Shapes: `(1, 1, n, n)`, or `(B, 1, n, n)` for widths `(B,)`, through which gradients flow.
    Source: the area filter of resizing programs, `box` of MATLAB's imresize for width = stride.
    """

    width: float | Tensor = param(
        3.0, doc="side of the square", unit="pixels", check=positive, repr=shown
    )

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        size = size_for(max(largest(self.width) / 2 - 0.5 - 1e-9, 0.0), stride)
        down, right = spans((size, size), stride, device)
        half = per_sample(self.width, "Box.width", device) / 2
        return finished(_overlap(down, half) * _overlap(right, half), dtype)


@attrs.frozen(eq=False, kw_only=True)
class Disk(Kernel):
    """Defocus of a round aperture: the exact area of a disk in each pixel.

    Shapes: `(1, 1, n, n)`, or `(B, 1, n, n)` for radii `(B,)`, through which gradients flow.
    Source: the model of MATLAB's fspecial('disk', radius); areas in closed form.
    """

    radius: float | Tensor = param(
        3.0, doc="radius of the disk", unit="pixels", check=positive, repr=shown
    )

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        size = size_for(max(largest(self.radius) - 0.5 - 1e-9, 0.0), stride)
        down, right = spans((size, size), stride, device)
        r = per_sample(self.radius, "Disk.radius", device)
        area = (
            _corner_area(right + 0.5, down + 0.5, r)
            - _corner_area(right - 0.5, down + 0.5, r)
            - _corner_area(right + 0.5, down - 0.5, r)
            + _corner_area(right - 0.5, down - 0.5, r)
        )
        return finished(area.clamp_min(0), dtype)


def _crossing(distance: Tensor, speed: Tensor) -> tuple[Tensor, Tensor]:
    """Return when a point moving at `speed` enters and leaves the unit interval at `distance`."""
    still = speed.abs() < 1e-12
    safe = torch.where(still, 1.0, speed)
    a, b = (distance - 0.5) / safe, (distance + 0.5) / safe
    inside = distance.abs() < 0.5
    big = torch.full_like(a, torch.inf)
    start = torch.where(still, torch.where(inside, -big, big), torch.minimum(a, b))
    end = torch.where(still, torch.where(inside, big, -big), torch.maximum(a, b))
    return start, end


def _overlap(distance: Tensor, half: Tensor) -> Tensor:
    """Return the length of the unit interval at `distance` within `[-half, half]`."""
    right = torch.minimum(distance + 0.5, half)
    return (right - torch.maximum(distance - 0.5, -half)).clamp_min(0)


def _corner_area(x: Tensor, y: Tensor, r: Tensor) -> Tensor:
    """Return the signed area of the disk within the rectangle from the centre to (x, y)."""
    sign = x.sign() * y.sign()
    a, b = torch.minimum(x.abs(), r), torch.minimum(y.abs(), r)
    # Up to `knee` the side y = b cuts the circle off; from there on the circle itself does.
    knee = torch.minimum(a, _root(r**2 - b**2))
    return sign * (b * knee + _under_circle(a, r) - _under_circle(knee, r))


def _under_circle(x: Tensor, r: Tensor) -> Tensor:
    """Return the integral of sqrt(r^2 - t^2) from 0 to x."""
    ratio = (x / r).clamp(-1, 1)
    cosine = _root(1 - ratio**2)
    return r**2 * (ratio * cosine + torch.atan2(ratio, cosine)) / 2


def _root(t: Tensor) -> Tensor:
    """Return the square root where t is positive, else 0, with a gradient of 0 there."""
    inside = t > 0
    return torch.where(inside, torch.where(inside, t, 1).sqrt(), 0)
