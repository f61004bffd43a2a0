"""Manifest of the operators that ship with wellposed."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.operators"


def _operator(name: str, target: str, summary: str, source: str) -> ComponentSpec:
    return ComponentSpec(
        kind="operator", name=name, target=f"{_HERE}.{target}", summary=summary, source=source
    )


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the operators."""
    yield ComponentSpec(
        kind="operator",
        name="blur",
        target="wellposed.plugins.operators.blur:Blur",
        summary="Convolution with a kernel, with a choice of boundaries",
        source="Oppenheim and Schafer, Discrete-Time Signal Processing, chapters 2 and 8",
    )
    yield ComponentSpec(
        kind="operator",
        name="strided_blur",
        target="wellposed.plugins.operators.strided_blur:StridedBlur",
        summary="Convolution, then one pixel in `stride`: the model of super-resolution",
        source="Zhao et al., 2016, Fast single image super-resolution, equations (12)-(19)",
    )
    yield _operator(
        "finite_difference",
        "finite_difference:FiniteDifference",
        "Forward differences along rows and columns: the discrete gradient",
        "Chambolle, 2004, An algorithm for total variation minimization, section 2",
    )
    yield _operator("identity", "identity:Denoising", "The picture itself: denoising", "Definition")
    yield _operator(
        "mask",
        "mask:Mask",
        "Pixelwise multiplication with a real mask: inpainting",
        "Parikh and Boyd, 2014, Proximal algorithms, section 6.1.1",
    )
    yield _operator(
        "random_mask", "mask:RandomMask", "Random missing pixels, by fraction and seed", "Definition"
    )
    yield _operator(
        "hole_mask", "mask:HoleMask", "A square hole, by size and place", "Definition"
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw instances of them."""
    for name in ("finite_difference", "identity", "mask", "random_mask", "hole_mask"):
        yield Example(kind="operator", name=name, target=f"{_HERE}.examples:{name}")
