"""Plug-and-play: schedules, noise levels, fixed points, and pictures better than Tikhonov's."""

import attrs
import pytest
import torch
from wellposed import Denoiser, Identity, Problem, Space, psnr
from wellposed.plugins.classical.pnp_admm import PnpAdmm
from wellposed.plugins.classical.pnp_hqs import PnpHqs
from wellposed.plugins.classical.pnp_pgd import PnpPgd
from wellposed.plugins.classical.red import Red
from wellposed.plugins.classical.tikhonov import Tikhonov
from wellposed.plugins.classical.toys import Dense, Shrinkage
from wellposed.registry import default_registry

F64 = torch.float64


@attrs.frozen(eq=False, kw_only=True)
class Listening(Denoiser):
    """Remembers the levels it is asked for; removes nothing."""

    heard: list = attrs.field(factory=list)

    def denoise(self, v, sigma):
        self.heard.append(sigma.clone())
        return v


def gaussian(sigma):
    return default_registry().load("noise", "gaussian")(sigma=sigma)


def heard_by(solver, noise=None, factor: float = 1.0) -> torch.Tensor:
    op = factor * Identity(Space((1, 2, 2), F64))
    listening = Listening()
    y = torch.rand(3, 1, 2, 2, dtype=F64)
    solver.solve(Problem(operator=op, measurement=y, noise=noise, prior=listening))
    return torch.stack(listening.heard)


def test_the_schedule_of_pnp_hqs_falls_geometrically_to_the_noise() -> None:
    heard = heard_by(PnpHqs(sigma=0.16, max_steps=5), gaussian(0.01))
    assert heard.shape == (5, 3)
    torch.testing.assert_close(heard[:, 0], torch.tensor([0.16, 0.08, 0.04, 0.02, 0.01], dtype=F64))
    last = heard_by(PnpHqs(sigma=0.16, last_sigma=0.03, max_steps=2), gaussian(0.01))
    torch.testing.assert_close(last[:, 1], torch.tensor([0.16, 0.03], dtype=F64))


@pytest.mark.parametrize("factor", [1.0, 50.0])
def test_the_noise_that_is_assumed_follows_the_norm_of_the_operator(factor) -> None:
    heard = heard_by(PnpHqs(max_steps=2), None, factor)
    torch.testing.assert_close(heard[-1], torch.full((3,), 0.01, dtype=F64), rtol=1e-2, atol=0)


def test_the_level_of_pnp_admm_shrinks_and_of_pnp_pgd_stays() -> None:
    heard = heard_by(PnpAdmm(sigma=0.1, shrink=0.5, max_steps=3, tolerance=0.0))
    torch.testing.assert_close(heard[:, 0], torch.tensor([0.1, 0.05, 0.025], dtype=F64))
    heard = heard_by(PnpPgd(sigma=0.07, max_steps=3, tolerance=0.0))
    torch.testing.assert_close(heard, torch.full((3, 3), 0.07, dtype=F64))
    heard = heard_by(Red(sigma=0.07, max_steps=3, tolerance=0.0))
    torch.testing.assert_close(heard, torch.full((3, 3), 0.07, dtype=F64))


@pytest.mark.parametrize("sigma", [None, 0.0])
def test_exact_measurements_leave_the_steps_finite(sigma) -> None:
    noise = None if sigma is None else gaussian(sigma)
    for solver in (PnpHqs(), PnpAdmm(), PnpPgd(), Red()):
        assert (heard_by(solver, noise) > 0).all()


def test_both_ways_of_red_meet(worst) -> None:
    generator = torch.Generator().manual_seed(1)
    op = Dense(matrix=torch.randn(9, 6, dtype=F64, generator=generator), in_shape=(1, 2, 3))
    y = torch.randn(2, 1, 1, 9, dtype=F64, generator=generator)
    problem = Problem(operator=op, measurement=y, prior=Shrinkage())
    pictures = [
        Red(method=method, sigma=0.5, noise_sigma=0.5, tolerance=1e-10, max_steps=3000)
        .solve(problem)
        .image
        for method in ("fixed_point", "gradient")
    ]
    assert worst(*pictures) < 1e-6


@pytest.mark.parametrize("momentum", [False, True])
def test_pnp_pgd_meets_its_fixed_point(momentum, worst) -> None:
    generator = torch.Generator().manual_seed(1)
    op = Dense(matrix=torch.randn(9, 6, dtype=F64, generator=generator), in_shape=(1, 2, 3))
    y = torch.randn(2, 1, 1, 9, dtype=F64, generator=generator)
    solver = PnpPgd(sigma=0.5, momentum=momentum, tolerance=1e-10, max_steps=3000)
    problem = Problem(operator=op, measurement=y, prior=Shrinkage())
    x = solver.solve(problem).image
    again = x - problem.data_grad(x) / op.norm_bound().square()
    assert worst(Shrinkage().denoise(again, 0.5), x) < 1e-8


def test_plug_and_play_beats_tikhonov_on_a_blurred_picture() -> None:
    from wellposed import sample

    truth = sample()[:, 64:160, 64:160]
    kernel = torch.eye(9)[None, None] / 9
    blur = default_registry().load("operator", "blur")
    op = blur(in_shape=tuple(truth.shape), kernel=kernel, boundary="circular")
    noise = gaussian(0.01)
    y = noise.sample(op(truth), torch.Generator().manual_seed(0))
    nlm = default_registry().load("prior", "nlm")()
    plain = Tikhonov().solve(Problem(operator=op, measurement=y, noise=noise)).image
    better = PnpHqs().solve(Problem(operator=op, measurement=y, noise=noise, prior=nlm)).image
    assert psnr(better, truth) > psnr(plain, truth) + 1
