"""Instances of the noise models for the conformance kit."""

from __future__ import annotations

import torch
from hypothesis import strategies as st

from .gaussian import Gaussian
from .none import NoNoise
from .poisson import Poisson

__all__ = ["gaussian", "no_noise", "poisson"]


def gaussian() -> st.SearchStrategy[Gaussian]:
    """Return Gaussian noise by one sigma, weak and strong, or none at all."""
    return st.builds(Gaussian, sigma=st.sampled_from([0.0, 1e-3, 0.05, 0.5, 1]))


def poisson() -> st.SearchStrategy[Poisson]:
    """Return Poisson noise from single photons to many, as a number or a tensor."""
    gains = st.sampled_from([1.0, 10, 100.0, 1e4])
    tensors = gains.map(lambda gain: torch.tensor(gain, dtype=torch.float64))
    return st.builds(Poisson, gain=st.one_of(gains, tensors))


def no_noise() -> st.SearchStrategy[NoNoise]:
    """Return the one instance there is."""
    return st.just(NoNoise())
