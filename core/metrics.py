"""Quality of a picture against the truth: PSNR, SSIM, and the luminance they are often taken on."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .errors import ShapeError

__all__ = ["luminance", "psnr", "ssim"]

# ITU-R BT.601 studio range, in units of [0, 1]: what MATLAB's rgb2ycbcr gives, divided by 255.
_LUMA = (65.481 / 255, 128.553 / 255, 24.966 / 255)
_LUMA_OFFSET = 16 / 255


def luminance(x: Tensor) -> Tensor:
    """Return the luminance Y of RGB pictures, `(*batch, 3, H, W)` -> `(*batch, 1, H, W)`.

    Source: ITU-R BT.601, studio range (16 to 235 of 255), as in the super-resolution literature.
    Raises: ShapeError unless there are three channels.
    """
    if x.ndim < 3 or x.shape[-3] != 3:
        raise ShapeError(f"luminance expects pictures (*batch, 3, H, W); got {tuple(x.shape)}.")
    # Numbers of Python, since a tensor of weights would be copied to the device at each call.
    red, green, blue = x.split(1, -3)
    y: Tensor = red * _LUMA[0] + _LUMA_OFFSET
    return y.add_(green, alpha=_LUMA[1]).add_(blue, alpha=_LUMA[2])


def psnr(x: Tensor, truth: Tensor, *, peak: float = 1.0, border: int = 0) -> Tensor:
    """Return the peak signal-to-noise ratio of each sample in dB; infinite when equal.

    Complex pictures are compared as they are, phase included. `border` pixels are cut off all
    around first.
    Shapes: `(*batch, C, H, W)` -> `batch`. Raises: ShapeError when the shapes differ.
    """
    x, truth = _cropped(x, truth, border)
    error = (x - truth).abs().square().mean((-3, -2, -1))
    return 10 * torch.log10(peak**2 / error)


def ssim(x: Tensor, truth: Tensor, *, peak: float = 1.0, border: int = 0) -> Tensor:
    """Return the mean structural similarity of each sample; 1 when equal.

    Gaussian window of 11 pixels and standard deviation 1.5, K = (0.01, 0.03), biased variances,
    only windows that lie inside the picture, mean over channels; magnitudes when complex.
    Shapes: `(*batch, C, H, W)` with H, W >= 11 -> `batch`.
    Source: Wang, Bovik, Sheikh, Simoncelli, 2004, Image quality assessment: from error visibility
    to structural similarity, IEEE TIP 13(4), equation (13).
    Raises: ShapeError when the shapes differ or a picture is smaller than the window.
    """
    x, truth = _cropped(x, truth, border)
    if x.is_complex():
        x, truth = x.abs(), truth.abs()
    if min(x.shape[-2:]) < 11:
        raise ShapeError(f"ssim needs pictures of 11 x 11 or more; got {tuple(x.shape)}.")
    batch = x.shape[:-3]
    x, truth = x.reshape(-1, 1, *x.shape[-2:]), truth.reshape(-1, 1, *truth.shape[-2:])
    taps = torch.arange(11, dtype=x.dtype, device=x.device) - 5
    window = torch.exp(-(taps**2) / (2 * 1.5**2))
    window = window / window.sum()

    def mean(a: Tensor) -> Tensor:
        return F.conv2d(F.conv2d(a, window[None, None, :, None]), window[None, None, None, :])

    mx, mt = mean(x), mean(truth)
    vx, vt = mean(x * x) - mx * mx, mean(truth * truth) - mt * mt
    both = mean(x * truth) - mx * mt
    c1, c2 = (0.01 * peak) ** 2, (0.03 * peak) ** 2
    score = (2 * mx * mt + c1) * (2 * both + c2) / ((mx * mx + mt * mt + c1) * (vx + vt + c2))
    return score.mean((-3, -2, -1)).reshape(*batch, -1).mean(-1)


def _cropped(x: Tensor, truth: Tensor, border: int) -> tuple[Tensor, Tensor]:
    if x.shape != truth.shape or x.ndim < 3:
        raise ShapeError(
            f"a picture and its truth must have one shape (*batch, C, H, W); got "
            f"{tuple(x.shape)} and {tuple(truth.shape)}."
        )
    if border < 0 or 2 * border >= min(x.shape[-2:]):
        raise ShapeError(f"a border of {border} leaves nothing of a picture {tuple(x.shape)}.")
    if border:
        x = x[..., border:-border, border:-border]
        truth = truth[..., border:-border, border:-border]
    return x, truth
