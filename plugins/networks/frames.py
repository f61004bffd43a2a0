"""Neighbouring frames made from a still picture, which `vespcn` is trained on."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import numpy as np
import torch
from torch import Tensor
from wellposed import ConditionMaker, param, whole_number
from wellposed.training import Draws

__all__ = ["ShiftedFrames"]


@attrs.frozen(eq=False, kw_only=True)
class ShiftedFrames(ConditionMaker):
    """Frames of a camera that moves before a still picture.

        frame_i(p) = A x(p + d_i) + noise,    d_i uniform over whole pixels, |d_i| <= reach

    in both directions, for each sample and frame by itself; A and the noise model are those of the
    picture's own measurement. What comes into the frame is x mirrored, its last row and column
    repeated. Whole pixels of x are fractions of one of y where A reduces.

    Departure: the papers train on videos, in which things move by themselves, and cover others.
    Shapes: x `(b, C, H, W)` -> `(b, count C', h, w)` for measurements `(C', h, w)`.
    Cost: that of A, `count` times.
    Source: a translating scene, as in the model of Caballero et al., 2017, Real-time video
    super-resolution with spatio-temporal networks and motion compensation, section 2.
    """

    count: int = param(
        2, doc="frames beside the middle one, in the order of time", check=whole_number(1)
    )
    reach: int = param(
        4, doc="largest shift to each side", unit="pixels of x", check=whole_number(0)
    )

    def make(self, x: Tensor, *, measure: Callable[[Tensor], Tensor], draws: Draws) -> Tensor:
        """Return the frames, one behind the other in their channels."""
        shape = (self.count, 2, draws.batch)
        drawn = draws.numbers.integers(-self.reach, self.reach, shape, endpoint=True)
        shifts = draws.here(torch.from_numpy(np.moveaxis(drawn, -1, 0)))
        frames = [measure(_shifted(x, *shifts[:, i].unbind(-1))) for i in range(self.count)]
        return torch.cat(frames, -3)


def _shifted(x: Tensor, down: Tensor, right: Tensor) -> Tensor:
    """Return `x(p + d)` with a shift for each sample, the picture being mirrored around itself."""
    rows, columns = _mirrored(x.shape[-2], down), _mirrored(x.shape[-1], right)
    x = x.gather(-2, rows[:, None, :, None].expand(x.shape))
    return x.gather(-1, columns[:, None, None, :].expand(x.shape))


def _mirrored(length: int, shift: Tensor) -> Tensor:
    """Return the indices `0 .. length - 1`, moved by each shift, where they lie in the picture."""
    index = (torch.arange(length, device=shift.device) + shift[:, None]) % (2 * length)
    return torch.minimum(index, 2 * length - 1 - index)
