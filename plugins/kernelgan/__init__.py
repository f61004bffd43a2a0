"""Manifest of blind super-resolution: KernelGAN, and the blur from spectra at two scales."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.kernelgan"
_SOURCE = (
    "Bell-Kligler, Shocher and Irani, 2019, Blind super-resolution kernel estimation using an "
    "internal-GAN, NeurIPS"
)


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the blind solvers."""
    yield ComponentSpec(
        kind="solver",
        name="kernelgan",
        target=f"{_HERE}.kernel_gan:KernelGan",
        summary="Blind super-resolution: a GAN learns the kernel from the one picture",
        source=_SOURCE,
        tags=("blind", "super-resolution"),
    )
    yield ComponentSpec(
        kind="solver",
        name="cross_scale",
        target=f"{_HERE}.cross_scale:CrossScale",
        summary="Blind super-resolution: a Gaussian kernel from the spectrum at two scales",
        source=f"{_SOURCE}, section 2, for power spectra",
        tags=("blind", "super-resolution"),
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw problems for them."""
    for name in ("kernelgan", "cross_scale"):
        yield Example(kind="solver", name=name, target=f"{_HERE}.examples:{name}")
