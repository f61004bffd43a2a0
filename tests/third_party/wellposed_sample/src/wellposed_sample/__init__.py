"""The manifest: strings only, so that listing it imports nothing."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the components of this package."""
    yield ComponentSpec(
        kind="operator",
        name="sample_binning",
        target="wellposed_sample.binning:Binning",
        summary="Mean over blocks of factor x factor pixels, as a sensor's binning",
        source="The definition",
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield instances of them, for the conformance kit."""
    yield Example(
        kind="operator",
        name="sample_binning",
        target="wellposed_sample.examples:binnings",
    )
