"""Problems with total variation or an l1 norm: three algorithms, one minimum, and its KKT test."""

import pytest
import torch
from wellposed import Problem, Space
from wellposed.plugins.classical.admm import Admm
from wellposed.plugins.classical.fista import Fista
from wellposed.plugins.classical.hqs import Hqs
from wellposed.plugins.classical.ista import Ista
from wellposed.plugins.classical.pdhg import Pdhg
from wellposed.plugins.classical.toys import Lasso, Ridge
from wellposed.registry import default_registry

F64 = torch.float64
LONG = {"max_steps": 2000, "tolerance": 1e-9}


def load(kind: str, name: str):
    return default_registry().load(kind, name)


def operator_named(name: str, shape: tuple[int, int, int]):
    if name == "mask":
        keep = torch.rand(shape, generator=torch.Generator().manual_seed(4)) > 0.4
        return load("operator", "mask")(in_shape=shape, mask=keep, dtype=F64)
    kernel = torch.rand(1, 1, 3, 3, dtype=F64, generator=torch.Generator().manual_seed(2))
    options = {"in_shape": shape, "kernel": kernel / kernel.sum()}
    if name == "strided_blur":
        return load("operator", "strided_blur")(stride=2, boundary="circular", **options)
    return load("operator", "blur")(boundary=name, **options)


