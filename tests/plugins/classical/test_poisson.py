"""Photon counts: Richardson-Lucy and the primal-dual method against each other and by hand."""

import pytest
import torch
from wellposed import Identity, Problem, Space
from wellposed.errors import IncompatibleError, ParameterError
from wellposed.plugins.classical.admm import Admm
from wellposed.plugins.classical.pdhg import Pdhg
from wellposed.plugins.classical.richardson_lucy import RichardsonLucy
from wellposed.plugins.classical.toys import Dense
from wellposed.registry import default_registry

F64 = torch.float64


def counts(rows: int = 16, *, gain: float = 40.0):
    """Return a non-negative dense problem with Poisson data."""
    generator = torch.Generator().manual_seed(3)
    matrix = torch.rand(2, rows, 6, dtype=F64, generator=generator)
    matrix = matrix + 4 * torch.eye(rows, 6, dtype=F64)
    op = Dense(matrix=matrix, in_shape=(1, 2, 3))
    noise = default_registry().load("noise", "poisson")(gain=gain)
    truth = 1 + torch.rand(2, 1, 2, 3, dtype=F64, generator=generator)
    return op, noise, noise.sample(op(truth), generator)


def test_richardson_lucy_by_hand() -> None:
    op, _, y = counts()
    x = RichardsonLucy(max_steps=5, tolerance=0.0).solve(Problem(operator=op, measurement=y)).image
    for i in range(2):
        a, b = op.matrix[i].numpy(), y[i].flatten().numpy()
        z = b.sum() / a.sum() + 0 * a[0]
        for _ in range(5):
            z = z * (a.T @ (b / (a @ z))) / a.sum(0)
        torch.testing.assert_close(x[i].flatten(), torch.from_numpy(z))


def test_pdhg_finds_the_maximum_likelihood_that_richardson_lucy_finds(worst) -> None:
    op, noise, y = counts()
    problem = Problem(operator=op, measurement=y, noise=noise)
    slow = RichardsonLucy(max_steps=3000, tolerance=1e-10).solve(problem).image
    bound = default_registry().load("prior", "nonnegative")()
    both = Problem(operator=op, measurement=y, noise=noise, prior=bound)
    fast = Pdhg(max_steps=5000, tolerance=1e-9).solve(both).image
    assert worst(fast, slow) < 1e-6
    assert (problem.data_value(fast) <= problem.data_value(slow) + 1e-9).all()


def test_pdhg_meets_the_optimality_conditions_of_poisson_with_an_l1_norm() -> None:
    op, noise, y = counts()
    l1 = default_registry().load("prior", "l1")(weight=30.0)
    problem = Problem(operator=op, measurement=y, noise=noise, prior=l1)
    x = Pdhg(max_steps=8000, tolerance=1e-10).solve(problem).image
    slope = problem.data_grad(x)
    away = x.abs() > 1e-6
    assert away.any()
    torch.testing.assert_close(slope[away], -30.0 * x[away].sign(), rtol=1e-5, atol=0)
    assert slope.abs().max() <= 30.0 * (1 + 1e-5)


def test_a_negative_measurement_is_an_error() -> None:
    op = Identity(Space((1, 1, 3), F64))
    y = torch.tensor([[[1.0, 2.0, -0.5]]], dtype=F64)
    with pytest.raises(ParameterError, match=r"1 of 3 values are negative.*clamp_min"):
        RichardsonLucy().solve(Problem(operator=op, measurement=y))
    # What an FFT leaves below zero is rounding.
    nearly = torch.tensor([[[1.0, 2.0, -1e-7]]], dtype=F64)
    found = RichardsonLucy().solve(Problem(operator=op, measurement=nearly)).image
    assert found.min() >= 0


def test_an_operator_with_negative_weights_is_an_error() -> None:
    op = Dense(matrix=-torch.eye(3, dtype=F64), in_shape=(1, 1, 3))
    y = torch.ones(1, 1, 3, dtype=F64)
    with pytest.raises(IncompatibleError, match="non-negative weights"):
        RichardsonLucy().solve(Problem(operator=op, measurement=y))


def test_a_complex_operator_is_an_error() -> None:
    op = Identity(Space((1, 1, 3), torch.complex128))
    y = torch.ones(1, 1, 3, dtype=torch.complex128)
    with pytest.raises(IncompatibleError, match=r"complex\. Take cg"):
        RichardsonLucy().solve(Problem(operator=op, measurement=y))


def test_pixels_that_nothing_measures_are_kept() -> None:
    matrix = torch.tensor([[1.0, 0.0], [0.5, 0.0]], dtype=F64)
    op = Dense(matrix=matrix, in_shape=(1, 1, 2))
    start = torch.tensor([[[0.3, 0.7]]], dtype=F64)
    y = op(torch.tensor([[[2.0, 9.0]]], dtype=F64))
    found = RichardsonLucy().solve(Problem(operator=op, measurement=y, initial=start)).image
    torch.testing.assert_close(found, torch.tensor([[[2.0, 0.7]]], dtype=F64))


@pytest.mark.parametrize("factor", [1e-6, 1e6])
@pytest.mark.parametrize("tv", [0.0, 0.02])
def test_richardson_lucy_follows_the_scale_of_the_data_and_of_the_operator(
    factor, tv, worst
) -> None:
    op, _, y = counts()
    solver = RichardsonLucy(tv=tv, tolerance=0.0)
    one = solver.solve(Problem(operator=op, measurement=y)).image
    brighter = solver.solve(Problem(operator=op, measurement=factor * y)).image
    assert worst(brighter, factor * one) < 1e-10
    stronger = solver.solve(Problem(operator=factor * op, measurement=y)).image
    assert worst(stronger, one / factor) < 1e-10


def test_tv_flattens() -> None:
    op = Identity(Space((1, 8, 8), F64))
    y = 1 + 0.2 * torch.rand(1, 8, 8, dtype=F64, generator=torch.Generator().manual_seed(0))
    rough, smooth = (
        RichardsonLucy(tv=tv, max_steps=100).solve(Problem(operator=op, measurement=y)).image
        for tv in (0.0, 0.1)
    )
    assert smooth.std() < 0.8 * rough.std()
    assert abs(float(smooth.mean() / rough.mean()) - 1) < 0.01


def test_solvers_of_the_gaussian_data_term_refuse_counts() -> None:
    op, noise, y = counts()
    prior = default_registry().load("prior", "l1")(weight=1.0)
    with pytest.raises(IncompatibleError, match="any data term"):
        Admm().solve(Problem(operator=op, measurement=y, noise=noise, prior=prior))
