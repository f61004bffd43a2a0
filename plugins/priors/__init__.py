"""Manifest of the priors that ship with wellposed."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.priors"


def _prior(
    name: str, target: str, summary: str, source: str, *, tags: str, extra: str = ""
) -> ComponentSpec:
    return ComponentSpec(
        kind="prior",
        name=name,
        target=target if target.startswith("wellposed.") else f"{_HERE}.{target}",
        summary=summary,
        source=source,
        tags=tuple(tags.split()),
        extras=(extra,) if extra else (),
    )


_FGP = "Beck and Teboulle, 2009, Fast gradient-based algorithms for constrained TV, IEEE TIP 18(11)"

_PRIORS = (
    _prior(
        "tikhonov",
        "tikhonov:Tikhonov",
        "Small energy of the picture or of its gradient",
        "Tikhonov, 1963, Solution of incorrectly formulated problems and the regularization method",
        tags="smooth proximal analysis",
    ),
    _prior(
        "tv",
        "tv:TV",
        "Total variation: isotropic or not, channels coupled or not",
        "Rudin, Osher, Fatemi, 1992, Nonlinear total variation based noise removal, Physica D 60",
        tags="proximal analysis",
    ),
    _prior(
        "wavelet_l1",
        "wavelet:WaveletL1",
        "Sparsity in an orthonormal wavelet basis",
        "Donoho and Johnstone, 1994, Ideal spatial adaptation by wavelet shrinkage, Biometrika 81",
        tags="proximal analysis",
    ),
    _prior(
        "wavelet_cycle_spinning",
        "wavelet:CycleSpinning",
        "Wavelet shrinkage averaged over shifts, as a denoiser",
        "Coifman and Donoho, 1995, Translation-invariant de-noising",
        tags="denoiser",
    ),
    _prior(
        "l1",
        "separable:L1",
        "Sparsity of the pixels: the sum of their magnitudes",
        "Donoho, 1995, De-noising by soft-thresholding, IEEE TIT 41(3), equation (7)",
        tags="proximal analysis",
    ),
    _prior(
        "l0",
        "separable:L0",
        "Sparsity of the pixels: how many are not 0 (not convex)",
        "Blumensath and Davies, 2008, Iterative thresholding for sparse approximations",
        tags="proximal",
    ),
    _prior(
        "box",
        "separable:Box",
        "Pixels within bounds",
        "the projection onto a box",
        tags="proximal constraint",
    ),
    _prior(
        "nonnegative",
        "separable:NonNegative",
        "Pixels of at least 0",
        "the projection onto the non-negative orthant",
        tags="proximal constraint",
    ),
    _prior(
        "zero",
        "separable:Zero",
        "Nothing is known: plain least squares",
        "The definition: R(x) = 0",
        tags="smooth proximal analysis",
    ),
    _prior(
        "sum",
        "compose:SumOfPriors",
        "A sum of priors such as total variation and a wavelet norm",
        "Lustig, Donoho, Pauly, 2007, Sparse MRI, MRM 58(6), equation (5); the prox: " + _FGP,
        tags="proximal analysis composition",
    ),
    _prior(
        "smooth_sum",
        "compose:SmoothSum",
        "A sum of differentiable priors",
        "the sum rule",
        tags="smooth composition",
    ),
    _prior(
        "constrained",
        "compose:Constrained",
        "A prior, with pixels kept within bounds",
        f"{_FGP}, equation (4.1)",
        tags="proximal analysis constraint composition",
    ),
    _prior(
        "nlm",
        "nlm:NonLocalMeans",
        "Non-local means: batched, differentiable, on any device",
        "Buades, Coll, Morel, 2011, Non-local means denoising, IPOL 1, equations (1)-(3)",
        tags="denoiser",
    ),
    _prior(
        "bm3d",
        "arrays:BM3D",
        "Block matching and 3-D filtering, from its authors' package",
        "Dabov, Foi, Katkovnik, Egiazarian, 2007, IEEE TIP 16(8)",
        tags="denoiser",
        extra="bm3d",
    ),
    _prior(
        "skimage_tv",
        "arrays:SkimageTV",
        "Total variation denoising by scikit-image",
        "Chambolle, 2004, An algorithm for total variation minimization, JMIV 20",
        tags="denoiser",
        extra="skimage",
    ),
    _prior(
        "skimage_nlm",
        "arrays:SkimageNLM",
        "Non-local means by scikit-image",
        "Buades, Coll, Morel, 2005, A non-local algorithm for image denoising, CVPR",
        tags="denoiser",
        extra="skimage",
    ),
    _prior(
        "callable_denoiser",
        "functions:CallableDenoiser",
        "Any function f(v, sigma) on tensors or arrays, given from Python",
        "Venkatakrishnan et al., 2013, Plug-and-play priors, IEEE GlobalSIP",
        tags="denoiser adapter",
    ),
    _prior(
        "network_denoiser",
        "functions:NetworkDenoiser",
        "Any denoising nn.Module, with or without a noise level, given from Python",
        "Zhang, Zuo, Zhang, 2018, FFDNet, IEEE TIP 27(9), section III (the noise map)",
        tags="denoiser adapter",
    ),
    _prior(
        "prox_denoiser",
        "functions:ProxDenoiser",
        "The proximal map of a prior, such as tv, as a denoiser",
        "Rudin, Osher, Fatemi, 1992, Physica D 60",
        tags="denoiser adapter",
    ),
    _prior(
        "generator",
        "generator:NetworkGenerator",
        "Any nn.Module from codes to pictures (VAE decoder, GAN), given from Python",
        "Bora et al., 2017, Compressed sensing using generative models, section 2",
        tags="generative adapter",
    ),
    _prior(
        "denoiser_prox",
        "wellposed.prior:DenoiserAsProx",
        "A denoiser in the place of a proximal map",
        "Venkatakrishnan et al., 2013, Plug-and-play priors, IEEE GlobalSIP, section III",
        tags="proximal adapter",
    ),
)


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the priors."""
    return _PRIORS


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield one example for each prior, from the function of its name.

    Not for bm3d: its package takes half a second for the smallest picture, hence minutes for the
    kit. It has tests of its own.
    """
    return tuple(
        Example(kind="prior", name=spec.name, target=f"{_HERE}.examples:{spec.name}_cases")
        for spec in _PRIORS
        if spec.name != "bm3d"
    )