@pytest.mark.parametrize(
    ("name", "boundary"),
    [
        ("mask", "zero"),
        ("circular", "circular"),
        ("circular", "zero"),
        ("replicate", "zero"),
        ("strided_blur", "circular"),
    ],
)
def test_admm_pdhg_and_fista_agree_on_total_variation(name, boundary) -> None:
    shape = (1, 4, 6)
    op = operator_named(name, shape)
    y = torch.rand(2, *op.out_space.shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    y = y if name != "mask" else op(y)
    tv = load("prior", "tv")(weight=0.01, boundary=boundary, tolerance=3e-6, max_steps=6000)
    problem = Problem(operator=op, measurement=y, prior=tv)
    values = []
    for solver in (Admm(**LONG), Pdhg(**LONG), Fista(tolerance=1e-7)):
        x = solver.solve(problem).image
        values.append(problem.data_value(x) + tv.value(x))
    for other in values[1:]:
        torch.testing.assert_close(other, values[0], rtol=1e-6, atol=0)


@pytest.mark.parametrize("cls", [Admm, Pdhg])
def test_the_optimality_conditions_of_an_l1_problem(make, cls) -> None:
    """With rows M x = 0 or not: A^H (A x - y) + M^H s = 0 for some |s| <= weight."""
    generator = torch.Generator().manual_seed(5)
    matrix = torch.randn(9, 12, dtype=F64, generator=generator)
    problem = make(20, prior=Lasso(matrix=matrix, weight=0.7))
    x = cls(**LONG).solve(problem).image
    slope = problem.data_grad(x).flatten(-3)
    rows = x.flatten(-3) @ matrix.T
    # The rows of M are independent, so s is determined by its pull-back.
    s = torch.linalg.lstsq(matrix.T, -slope.T).solution.T
    assert ((matrix.T @ s.T).T + slope).abs().max() < 1e-6
    assert s.abs().max() <= 0.7 * (1 + 1e-5)
    away = rows.abs() > 1e-5
    assert away.any()
    torch.testing.assert_close(s[away], 0.7 * rows[away].sign(), rtol=1e-4, atol=0)


@pytest.mark.parametrize("backtracking", [False, True])
@pytest.mark.parametrize("restart", [False, True])
def test_fista_reaches_the_lasso_that_ista_reaches(make, worst, backtracking, restart) -> None:
    l1 = load("prior", "l1")(weight=0.5)
    problem = make(20, prior=l1)
    slow = Ista(max_steps=4000, tolerance=1e-12).solve(problem)
    solver = Fista(max_steps=3000, tolerance=1e-11, backtracking=backtracking, restart=restart)
    fast = solver.solve(problem)
    assert worst(fast.image, slow.image) < 1e-8
    if restart:
        assert int(fast.steps.max()) < int(slow.steps.max())


def test_backtracking_never_asks_for_the_norm_and_stays_below_it(make) -> None:
    problem = make(20, prior=Ridge(weight=0.5))
    solver = Fista(backtracking=True, max_steps=50)
    state = solver.init(problem)
    for _ in range(50):
        state = solver.step(problem, state)
    assert (state.steepness <= 1.5 * problem.linear.norm_bound().square()).all()
    exact = torch.linalg.matrix_norm(problem.linear.matrix, 2).square()
    assert (state.steepness > 0.2 * exact).all()


@pytest.mark.parametrize("rho", [1e-3, 1.0, 1e3])
def test_admm_balances_any_first_penalty(make, worst, rho) -> None:
    matrix = torch.randn(9, 12, dtype=F64, generator=torch.Generator().manual_seed(5))
    problem = make(20, prior=Lasso(matrix=matrix, weight=0.7))
    expected = Admm(**LONG).solve(problem).image
    found = Admm(rho=rho, max_steps=400, tolerance=1e-9).solve(problem)
    assert str(found.status) == "converged"
    assert worst(found.image, expected) < 1e-6
    assert found.extras["rho"].shape == (3,)


@pytest.mark.parametrize("balance", [1e-3, 1e3])
def test_pdhg_balances_any_first_steps(make, worst, balance) -> None:
    matrix = torch.randn(9, 12, dtype=F64, generator=torch.Generator().manual_seed(5))
    problem = make(20, prior=Lasso(matrix=matrix, weight=0.7))
    expected = Admm(**LONG).solve(problem).image
    found = Pdhg(balance=balance, max_steps=4000, tolerance=1e-9).solve(problem)
    assert worst(found.image, expected) < 1e-6


def test_hqs_ends_near_the_minimum_and_below_it_never(make) -> None:
    shape = (1, 8, 8)
    op = operator_named("circular", shape)
    y = torch.rand(2, *shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    tv = load("prior", "tv")(weight=0.02, boundary="circular")
    problem = Problem(operator=op, measurement=y, prior=tv)

    def value(x):
        return problem.data_value(x) + tv.value(x)

    least = value(Admm(**LONG).solve(problem).image)
    found = value(Hqs(max_steps=200, continuation=200).solve(problem).image)
    assert (found >= least * (1 - 1e-8)).all()
    assert (found <= least * 1.02).all()


@pytest.mark.parametrize("cls", [Admm, Pdhg, Hqs, Fista])
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scaling_measurement_and_weight_scales_the_picture(cls, factor, worst) -> None:
    """TV is homogeneous of degree one, the data term of degree two."""
    shape = (1, 6, 5)
    op = operator_named("circular", shape)
    y = torch.rand(2, *shape, dtype=F64, generator=torch.Generator().manual_seed(1))
    solver = cls(max_steps=30, tolerance=0.0)
    tv = load("prior", "tv")
    one = solver.solve(Problem(operator=op, measurement=y, prior=tv(weight=0.05))).image
    scaled = Problem(operator=op, measurement=factor * y, prior=tv(weight=0.05 * factor))
    assert worst(solver.solve(scaled).image, factor * one) < 1e-7


def test_a_constrained_prior_keeps_its_bounds(make) -> None:
    shape = (1, 6, 6)
    op = operator_named("circular", shape)
    y = 2 * torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(1)) - 0.5
    inside = load("prior", "constrained")(prior=load("prior", "tv")(weight=0.01))
    problem = Problem(operator=op, measurement=y, prior=inside)
    for solver in (Admm(**LONG), Pdhg(**LONG)):
        x = solver.solve(problem).image
        assert -1e-6 < x.min() < 1e-6
        assert 1 - 1e-6 < x.max() < 1 + 1e-6


def test_operators_and_samples_that_are_zero(make) -> None:
    """A = 0 leaves the prior's own minimum, zero; y = 0 gives x = 0."""
    from wellposed.plugins.classical.toys import Dense

    op = Dense(matrix=torch.zeros(4, 6, dtype=F64), in_shape=(1, 2, 3))
    y = torch.randn(2, 1, 1, 4, dtype=F64)
    for solver in (Admm(), Pdhg(), Fista(), Ista(), Hqs()):
        found = solver.solve(Problem(operator=op, measurement=y, prior=Ridge(weight=1.0)))
        assert found.image.abs().max() == 0
        assert str(found.status) == "converged"


def test_spaces_without_batch_agree_with_batches(make, worst) -> None:
    problem = make(14, batch=(), per_sample=False, prior=Ridge(weight=0.3))
    many = Problem(
        operator=problem.operator,
        measurement=problem.measurement.expand(2, 3, 1, 1, 14).contiguous(),
        prior=problem.prior,
    )
    for solver in (Admm(), Pdhg(), Fista(), Ista(), Hqs()):
        one, six = solver.solve(problem), solver.solve(many)
        assert one.image.shape == (1, 4, 3)
        assert six.image.shape == (2, 3, 1, 4, 3)
        assert worst(six.image, one.image.expand_as(six.image)) < 1e-12
        assert Space((1, 4, 3), F64).batch_of(six.image) == tuple(six.steps.shape)


def drawn_blur() -> tuple:
    op = operator_named("replicate", (1, 6, 5))
    generator = torch.Generator().manual_seed(7)
    x = torch.rand(2, 1, 6, 5, dtype=F64, generator=generator)
    return op, x, op(x) + 0.02 * torch.randn(x.shape, dtype=F64, generator=generator)


@pytest.mark.parametrize("relaxation", [1.0, 1.6])
@pytest.mark.parametrize("prior", ["zero", "box"])
def test_admm_does_not_end_before_an_idle_prior_has_let_it_go(prior, relaxation) -> None:
    """Nothing exceeds the bounds, so that the multipliers are zero from the first step on."""
    op, x, _ = drawn_blur()
    idle = load("prior", prior)(**({"lower": -9.0, "upper": 9.0} if prior == "box" else {}))
    problem = Problem(operator=op, measurement=op(x), prior=idle, initial=torch.zeros_like(x))
    solution = Admm(relaxation=relaxation).solve(problem)
    assert solution.status.name == "CONVERGED"
    slope = op.in_space.norm(problem.data_grad(solution.image))
    assert bool((slope < 1e-4 * op.in_space.norm(op.H(op(x)))).all())


@pytest.mark.parametrize("scale", [1e-3, 1e3])
@pytest.mark.parametrize("prior", ["tv", "l1", "nonnegative"])
@pytest.mark.parametrize("cls", [Admm, Fista, Pdhg, Hqs, Ista])
def test_the_unit_of_operator_and_measurement_drops_out(cls, prior, scale) -> None:
    op, _, y = drawn_blur()

    def solved(s: float):
        weight = {} if prior == "nonnegative" else {"weight": 0.01 * s**2}
        penalty = load("prior", prior)(**weight)
        problem = Problem(operator=s * op, measurement=s * y, prior=penalty)
        return cls(tolerance=0.0, max_steps=20).solve(problem).image

    torch.testing.assert_close(solved(scale), solved(1.0), rtol=1e-6, atol=1e-8)


def test_the_unit_of_counts_drops_out_of_pdhg() -> None:
    op, x, _ = drawn_blur()
    counts = torch.poisson(100 * op(x), torch.Generator().manual_seed(3)) / 100
    tv = load("prior", "tv")(weight=0.01)

    def solved(s: float):
        noise = load("noise", "poisson")(gain=100 / s)
        problem = Problem(operator=op, measurement=s * counts, prior=tv, noise=noise)
        return Pdhg(tolerance=0.0, max_steps=50).solve(problem).image / s

    torch.testing.assert_close(solved(1e3), solved(1.0), rtol=1e-6, atol=1e-8)
