"""The kernels of InverseNet's experiments, of which the paper prints pictures but no numbers."""

from __future__ import annotations

import math
from typing import Final

import attrs
import torch
from torch import Tensor
from wellposed import Kernel, param, whole_number

from .gaussian import AnisotropicGaussian
from .lines import Box
from .sampling import Device, finished, size_for, spans

__all__ = ["InverseNetColour", "InverseNetFlat", "InverseNetMotion"]

_REACH: Final = 4  # pixels to each side: 9 taps
_POINTS: Final = 2048
_START: Final = math.radians(15)
_TURN: Final = math.radians(90)
_WIDTHS: Final = (3.0, 1.0)
_ANGLES: Final = (0.0, 60.0, 120.0)


@attrs.frozen(eq=False, kw_only=True)
class InverseNetMotion(Kernel):
    """Motion of a camera that turns by 90 degrees on its way, over 9 x 9 pixels.

        k[j] = mean_t h(j_1 - p_1(t)) h(j_2 - p_2(t)),    h(u) = max(1 - |u|, 0),    t in [0, 1]

    The path p has constant speed, and its direction is 15 + 90 t^2 degrees counter-clockwise from
    the horizontal, as the kernel is seen on a screen: a piece of Euler's spiral, 9.6 pixels long,
    almost straight at first. h is linear interpolation: y is the mean of x as it moves along p.

    The paper prints a 9 x 9 kernel as a picture, without numbers, so this one is ours. Its mean is
    the centre, so that a blurred picture lies where the sharp one does, and the path is the longest
    of its form that 9 x 9 pixels then hold. No flip, turn or transposition leaves it as it is, so
    none goes unseen.

    Shapes: `(1, 1, 9, 9)`; `(1, 1, 10, 10)` for even strides. The last row and the last column
    are empty.
    Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks, figure
    11 (appendix D.1), for its size; the path: Levien, 2008, The Euler spiral: a mathematical
    history.
    """

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        size = size_for(_REACH, stride)
        down, right = spans((size, size), stride, device)
        p = _spiral(device)
        rows, columns = (
            (1 - (at.reshape(-1, 1) - q).abs()).clamp_min(0)
            for at, q in ((down, p[0]), (right, p[1]))
        )
        return finished((rows @ columns.mT)[None, None], dtype)


@attrs.frozen(eq=False, kw_only=True)
class InverseNetFlat(Kernel):
    """Mean over a square, wide for its stride of 4, so that high frequencies alias into rings.

    Shapes: `(1, 1, side, side)` of equal taps; for an odd side and an even stride, or the other way
    round, `(1, 1, side + 1, side + 1)`, whose border counts by the part that the square covers.
    Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks, section
    4.2: a flat kernel of 7 x 7. Figure 12 (appendix D.2) has 3 x 3 instead, without numbers:
    `side=3`.
    """

    side: int = param(7, doc="side of the square", unit="pixels", check=whole_number(1))

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        return Box(width=float(self.side)).tensor(stride=stride, dtype=dtype, device=device)


@attrs.frozen(eq=False, kw_only=True)
class InverseNetColour(Kernel):
    """A kernel each for red, green and blue: long Gaussians, turned by 0, 60 and 120 degrees.

        k_c(r) ~ exp(-(u_c^2 / 3^2 + v_c^2 / 1^2) / 2),    u_c along the angle, v_c across it

    In joint super-resolution and colourisation each colour is blurred by its own, the picture
    reduced by 2, and the colours averaged. The paper prints three 9 x 9 kernels as pictures,
    without numbers, so these are ours: equally wide, for no colour to be the sharp one, and as
    different as turning makes them. 9 pixels cut the Gaussians at 1.5 of their width.

    Shapes: `(1, 3, 9, 9)`; `(1, 3, 10, 10)` for even strides.
    Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks, figure
    13 (appendix D.3), for number and size.
    """

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernels."""
        long, short = _WIDTHS
        turned = AnisotropicGaussian(
            width_1=long,
            width_2=short,
            angle=torch.tensor(_ANGLES, dtype=torch.float64),
            size=size_for(_REACH, stride),
        )
        return turned.tensor(stride=stride, dtype=dtype, device=device).transpose(0, 1)


def _spiral(device: Device) -> Tensor:
    """Return `(2, N)` rows and columns of the path around its mean, its farthest point at 4."""
    t = (torch.arange(_POINTS, dtype=torch.float64, device=device) + 0.5) / _POINTS
    heading = _START + _TURN * t**2
    step = torch.stack([-heading.sin(), heading.cos()])  # rows run downwards
    ends = torch.nn.functional.pad(step.cumsum(-1), (1, 0))
    path = (ends[:, 1:] + ends[:, :-1]) / 2
    mean = path.mean(-1, keepdim=True)
    return _REACH * (path - mean) / (ends - mean).abs().amax()
