"""Least squares against numpy and scipy: full rank, deficient, damped, masked, with a start."""

import numpy as np
import pytest
import scipy.sparse.linalg
import torch
from wellposed import Identity, Problem, Space
from wellposed.plugins.classical.cgls import Cgls
from wellposed.plugins.classical.fourier import SpectralFilter
from wellposed.plugins.classical.lsqr import Lsqr
from wellposed.plugins.classical.pseudo_inverse import PseudoInverse
from wellposed.plugins.classical.toys import Dense
from wellposed.registry import default_registry


@pytest.mark.parametrize("solver", [Cgls(tolerance=1e-13), Lsqr(tolerance=1e-13)])
@pytest.mark.parametrize("rows", [7, 12, 20])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_the_solution_of_least_norm(make, worst, solver, rows, dtype) -> None:
    problem = make(rows, dtype=dtype)
    found = solver.solve(problem)
    expected = torch.linalg.pinv(problem.linear.matrix) @ problem.measurement.flatten(-3)[..., None]
    assert worst(found.image, expected.reshape(found.image.shape)) < 1e-10
    assert str(found.status) == "converged"


@pytest.mark.parametrize("cls", [Cgls, Lsqr, PseudoInverse])
def test_a_deficient_matrix_has_a_solution_of_least_norm(make, worst, cls) -> None:
    problem = make(14, per_sample=False)
    matrix = problem.linear.matrix.clone()
    matrix[:, 6:] = matrix[:, :6]
    problem = Problem(
        operator=Dense(matrix=matrix, in_shape=(1, 4, 3)), measurement=problem.measurement
    )
    expected = torch.linalg.pinv(matrix) @ problem.measurement.flatten(-3)[..., None]
    found = cls(tolerance=1e-12).solve(problem).image
    assert worst(found, expected.reshape(found.shape)) < 1e-9


@pytest.mark.parametrize("steps", [1, 3, 6])
def test_lsqr_walks_as_scipy_does(make, steps) -> None:
    problem = make(14, batch=(1,), seed=3)
    found = Lsqr(max_steps=steps, tolerance=0.0, damp=0.3).solve(problem).image
    matrix, y = problem.linear.matrix[0].numpy(), problem.measurement.flatten().numpy()
    expected = scipy.sparse.linalg.lsqr(matrix, y, damp=0.3, atol=0, btol=0, iter_lim=steps)[0]
    np.testing.assert_allclose(found.flatten().numpy(), expected, rtol=1e-10)


def test_cg_starts_where_it_is_told_and_ends_at_the_same_place(make, worst) -> None:
    problem = make(20)
    start = torch.ones(3, 1, 4, 3, dtype=torch.float64)
    begun = Problem(operator=problem.operator, measurement=problem.measurement, initial=start)
    for solver in (Cgls(damp=0.2, tolerance=1e-12), Lsqr(tolerance=1e-12)):
        plain = solver.solve(problem).image
        assert worst(solver.solve(begun).image, plain) < 1e-9


@pytest.mark.parametrize("cls", [Cgls, Lsqr])
def test_a_start_far_from_an_answer_of_zero_is_left(make, cls) -> None:
    """With A^H y = 0 there is nothing but the start to measure the residual by."""
    problem = make(20)
    start = torch.ones(*problem.batch, *problem.image_space.shape, dtype=torch.float64)
    zero = torch.zeros_like(problem.measurement)
    found = cls(tolerance=1e-10).solve(
        Problem(operator=problem.operator, measurement=zero, initial=start)
    )
    assert str(found.status) == "converged"
    assert float(found.image.abs().max()) < 1e-8


@pytest.mark.parametrize("cls", [Cgls, Lsqr])
def test_a_start_at_the_answer_stays_there(make, worst, cls) -> None:
    """Of a deficient matrix: what is left of the residual is rounding, and no scale for it."""
    matrix = make(14, per_sample=False).linear.matrix.clone()
    matrix[:, 3:] = matrix[:, :3].repeat(1, 3)
    y = make(14, per_sample=False).measurement
    best = (torch.linalg.pinv(matrix) @ y.flatten(-3)[..., None]).reshape(*y.shape[:-3], 1, 4, 3)
    problem = Problem(
        operator=Dense(matrix=matrix, in_shape=(1, 4, 3)), measurement=y, initial=best
    )
    found = cls(tolerance=1e-10).solve(problem)
    assert str(found.status) == "converged" and int(found.steps.max()) == 1
    assert worst(found.image, best) < 1e-12


def test_the_inverse_of_a_mask_leaves_what_is_not_seen_at_zero() -> None:
    mask_of = default_registry().load("operator", "mask")
    weights = torch.tensor([[2.0, 0.0, 1e-200, -0.5]], dtype=torch.float64)
    op = mask_of(in_shape=(1, 1, 4), mask=weights, dtype=torch.float64)
    truth = torch.tensor([[[1.0, 2.0, 3.0, 4.0]]], dtype=torch.float64)
    found = PseudoInverse().solve(Problem(operator=op, measurement=op(truth)))
    # (1e-200)^2 underflows: what cannot be told from zero measures nothing.
    torch.testing.assert_close(found.image, torch.tensor([[[1.0, 0, 0, 4]]], dtype=torch.float64))
    assert str(found.status) == "direct"


def test_tiny_weights_are_no_zeros() -> None:
    mask_of = default_registry().load("operator", "mask")
    weights = torch.tensor([[1.0, 1e-9]], dtype=torch.float64)
    op = mask_of(in_shape=(1, 1, 2), mask=weights, dtype=torch.float64)
    truth = torch.tensor([[[1.0, 2.0]]], dtype=torch.float64)
    found = PseudoInverse().solve(Problem(operator=op, measurement=op(truth)))
    torch.testing.assert_close(found.image, truth)


@pytest.mark.parametrize("shape", [(1, 4, 4), (2, 5, 3), (1, 1, 6)])
def test_the_inverse_in_the_fourier_domain(shape, worst) -> None:
    generator = torch.Generator().manual_seed(1)
    response = torch.fft.fft2(torch.rand(shape[1:], dtype=torch.float64, generator=generator)).abs()
    response[0, 0] = 0
    op = SpectralFilter(response=response, space=Space(shape, torch.float64))
    y = torch.randn(2, *shape, dtype=torch.float64, generator=generator)
    matrix = op.as_matrix()
    expected = torch.linalg.pinv(matrix, rtol=1e-8) @ y.flatten(-3)[..., None]
    found = PseudoInverse().solve(Problem(operator=op, measurement=y))
    assert worst(found.image, expected.reshape(y.shape)) < 1e-10


def test_rtol_drops_what_is_weak() -> None:
    response = torch.tensor([[1.0, 0.01, 0.5, 0.01]], dtype=torch.float64)
    op = SpectralFilter(response=response, space=Space((1, 1, 4), torch.float64))
    y = op(torch.randn(1, 1, 4, dtype=torch.float64))
    found = torch.fft.fft2(PseudoInverse(rtol=0.1).solve(Problem(operator=op, measurement=y)).image)
    assert found[0, 0, 1].abs() < 1e-12
    assert found[0, 0, 0].abs() > 1e-3


def test_an_isometry_and_the_identity() -> None:
    space = Space((1, 2, 3), torch.float64)
    y = torch.randn(2, 1, 2, 3, dtype=torch.float64)
    for op in (Identity(space), 2.0 * Identity(space)):
        found = PseudoInverse().solve(Problem(operator=op, measurement=op(y)))
        torch.testing.assert_close(found.image, y)
