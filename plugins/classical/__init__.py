"""Manifest of the classical that ship with wellposed."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, hookimpl


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the classical."""
    return ()
