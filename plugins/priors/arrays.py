"""Denoisers from NumPy packages, one sample after the other."""

from __future__ import annotations

import importlib
import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from wellposed import Denoiser, param
from wellposed.errors import IncompatibleError, MissingExtraError, ShapeError

from .values import above, per_sample, picture_space

__all__ = ["BM3D", "SkimageNLM", "SkimageTV", "denoise_arrays"]

Array = NDArray[Any]


def denoise_arrays(
    v: Tensor, sigma: Tensor | float, *, who: str, one: Callable[[Array, float], Array]
) -> Tensor:
    """Return each sample denoised by `one(array (C, H, W), sigma)`; sigma 0 returns v.

    Real and imaginary parts go one after the other, each with `sigma / sqrt(2)`.
    Raises: IncompatibleError when a gradient is asked for, or under `vmap`; ShapeError when the
    function returns another shape.
    """
    space = picture_space(v, who=who)
    levels = per_sample(sigma, v, who=who, name="sigma")
    for value in (v, levels):
        if not isinstance(value, Tensor):
            continue
        if torch._C._functorch.is_functorch_wrapped_tensor(value):
            raise IncompatibleError(
                f"{who} runs in NumPy and cannot be transformed by torch.func. It takes batches "
                "as they are, or use a denoiser in torch such as nlm."
            )
        if torch.is_grad_enabled() and value.requires_grad:
            raise IncompatibleError(
                f"{who} runs in NumPy and has no gradient; got a tensor that requires one. "
                "Detach it, or use a denoiser in torch such as nlm."
            )
    batch = v.shape[:-3]
    count = math.prod(batch)
    flat = v.detach().cpu().reshape(count, *space.shape)
    listed = torch.as_tensor(levels, dtype=torch.float64).cpu().reshape(-1)
    results = [
        _whole(sample, float(level), who, one)
        for sample, level in zip(flat, listed.expand(count), strict=True)
    ]
    return torch.stack(results).reshape(v.shape).to(v.device) if results else v


def _whole(v: Tensor, sigma: float, who: str, one: Callable[[Array, float], Array]) -> Tensor:
    if sigma == 0:
        return v
    if not bool(torch.isfinite(v).all()):
        # Compiled code may spread a NaN, loop or crash; here it spoils its own sample only.
        return torch.full_like(v, math.nan)
    if v.is_complex():
        half = sigma / math.sqrt(2)
        return torch.complex(_whole(v.real, half, who, one), _whole(v.imag, half, who, one))
    result = np.asarray(one(v.contiguous().numpy(), sigma))
    if result.shape != tuple(v.shape):
        raise ShapeError(
            f"{who} expects the function to return an array of shape {tuple(v.shape)}, that of "
            f"its input; got {result.shape}."
        )
    return torch.from_numpy(np.ascontiguousarray(result)).to(v.dtype)


def _package(module: str, extra: str, who: str) -> Any:
    """Import what the denoisers of this file call, when it is first called."""
    try:
        return importlib.import_module(module)
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"{who} needs {error.name}, which is not installed: pip install 'wellposed[{extra}]'"
        ) from error


