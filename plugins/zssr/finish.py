"""From a trained network to the picture: orientations, their median, and the measurement again."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from .downscaling import Downscaling, sized
from .network import Residual, in_tiles
from .orientation import ORIENTATIONS, orient, restore, symmetries
from .pairs import Start

__all__ = ["Finish"]


@attrs.frozen(eq=False, kw_only=True)
class Finish:
    """Applies a network to a measurement y, in tiles, and projects the result back onto y.

        x <- clip(x + U (y - A x))     `back_projections` times

    for each orientation, and again for the median of all.
    """

    y: Tensor
    op: Downscaling
    start: Start
    back_projections: int
    ensemble: bool
    tile: int
    half: bool

    def interpolation(self) -> Tensor:
        """Return what needs no network."""
        return self.op._initial_estimate(self.y)

    def picture(self, network: Residual, *, quick: bool = False) -> Tensor:
        """Return the picture; a quick one is made without the ensemble."""
        kept = symmetries(self.op) if self.ensemble and not quick else ORIENTATIONS[:1]
        pictures = [self._projected(self._oriented(network, o)) for o in kept]
        return pictures[0] if len(kept) == 1 else self._projected(_median(torch.stack(pictures)))

    def _oriented(self, network: Residual, orientation: tuple[bool, int]) -> Tensor:
        op = self.op
        if orientation[1] % 2:
            op = sized(op, op.in_shape[2], op.in_shape[1])
        x = self.start(op, orient(self.y, orientation))
        with torch.autocast(x.device.type, torch.bfloat16, enabled=self.half):
            x = in_tiles(network, x, self.tile, network.halo)
        return restore(x, orientation).clamp(0, 1)

    def _projected(self, x: Tensor) -> Tensor:
        for _ in range(self.back_projections):
            missing = self.y - self.op._apply(x)
            x = (x + self.op._initial_estimate(missing)).clamp(0, 1)
        return x


def _median(x: Tensor) -> Tensor:
    """Return the median along the first axis; of an even number, the mean of the middle two."""
    ordered = x.sort(dim=0).values
    n = len(ordered)
    return (ordered[(n - 1) // 2] + ordered[n // 2]) / 2
