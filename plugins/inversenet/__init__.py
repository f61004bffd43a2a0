"""Manifest of InverseNet."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.inversenet"


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the solver."""
    yield ComponentSpec(
        kind="solver",
        name="inversenet",
        target=f"{_HERE}.solver:InverseNet",
        summary="Two networks in a row: one inverts the operator, one cleans up after it",
        source="Fan et al., 2017, InverseNet: solving inverse problems with splitting networks",
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield a strategy that draws tiny networks."""
    yield Example(kind="solver", name="inversenet", target=f"{_HERE}.examples:inversenet")
