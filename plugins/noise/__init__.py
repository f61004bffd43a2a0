"""Manifest of the noise models that ship with wellposed."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.noise"
_MODELS = (
    (
        "gaussian",
        "gaussian:Gaussian",
        "White Gaussian noise by its standard deviation, real or complex",
        "Boyd and Vandenberghe, 2004, Convex optimization, section 7.1.1",
    ),
    (
        "poisson",
        "poisson:Poisson",
        "Photon counting noise by its gain, in counts per picture unit",
        "Bertero et al., 2009, Image deblurring with Poisson data, equations (8)-(12)",
    ),
    ("none", "none:NoNoise", "No noise: the measurement is exact", "The definition"),
)


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the noise models."""
    for name, target, summary, source in _MODELS:
        yield ComponentSpec(
            kind="noise", name=name, target=f"{_HERE}.{target}", summary=summary, source=source
        )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw instances of them."""
    for name, *_ in _MODELS:
        target = f"{_HERE}.examples:{name if name != 'none' else 'no_noise'}"
        yield Example(kind="noise", name=name, target=target)
