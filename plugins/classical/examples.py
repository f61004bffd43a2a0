"""Tiny problems whose solutions are dense linear algebra, one strategy per solver."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from hypothesis import strategies as st
from torch import Tensor
from wellposed import ForwardOperator, Prior, Problem, Solver, Space
from wellposed.testing import PriorCase, SolverCase

from .admm import Admm
from .cgls import Cgls
from .fbp import Fbp
from .fista import Fista
from .fourier import SpectralFilter
from .gradient_descent import GradientDescent
from .hqs import Hqs
from .hyper_laplacian import HyperLaplacian
from .interpolation import AdjointSolver, Interpolation
from .ista import Ista
from .lsqr import Lsqr
from .pdhg import Pdhg
from .pnp_admm import PnpAdmm
from .pnp_hqs import PnpHqs
from .pnp_pgd import PnpPgd
from .pseudo_inverse import PseudoInverse
from .red import Red
from .richardson_lucy import RichardsonLucy
from .tikhonov import Tikhonov
from .toys import BackProjector, Dense, Lasso, Ridge, Shrinkage
from .wiener import Wiener

__all__ = [
    "adjoint",
    "admm",
    "cg",
    "fbp",
    "fista",
    "gradient_descent",
    "hqs",
    "hyper_laplacian",
    "interpolation",
    "ista",
    "lsqr",
    "pdhg",
    "pnp_admm",
    "pnp_hqs",
    "pnp_pgd",
    "pseudo_inverse",
    "red",
    "richardson_lucy",
    "tikhonov",
    "wiener",
]

_WEIGHT = 0.5
_SIGMA = 0.5


@attrs.frozen(eq=False, kw_only=True)
class Drawn:
    """A dense operator with singular values between 0.5 and 2, and a measurement."""

    op: Dense
    y: Tensor

    @property
    def top(self) -> Tensor:
        """Return the bound of |A|^2 that solvers see, for each sample."""
        return self.op.norm_bound().square()

    def ridge(self, weight: Tensor | float, penalty: Tensor | None = None) -> Tensor:
        """Return `(A^H A + weight P)^-1 A^H y`, with P = I if not given."""
        matrix = self.op.matrix
        eye = torch.eye(matrix.shape[-1], dtype=matrix.dtype) if penalty is None else penalty
        weight = torch.as_tensor(weight, dtype=torch.float64)[..., None, None]
        return self._shaped(
            torch.linalg.solve(matrix.mH @ matrix + weight * eye, matrix.mH @ self._column)
        )

    def least_squares(self) -> Tensor:
        """Return `A^+ y`."""
        return self._shaped(torch.linalg.pinv(self.op.matrix) @ self._column)

    @property
    def _column(self) -> Tensor:
        return self.y.flatten(-3).unsqueeze(-1)

    def _shaped(self, column: Tensor) -> Tensor:
        x: Tensor = column.squeeze(-1).unflatten(-1, self.op.in_shape)
        return x

    def case(
        self, solver: Solver, expected: Tensor | None, prior: Prior | None = None
    ) -> SolverCase:
        """Return the case of a solver on this problem."""
        problem = Problem(operator=self.op, measurement=self.y, prior=prior)
        return SolverCase(solver=solver, problem=problem, expected=expected)


def _draw(
    shape: tuple[int, int, int], batch: tuple[int, ...], rows: int, seed: int, kind: str
) -> Drawn:
    generator = torch.Generator().manual_seed(seed)
    dtype = torch.complex128 if kind == "complex" else torch.float64
    per_sample = batch[-1:] if kind == "per_sample" else ()
    columns = shape[0] * shape[1] * shape[2]

    matrix = _conditioned(rows, columns, dtype, generator, per_sample)
    y = torch.randn(*batch, 1, 1, rows, dtype=dtype, generator=generator)
    return Drawn(op=Dense(matrix=matrix, in_shape=shape), y=y)


def _conditioned(
    rows: int,
    columns: int,
    dtype: torch.dtype,
    generator: torch.Generator,
    batch: tuple[int, ...] = (),
) -> Tensor:
    """Return a random matrix with singular values between 0.5 and 2."""
    start = torch.randn(*batch, rows, columns, dtype=dtype, generator=generator)
    u, _, v = torch.linalg.svd(start, full_matrices=False)
    values = 0.5 + 1.5 * torch.rand(u.shape[-1], dtype=torch.float64, generator=generator)
    matrix: Tensor = (u * values) @ v
    return matrix


def _drawn(*, real: bool = False) -> st.SearchStrategy[Drawn]:
    sizes = st.integers(1, 4)
    kinds = ["plain", "per_sample"] if real else ["plain", "per_sample", "complex"]
    return st.builds(
        _draw,
        shape=st.tuples(st.integers(1, 2), sizes, sizes),
        batch=st.sampled_from([(), (1,), (3,), (4,), (2, 3)]),
        rows=st.integers(1, 12),
        seed=st.integers(0, 2**16),
        kind=st.sampled_from(kinds),
    )


def _cases(make: Callable[[Drawn], SolverCase], **options: bool) -> st.SearchStrategy[SolverCase]:
    return _drawn(**options).map(make)


def interpolation() -> st.SearchStrategy[SolverCase]:
    """The scaled adjoint, for an operator without an estimate of its own."""
    return _cases(lambda d: d.case(Interpolation(), _scaled_adjoint(d)))


def _scaled_adjoint(drawn: Drawn) -> Tensor:
    back = drawn.op._adjoint(drawn.y)
    again = drawn.op._apply(back)
    size = torch.linalg.vector_norm(back, dim=(-3, -2, -1), keepdim=True).square()
    seen = torch.linalg.vector_norm(again, dim=(-3, -2, -1), keepdim=True).square()
    x: Tensor = back * size / seen
    return x


def adjoint() -> st.SearchStrategy[SolverCase]:
    """The adjoint."""
    return _cases(lambda d: d.case(AdjointSolver(), d.op._adjoint(d.y)))


def pseudo_inverse() -> st.SearchStrategy[SolverCase]:
    """The least-squares solution of least norm, of wide and tall matrices."""
    solver = PseudoInverse(tolerance=1e-11)
    return _cases(lambda d: d.case(solver, d.least_squares()))


def wiener() -> st.SearchStrategy[SolverCase]:
    """A circular filter of random response, and a flat spectrum."""

    def make(shape: tuple[int, int, int], batch: tuple[int, ...], seed: int) -> SolverCase:
        generator = torch.Generator().manual_seed(seed)
        kernel = torch.randn(shape[1:], dtype=torch.float64, generator=generator)
        space = Space(shape, torch.float64)
        response = torch.fft.fft2(kernel).abs()
        op = SpectralFilter(response=response, space=space)
        y = torch.randn((*batch, *shape), dtype=torch.float64, generator=generator)
        spectrum = torch.fft.fft2(y) * response / (response.square() + 0.1)
        return SolverCase(
            solver=Wiener(nsr=0.1, spectrum="flat"),
            problem=Problem(operator=op, measurement=y),
            expected=torch.fft.ifft2(spectrum).real,
        )

    sizes = st.integers(1, 6)
    return st.builds(
        make,
        shape=st.tuples(st.integers(1, 2), sizes, sizes),
        batch=st.sampled_from([(), (1,), (3,)]),
        seed=st.integers(0, 2**16),
    )


def tikhonov() -> st.SearchStrategy[SolverCase]:
    """A penalty on the picture, or on its gradient."""

    def make(drawn: Drawn, on_gradient: bool) -> SolverCase:
        if not on_gradient:
            solver = Tikhonov(weight=_WEIGHT, penalty="identity")
            return drawn.case(solver, drawn.ridge(_WEIGHT))
        penalty = _gradient_gram(drawn.op.in_shape).to(drawn.op.matrix.dtype)
        penalty = penalty + 8e-6 * torch.eye(penalty.shape[0])
        case = drawn.case(Tikhonov(weight=_WEIGHT), drawn.ridge(_WEIGHT, penalty))
        # Constants that A hardly sees are held by the ground alone.
        return attrs.evolve(case, rtol=1e-3)

    return st.builds(make, _drawn(), st.booleans())


def _gradient_gram(shape: tuple[int, ...]) -> Tensor:
    """Return `L^T L` for differences inside the picture, one link at a time."""
    gram = torch.zeros(shape + shape, dtype=torch.float64)
    channels, height, width = shape
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                for k, m in ((i + 1, j), (i, j + 1)):
                    if k < height and m < width:
                        gram[c, i, j, c, i, j] += 1
                        gram[c, k, m, c, k, m] += 1
                        gram[c, i, j, c, k, m] -= 1
                        gram[c, k, m, c, i, j] -= 1
    size = channels * height * width
    return gram.reshape(size, size)


def cg() -> st.SearchStrategy[SolverCase]:
    """Damped least squares."""
    solver = Cgls(damp=_WEIGHT**0.5, tolerance=1e-11)
    return _cases(lambda d: d.case(solver, d.ridge(_WEIGHT)))


def lsqr() -> st.SearchStrategy[SolverCase]:
    """Damped least squares."""
    solver = Lsqr(damp=_WEIGHT**0.5, tolerance=1e-11)
    return _cases(lambda d: d.case(solver, d.ridge(_WEIGHT)))


def _ridge_by(solver: Solver) -> st.SearchStrategy[SolverCase]:
    prior = Ridge(weight=_WEIGHT)
    return _cases(lambda d: d.case(solver, d.ridge(_WEIGHT), prior))


def gradient_descent() -> st.SearchStrategy[SolverCase]:
    """A quadratic penalty by its gradient."""
    return _ridge_by(GradientDescent(tolerance=1e-9))


def ista() -> st.SearchStrategy[SolverCase]:
    """A quadratic penalty by its proximal map."""
    return _ridge_by(Ista(tolerance=1e-9))


def fista() -> st.SearchStrategy[SolverCase]:
    """A quadratic penalty by its proximal map, with both kinds of step."""
    return st.booleans().flatmap(lambda b: _ridge_by(Fista(tolerance=1e-9, backtracking=b)))


def _analysed_by(solver: Solver) -> st.SearchStrategy[SolverCase]:
    """A quadratic penalty behind a dense operator, or by its proximal map."""

    def make(drawn: Drawn, seed: int) -> SolverCase:
        size = drawn.op.matrix.shape[-1]
        generator = torch.Generator().manual_seed(seed)
        matrix = _conditioned(size, size, drawn.op.matrix.dtype, generator)
        prior = Lasso(matrix=matrix, weight=_WEIGHT, square=True)
        return drawn.case(solver, drawn.ridge(_WEIGHT, matrix.mH @ matrix), prior)

    return st.one_of(_ridge_by(solver), st.builds(make, _drawn(), st.integers(0, 2**16)))


def admm() -> st.SearchStrategy[SolverCase]:
    """A quadratic penalty, by its proximal map and behind an operator."""
    return _analysed_by(Admm(tolerance=1e-9, max_steps=500))


def pdhg() -> st.SearchStrategy[SolverCase]:
    """A quadratic penalty, by its proximal map and behind an operator."""
    return _analysed_by(Pdhg(tolerance=1e-8, max_steps=2000))


def hqs() -> st.SearchStrategy[SolverCase]:
    """The minimiser at the last penalty, of the copy that the penalty ties to the picture."""
    solver = Hqs(first=0.1, last=1.0, continuation=5, tolerance=1e-10, max_steps=500)

    def make(drawn: Drawn) -> SolverCase:
        rho = solver.last * drawn.top
        x = drawn.ridge(_WEIGHT * rho / (_WEIGHT + rho))
        # The loop ends on a proximal map and a linear solve: the copy lags by half a step.
        z = x * (rho / (_WEIGHT + rho))[..., None, None, None]
        return drawn.case(solver, z, Ridge(weight=_WEIGHT))

    return _cases(make)


def richardson_lucy() -> st.SearchStrategy[SolverCase]:
    """A positive diagonal, which one step inverts."""

    def make(drawn: Drawn) -> SolverCase:
        size = drawn.op.matrix.shape[-1]
        diagonal = 0.5 + drawn.op.matrix.abs().amax(-2)
        op = Dense(matrix=torch.diag_embed(diagonal), in_shape=drawn.op.in_shape)
        batch = drawn.y.shape[:-3]
        generator = torch.Generator().manual_seed(size)
        truth = torch.rand((*batch, *drawn.op.in_shape), dtype=torch.float64, generator=generator)
        problem = Problem(operator=op, measurement=op._apply(truth))
        return SolverCase(solver=RichardsonLucy(), problem=problem, expected=truth)

    return _cases(make, real=True)


def pnp_admm() -> st.SearchStrategy[SolverCase]:
    """Shrinkage is the proximal map of half the squared norm."""
    solver = PnpAdmm(
        sigma=1.0, shrink=1.0, noise_sigma=_SIGMA, weight=1.0, tolerance=1e-9, max_steps=500
    )
    return _cases(lambda d: d.case(solver, d.ridge(_SIGMA**2), Shrinkage()))


def pnp_hqs() -> st.SearchStrategy[SolverCase]:
    """The same schedule, step by step, by dense solves."""
    solver = PnpHqs(sigma=1.0, last_sigma=0.25, noise_sigma=_SIGMA, weight=1.0, max_steps=3)

    def make(drawn: Drawn) -> SolverCase:
        z = _scaled_adjoint(drawn)
        for level in (1.0, 0.5, 0.25):
            pull = (_SIGMA / level) ** 2
            rest = Drawn(op=drawn.op, y=drawn.y - drawn.op._apply(z))
            z = (z + rest.ridge(pull)) / (1 + level**2)
        # Data steps that are iterated are solved to 1e-4.
        return attrs.evolve(drawn.case(solver, z, Shrinkage()), rtol=2e-3)

    return _cases(make)


def pnp_pgd() -> st.SearchStrategy[SolverCase]:
    """The fixed point of a gradient step and a shrinkage."""
    solver = PnpPgd(sigma=_SIGMA, tolerance=1e-9, max_steps=500)
    return _cases(lambda d: d.case(solver, d.ridge(_SIGMA**2 * d.top), Shrinkage()))


def red() -> st.SearchStrategy[SolverCase]:
    """The zero of the gradient, by both ways to it."""
    share = _SIGMA**2 / (1 + _SIGMA**2)

    def make(drawn: Drawn, method: str) -> SolverCase:
        solver = Red(
            sigma=_SIGMA,
            noise_sigma=_SIGMA,
            weight=1.0,
            method=method,
            tolerance=1e-9,
            max_steps=500,
        )
        return drawn.case(solver, drawn.ridge(share), Shrinkage())

    return st.builds(make, _drawn(), st.sampled_from(["gradient", "fixed_point"]))


def fbp() -> st.SearchStrategy[SolverCase]:
    """An operator that inverts itself."""

    def make(drawn: Drawn) -> SolverCase:
        op: ForwardOperator = BackProjector(op=drawn.op)
        problem = Problem(operator=op, measurement=drawn.y)
        return SolverCase(solver=Fbp(), problem=problem, expected=drawn.op._adjoint(drawn.y))

    return _cases(make)


def hyper_laplacian() -> st.SearchStrategy[PriorCase]:
    """Small pictures, both boundaries, several exponents."""
    sizes = st.integers(1, 6)
    return st.builds(
        lambda shape, power, boundary: PriorCase(
            prior=HyperLaplacian(weight=0.1, power=power, boundary=boundary),
            space=Space(shape, torch.float64),
            convex=False,
        ),
        shape=st.tuples(st.integers(1, 2), sizes, sizes),
        power=st.sampled_from([0.5, 2 / 3, 0.8]),
        boundary=st.sampled_from(["circular", "zero"]),
    )
