"""Manifest of the kernels that ship with wellposed."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.kernels"


def _kernel(name: str, target: str, summary: str, source: str) -> ComponentSpec:
    return ComponentSpec(
        kind="kernel", name=name, target=f"{_HERE}.{target}", summary=summary, source=source
    )


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the kernels."""
    yield _kernel(
        "gaussian",
        "gaussian:Gaussian",
        "Isotropic Gaussian by width",
        "MATLAB fspecial('gaussian')",
    )
    yield _kernel(
        "anisotropic_gaussian",
        "gaussian:AnisotropicGaussian",
        "Gaussian by two widths and an angle",
        "Bell-Kligler et al., 2019, Blind super-resolution kernel estimation, section 4",
    )
    yield _kernel(
        "motion",
        "lines:Motion",
        "Straight motion by length and angle",
        "MATLAB fspecial('motion'), with pixel areas",
    )
    yield _kernel(
        "motion_gaussian",
        "overlap:MotionGaussian",
        "Straight motion and a Gaussian on each other",
        "Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative "
        "priors, section 4.1",
    )
    yield _kernel(
        "camera_shake",
        "shake:CameraShake",
        "Motion of a hand-held camera along a random path",
        "Boracchi and Foi, 2012, Modeling the performance of image restoration from motion blur",
    )
    yield _kernel("box", "lines:Box", "Mean over a square by its side", "MATLAB imresize 'box'")
    yield _kernel("disk", "lines:Disk", "Defocus by radius", "MATLAB fspecial('disk')")
    yield _kernel(
        "bicubic",
        "bicubic:Bicubic",
        "Antialiased bicubic reduction by the operator's stride, as imresize",
        "Keys, 1981, Cubic convolution interpolation, equation (8)",
    )
    yield _kernel("delta", "bicubic:Delta", "No blur", "The definition")
    yield _kernel("file", "file:FileKernel", "From a .npy, .mat or .png file", "The file")
    yield _kernel(
        "inversenet_motion",
        "inversenet:InverseNetMotion",
        "9 x 9 motion along a path that turns, for deblurring as in InverseNet",
        "Fan et al., 2017, InverseNet, figure 11, for its size",
    )
    yield _kernel(
        "inversenet_flat",
        "inversenet:InverseNetFlat",
        "Mean over 7 x 7 pixels, for super-resolution with rings as in InverseNet",
        "Fan et al., 2017, InverseNet, section 4.2",
    )
    yield _kernel(
        "inversenet_colour",
        "inversenet:InverseNetColour",
        "9 x 9 kernels of red, green and blue, for joint super-resolution and colourisation",
        "Fan et al., 2017, InverseNet, figure 13, for their number and size",
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw instances of them."""
    for name in (
        "gaussian",
        "anisotropic_gaussian",
        "motion",
        "motion_gaussian",
        "camera_shake",
        "box",
        "disk",
        "bicubic",
        "delta",
        "file",
        "inversenet_motion",
        "inversenet_flat",
        "inversenet_colour",
    ):
        yield Example(kind="kernel", name=name, target=f"{_HERE}.examples:{name}")
