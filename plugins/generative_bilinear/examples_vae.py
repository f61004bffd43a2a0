"""Narrow generators with random weights for the kit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed import Space
from wellposed.testing import PriorCase

from .dcgan import Dcgan
from .vae import BlurVae, FaceVae, MnistVae, SvhnVae

__all__ = ["blur_vae", "dcgan", "face_vae", "mnist_vae", "svhn_vae"]


def _case(cls: Any, latent: int, width: int, seed: int) -> PriorCase:
    prior = cls(latent=latent, width=width).for_training(seed=seed)
    prior.trained.to(torch.float64).requires_grad_(False).eval()
    return PriorCase(prior=prior, space=Space(cls.shape, torch.float64))


def _cases(cls: Any) -> st.SearchStrategy[PriorCase]:
    return st.builds(
        _case,
        cls=st.just(cls),
        latent=st.integers(1, 5),
        width=st.integers(1, 3),
        seed=st.integers(0, 2**16),
    )


def blur_vae() -> st.SearchStrategy[PriorCase]:
    """Autoencoders of kernels."""
    return _cases(BlurVae)


def mnist_vae() -> st.SearchStrategy[PriorCase]:
    """Autoencoders of digits."""
    return _cases(MnistVae)


def svhn_vae() -> st.SearchStrategy[PriorCase]:
    """Autoencoders of house numbers."""
    return _cases(SvhnVae)


def face_vae() -> st.SearchStrategy[PriorCase]:
    """Autoencoders of faces."""
    return _cases(FaceVae)


def dcgan() -> st.SearchStrategy[PriorCase]:
    """Generators of faces."""
    return _cases(Dcgan)
