"""Manifest of the deep likelihood network."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.dlnet"


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the solver."""
    yield ComponentSpec(
        kind="solver",
        name="dlnet",
        target=f"{_HERE}.solver:DlNet",
        summary="Deep likelihood network: any network, its last layer refined to fit the data",
        source="Guo et al., 2021, Deep likelihood network for image restoration with multiple "
        "degradation levels, section III-C",
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield a strategy that draws tiny networks."""
    yield Example(kind="solver", name="dlnet", target=f"{_HERE}.examples:dlnet")
