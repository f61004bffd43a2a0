"""Denoisers given as functions, networks or proximal maps; and a denoiser as a proximal map."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor, nn
from wellposed import Denoiser, ProximalPrior, param
from wellposed.errors import DeviceError, DtypeError, ParameterError, ShapeError

from .arrays import Array, denoise_arrays
from .values import above, per_sample, picture_space

__all__ = ["CallableDenoiser", "NetworkDenoiser", "ProxDenoiser"]


def _callable(instance: object, attribute: Any, value: object) -> None:
    if not callable(value):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a function f(v, sigma); "
            f"got {type(value).__name__}."
        )


def _type_name(value: object) -> str:
    return type(value).__name__


def _module(instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, nn.Module):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a torch.nn.Module; got "
            f"{type(value).__name__}. Use callable_denoiser for a function."
        )


def _proximal(instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, ProximalPrior):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a ProximalPrior such as TV or L1; "
            f"got {type(value).__name__}."
        )


@attrs.frozen(eq=False, kw_only=True)
class CallableDenoiser(Denoiser):
    """Any function `f(v, sigma)`.

    `arrays="torch"`: f is given v `(B, C, H, W)` and sigma `(B, 1, 1, 1)` as tensors, and
    gradients go through it. `arrays="numpy"`: f is given one sample at a time, as `(H, W)` or
    `(H, W, C)`, with sigma a number; complex pictures by real and imaginary part, each with
    `sigma / sqrt(2)`; no gradient.

    Shapes: pictures `(*batch, C, H, W)`; sigma a number or `(*batch,)`; zero returns v.
    Units: sigma: standard deviation in picture units.
    Raises: ParameterError; ShapeError, DtypeError when f returns another shape or dtype;
    IncompatibleError where a gradient is asked for and arrays is "numpy".
    Source: Venkatakrishnan et al., 2013, Plug-and-play priors for model based reconstruction, where
    any denoiser will do.
    """

    function: Callable[..., Any] = param(
        doc="f(v, sigma); picklable if the prior is to be.", check=_callable
    )
    arrays: str = param("torch", choices=("torch", "numpy"), doc="What f takes and returns.")

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `f(v, sigma)`."""
        if self.arrays == "numpy":
            return denoise_arrays(v, sigma, who=self.name, one=self._one)
        flat, level = _flat(v, sigma, self.name)
        return _restored(self.function(flat, level), v, level, self.name)

    def _one(self, v: Array, sigma: float) -> Array:
        if len(v) == 1:
            return np.asarray(self.function(v[0], sigma))[None]
        return np.moveaxis(np.asarray(self.function(np.moveaxis(v, 0, -1), sigma)), -1, 0)


@attrs.frozen(eq=False, kw_only=True)
class NetworkDenoiser(Denoiser):
    """A denoising network.

    It is called as `network(v)` (`noise_input="none"`), `network(v, sigma)` with sigma
    `(B, 1, 1, 1)` (`"argument"`), or `network(cat([v, sigma map], 1))` (`"map"`, as in FFDNet and
    DRUNet). With `predicts="noise"` its output is subtracted from v (as in DnCNN). `scale` is the
    range of pictures that it was trained for. Complex pictures go by real and imaginary part.

    The network runs in the mode (train or eval) that it is in, and `to` moves a copy of it.

    Shapes: pictures `(*batch, C, H, W)`; sigma a number or `(*batch,)`; zero returns v.
    Units: sigma: standard deviation in picture units.
    Raises: ParameterError; DeviceError, DtypeError when the network lies elsewhere or has another
    precision; ShapeError when it returns another shape.
    Source: Zhang, Zuo, Zhang, 2018, FFDNet, IEEE TIP 27(9), section III, for the noise map; Zhang
    et al., 2017, Beyond a Gaussian denoiser (DnCNN), IEEE TIP 26(7), section III, for the residual.
    """

    network: nn.Module = param(doc="The network.", check=_module, repr=_type_name)
    noise_input: str = param(
        "none", choices=("none", "argument", "map"), doc="How the network is told sigma."
    )
    predicts: str = param("picture", choices=("picture", "noise"), doc="What its output is.")
    scale: float = param(1.0, doc="Largest pixel value that it was trained for.", check=above(0))

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return the network's estimate."""
        flat, level = _flat(v, sigma, self.name)
        self._check_place(flat)
        if not v.is_complex():
            return _restored(self._run(flat, level), v, level, self.name)
        half = level / math.sqrt(2)
        parts = self._run(torch.cat((flat.real, flat.imag)), torch.cat((half, half)))
        return _restored(torch.complex(*parts.chunk(2)), v, level, self.name)

    def _run(self, v: Tensor, level: Tensor) -> Tensor:
        v, level = self.scale * v, self.scale * level
        if self.noise_input == "map":
            found = self.network(torch.cat((v, level.expand(-1, 1, *v.shape[-2:])), 1))
        elif self.noise_input == "argument":
            found = self.network(v, level)
        else:
            found = self.network(v)
        found = _alike(found, v, self.name)
        return (v - found if self.predicts == "noise" else found) / self.scale

    def _check_place(self, v: Tensor) -> None:
        weight = next((p for p in self.network.parameters() if p.is_floating_point()), None)
        if weight is None:
            return
        if weight.device != v.device:
            raise DeviceError(
                f"{self.name} has its network on {weight.device}; got v on {v.device}. "
                "Move one of them: prior.to(device=...)."
            )
        if weight.dtype != v.abs().dtype:
            raise DtypeError(
                f"{self.name} has a network of {weight.dtype}; got v of {v.dtype}. "
                "Convert one of them: prior.to(dtype=...)."
            )


