"""Gaussian kernels, isotropic and anisotropic."""

from __future__ import annotations

import math

import attrs
import torch
from torch import Tensor
from wellposed import Kernel, param

from .sampling import (
    Device,
    finite,
    largest,
    mirrored,
    optional_size,
    per_sample,
    positive,
    same_count,
    shown,
    size_for,
    spans,
)

__all__ = ["AnisotropicGaussian", "Gaussian"]

_REACH = 4.0  # standard deviations; what lies beyond sums to 6e-5


@attrs.frozen(eq=False, kw_only=True)
class Gaussian(Kernel):
    """Isotropic Gaussian: `k(r) ~ exp(-|r|^2 / (2 width^2))`, sampled at the pixels, of sum 1.

    Shapes: `(1, 1, n, n)`, or `(B, 1, n, n)` for widths `(B,)`, through which gradients flow.
    Source: point-sampled as MATLAB's fspecial('gaussian', size, width), which also truncates and
    normalises; centred for the stride as every kernel by name.
    """

    width: float | Tensor = param(
        1.6,
        doc="standard deviation; a tensor (B,) gives one per sample",
        unit="pixels",
        check=positive,
        repr=shown,
    )
    size: int | None = param(
        None, doc="taps along each axis; default: 4 widths to each side", check=optional_size
    )

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        size = self.size or size_for(_REACH * largest(self.width), stride)
        rows, columns = spans((size, size), stride, device)
        width = per_sample(self.width, "Gaussian.width", device)
        exponent = -(rows**2 + columns**2) / (2 * width**2)
        return _normalised(exponent, mirrored(size, stride, device), dtype)


@attrs.frozen(eq=False, kw_only=True)
class AnisotropicGaussian(Kernel):
    """Gaussian of two widths, turned: `k(r) ~ exp(-(u^2 / width_1^2 + v^2 / width_2^2) / 2)`.

    u runs along the direction at `angle` degrees counter-clockwise from the horizontal, as seen
    on a screen (rows run downwards), and v across it.

    Shapes: `(1, 1, n, n)`, or `(B, 1, n, n)` where a parameter has shape `(B,)`.
    Source: Bell-Kligler et al., 2019, Blind super-resolution kernel estimation using an
    internal-GAN, section 4; point-sampled, centred for the stride.
    """

    width_1: float | Tensor = param(
        2.5, doc="standard deviation along `angle`", unit="pixels", check=positive, repr=shown
    )
    width_2: float | Tensor = param(
        1.0, doc="standard deviation across `angle`", unit="pixels", check=positive, repr=shown
    )
    angle: float | Tensor = param(
        30.0,
        doc="direction of width_1, counter-clockwise from the horizontal",
        unit="degrees",
        check=finite,
        repr=shown,
    )
    size: int | None = param(
        None,
        doc="taps along each axis; default: 4 of the larger width to each side",
        check=optional_size,
    )

    def __attrs_post_init__(self) -> None:
        """Check the parameters against each other."""
        same_count(self)

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        reach = _REACH * max(largest(self.width_1), largest(self.width_2))
        size = self.size or size_for(reach, stride)
        down, right = spans((size, size), stride, device)
        # A convolution flips its kernel, under which this one is symmetric.
        turn = per_sample(self.angle, "AnisotropicGaussian.angle", device) * (math.pi / 180)
        along = right * turn.cos() - down * turn.sin()
        across = right * turn.sin() + down * turn.cos()
        w1 = per_sample(self.width_1, "AnisotropicGaussian.width_1", device)
        w2 = per_sample(self.width_2, "AnisotropicGaussian.width_2", device)
        exponent = -(along**2 / w1**2 + across**2 / w2**2) / 2
        return _normalised(exponent, mirrored(size, stride, device), dtype)


def _normalised(exponent: Tensor, kept: Tensor, dtype: torch.dtype) -> Tensor:
    # softmax: a very narrow Gaussian whose centre lies between pixels must not become 0 / 0.
    exponent = torch.where(kept, exponent, -torch.inf)
    return exponent.flatten(-2).softmax(-1).reshape(exponent.shape).to(dtype)
