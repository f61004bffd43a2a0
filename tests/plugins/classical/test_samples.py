"""Samples are independent: a batch is a loop, also with B == W, and bad ones spoil no others."""

import attrs
import pytest
import torch
from wellposed import Identity, Problem, Space, Status
from wellposed.plugins.classical.admm import Admm
from wellposed.plugins.classical.cgls import Cgls
from wellposed.plugins.classical.fista import Fista
from wellposed.plugins.classical.gradient_descent import GradientDescent
from wellposed.plugins.classical.hqs import Hqs
from wellposed.plugins.classical.ista import Ista
from wellposed.plugins.classical.lsqr import Lsqr
from wellposed.plugins.classical.pdhg import Pdhg
from wellposed.plugins.classical.pnp_admm import PnpAdmm
from wellposed.plugins.classical.pnp_hqs import PnpHqs
from wellposed.plugins.classical.pnp_pgd import PnpPgd
from wellposed.plugins.classical.pseudo_inverse import PseudoInverse
from wellposed.plugins.classical.red import Red
from wellposed.plugins.classical.richardson_lucy import RichardsonLucy
from wellposed.plugins.classical.tikhonov import Tikhonov
from wellposed.plugins.classical.toys import Dense, Lasso, Ridge, Shrinkage

F64 = torch.float64
ANALYSIS = Lasso(
    matrix=torch.randn(9, 12, dtype=F64, generator=torch.Generator().manual_seed(5)), weight=0.7
)
CASES = [
    # Few steps: near the end of its Krylov space, rounding decides where a step goes.
    (Cgls(max_steps=6), None),
    (Lsqr(max_steps=6), None),
    (PseudoInverse(max_steps=6), None),
    (Tikhonov(), None),
    (GradientDescent(), Ridge(weight=0.5)),
    (Ista(), Ridge(weight=0.5)),
    (Fista(), Ridge(weight=0.5)),
    (Fista(backtracking=True), Ridge(weight=0.5)),
    (Admm(), ANALYSIS),
    (Admm(), Ridge(weight=0.5)),
    (Hqs(), ANALYSIS),
    (Pdhg(), ANALYSIS),
    (Pdhg(), Ridge(weight=0.5)),
    (PnpAdmm(), Shrinkage()),
    (PnpHqs(), Shrinkage()),
    (PnpPgd(), Shrinkage()),
    (Red(), Shrinkage()),
    (Red(method="gradient"), Shrinkage()),
    (RichardsonLucy(), None),
]
IDS = [type(s).__name__ + ("" if p is None else "-" + type(p).__name__) for s, p in CASES]


def problem_of(prior, batch: tuple[int, ...] = (3,)) -> Problem:
    """Return one with B == W == 3, non-negative for the sake of Richardson-Lucy."""
    generator = torch.Generator().manual_seed(11)
    matrix = torch.rand(batch[-1], 14, 12, dtype=F64, generator=generator)
    op = Dense(matrix=matrix, in_shape=(1, 4, 3))
    # A tall matrix with well separated columns, so that no solver needs many steps.
    op = attrs.evolve(op, matrix=matrix + 3 * torch.eye(14, 12, dtype=F64))
    y = torch.rand(*batch, 1, 1, 14, dtype=F64, generator=generator)
    return Problem(operator=op, measurement=y, prior=prior)


def alone(problem: Problem, i: int) -> Problem:
    op = problem.linear
    return attrs.evolve(
        problem,
        operator=attrs.evolve(op, matrix=op.matrix[i]),
        measurement=problem.measurement[i],
    )


@pytest.mark.filterwarnings("ignore::wellposed.errors.NotConvergedWarning")
@pytest.mark.parametrize(("solver", "prior"), CASES, ids=IDS)
def test_a_batch_is_a_loop(solver, prior, worst) -> None:
    problem = problem_of(prior)
    together = solver.solve(problem)
    for i in range(3):
        one = solver.solve(alone(problem, i))
        assert worst(together.image[i], one.image) < 1e-8
        assert together.statuses[i] == one.statuses[0]
        assert int(together.steps[i]) == int(one.steps)


@pytest.mark.filterwarnings("ignore::wellposed.errors.NotConvergedWarning")
@pytest.mark.parametrize(("solver", "prior"), CASES, ids=IDS)
@pytest.mark.parametrize("bad", [float("nan"), float("inf"), 0.0])
def test_one_bad_sample_spoils_no_other(solver, prior, bad, worst) -> None:
    problem = problem_of(prior)
    y = problem.measurement.clone()
    y[1] = bad
    clean = solver.solve(problem)
    mixed = solver.solve(attrs.evolve(problem, measurement=y))
    for i in (0, 2):
        assert worst(mixed.image[i], clean.image[i]) < 1e-9
        assert mixed.statuses[i] == clean.statuses[i]
    if bad == 0:
        assert mixed.image[1].abs().max() == 0
    elif clean.statuses[0] != Status.DIRECT:
        assert mixed.statuses[1] == Status.NONFINITE


def test_a_sample_that_diverges_is_stopped_alone(worst) -> None:
    """A prior whose map doubles the picture of the second sample."""

    class Doubling(Ridge):
        def prox(self, v, tau):
            out = super().prox(v, tau).clone()
            out[1] = 30 * v[1]
            return out

    problem = problem_of(Ridge(weight=0.5))
    wild = attrs.evolve(problem, prior=Doubling(weight=0.5))
    clean, mixed = Ista().solve(problem), Ista().solve(wild)
    assert mixed.statuses[1] == Status.DIVERGED
    assert torch.isfinite(mixed.image).all()
    for i in (0, 2):
        assert worst(mixed.image[i], clean.image[i]) < 1e-12


@pytest.mark.parametrize(("solver", "prior"), CASES, ids=IDS)
def test_single_precision_stays_single(solver, prior) -> None:
    problem = problem_of(prior).to(dtype=torch.float32)
    found = solver.to(dtype=torch.float32).solve(problem)
    assert found.image.dtype == torch.float32
    assert torch.isfinite(found.image).all()
    assert found.status < Status.DIVERGED


@pytest.mark.parametrize(
    ("solver", "prior"), [c for c in CASES if not isinstance(c[0], RichardsonLucy)]
)
def test_gradients_reach_the_measurement(solver, prior) -> None:
    if hasattr(solver, "max_steps"):
        solver = attrs.evolve(solver, max_steps=500 if isinstance(solver, Tikhonov) else 3)
    problem = problem_of(prior)
    y = problem.measurement.clone().requires_grad_()
    found = solver.solve(attrs.evolve(problem, measurement=y))
    (slope,) = torch.autograd.grad(found.image.square().sum(), y)
    assert torch.isfinite(slope).all()
    assert slope.abs().sum() > 0


def test_solvers_need_no_parameters_on_the_device_of_the_operator() -> None:
    """Operators without tensors have norms on the CPU; one value serves every sample."""
    op = Identity(Space((1, 2, 2), F64))
    y = torch.rand(2, 3, 1, 2, 2, dtype=F64)
    for solver, prior in CASES:
        if prior is not ANALYSIS:
            assert solver.solve(Problem(operator=op, measurement=y, prior=prior)).image.shape == (
                2,
                3,
                1,
                2,
                2,
            )
