"""The hyper-Laplacian's proximal map by brute force, and everything that is refused."""

import pickle

import numpy as np
import pytest
import torch
import wellposed
from wellposed import Identity, Problem, Space, Status
from wellposed.errors import IncompatibleError, ParameterError
from wellposed.plugins.classical.admm import Admm
from wellposed.plugins.classical.fbp import Fbp
from wellposed.plugins.classical.fista import Fista
from wellposed.plugins.classical.hqs import Hqs
from wellposed.plugins.classical.hyper_laplacian import HyperLaplacian
from wellposed.plugins.classical.interpolation import Interpolation
from wellposed.plugins.classical.pnp_admm import PnpAdmm
from wellposed.plugins.classical.toys import Lasso, Ridge
from wellposed.registry import default_registry

F64 = torch.float64
SPECS = default_registry().specs("solver")
NAMES = [s.name for s in SPECS if s.target.startswith("wellposed.plugins.classical.")]


@pytest.mark.parametrize("power", [0.5, 2 / 3, 0.8])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_the_proximal_map_has_the_least_value(power, scale) -> None:
    prior = HyperLaplacian(weight=0.3, power=power)
    v = scale * torch.linspace(-3, 3, 61, dtype=F64).reshape(1, 1, 1, 61)
    # The weight that scales with the data keeps the problem the same.
    tau = 0.5 * scale ** (2 - power)
    found = prior.analysis_prox(v, torch.tensor(tau, dtype=F64))
    grid = scale * torch.linspace(-3, 3, 6001, dtype=F64)

    def value(z, at):
        return 0.3 * tau * z.abs().pow(power) + (z - at).square() / 2

    least = value(grid[:, None], v.flatten()[None]).amin(0)
    assert (value(found.flatten(), v.flatten()) <= least * (1 + 1e-9) + 1e-300).all()
    assert found.flatten()[30] == 0
    torch.testing.assert_close(found, -found.flip(-1))


def test_the_hyper_laplacian_is_complex_and_per_sample() -> None:
    prior = HyperLaplacian(weight=0.3)
    generator = torch.Generator().manual_seed(0)
    u = torch.randn(3, 2, 1, 4, 3, dtype=torch.complex128, generator=generator)
    tau = torch.tensor([0.1, 1.0, 3.0], dtype=F64)
    found = prior.analysis_prox(u, tau)
    for i in range(3):
        torch.testing.assert_close(found[i], prior.analysis_prox(u[i], float(tau[i])))
    turned = prior.analysis_prox(u * 1j, tau)
    torch.testing.assert_close(turned, found * 1j)


def test_hqs_with_the_hyper_laplacian_keeps_an_edge() -> None:
    """A step blurred by a circular box, with a little noise."""
    truth = torch.zeros(1, 16, 16, dtype=F64)
    truth[..., 5:11] = 1
    blur = default_registry().load("operator", "blur")
    kernel = torch.full((1, 1, 1, 3), 1 / 3, dtype=F64)
    op = blur(in_shape=(1, 16, 16), kernel=kernel, boundary="circular")
    noise = torch.randn(1, 16, 16, dtype=F64, generator=torch.Generator().manual_seed(0))
    problem = Problem(operator=op, measurement=op(truth) + 0.01 * noise, prior=HyperLaplacian())
    assert (Hqs().solve(problem).image - truth).abs().max() < 0.05


@pytest.mark.parametrize("name", NAMES)
def test_every_solver_is_described_frozen_and_pickled(name) -> None:
    cls = default_registry().load("solver", name)
    solver = cls()
    assert repr(pickle.loads(pickle.dumps(solver))) == repr(solver)
    assert "Source:" in cls.__doc__
    assert "Shapes:" in cls.__doc__
    if solver.needs.priors and not solver.needs.prior_optional:
        assert solver.default_prior is not None


def test_every_solver_with_a_default_prior_runs_without_naming_one() -> None:
    y = torch.rand(3, 24, 20, generator=torch.Generator().manual_seed(0))
    needy = [n for n in NAMES if default_registry().load("solver", n).default_prior is not None]
    assert len(needy) >= 8
    for name in needy:
        found = wellposed.solve(y, op="identity", solver=name, solver_params={"max_steps": 3})
        assert found.image.shape == y.shape
        assert found.status < Status.DIVERGED


@pytest.mark.parametrize(
    ("name", "wrong", "text"),
    [
        ("fista", {"max_steps": 0}, "Fista.max_steps expects a whole number of at least 1; got 0"),
        ("fista", {"max_steps": True}, "whole number"),
        ("admm", {"tolerance": -1.0}, "Admm.tolerance expects a finite number of at least 0"),
        ("admm", {"rho": 0.0}, "Admm.rho expects a finite number above 0; got 0.0"),
        ("admm", {"rho": float("nan")}, "finite number above 0"),
        ("admm", {"balance": 0.5}, "Admm.balance expects a whole number of at least 0; got 0.5"),
        ("admm", {"relaxation": 2.0}, "between 0 and 2; got 2.0"),
        ("pdhg", {"adapt": 1.0}, "between 0 and 1"),
        ("ista", {"relaxation": "x"}, "between 0 and 2; got 'x'"),
        ("wiener", {"spectrum": "pink"}, "pink"),
        ("fbp", {"filter": "box"}, "box"),
        ("tikhonov", {"weight": [1.0]}, "above 0; got list"),
    ],
)
def test_parameters_are_checked(name, wrong, text) -> None:
    with pytest.raises(ParameterError, match=text):
        default_registry().load("solver", name)(**wrong)


def test_zero_is_allowed_where_it_means_never() -> None:
    assert default_registry().load("solver", "pdhg")(adapt=0.0, tolerance=0.0).adapt == 0


def test_mismatched_priors_say_what_fits() -> None:
    op = Identity(Space((1, 2, 2), F64))
    y = torch.rand(1, 2, 2, dtype=F64)
    lasso = Lasso(matrix=torch.eye(4, dtype=F64))
    with pytest.raises(IncompatibleError, match=r"ProximalPrior.*admm.*pdhg"):
        Fista().solve(Problem(operator=op, measurement=y, prior=lasso))
    with pytest.raises(IncompatibleError, match=r"Denoiser.*fista"):
        PnpAdmm().solve(Problem(operator=op, measurement=y, prior=Ridge()))
    with pytest.raises(IncompatibleError, match="needs a prior"):
        Admm().solve(Problem(operator=op, measurement=y))


def test_filtered_back_projection_needs_an_operator_that_offers_it() -> None:
    op = Identity(Space((1, 2, 2), F64))
    with pytest.raises(IncompatibleError, match=r"fbp\(y, filter=\.\.\.\), such as radon"):
        Fbp().solve(Problem(operator=op, measurement=torch.rand(1, 2, 2, dtype=F64)))


def test_filtered_back_projection_is_the_operators_own() -> None:
    radon = default_registry().load("operator", "radon")(in_shape=(1, 16, 16), angles=20)
    y = radon(torch.rand(1, 16, 16, generator=torch.Generator().manual_seed(0)))
    for name in ("ramp", "hann"):
        found = Fbp(filter=name).solve(Problem(operator=radon, measurement=y)).image
        np.testing.assert_array_equal(found, radon.fbp(y, filter=name))


def test_interpolation_starts_where_it_is_told() -> None:
    op = Identity(Space((1, 2, 2), F64))
    start = torch.rand(1, 2, 2, dtype=F64)
    problem = Problem(operator=op, measurement=torch.rand(1, 2, 2, dtype=F64), initial=start)
    torch.testing.assert_close(Interpolation().solve(problem).image, start)
