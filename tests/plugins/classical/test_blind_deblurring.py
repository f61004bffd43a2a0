"""Blind deblurring as a whole: a kernel found again, and what is refused."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
import torch
from torch import Tensor
from wellposed import Problem, Status, psnr
from wellposed.errors import IncompatibleError, ParameterError, ShapeError
from wellposed.plugins.classical.admm import Admm
from wellposed.plugins.classical.blind_deblurring import BlindDeblurring
from wellposed.plugins.classical.tikhonov import Tikhonov
from wellposed.plugins.noise.gaussian import Gaussian
from wellposed.plugins.priors.compose import Constrained
from wellposed.plugins.priors.tv import TV
from wellposed.registry import build, default_registry

from .blind_pictures import F64, blocks, convolution, hook, likeness, rand, shifted, stream


@pytest.fixture(scope="module")
def blurred() -> tuple[Tensor, Tensor, Any]:
    x = torch.stack([blocks(seed=3), blocks(seed=4)])
    op = convolution((3, 64, 64), (11, 11))
    y = op(hook(), x)
    return x, y + 0.005 * torch.randn(y.shape, generator=stream(), dtype=F64), op


def test_finds_a_kernel_again(blurred):
    x, y, op = blurred
    found = BlindDeblurring().solve(Problem(operator=op, measurement=y))
    kernel = found.extras["parameter"]
    assert kernel.shape == (2, 1, 11, 11)
    assert torch.allclose(kernel.sum((-2, -1)), torch.ones(2, 1, dtype=F64))
    for i in range(2):
        assert likeness(kernel[i], hook()) > 0.95
        gain = psnr(shifted(found.image[i], x[i]), x[i]) - psnr(y[i], x[i])
        assert gain > 6, gain
    assert found.extras["why"] == {}
    assert torch.equal(found.operator.kernel, kernel)
    assert found.history["kernel_change"].shape == (2, 15)


@pytest.mark.parametrize("side", [5, 7, 9])
def test_finds_a_small_kernel_that_fills_its_frame(side):
    x, kernel, draw = torch.zeros(3, 96, 96, dtype=F64), torch.eye(side, dtype=F64)[None], stream()
    for i, j in torch.randint(0, 86, (40, 2), generator=draw).tolist():
        x[:, i : i + 14, j : j + 12] = torch.rand(3, 1, 1, generator=draw, dtype=F64)
    op = convolution((3, 96, 96), (side, side))
    problem = Problem(operator=op, measurement=op(kernel / side, x))
    found = BlindDeblurring().estimate_operator(problem).extras["kernel"][0]
    assert (found - kernel / side).norm() < 0.2 * (kernel / side).norm()


def test_dark_channel_finds_it_too(blurred):
    x, y, op = blurred
    solver = BlindDeblurring(dark_channel=4e-3, patch=9, rounds=3)
    found = solver.solve(Problem(operator=op, measurement=y[0]))
    assert likeness(found.extras["parameter"], hook()) > 0.9
    assert psnr(shifted(found.image, x[0]), x[0]) > psnr(y[0], x[0]) + 5


def test_estimate_operator_is_that_of_the_solution(blurred):
    _, y, op = blurred
    problem = Problem(operator=op, measurement=y[:1])
    solver = BlindDeblurring(nonblind=Tikhonov(), rounds=1)
    known = solver.estimate_operator(problem)
    assert torch.equal(known.operator.kernel, solver.solve(problem).operator.kernel)


def test_samples_do_not_see_each_other(blurred):
    _, y, op = blurred
    solver = BlindDeblurring(nonblind=Tikhonov(weight=0.01), rounds=2)
    both = solver.solve(Problem(operator=op, measurement=y)).image
    for i in range(2):
        alone = solver.solve(Problem(operator=op, measurement=y[i])).image
        assert torch.allclose(both[i], alone, atol=1e-9)


def test_several_batch_axes_and_one_kernel_for_all_channels(blurred):
    _, y, _ = blurred
    op = convolution((3, 64, 64), (11, 9), per_channel=True)
    solver = BlindDeblurring(nonblind=Tikhonov(weight=0.01), rounds=1)
    found = solver.solve(Problem(operator=op, measurement=y[:, None]))
    kernel = found.extras["parameter"]
    assert kernel.shape == (2, 1, 3, 11, 9)
    assert found.image.shape == (2, 1, 3, 64, 64)
    assert torch.equal(kernel[:, :, 0], kernel[:, :, 2])


@pytest.mark.parametrize("border", ["circular", "extended"])
@pytest.mark.parametrize("what", ["noise", "prior", "prior within bounds"])
def test_what_is_said_of_each_sample_goes_with_the_last_of_several_batch_axes(what, border):
    y = torch.stack([blocks(seed=s)[..., ::3, ::3] for s in range(6)]).reshape(2, 3, 3, 22, 22)
    op = convolution((3, 22, 22), (3, 3))

    def solved(measurement: Tensor, values: Tensor) -> Tensor:
        given: dict[str, Any] = {"noise": Gaussian(sigma=values)} if what == "noise" else {}
        nonblind: Any = Tikhonov()
        if what.startswith("prior"):
            given["prior"] = TV(weight=values)
            if what == "prior within bounds":
                given["prior"] = Constrained(prior=TV(weight=values))
            nonblind = Admm(max_steps=5)
        solver = BlindDeblurring(nonblind=nonblind, rounds=1, border=border)
        return solver.solve(Problem(operator=op, measurement=measurement, **given)).image

    values = torch.tensor([0.001, 0.01, 0.1], dtype=F64)
    together = solved(y, values)
    for i in range(2):
        for j in range(3):
            alone = solved(y[i, j], values[j])
            torch.testing.assert_close(together[i, j], alone, rtol=0, atol=1e-9)
    assert not torch.allclose(together[0, 0], solved(y[0, 0], values[2]), atol=1e-4)


def test_extended_border_is_for_what_does_not_wrap():
    x = blocks(96)
    y = convolution((3, 96, 96), (11, 11))(hook(), x)[:, 16:80, 16:80]
    truth, op = x[:, 16:80, 16:80], convolution((3, 64, 64), (11, 11))
    quality = {}
    for border in ("circular", "extended"):
        found = BlindDeblurring(border=border).solve(Problem(operator=op, measurement=y))
        assert found.image.shape == y.shape
        quality[border] = float(psnr(shifted(found.image, truth), truth, border=4))
    assert quality["extended"] > quality["circular"] + 1
    assert quality["extended"] > psnr(y, truth, border=4) + 3


def test_a_constant_picture_is_degenerate_and_harms_no_other(blurred):
    _, y, op = blurred
    solver = BlindDeblurring(nonblind=Tikhonov(weight=0.01), rounds=1)
    both = solver.solve(Problem(operator=op, measurement=torch.stack([y[0], 0 * y[0] + 0.3])))
    assert both.statuses == (Status.DIRECT, Status.DEGENERATE)
    assert both.extras["why"] == {1: "the picture has no edges in grey"}
    alone = solver.solve(Problem(operator=op, measurement=y[0]))
    assert torch.allclose(both.image[0], alone.image, atol=1e-9)


def test_the_callback_sees_kernels_and_can_stop(blurred):
    _, y, op = blurred
    seen = []

    def callback(event: Any) -> bool:
        seen.append((event.step, event.max_steps, tuple(event.details()["kernel"].shape)))
        assert event.estimate().shape == y.shape
        return event.step == 3

    solver = BlindDeblurring(nonblind=Tikhonov(weight=0.01), rounds=2)
    found = solver.solve(Problem(operator=op, measurement=y), callback=callback)
    assert [step for step, *_ in seen] == [1, 2, 3]
    assert seen[0][2] == (2, 1, 7, 7)
    assert found.status == Status.STOPPED
    assert found.extras["parameter"].shape == (2, 1, 11, 11)


def test_no_gradient_goes_through():
    op = convolution((1, 8, 8), (3, 3))
    problem = Problem(operator=op, measurement=rand(1, 8, 8).requires_grad_())
    assert not BlindDeblurring(rounds=1).solve(problem).image.requires_grad


def test_a_prior_of_the_problem_is_for_the_picture(blurred):
    _, y, op = blurred
    prior: Any = build(default_registry(), "prior", "hyper_laplacian", path="prior")
    hqs: Any = build(default_registry(), "solver", "hqs", path="solver")
    problem = Problem(operator=op, measurement=y[0], prior=prior)
    solver = BlindDeblurring(nonblind=hqs, rounds=1)
    found = solver.solve(problem)
    known = attrs.evolve(problem, operator=found.operator)
    assert torch.allclose(found.image, hqs.solve(known).image)


@pytest.mark.parametrize("border", ["circular", "extended"])
def test_a_callback_sees_one_problem_from_the_first_to_the_last_step(border):
    y = rand(2, 1, 1, 20, 24)
    op = convolution((1, 20, 24), (3, 3))
    seen: list[Any] = []
    solver = BlindDeblurring(rounds=1, border=border, nonblind=Admm(max_steps=2))
    found = solver.solve(Problem(operator=op, measurement=y), callback=seen.append)
    assert all(event.estimate().shape == y.shape for event in seen)
    assert all(event.change.shape == event.active.shape == (2, 1) for event in seen)
    assert [event.step for event in seen] == list(range(1, len(seen) + 1))
    assert {type(event.solver) for event in seen} == {BlindDeblurring}
    torch.testing.assert_close(seen[-1].estimate(), found.image)


# ---- errors ---------------------------------------------------------------------------------


def test_other_operators_are_refused():
    product: Any = default_registry().load("bilinear", "product")
    mask: Any = default_registry().load("operator", "mask")
    op = convolution((1, 8, 8), (3, 3))
    seen = mask(in_shape=(1, 8, 8), mask=torch.ones(1, 8, 8, dtype=F64))
    for wrong in (product(in_shape=(1, 8, 8), dtype=F64), seen @ op):
        with pytest.raises(IncompatibleError, match="kernel of a `convolution` with nothing"):
            BlindDeblurring().solve(Problem(operator=wrong, measurement=rand(1, 8, 8)))
    with pytest.raises(IncompatibleError, match="needs a BilinearOperator; got Blur"):
        BlindDeblurring().solve(Problem(operator=op.at_w(rand(1, 3, 3)), measurement=rand(1, 8, 8)))
    odd = convolution((1, 8, 8), (3, 3), torch.complex128)
    with pytest.raises(IncompatibleError, match="real pictures only; got torch"):
        BlindDeblurring().solve(
            Problem(operator=odd, measurement=rand(1, 8, 8).to(torch.complex128))
        )


def test_a_kernel_larger_than_the_picture_is_refused():
    op = convolution((1, 8, 8), (3, 9))
    with pytest.raises(ShapeError, match="kernel of 3 x 9 and a picture of 8 x 8"):
        BlindDeblurring().solve(Problem(operator=op, measurement=rand(1, 8, 8)))


def test_an_initial_picture_is_refused():
    op = convolution((1, 8, 8), (3, 3))
    problem = Problem(operator=op, measurement=rand(1, 8, 8), initial=rand(1, 8, 8))
    with pytest.raises(IncompatibleError, match="starts from the measurement; got an initial"):
        BlindDeblurring().solve(problem)


def test_the_non_blind_solver_must_not_be_blind():
    op = convolution((1, 8, 8), (3, 3))
    solver = BlindDeblurring(nonblind=BlindDeblurring())
    with pytest.raises(ParameterError, match="a solver for known kernels; got BlindDeblurring"):
        solver.solve(Problem(operator=op, measurement=rand(1, 8, 8)))


@pytest.mark.parametrize(
    ("params", "message"),
    [
        ({"patch": 4}, "patch expects an odd side"),
        ({"rounds": 0}, "rounds expects a whole number of at least 1"),
        ({"gradient_weight": 0.0}, "gradient_weight expects"),
        ({"dark_channel": -1.0}, "dark_channel expects"),
        ({"cut": 1.0}, "cut expects"),
        ({"border": "reflect"}, "border"),
    ],
)
def test_wrong_parameters_are_refused(params, message):
    with pytest.raises(ParameterError, match=message):
        BlindDeblurring(**params)
