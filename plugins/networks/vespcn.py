"""VESPCN: frames of a video, brought to the place of the middle one, and enlarged together."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import (
    ConvolutionHead,
    Network,
    NetworkSpec,
    SplitNetwork,
    param,
    real_number,
    whole_number,
)

from .layers import BicubicUpscaling, initialise
from .motion import MotionEstimate, warp

__all__ = ["Vespcn", "VespcnNetwork"]


@attrs.frozen(eq=False, kw_only=True)
class Vespcn(NetworkSpec):
    """Video super-resolution: motion compensation, then a sub-pixel network with early fusion.

        u = [warp(y_(-1), d_(-1)), y, warp(y_1, d_1)],    d_i = flow from y to y_i
        x = shuffle(W_n relu(W_(n-1) ... relu(W_1 u))) + bicubic(y)

    y is the middle frame, and x the same enlarged; the others are the condition `neighbours`, in
    the order of time, measured as y was. One flow network serves all of them. The defaults are
    the paper's 9L-E3-MC; without `motion`, 9L-E3. It is trained on videos of which frames are
    taken, or on still pictures with the condition `shifted_frames`.

    Departures: the skip, for which the network learns what interpolation lacks, as the others
    here. A flow of 1 is a fixed number of pixels, `reach`, where the paper says half the frame:
    then the same motion would not have the same flow in a crop and in the whole frame.
    `VespcnNetwork.flow` returns the flows, for the paper's losses on them.

    Shapes: `(*batch, 1, H, W)` -> `(*batch, 1, scale H, scale W)`; neighbours
    `(*batch, frames - 1, H, W)`.
    Units: luminance in [0, 1].
    Cost: 0.09 million parameters, 0.11 MFLOP for a pixel of y.
    Source: Caballero et al., 2017, Real-time video super-resolution with spatio-temporal networks
    and motion compensation, sections 2.1 to 2.3, table 1.
    """

    depth: int = param(9, doc="layers, the last one included", check=whole_number(2))
    width: int = param(24, doc="channels of the hidden layers", check=whole_number(1))
    frames: int = param(3, doc="consecutive frames that go in, y among them", choices=(3, 5, 7))
    motion: bool = param(True, doc="bring the other frames to the place of the middle one first")
    reach: float = param(
        16.5,
        doc="motion that a flow of 1 stands for; default: half the paper's training patch",
        unit="pixels of y",
        check=real_number(above=0),
    )
    scale: int = param(
        2, doc="how much larger the picture is than the frames", check=whole_number(1)
    )

    def _module(self) -> Network:
        return VespcnNetwork(self)


class VespcnNetwork(SplitNetwork):
    """The layers of a `Vespcn`."""

    def __init__(self, spec: Vespcn) -> None:
        """Make the layers."""
        others = spec.frames - 1
        super().__init__(
            channels=1,
            scale=spec.scale,
            conditions={"neighbours": others},
            measured=("neighbours",),
        )
        self.before = others // 2
        self.motion = MotionEstimate(spec.reach) if spec.motion else None
        inner = [spec.frames, *[spec.width] * (spec.depth - 2)]
        self.layers = nn.ModuleList(nn.Conv2d(n, spec.width, 3, padding=1) for n in inner)
        self.tail = ConvolutionHead(spec.width, 1, kernel=3, scale=spec.scale, upscaling="shuffle")
        if spec.scale > 1:
            self.skip = BicubicUpscaling(spec.scale)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator)
        if self.motion is not None:
            self.motion.start_without_motion()

    def flow(self, y: Tensor, neighbours: Tensor) -> Tensor:
        """Return where the pixels of y are in each of the others, relative to their place in y.

        Shapes: `(*batch, 1, H, W)` and `(*batch, frames - 1, H, W)` -> `(*batch, frames - 1, 2,
        H, W)`, as `warp` takes it.
        Units: pixels of y; 0 without motion compensation.
        """
        flat = self._checked(y, {"neighbours": neighbours})["neighbours"]
        flow = self._flow(y.reshape(-1, *y.shape[-3:]), _each(flat))
        return flow.reshape(*y.shape[:-3], flat.shape[1], 2, *y.shape[-2:])

    def _flow(self, y: Tensor, others: Tensor) -> Tensor:
        """Return flows `(N (frames - 1), 2, H, W)`, for `others (N (frames - 1), 1, H, W)`."""
        if self.motion is None:
            return torch.zeros_like(others).expand(-1, 2, -1, -1)
        target = _each(y.expand(-1, self.conditions["neighbours"], -1, -1))
        flow: Tensor = self.motion(target, others)
        return flow

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        others = conditions["neighbours"]
        if self.motion is not None:
            each = _each(others)
            others = warp(each, self._flow(y, each)).reshape(others.shape)
        z = torch.cat([others[:, : self.before], y, others[:, self.before :]], 1)
        for index, layer in enumerate(self.layers):
            z = layer(F.relu(z) if index else z)
        return z

    def _base(self, y: Tensor) -> Tensor:
        base: Tensor = self.skip(y) if self.scale > 1 else y
        return base

    def _head(self, z: Tensor) -> Tensor:
        return self.tail(z)  # type: ignore[no-any-return]

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        return self.tail.adjoint(z, v)


def _each(frames: Tensor) -> Tensor:
    """Return frames in channels, `(N, n, H, W)`, as pictures of their own, `(N n, 1, H, W)`."""
    return frames.reshape(-1, 1, *frames.shape[-2:])
