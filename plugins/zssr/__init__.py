"""Manifest of zero-shot super-resolution."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.zssr"


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the solver."""
    yield ComponentSpec(
        kind="solver",
        name="zssr",
        target=f"{_HERE}.solver:Zssr",
        summary="Zero-shot super-resolution: a small network that learns from the picture alone",
        source="Shocher, Cohen and Irani, 2018, Zero-shot super-resolution using deep internal "
        "learning, CVPR, section 3",
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield a strategy that draws tiny pictures and a tiny network."""
    yield Example(kind="solver", name="zssr", target=f"{_HERE}.examples:zssr")
