"""The solver as a whole: quality, budgets, independence of samples, errors."""

import time

import attrs
import pytest
import torch
import wellposed
from wellposed import Problem, Status, psnr
from wellposed.errors import DtypeError, IncompatibleError, ParameterError, ShapeError
from wellposed.plugins.zssr.solver import Zssr
from wellposed.registry import default_registry

SMALL = Zssr(width=8, depth=3, crop=16, max_steps=4)


def problem_of(op, x, **options):
    return Problem(operator=op, measurement=op(x), **options)


@pytest.fixture(scope="module")
def wide(make_op, gaussian, shapes):
    """A picture behind a wide oblique kernel."""
    x = shapes(96, 96, channels=3).float()
    op = make_op((3, 48, 48), gaussian(9, 5.0, 2.0, 0.3).float())
    return problem_of(op, x, seed=0), x


def test_it_beats_interpolation_within_few_steps(wide):
    problem, x = wide
    found = Zssr(width=16, depth=5, crop=32, max_steps=100, rate=3e-3).solve(problem)
    plain = problem.operator.initial_estimate(problem.measurement)
    gain = psnr(found.image, x, border=4) - psnr(plain, x, border=4)
    assert float(gain) > 3.0
    assert found.status == Status.BUDGET_SPENT
    assert found.history["loss"].shape == (100,)
    assert found.history["reconstruction_error"].shape == (2,)


def test_gradual_learning_beats_interpolation_too(make_op, gaussian, shapes):
    x = shapes(128, 128).float()
    half, whole = gaussian(6, 2.0, 2.0).float(), gaussian(16, 10.0, 10.0).float()
    problem = problem_of(make_op((1, 32, 32), whole, stride=4), x)
    found = Zssr(kernel_half=half, width=16, depth=5, crop=32, max_steps=50, rate=3e-3).solve(
        problem
    )
    plain = problem.operator.initial_estimate(problem.measurement)
    assert float(psnr(found.image, x, border=8) - psnr(plain, x, border=8)) > 1.0
    assert int(found.steps) == 100


def test_samples_of_a_batch_are_those_of_single_runs(make_op, gaussian):
    kernels = torch.cat([gaussian(5, 1.0, 3.0), gaussian(5, 3.0, 1.0)])
    y = torch.rand(2, 2, 3, 18, 20, dtype=torch.float64)
    op = make_op((3, 18, 20), kernels)
    together = SMALL.solve(Problem(operator=op, measurement=y, seed=5))
    for i, j in ((0, 0), (1, 1), (0, 1)):
        one = attrs.evolve(op, kernel=kernels[j : j + 1])
        alone = SMALL.solve(Problem(operator=one, measurement=y[i, j], seed=5))
        assert torch.equal(together.image[i, j], alone.image)
        assert torch.equal(together.history["loss"][i, j], alone.history["loss"])


def test_a_batch_may_be_empty(make_op, gaussian):
    op = make_op((3, 8, 10), gaussian(3, 1.0, 1.0))
    found = SMALL.solve(Problem(operator=op, measurement=torch.zeros(0, 3, 8, 10).double()))
    assert found.image.shape == (0, 3, 16, 20) and found.statuses == ()


def test_the_seed_decides(wide):
    problem, _ = wide
    state = torch.get_rng_state()
    first = SMALL.solve(attrs.evolve(problem, seed=1)).image
    torch.manual_seed(99)
    again = SMALL.solve(attrs.evolve(problem, seed=1)).image
    other = SMALL.solve(attrs.evolve(problem, seed=2)).image
    assert torch.equal(first, again) and not torch.equal(first, other)
    default = SMALL.solve(attrs.evolve(problem, seed=None)).image
    assert torch.equal(default, SMALL.solve(attrs.evolve(problem, seed=0)).image)
    torch.set_rng_state(state)


@pytest.mark.parametrize("schedule", ["slope", "cosine"])
def test_max_seconds_is_kept(wide, schedule):
    problem, _ = wide
    slow = attrs.evolve(SMALL, max_steps=10**6, max_seconds=0.2, schedule=schedule)
    started = time.perf_counter()
    found = slow.solve(problem)
    assert time.perf_counter() - started < 5
    assert found.status == Status.BUDGET_SPENT
    assert 1 <= int(found.steps) < 10**6


