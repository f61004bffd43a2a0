"""What is known about pictures. Capabilities are types: a solver asks for the one it needs.

Units: `tau` is a step (the weight of a proximal map), `sigma` a noise standard deviation in
picture units. They meet only in `DenoiserAsProx`.
"""

from __future__ import annotations

import math
from abc import abstractmethod

import attrs
from torch import Tensor

from .component import Component
from .fields import param
from .operator import ForwardOperator
from .space import Space

__all__ = [
    "AnalysisPrior",
    "Denoiser",
    "DenoiserAsProx",
    "GenerativePrior",
    "Prior",
    "ProximalPrior",
    "SmoothPrior",
]


class Prior(Component):
    """Marker of all priors; a class may have several capabilities.

    Tensors are `(*batch, C, H, W)`, real or complex; every method treats samples apart.
    """


class SmoothPrior(Prior):
    """A differentiable functional R."""

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample; shape `batch`."""

    @abstractmethod
    def grad(self, x: Tensor) -> Tensor:
        """Return the gradient of R at x."""

    @abstractmethod
    def lipschitz(self, space: Space) -> float:
        """Return a Lipschitz constant of the gradient on `space`."""


class ProximalPrior(Prior):
    """A functional R whose proximal map is at hand."""

    @abstractmethod
    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample (infinite outside its domain); shape `batch`."""

    @abstractmethod
    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return `argmin_x R(x) + 1/(2 tau) |x - v|^2`; tau a number or `(*batch,)`."""


class AnalysisPrior(Prior):
    """A functional `R(x) = g(L x)` with a linear L and a g whose proximal map is simple."""

    @abstractmethod
    def analysis(self, space: Space) -> ForwardOperator:
        """Return L on pictures of `space`."""

    @abstractmethod
    def analysis_value(self, u: Tensor) -> Tensor:
        """Return g(u) for each sample, with u in the range of L; shape `batch`."""

    @abstractmethod
    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return `argmin_z g(z) + 1/(2 tau) |z - u|^2`; tau a number or `(*batch,)`."""


class Denoiser(Prior):
    """A map that removes Gaussian noise of a given standard deviation."""

    @abstractmethod
    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return v with noise of standard deviation `sigma` removed.

        `sigma` is in picture units, a number or `(*batch,)`; zero returns v.
        """


class GenerativePrior(Prior):
    """A generator of pictures from latent codes."""

    @property
    @abstractmethod
    def latent_shape(self) -> tuple[int, ...]:
        """Event shape of a code."""

    @property
    @abstractmethod
    def out_space(self) -> Space:
        """Space of the pictures."""

    @abstractmethod
    def decode(self, z: Tensor) -> Tensor:
        """Return the picture of each code; z `(*batch, *latent_shape)`."""


@attrs.frozen(eq=False, kw_only=True)
class DenoiserAsProx(ProximalPrior):
    """A denoiser in the place of a proximal map: `prox(v, tau) = denoise(v, sqrt(tau weight))`.

    A Gaussian denoiser is the proximal map of `sigma^2` times a negative log-prior, so a prior of
    weight `w` at step tau asks for `sigma = sqrt(tau w)`. There is no value.
    Source: Venkatakrishnan et al., 2013, Plug-and-play priors for model based reconstruction,
    IEEE GlobalSIP, section III.
    """

    denoiser: Denoiser = param(doc="The denoiser.")
    weight: float = param(1.0, doc="Multiplies the step before the square root: sigma^2 / tau.")

    def value(self, x: Tensor) -> Tensor:
        """Return NaN: a denoiser has no functional in general."""
        return x.new_full(x.shape[:-3], float("nan"), dtype=x.abs().dtype)

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Denoise at `sigma = sqrt(tau weight)`."""
        # A number stays one: as a tensor it would be rounded to float32.
        level = tau * self.weight
        sigma = level.sqrt() if isinstance(level, Tensor) else math.sqrt(level)
        return self.denoiser.denoise(v, sigma)
