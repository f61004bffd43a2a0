"""The kernel of blind deblurring: least squares on gradients, within what a kernel can be."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .blind_latent import differences

__all__ = ["centred", "dirac", "fitted", "on_simplex", "tidied", "transfer_of"]

_UNIT = 2**40
_HALF = 0.499  # so that rounding does not decide where a kernel of even width, symmetric, goes


def transfer_of(kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the half spectrum on a periodic picture, the kernel's centre `n // 2` on the origin.

    Shapes: `(B, 1, kh, kw)`, not larger than the picture, -> `(B, 1, H, W // 2 + 1)`.
    """
    height, width = kernel.shape[-2:]
    laid = F.pad(kernel, (0, size[1] - width, 0, size[0] - height))
    spectrum: Tensor = torch.fft.rfft2(laid.roll((-(height // 2), -(width // 2)), (-2, -1)))
    return spectrum


def fitted(
    edges: tuple[Tensor, Tensor], y: Tensor, kernel: Tensor, *, weight: float, steps: int
) -> Tensor:
    """Return the kernel that turns sharp edges into those of y.

        argmin_k  sum_d |k * e_d - D_d y|^2 + weight |k|^2    with k >= 0, sum(k) = 1

    over kernels of the shape of `kernel`, from which accelerated projected gradients start.

    Shapes: edges and y `(B, 1, H, W)`; kernel `(B, 1, kh, kw)`. Cost: two FFTs per step.
    Source: Cho and Lee, 2009, Fast motion deblurring; Pan et al., 2016, section 4.2; steps:
    Beck and Teboulle, 2009, SIAM J. Imaging Sci. 2(1), equations (4.1)-(4.3).
    """
    size = (y.shape[-2], y.shape[-1])
    power, matched = torch.zeros_like(y[..., : size[1] // 2 + 1]), torch.zeros(())
    for edge, blurred in zip(edges, differences(y), strict=True):
        spectrum = torch.fft.rfft2(edge)
        power = power + spectrum.abs().square()
        matched = matched + spectrum.conj() * torch.fft.rfft2(blurred)
    aim = _cut(matched, kernel, size)
    slope = power.amax((-2, -1), keepdim=True) + weight
    step = torch.where(slope > 0, 1 / slope, 0)
    ahead, pace = kernel, 1.0
    for _ in range(steps):
        gradient = _cut(power * transfer_of(ahead, size), kernel, size) + weight * ahead - aim
        new = on_simplex(ahead - step * gradient)
        faster = (1 + math.sqrt(1 + 4 * pace**2)) / 2
        ahead = new + (pace - 1) / faster * (new - kernel)
        kernel, pace = new, faster
    return kernel


def on_simplex(k: Tensor) -> Tensor:
    """Return the nearest kernel whose taps are not negative and have a sum of one.

    Source: Held, Wolfe and Crowder, 1974, Validation of subgradient optimization.
    """
    flat = k.flatten(-2)
    ranked = flat.sort(-1, descending=True).values
    excess = ranked.cumsum(-1) - 1
    count = torch.arange(1, flat.shape[-1] + 1, dtype=k.dtype, device=k.device)
    last = (ranked * count > excess).sum(-1, keepdim=True).clamp_min(1)
    shift = excess.gather(-1, last - 1) / last
    return (flat - shift).clamp_min(0).reshape(k.shape)


def _cut(spectrum: Tensor, kernel: Tensor, size: tuple[int, int]) -> Tensor:
    """Return the part of a periodic picture on which a kernel lies."""
    height, width = kernel.shape[-2:]
    picture: Tensor = torch.fft.irfft2(spectrum, s=size)
    return picture.roll((height // 2, width // 2), (-2, -1))[..., :height, :width]


def tidied(kernel: Tensor, *, cut: float, least: float) -> Tensor:
    """Return the kernel without small taps and islands of little mass; sum one.

    cut: taps below this share of the largest go; least: so do connected groups (8 neighbours) of
    less than this share of the sum. Without a positive tap it is a Dirac's delta.
    """
    kernel = torch.where(kernel >= cut * kernel.amax((-2, -1), keepdim=True), kernel, 0)
    kernel = _normalised(kernel)
    return _normalised(torch.where(_mass_of_group(kernel) >= least, kernel, 0))


def _normalised(kernel: Tensor) -> Tensor:
    total = kernel.sum((-2, -1), keepdim=True)
    return torch.where(total > 0, kernel / torch.where(total > 0, total, 1), dirac(kernel))


def dirac(kernel: Tensor) -> Tensor:
    """Return kernels of the same shape that change nothing."""
    height, width = kernel.shape[-2:]
    one = torch.zeros_like(kernel)
    one[..., height // 2, width // 2] = 1
    return one


def _mass_of_group(kernel: Tensor) -> Tensor:
    """Return, for each tap, the mass of the connected group that it belongs to."""
    height, width = kernel.shape[-2:]
    inside = kernel > 0
    names = torch.arange(1, height * width + 1, dtype=kernel.dtype, device=kernel.device)
    label = torch.where(inside, names.reshape(height, width), 0)
    # A label runs along its group; a group longer than this (a maze) stays in several parts.
    for _ in range(2 * (height + width)):
        label = torch.where(inside, F.max_pool2d(label, 3, stride=1, padding=1), 0)
    group = label.flatten(-2).to(torch.int64)
    # Whole numbers, whose sum depends on no order.
    parts = (kernel.flatten(-2) * _UNIT).to(torch.int64)
    sums = torch.zeros(
        *group.shape[:-1], height * width + 1, dtype=torch.int64, device=group.device
    )
    sums = sums.scatter_add(-1, group, parts)
    return (sums.gather(-1, group).to(kernel.dtype) / _UNIT).reshape(kernel.shape)


def centred(kernel: Tensor) -> Tensor:
    """Return the kernel moved by whole taps: its centre of mass to `n // 2`, nothing wraps.

    What would leave the frame is cut off, and the sum made one again.
    """
    for dim in (-2, -1):
        n = kernel.shape[dim]
        at = torch.arange(n, device=kernel.device)
        mass = kernel.sum(-1 if dim == -2 else -2)
        mean = (mass * at).sum(-1) / mass.sum(-1)
        move = (n // 2 - mean + _HALF).floor().nan_to_num(0).to(torch.int64)
        source = at - move[..., None]
        good = (source >= 0) & (source < n)
        shape = (..., slice(None), None) if dim == -2 else (..., None, slice(None))
        taken = torch.take_along_dim(kernel, source.clamp(0, n - 1)[shape], dim)
        kernel = torch.where(good[shape], taken, 0)
    return _normalised(kernel)
