"""Manifest of the solvers with a generator for each unknown, and their helpers.

from wellposed.plugins.generative_bilinear import aligned, project
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from wellposed.registry import ComponentSpec, Example, hookimpl

if TYPE_CHECKING:
    from .alignment import aligned
    from .projection import project

__all__ = ["aligned", "project"]

_HERE = "wellposed.plugins.generative_bilinear"
_WHERE = {"aligned": "alignment", "project": "projection"}
_SOURCE = (
    "Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative priors"
)
_VAE = f"{_SOURCE}, section "
_DCGAN = (
    "Radford, Metz and Chintala, 2016, Unsupervised representation learning with deep "
    "convolutional generative adversarial networks"
)
_PRIORS = (
    ("blur_vae", "vae:BlurVae", "Blur kernels by an autoencoder of a class of them", f"{_VAE}4.1"),
    ("mnist_vae", "vae:MnistVae", "Handwritten digits by an autoencoder of MNIST", f"{_VAE}4.3"),
    ("svhn_vae", "vae:SvhnVae", "House numbers by an autoencoder of SVHN", f"{_VAE}4.3"),
    ("face_vae", "vae:FaceVae", "Faces by an autoencoder of CelebA", f"{_DCGAN}, for its layers"),
    ("dcgan", "dcgan:Dcgan", "Faces by the generator of a DCGAN", _DCGAN),
)


def __getattr__(name: str) -> Any:
    """Load a helper on first use, so that the manifest needs no torch."""
    if name not in _WHERE:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{_HERE}.{_WHERE[name]}"), name)


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the solvers."""
    yield ComponentSpec(
        kind="solver",
        name="generative_bilinear",
        target=f"{_HERE}.bilinear:GenerativeBilinear",
        summary="Two unknowns in one measurement, a generator for each: blind deblurring",
        source=f"{_SOURCE}, algorithm 1",
        tags=("blind", "generative"),
    )
    yield ComponentSpec(
        kind="solver",
        name="generative_bilinear_slack",
        target=f"{_HERE}.slack:GenerativeBilinearSlack",
        summary="The same with a picture that may leave the range of its generator",
        source=f"{_SOURCE}, algorithm 2 of later versions",
        tags=("blind", "generative"),
    )
    yield ComponentSpec(
        kind="solver",
        name="generative_projection",
        target=f"{_HERE}.projection:GenerativeProjection",
        summary="The picture in a generator's range that fits a measurement best",
        source=f"{_SOURCE}, sections 2.1 and 4.4; Bora et al., 2017, Compressed sensing using "
        "generative models",
        tags=("generative",),
    )
    for name, target, what, source in _PRIORS:
        yield ComponentSpec(
            kind="prior",
            name=name,
            target=f"{_HERE}.{target}",
            summary=what,
            source=source,
            tags=("generative",),
        )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw problems with tiny generators."""
    for name in ("generative_bilinear", "generative_bilinear_slack", "generative_projection"):
        yield Example(kind="solver", name=name, target=f"{_HERE}.examples:{name}")
    for name, *_ in _PRIORS:
        yield Example(kind="prior", name=name, target=f"{_HERE}.examples_vae:{name}")
