"""`CrossScale`: the blur from the power spectrum at two scales, as a Gaussian."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import Callback, ForwardOperator, Problem, Solver, param
from wellposed.errors import ShapeError
from wellposed.registry import build, default_registry

from .blind import BlindStrided, Estimates, Seen, named
from .crops import grey_of
from .spectra import Blur, TwoScales

__all__ = ["CrossScale"]

# Of the blur's covariance, what is due to the reduction; the rest is the photograph's own. The one
# number that was fitted, on 46 reductions of 23 photographs by kernels of DIV2KRK, none of which
# `benchmarks kernelgan` uses. `benchmarks cross_scale` fits it again: median 0.84, quartiles 0.75
# and 0.92; least squares of the logarithm 0.84 +- 0.03, with other draws of kernels 0.86.
_SHARE = 0.86
_LEAST_WIDTH = 0.3  # pixels of x
_SMALLEST = 64


@attrs.frozen(eq=False, kw_only=True)
class CrossScale(BlindStrided):
    """Blind super-resolution by the self-similarity of the power spectrum across scales.

    Finds the Gaussian blur, of two widths and an angle, for which the power spectrum of the
    reduced picture is that of the picture itself, and solves with it: see `spectra`. Any stride of
    at least 2. It knows Gaussians only: for a motion blur, take `kernelgan`.

    On the 8 pictures of DIV2KRK at stride 2, with ZSSR of 300 steps behind it, 34.71 dB on average;
    the true kernel gives 34.68, KernelGAN 33.86, and bicubic interpolation 31.95 dB. The kernel's
    relative error is 0.11, that of KernelGAN 0.36 (`python -m benchmarks kernelgan --zssr 300`).

    extras: `kernel`, `covariance (B, 2, 2)` in pixels of x, `misfit (B,)`.
    Shapes: y `(C, h, w)` or `(B, C, h, w)`, of at least 64 x 64 pixels; one kernel per sample.
    Raises: IncompatibleError, ShapeError, ParameterError.
    Cost: 0.2 to 0.4 s a picture on one CPU core, and the non-blind solver.
    Source: the principle of Bell-Kligler et al., 2019, Blind super-resolution kernel estimation
    using an internal-GAN, section 2, for second moments; the correction for the blur that is
    already in y, and the Gaussian family (section 5.2 there), are this project's own.
    """

    nonblind: Solver | None = param(
        None, doc="Solver for the known kernel; left out, tikhonov.", repr=named
    )

    def _estimate(self, seen: Seen, problem: Problem, callback: Callback | None) -> Estimates:
        pictures = seen.pictures
        if min(pictures.shape[-2:]) < _SMALLEST:
            raise ShapeError(
                f"{self.name} needs pictures of at least {_SMALLEST} x {_SMALLEST} pixels; got "
                f"{tuple(pictures.shape[-2:])}."
            )
        shapes, misfits, why = [], [], {}
        for i, picture in enumerate(pictures):
            blur = _blur(picture, None if seen.covered is None else seen.covered[i], seen.sigma[i])
            shape = np.full((2, 2), np.nan) if blur is None else blur.covariance * seen.stride**2
            shape, doubt = _plausible(shape * _SHARE, seen.stride)
            if doubt:
                why[i] = doubt
            shapes.append(shape)
            misfits.append(math.nan if blur is None else blur.misfit)
        covariance = torch.from_numpy(np.stack(shapes))
        kernels = _gaussians(covariance, seen.stride)
        half = _gaussians(covariance / 5, 2) if seen.stride == 4 else None
        return Estimates(
            kernels=kernels,
            half=half,
            why=why,
            extras={"covariance": covariance, "misfit": torch.tensor(misfits)},
        )

    @staticmethod
    def _default_nonblind(operator: ForwardOperator, *, noisy: bool) -> str | Mapping[str, Any]:
        return "tikhonov"


def _blur(picture: Tensor, covered: Tensor | None, sigma: float) -> Blur | None:
    grey = grey_of(picture.double()).cpu().numpy()
    mask = None if covered is None else covered.double().cpu().numpy()
    scales = TwoScales.of(grey, mask, sigma)
    return None if scales is None else scales.blur()


def _plausible(shape: np.ndarray, stride: int) -> tuple[np.ndarray, str]:
    """Return a covariance that makes a kernel, and what was wrong with the given one."""
    widest, narrowest = 3.0 * stride, _LEAST_WIDTH
    usual = np.eye(2) * (0.5 * stride) ** 2
    if not np.isfinite(shape).all():
        return usual, "the picture has no detail whose scales could be compared"
    values, vectors = np.linalg.eigh(shape)
    kept = values.clip(narrowest**2, widest**2)
    doubt = ""
    if not np.allclose(kept, values):
        doubt = f"the widths {np.sqrt(values).round(2).tolist()} were moved into what is plausible"
    return vectors @ np.diag(kept) @ vectors.T, doubt


def _gaussians(covariance: Tensor, stride: int) -> Tensor:
    """Return Gaussians `(B, 1, n, n)` of the covariances `(B, 2, 2)`, rows first."""
    kernels = [_gaussian(c, stride) for c in covariance]
    side = max(k.shape[-1] for k in kernels)
    # Each has the size that it alone would have: a sample is not to see the others.
    return torch.cat([F.pad(k, [(side - k.shape[-1]) // 2] * 4) for k in kernels])


def _gaussian(covariance: Tensor, stride: int) -> Tensor:
    values, vectors = torch.linalg.eigh(covariance)
    down, right = vectors[:, 1].tolist()
    params = {
        "width_1": math.sqrt(values[1]),
        "width_2": math.sqrt(values[0]),
        "angle": math.degrees(math.atan2(-down, right)),
    }
    spec = {"name": "anisotropic_gaussian", "params": params}
    kernel: Any = build(default_registry(), "kernel", spec, path="kernel")
    tensor: Tensor = kernel.tensor(stride=stride, dtype=torch.float64)
    return tensor