@attrs.frozen(eq=False, kw_only=True)
class ProxDenoiser(Denoiser):
    """The proximal map of a prior as a denoiser: `denoise(v, sigma) = prox(v, strength sigma)`.

    The step is proportional to sigma, as it should be for functionals such as `tv`, `l1` and
    `wavelet_l1`, which grow in proportion to the picture: denoising `s v` at `s sigma` then gives s
    times the same.

    Shapes: pictures `(*batch, C, H, W)`; sigma a number or `(*batch,)`; zero returns v.
    Units: sigma: standard deviation in picture units.
    Source: the maximum a posteriori estimate; Rudin, Osher, Fatemi, 1992, Physica D 60, for `tv`.
    """

    prior: ProximalPrior = param(doc="The prior, usually of weight 1.", check=_proximal)
    strength: float = param(1.0, doc="The step in units of sigma.", check=above(0))

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return `prox(v, strength sigma)`, and v where sigma is 0."""
        picture_space(v, who=self.name)
        level = per_sample(sigma, v, who=self.name, name="sigma")
        if not isinstance(level, Tensor):
            return self.prior.prox(v, self.strength * level) if level else v
        assert isinstance(sigma, Tensor)
        return torch.where(level > 0, self.prior.prox(v, self.strength * sigma), v)


def _flat(v: Tensor, sigma: Tensor | float, who: str) -> tuple[Tensor, Tensor]:
    """Return v as `(B, C, H, W)` and sigma as `(B, 1, 1, 1)`."""
    space = picture_space(v, who=who)
    level = per_sample(sigma, v, who=who, name="sigma")
    if not isinstance(level, Tensor):
        level = space.expand(level, v, name="sigma", who=who)
    level = level.expand(*v.shape[:-3], 1, 1, 1)
    return v.reshape(-1, *space.shape), level.reshape(-1, 1, 1, 1)


def _restored(found: object, v: Tensor, level: Tensor, who: str) -> Tensor:
    """Return what a function returned in the shape of v; v itself where sigma is 0."""
    flat = v.reshape(-1, *v.shape[-3:])
    return torch.where(level > 0, _alike(found, flat, who), flat).reshape(v.shape)


def _alike(found: object, v: Tensor, who: str) -> Tensor:
    """Return what a function returned, if it is like its input."""
    if not isinstance(found, Tensor) or found.shape != v.shape:
        got = tuple(found.shape) if isinstance(found, Tensor) else type(found).__name__
        raise ShapeError(
            f"{who} expects the function to return a tensor of shape {tuple(v.shape)}, that of "
            f"its input; got {got}."
        )
    if found.dtype != v.dtype:
        raise DtypeError(
            f"{who} expects the function to return {v.dtype}, the dtype of its input; "
            f"got {found.dtype}."
        )
    return found