def test_it_ends_when_the_error_stands_still(make_op, gaussian, shapes):
    x = shapes(32, 32)
    problem = problem_of(make_op((1, 16, 16), gaussian(4, 1.0, 1.0)), x)
    found = Zssr(width=2, depth=2, crop=16, noise=0.1, last_rate=9e-4).solve(problem)
    assert found.status == Status.CONVERGED
    assert 300 <= int(found.steps) < 3000 and int(found.steps) % 60 == 0


def test_a_callback_sees_every_step_and_stops(make_op, gaussian):
    y = torch.rand(3, 1, 16, 18)
    op = make_op((1, 16, 18), gaussian(3, 1.0, 1.0).float())
    seen = []

    def callback(event):
        assert event.estimate().shape == (3, 1, 32, 36)
        assert event.change.shape == event.active.shape == (3,)
        seen.append((event.step, event.max_steps, event.active.tolist()))
        return event.step == 6

    found = SMALL.solve(Problem(operator=op, measurement=y), callback=callback)
    assert [s[0] for s in seen] == [1, 2, 3, 4, 5, 6]
    assert {s[1] for s in seen} == {12}
    assert seen[0][2] == [True, True, True] and seen[-1][2] == [False, True, True]
    assert found.statuses == (Status.BUDGET_SPENT, Status.STOPPED, Status.STOPPED)
    assert found.steps.tolist() == [4, 2, 0]
    assert torch.equal(found.image[2], op.initial_estimate(y)[2])
    assert not torch.equal(found.image[1], op.initial_estimate(y)[1])


@pytest.mark.parametrize("value", [0.0, 0.4, 1.0])
def test_a_constant_is_interpolated(make_op, value, gaussian):
    op = make_op((3, 12, 12), gaussian(4, 1.0, 1.0))
    y = torch.full((3, 12, 12), value, dtype=torch.float64)
    found = SMALL.solve(Problem(operator=op, measurement=y))
    assert found.status == Status.DIRECT and int(found.steps) == 0
    assert torch.allclose(found.image, torch.full_like(found.image, value))


def test_a_kernel_with_a_gain_changes_nothing_but_the_measurement(make_op, gaussian):
    kernel, y = gaussian(4, 2.0, 1.0), torch.rand(1, 16, 16, dtype=torch.float64)
    op = make_op(y.shape, kernel)
    want = SMALL.solve(Problem(operator=op, measurement=y)).image
    louder = attrs.evolve(op, kernel=4 * kernel)
    got = SMALL.solve(Problem(operator=louder, measurement=4 * y)).image
    assert torch.allclose(got, want, atol=1e-9)


def test_back_projection_brings_the_picture_nearer_to_the_measurement(wide):
    problem, _ = wide

    def misfit(**options):
        found = attrs.evolve(SMALL, ensemble=False, **options).solve(problem)
        return float((problem.operator(found.image) - problem.measurement).norm())

    assert misfit() == misfit(back_projections=10)
    assert misfit(back_projections=2) < misfit(back_projections=1) < misfit(back_projections=0)
    assert misfit(noise=0.02) == misfit(noise=0.02, back_projections=0)


def test_it_improves_the_picture_of_another_solver(wide):
    problem, x = wide
    tikhonov = default_registry().load("solver", "tikhonov")(weight=1e-3)
    first = tikhonov.solve(problem).image
    solver = Zssr(start=tikhonov, width=16, depth=5, crop=32, max_steps=60, schedule="cosine")
    found = solver.solve(problem).image
    assert float(psnr(found, x, border=4) - psnr(first, x, border=4)) > 0.5


def test_noise_is_taken_from_the_noise_model(wide):
    problem, _ = wide
    gaussian_noise = default_registry().load("noise", "gaussian")
    noisy = attrs.evolve(problem, noise=gaussian_noise(sigma=0.02))
    by_model = SMALL.solve(noisy).image
    assert torch.equal(by_model, attrs.evolve(SMALL, noise=0.02).solve(problem).image)
    assert torch.equal(
        attrs.evolve(SMALL, noise=0.0).solve(noisy).image, SMALL.solve(problem).image
    )


