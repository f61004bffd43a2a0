"""Manifest of the classical solvers that ship with wellposed."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry import ComponentSpec, Example, hookimpl

_HERE = "wellposed.plugins.classical"

# name, target, summary, source
_SOLVERS = (
    (
        "interpolation",
        "interpolation:Interpolation",
        "The operator's own estimate, bicubic for sampling operators: the baseline",
        "Keys, 1981, Cubic convolution interpolation for digital image processing, IEEE TASSP",
    ),
    (
        "adjoint",
        "interpolation:AdjointSolver",
        "The adjoint alone: back-projection, zero filling",
        "North, 1963, An analysis of the factors which determine signal/noise discrimination",
    ),
    (
        "pseudo_inverse",
        "pseudo_inverse:PseudoInverse",
        "The least-squares solution of least norm; closed form where there is one",
        "Penrose, 1956, On best approximate solutions of linear matrix equations",
    ),
    (
        "wiener",
        "wiener:Wiener",
        "Wiener deconvolution of circular blurs, with or without a stride",
        "Wiener, 1949; Gonzalez and Woods, Digital image processing",
    ),
    (
        "tikhonov",
        "tikhonov:Tikhonov",
        "Least squares with a quadratic penalty, whose weight is found if not given",
        "Tikhonov, 1963; Golub, Heath and Wahba, 1979, for the weight",
    ),
    (
        "cg",
        "cgls:Cgls",
        "Least squares by conjugate gradients (CGLS), with damping or early stopping",
        "Bjorck, 1996, Numerical methods for least squares problems, algorithm 7.4.1",
    ),
    (
        "lsqr",
        "lsqr:Lsqr",
        "Least squares by bidiagonalisation (LSQR), with damping",
        "Paige and Saunders, 1982, LSQR, ACM TOMS 8(1)",
    ),
    (
        "gradient_descent",
        "gradient_descent:GradientDescent",
        "Landweber's iteration, with or without a smooth prior",
        "Landweber, 1951, An iteration formula for Fredholm integral equations",
    ),
    (
        "ista",
        "ista:Ista",
        "Proximal gradient descent",
        "Daubechies, Defrise and De Mol, 2004, CPAM 57(11)",
    ),
    (
        "fista",
        "fista:Fista",
        "Accelerated proximal gradient descent with restarts and automatic steps",
        "Beck and Teboulle, 2009, SIAM J. Imaging Sci. 2(1), equations (4.1)-(4.3)",
    ),
    (
        "admm",
        "admm:Admm",
        "Alternating directions, with closed steps where the operator allows them",
        "Boyd et al., 2011, Distributed optimization and statistical learning via ADMM",
    ),
    (
        "hqs",
        "hqs:Hqs",
        "Half-quadratic splitting with a growing penalty, also for non-convex priors",
        "Geman and Yang, 1995, IEEE TIP 4(7); Krishnan and Fergus, 2009, algorithm 1",
    ),
    (
        "pdhg",
        "pdhg:Pdhg",
        "Primal-dual hybrid gradient, for any noise model, without linear systems",
        "Chambolle and Pock, 2011, A first-order primal-dual algorithm, algorithm 1",
    ),
    (
        "richardson_lucy",
        "richardson_lucy:RichardsonLucy",
        "Maximum likelihood for photon counts by multiplication, with optional total variation",
        "Richardson, 1972, JOSA 62(1); Lucy, 1974; Dey et al., 2006",
    ),
    (
        "pnp_admm",
        "pnp_admm:PnpAdmm",
        "Plug-and-play ADMM with any denoiser",
        "Venkatakrishnan et al., 2013; Chan et al., 2017, algorithm 1",
    ),
    (
        "pnp_hqs",
        "pnp_hqs:PnpHqs",
        "Plug-and-play half-quadratic splitting with a falling denoising level",
        "Zhang et al., 2021, Plug-and-play image restoration with deep denoiser prior",
    ),
    (
        "pnp_pgd",
        "pnp_pgd:PnpPgd",
        "Plug-and-play proximal gradient descent, for operators without a closed data step",
        "Kamilov, Mansour and Wohlberg, 2017, IEEE SPL 24(12), algorithm 1",
    ),
    (
        "red",
        "red:Red",
        "Regularisation by denoising",
        "Romano, Elad and Milanfar, 2017",
    ),
    (
        "fbp",
        "fbp:Fbp",
        "Filtered back-projection for tomography",
        "Kak and Slaney, 1988, Principles of computerized tomographic imaging, section 3.3",
    ),
    (
        "blind_deblurring",
        "blind_deblurring:BlindDeblurring",
        "The kernel of an unknown blur from sparse edges and a dark channel, then the picture",
        "Pan et al., 2016, Blind image deblurring using dark channel prior, CVPR",
    ),
)


@hookimpl
def wellposed_components() -> Iterable[ComponentSpec]:
    """Yield the classical solvers, and the prior of one of them."""
    for name, target, summary, source in _SOLVERS:
        yield ComponentSpec(
            kind="solver",
            name=name,
            target=f"{_HERE}.{target}",
            summary=summary,
            source=source,
            tags=("blind",) if name == "blind_deblurring" else (),
        )
    yield ComponentSpec(
        kind="prior",
        name="hyper_laplacian",
        target=f"{_HERE}.hyper_laplacian:HyperLaplacian",
        summary="Powers below one of the gradient; sharper than total variation, for hqs",
        source="Krishnan and Fergus, 2009, Fast image deconvolution using hyper-Laplacian priors",
    )


@hookimpl
def wellposed_examples() -> Iterable[Example]:
    """Yield strategies that draw tiny problems with known answers."""
    for name, *_ in _SOLVERS:
        module = "examples_blind" if name == "blind_deblurring" else "examples"
        yield Example(kind="solver", name=name, target=f"{_HERE}.{module}:{name}")
    yield Example(kind="prior", name="hyper_laplacian", target=f"{_HERE}.examples:hyper_laplacian")