@attrs.frozen(eq=False, kw_only=True)
class SkimageTV(Denoiser):
    """Total variation denoising by scikit-image, at the weight `strength sigma`.

    The prior `tv` is faster, and stops at a guaranteed error; this is for comparison.

    Shapes: pictures `(*batch, C, H, W)`, real or complex; sigma a number or `(*batch,)`.
    Raises: IncompatibleError where a gradient is asked for; MissingExtraError without
    scikit-image (`pip install 'wellposed[skimage]'`).
    Source: Chambolle, 2004, An algorithm for total variation minimization and applications,
    J. Math. Imaging Vision 20, in `skimage.restoration.denoise_tv_chambolle`.
    """

    strength: float = param(1.0, doc="The weight in units of sigma.", check=above(0))
    eps: float = param(
        2e-4,
        doc="It stops when a step changes the objective by less than this part.",
        check=above(0),
    )
    max_steps: int = param(200, doc="Budget of iterations.", check=above(0, whole=True))

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return v with noise of standard deviation `sigma` removed."""
        return denoise_arrays(v, sigma, who=self.name, one=self._one)

    def _one(self, v: Array, sigma: float) -> Array:
        restoration = _package("skimage.restoration", "skimage", self.name)
        # Its stopping rule compares with the first step: any scale will do, and this one is ours.
        denoise: Any = restoration.denoise_tv_chambolle
        found = denoise(v / sigma, self.strength, self.eps, self.max_steps, channel_axis=0)
        return sigma * np.asarray(found)


@attrs.frozen(eq=False, kw_only=True)
class SkimageNLM(Denoiser):
    """Non-local means by scikit-image, at `h = strength sigma`.

    `nlm` is this package's own: batched, differentiable, on any device.

    Shapes: pictures `(*batch, C, H, W)`, real or complex; sigma a number or `(*batch,)`.
    Raises: IncompatibleError where a gradient is asked for; MissingExtraError without
    scikit-image (`pip install 'wellposed[skimage]'`).
    Source: Buades, Coll, Morel, 2005, A non-local algorithm for image denoising, CVPR, in
    `skimage.restoration.denoise_nl_means`.
    """

    patch_size: int = param(5, doc="Side of a patch.", unit="pixels", check=above(0, whole=True))
    patch_distance: int = param(
        6, doc="Radius of the window that is searched.", unit="pixels", check=above(0, whole=True)
    )
    strength: float = param(0.6, doc="h in units of sigma.", check=above(0))
    fast_mode: bool = param(True, doc="Uniform patches; else Gaussian ones, slower.")

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return v with noise of standard deviation `sigma` removed."""
        return denoise_arrays(v, sigma, who=self.name, one=self._one)

    def _one(self, v: Array, sigma: float) -> Array:
        restoration = _package("skimage.restoration", "skimage", self.name)
        result = restoration.denoise_nl_means(
            np.ascontiguousarray(np.moveaxis(v, 0, -1)) / sigma,
            patch_size=self.patch_size,
            patch_distance=self.patch_distance,
            h=self.strength,
            sigma=1.0,
            fast_mode=self.fast_mode,
            preserve_range=True,
            channel_axis=-1,
        )
        # It drops the axis of a single channel, in one of its modes.
        return sigma * np.moveaxis(np.asarray(result).reshape(*v.shape[1:], -1), -1, 0)


# The package's compiled code crashes the process on 8 x 8 pixels and refuses less.
_BM3D_LEAST = 16
# Its constants are for pictures in [0, 1] with moderate noise: everything is scaled to that.
_BM3D_SIGMA = 0.1


@attrs.frozen(eq=False, kw_only=True)
class BM3D(Denoiser):
    """Block matching and 3-D filtering, from the authors' package.

    Three channels are taken as RGB (decorrelated, matched on the luminance); any other number,
    one after the other. Pictures below 16 pixels are extended by reflection.

    Shapes: pictures `(*batch, C, H, W)`, real or complex; sigma a number or `(*batch,)`.
    Raises: IncompatibleError where a gradient is asked for; MissingExtraError without the
    package (`pip install 'wellposed[bm3d]'`, whose licence allows non-commercial use only).
    Cost: seconds per picture of 256 x 256.
    Source: Dabov, Foi, Katkovnik, Egiazarian, 2007, Image denoising by sparse 3-D transform-domain
    collaborative filtering, IEEE TIP 16(8); Makinen, Azzari, Foi, 2020, Collaborative filtering of
    correlated noise, IEEE TIP 29.
    """

    profile: str = param(
        "np", choices=("np", "refilter", "vn", "high"), doc="The package's profile: np is normal."
    )
    stages: str = param(
        "all", choices=("all", "hard"), doc="Both stages, or the hard threshold alone (faster)."
    )
    colour: bool = param(True, doc="Take three channels as RGB; else one after the other.")

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return v with noise of standard deviation `sigma` removed."""
        return denoise_arrays(v, sigma, who=self.name, one=self._one)

    def _one(self, v: Array, sigma: float) -> Array:
        bm3d = _package("bm3d", "bm3d", self.name)
        scale = sigma / _BM3D_SIGMA
        height, width = v.shape[1:]
        margin = [(0, 0), *((0, max(_BM3D_LEAST - n, 0)) for n in (height, width))]
        z = np.pad(v.astype(np.float64) / scale, margin, mode="symmetric")
        hard_only = self.stages == "hard"
        stages = bm3d.BM3DStages.HARD_THRESHOLDING if hard_only else bm3d.BM3DStages.ALL_STAGES
        if self.colour and len(z) == 3 and not hard_only:
            hwc = np.ascontiguousarray(np.moveaxis(z, 0, -1))
            result = np.moveaxis(bm3d.bm3d_rgb(hwc, _BM3D_SIGMA, self.profile), -1, 0)
        else:
            result = np.stack([bm3d.bm3d(c, _BM3D_SIGMA, self.profile, stages) for c in z])
        restored: Array = scale * result[:, :height, :width]
        return restored
