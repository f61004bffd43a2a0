"""Manifest of the operators that ship with wellposed."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.operators"


_EXAMPLES = (
    "finite_difference",
    "identity",
    "mask",
    "random_mask",
    "hole_mask",
    "crop",
    "pad",
    "resize",
    "channel_mix",
    "grayscale",
    "fourier_sampling",
    "multicoil_fourier",
    "complexify",
    "radon",
    "matrix",
    "sparse_matrix",
    "gaussian_sensing",
    "wavelet",
)


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
        name="motion_blur",
        target="wellposed.plugins.operators.blur:MotionBlur",
        summary="Blur by the path of a moving camera, 9 x 9 pixels wide",
        source="Fan et al., 2017, InverseNet, section 4.1",
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
    yield ComponentSpec(
        kind="bilinear",
        name="convolution",
        target="wellposed.plugins.operators.bilinear:CircularConvolution",
        summary="Circular convolution, linear in the kernel and in the picture",
        source="Asim et al., 2018, Blind image deconvolution using deep generative priors, eq. (1)",
    )
    yield ComponentSpec(
        kind="bilinear",
        name="product",
        target="wellposed.plugins.operators.bilinear:Product",
        summary="Pointwise product, linear in a weight and in the picture",
        source="The definition",
    )
    yield _operator("identity", "identity:Denoising", "The picture itself: denoising", "Definition")
    yield _operator(
        "mask",
        "mask:Mask",
        "Pixelwise multiplication with a real mask: inpainting",
        "Parikh and Boyd, 2014, Proximal algorithms, section 6.1.1",
    )
    yield _operator(
        "random_mask",
        "mask:RandomMask",
        "Random missing pixels, by fraction and seed",
        "Definition",
    )
    yield _operator("hole_mask", "mask:HoleMask", "A square hole, by size and place", "Definition")
    yield _operator(
        "crop", "framing:Crop", "Cutting off a margin that was not measured", "Definition"
    )
    yield _operator(
        "pad", "framing:Pad", "Extension beyond the frame by a boundary rule", "NumPy pad"
    )
    yield _operator(
        "resize",
        "resize:Resize",
        "Antialiased resampling to any size, as MATLAB's imresize",
        "Keys, 1981, Cubic convolution interpolation, equation (15)",
    )
    yield _operator(
        "channel_mix",
        "channel_mix:ChannelMix",
        "A spectral matrix applied to the channels of every pixel",
        "Definition",
    )
    yield _operator(
        "grayscale", "channel_mix:Grayscale", "The grey picture of a colour one", "ITU-R BT.601"
    )
    yield _operator(
        "fourier_sampling",
        "fourier:FourierSampling",
        "Samples of the Fourier transform: MRI with one coil",
        "Lustig et al., 2007, Sparse MRI, equation (2)",
    )
    yield _operator(
        "multicoil_fourier",
        "fourier:MulticoilFourier",
        "Samples of the Fourier transform seen through several coils: parallel MRI",
        "Pruessmann et al., 1999, SENSE, equation (2)",
    )
    yield _operator(
        "complexify", "fourier:Complexify", "A real picture as a complex one", "Definition"
    )
    yield _operator(
        "radon",
        "radon:Radon",
        "Line integrals along parallel rays: computed tomography",
        "Kak and Slaney, 1988, Principles of computerized tomographic imaging, chapter 3",
    )
    yield _operator(
        "matrix", "matrix:Matrix", "Any dense matrix, one for all or one per sample", "Definition"
    )
    yield _operator(
        "sparse_matrix",
        "sparse_matrix:SparseMatrix",
        "Any sparse matrix, also from a file",
        "Definition",
    )
    yield _operator(
        "gaussian_sensing",
        "sensing:GaussianSensing",
        "Random Gaussian measurements by a seed: compressed sensing",
        "Candes and Wakin, 2008, An introduction to compressive sampling",
    )
    yield _operator(
        "wavelet",
        "wavelet:Wavelet",
        "Orthonormal wavelet coefficients, for any picture size",
        "Daubechies, 1992, Ten lectures on wavelets, chapter 6; Mallat, 1989",
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw instances of them."""
    for name in _EXAMPLES:
        yield Example(kind="operator", name=name, target=f"{_HERE}.examples:{name}")
    for kind, name in (
        ("operator", "blur"),
        ("operator", "motion_blur"),
        ("operator", "strided_blur"),
        ("bilinear", "convolution"),
        ("bilinear", "product"),
    ):
        yield Example(kind=kind, name=name, target=f"{_HERE}.examples_convolution:{name}")
