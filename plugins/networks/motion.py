"""Motion between frames: estimated coarse to fine, and undone by warping."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

__all__ = ["MotionEstimate", "warp"]

_MULTIPLE = 4  # the coarse flow is computed at a quarter of the size
_WIDTH = 24


def warp(x: Tensor, flow: Tensor) -> Tensor:
    """Return `x(p + flow(p))` at each pixel p, interpolated linearly; the border is continued.

    It has gradients in both, but torch has no second ones.
    Shapes: x `(N, C, H, W)`, flow `(N, 2, H, W)`: to the right first, then down.
    Units: flow: pixels.
    """
    height, width = x.shape[-2:]
    columns = torch.arange(width, dtype=x.dtype, device=x.device)
    rows = torch.arange(height, dtype=x.dtype, device=x.device)[:, None]
    # From pixels to grid_sample's units, in which the outer sides of the frame are -1 and 1.
    across = (2 * (columns + flow[:, 0]) + 1) / width - 1
    down = (2 * (rows + flow[:, 1]) + 1) / height - 1
    grid = torch.stack([across, down], -1).to(x.dtype)
    return F.grid_sample(x, grid, padding_mode="border", align_corners=False)


class MotionEstimate(nn.Module):
    """Flow from one frame to another: a coarse one, and what a fine one adds to it.

        coarse: 5x5 convolution, stride 2; 3x3; 5x5, stride 2; 3x3; 3x3, tanh; pixel shuffle by 4
        fine:   5x5 convolution, stride 2; 3x3; 3x3; 3x3; 3x3, tanh; pixel shuffle by 2

    with 24 channels and ReLU in between. The fine network sees both frames, the coarse flow, and
    the second frame warped by it. The last layer of both starts at 0, hence without motion.

    Frames whose size is no multiple of 4 are continued by their last row and column.
    Shapes: `(N, 1, H, W)` twice -> `(N, 2, H, W)`.
    Source: Caballero et al., 2017, Real-time video super-resolution with spatio-temporal networks
    and motion compensation, section 2.3 and table 1.
    """

    def __init__(self, reach: float) -> None:
        """Make the layers; reach: pixels that 1, the largest of each flow, stands for."""
        super().__init__()
        self.reach = reach
        self.coarse = _layers(2, (5, 3, 5, 3, 3), (2, 1, 2, 1, 1), 2 * 4**2)
        self.fine = _layers(5, (5, 3, 3, 3, 3), (2, 1, 1, 1, 1), 2 * 2**2)

    def start_without_motion(self) -> None:
        """Set the last layers to 0."""
        for layers in (self.coarse, self.fine):
            for value in layers[-1].parameters():
                value.zero_()

    def forward(self, target: Tensor, source: Tensor) -> Tensor:
        """Return the flow by which `warp` makes the source look like the target."""
        height, width = target.shape[-2:]
        pair = torch.cat([target, source], 1)
        below, right = -height % _MULTIPLE, -width % _MULTIPLE
        if below or right:
            pair = F.pad(pair, (0, right, 0, below), mode="replicate")
        coarse = F.pixel_shuffle(_applied(self.coarse, pair), 4)
        guess = warp(pair[:, 1:], self.reach * coarse)
        fine = F.pixel_shuffle(_applied(self.fine, torch.cat([pair, coarse, guess], 1)), 2)
        return self.reach * (coarse + fine)[..., :height, :width]


def _layers(
    inner: int, sides: tuple[int, ...], strides: tuple[int, ...], outer: int
) -> nn.ModuleList:
    ins = (inner, *[_WIDTH] * (len(sides) - 1))
    outs = (*[_WIDTH] * (len(sides) - 1), outer)
    return nn.ModuleList(
        nn.Conv2d(a, b, side, stride, side // 2)
        for a, b, side, stride in zip(ins, outs, sides, strides, strict=True)
    )


def _applied(layers: nn.ModuleList, x: Tensor) -> Tensor:
    for index, layer in enumerate(layers):
        x = layer(F.relu(x) if index else x)
    return torch.tanh(x)