def test_bf16_is_near_to_full_precision(wide):
    problem, _ = wide
    full = attrs.evolve(SMALL, precision="full").solve(problem).image
    half = attrs.evolve(SMALL, precision="bf16").solve(problem).image
    assert 0 < float((half - full).abs().max()) < 0.03


def test_it_solves_by_names():
    found = wellposed.solve(
        torch.rand(3, 16, 16),
        op="strided_blur",
        op_params={"stride": 2, "kernel": "gaussian"},
        solver="zssr",
        solver_params={"start": "tikhonov", "max_steps": 2, "width": 4, "depth": 3},
    )
    assert found.image.shape == (3, 32, 32)


def test_pictures_too_small_are_refused(make_op, gaussian):
    op = make_op((1, 3, 9), gaussian(3, 1.0, 1.0))
    with pytest.raises(ShapeError, match=r"4 x 4 pixels or more for a stride of 2; got 3 x 9"):
        SMALL.solve(Problem(operator=op, measurement=torch.rand(1, 3, 9, dtype=torch.float64)))


def test_operators_it_cannot_use_are_refused(make_op, gaussian):
    y = torch.rand(1, 8, 8, dtype=torch.float64)
    kernel = gaussian(3, 1.0, 1.0)
    blur = default_registry().load("operator", "blur")(in_shape=(1, 8, 8), kernel=kernel)
    with pytest.raises(IncompatibleError, match="Zssr cannot use Blur: it takes a strided_blur"):
        SMALL.solve(Problem(operator=blur, measurement=y))
    with pytest.raises(IncompatibleError, match="a stride of 2 or more is needed"):
        SMALL.solve(Problem(operator=make_op(y.shape, kernel, stride=1), measurement=y))
    edge = kernel - kernel.mean()
    with pytest.raises(IncompatibleError, match="its kernel does not keep brightness"):
        SMALL.solve(Problem(operator=make_op(y.shape, edge), measurement=y))
    op = make_op(y.shape, kernel.to(torch.complex128))
    with pytest.raises(IncompatibleError, match="its kernel is complex"):
        SMALL.solve(Problem(operator=op, measurement=y.to(torch.complex128)))


def test_kernels_of_half_the_stride_are_checked(make_op, gaussian):
    y, kernel = torch.rand(3, 8, 8, dtype=torch.float64), gaussian(3, 1.0, 1.0)
    gradual = attrs.evolve(SMALL, kernel_half=kernel)
    with pytest.raises(IncompatibleError, match="even stride of 4 or more; got a stride of 2"):
        gradual.solve(Problem(operator=make_op(y.shape, kernel), measurement=y))
    problem = Problem(operator=make_op(y.shape, kernel, stride=4), measurement=y)
    with pytest.raises(ShapeError, match=r"kernel_half of shape \(1 or 1, 1 or 3, kh, kw\)"):
        attrs.evolve(SMALL, kernel_half=kernel[0]).solve(problem)
    with pytest.raises(ShapeError, match=r"got \(1, 2, 3, 3\)"):
        attrs.evolve(SMALL, kernel_half=kernel.repeat(1, 2, 1, 1)).solve(problem)
    with pytest.raises(ParameterError, match="a kernel_half that keeps brightness"):
        attrs.evolve(SMALL, kernel_half=kernel - kernel.mean()).solve(problem)
    with pytest.raises(DtypeError, match="expects kernel_half of dtype torch"):
        attrs.evolve(SMALL, kernel_half=kernel.float()).solve(problem)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"max_steps": 0}, "Zssr.max_steps expects a whole number of at least 1; got 0"),
        ({"depth": 1}, "Zssr.depth expects a whole number of at least 2; got 1"),
        ({"back_projections": -1}, "Zssr.back_projections expects a whole number of at least 0"),
        ({"max_seconds": 0}, "Zssr.max_seconds expects a finite number above 0; got 0"),
        ({"noise": -0.1}, "Zssr.noise expects a finite number of at least 0; got -0.1"),
        ({"rate": "fast"}, "Zssr.rate expects a finite number above 0; got 'fast'"),
    ],
)
def test_parameters_are_checked(options, message):
    with pytest.raises(ParameterError, match=message):
        Zssr(**options)
