"""A motion kernel and a Gaussian on each other."""

from __future__ import annotations

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import Kernel, param

from .gaussian import Gaussian
from .lines import Motion
from .sampling import Device, finished, finite, positive, same_count, shown

__all__ = ["MotionGaussian"]


@attrs.frozen(eq=False, kw_only=True)
class MotionGaussian(Kernel):
    """Straight motion and a Gaussian of the same centre, as one kernel.

        k = (motion + gaussian) / 2      `combination="sum"`: both are seen
        k = motion * gaussian            `combination="convolution"`: motion that is out of focus

    Each of the two has sum 1. The paper speaks of "centered overlapping Gaussian and motion blurs"
    and does not say how they overlap: "sum" is what the words say, with equal parts. For the
    paper's class B the length is 10, the angle uniform and the width uniform in [0.5, 1.5].

    Shapes: `(1, 1, n, m)`, or `(B, 1, n, m)` where a parameter has shape `(B,)`; gradients flow
    through all three.
    Cost: as both kernels; for "convolution" also n m multiplications for each tap of the Gaussian.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, section 4.1; the two as the kernels `motion` and `gaussian`.
    """

    length: float | Tensor = param(
        10.0, doc="length of the path", unit="pixels", check=positive, repr=shown
    )
    angle: float | Tensor = param(
        0.0,
        doc="direction, counter-clockwise from the horizontal",
        unit="degrees",
        check=finite,
        repr=shown,
    )
    width: float | Tensor = param(
        1.0, doc="standard deviation of the Gaussian", unit="pixels", check=positive, repr=shown
    )
    combination: str = param(
        "sum", doc="whether they are added or convolved", choices=("sum", "convolution")
    )

    def __attrs_post_init__(self) -> None:
        """Check the parameters against each other."""
        same_count(self)

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        summed = self.combination == "sum"
        line = Motion(length=self.length, angle=self.angle)
        # A convolution adds the centres up: the phase of the stride must come from one of them.
        motion = line.tensor(stride=stride if summed else 1, dtype=torch.float64, device=device)
        round_one = Gaussian(width=self.width)
        gaussian = round_one.tensor(stride=stride, dtype=torch.float64, device=device)
        return finished((_sum if summed else _convolution)(motion, gaussian), dtype)


def _sum(a: Tensor, b: Tensor) -> Tensor:
    """Return the sum of two kernels, the smaller one continued by zeros; same parity of sides."""
    height, width = (max(n, m) for n, m in zip(a.shape[-2:], b.shape[-2:], strict=True))
    return _widened(a, height, width) + _widened(b, height, width)


def _widened(k: Tensor, height: int, width: int) -> Tensor:
    rows, columns = (height - k.shape[-2]) // 2, (width - k.shape[-1]) // 2
    return F.pad(k, (columns, columns, rows, rows))


def _convolution(a: Tensor, b: Tensor) -> Tensor:
    """Return the convolution, sample by sample, of `(B|1, 1, h, w)` and a symmetric `b`."""
    count = max(a.shape[0], b.shape[0])
    rows, columns = b.shape[-2] - 1, b.shape[-1] - 1
    a = F.pad(a, (columns, columns, rows, rows)).expand(count, -1, -1, -1)
    b = b.expand(count, -1, -1, -1)
    return F.conv2d(a.transpose(0, 1), b, groups=count).transpose(0, 1)
