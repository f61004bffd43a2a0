"""Restarts, pictures, operators and what comes out, for `GenerativeBilinear`."""

from __future__ import annotations

import copy
import pickle

import attrs
import pytest
import torch
import wellposed
from wellposed import Problem, Space, Status
from wellposed.edge import build_operator, build_solver
from wellposed.errors import IncompatibleError, ParameterError
from wellposed.plugins.generative_bilinear import aligned, descent
from wellposed.plugins.generative_bilinear.bilinear import GenerativeBilinear
from wellposed.plugins.generative_bilinear.slack import GenerativeBilinearSlack
from wellposed.plugins.generative_bilinear.state import State, Turn
from wellposed.plugins.operators.bilinear import CircularConvolution, Product

from .made import Cubic

F64 = torch.float64
FREE = {"parameter_penalty": 0.0, "image_penalty": 0.0}
GOOD = {**FREE, "update": "normalised", "step_size": 0.1, "decay": 100.0, "max_steps": 400}


def relative_error(x, truth):
    return (x - truth).flatten(1).norm(dim=1) / truth.flatten(1).norm(dim=1)


def mask(shape, share=0.7, seed=5, batch=()):
    stream = torch.Generator().manual_seed(seed)
    seen = (torch.rand(*batch, *shape, generator=stream, dtype=F64) < share).to(F64)
    return build_operator("mask", {"mask": seen}, x_space=Space(shape, F64))


# ---- recovery ---------------------------------------------------------------------------------


def test_pairs_in_range_are_recovered(blurred):
    problem, prior, (w, x) = blurred(batch=(10,))
    found = GenerativeBilinear(parameter_prior=prior, **GOOD).solve(problem)
    pair = aligned(found.image, x, found.extras["parameter"])
    good = relative_error(pair.image, x) < 0.02
    assert int(good.sum()) >= 9
    assert float(relative_error(pair.parameter, w)[good].max()) < 0.02
    assert set(found.statuses) == {Status.BUDGET_SPENT}


def test_more_restarts_never_do_worse(blurred):
    problem, prior, _ = blurred(batch=(10,))
    solver = GenerativeBilinear(parameter_prior=prior, **{**GOOD, "max_steps": 100})
    losses = [
        attrs.evolve(solver, restarts=r).solve(problem).extras["losses"].amin(-1) for r in (1, 4)
    ]
    assert bool((losses[1] <= losses[0]).all())
    assert float(losses[1].sum()) < 0.5 * float(losses[0].sum())


def test_missing_pixels_and_missing_colours(blurred):
    problem, prior, (_, x) = blurred(after=mask((1, 8, 8)))
    found = GenerativeBilinear(parameter_prior=prior, **GOOD).solve(problem)
    assert int((relative_error(aligned(found.image, x).image, x) < 0.02).sum()) >= 3
    grey = build_operator("grayscale", x_space=Space((3, 7, 6), F64))
    problem, prior, (_, x) = blurred(shape=(3, 7, 6), kernel=(3, 4), after=grey)
    found = GenerativeBilinear(parameter_prior=prior, **GOOD).solve(problem)
    assert int((relative_error(aligned(found.image, x).image, x) < 0.02).sum()) >= 3


def test_subsampled_measurements(blurred):
    delta = torch.ones(1, 1, 1, 1, dtype=F64)
    params = {"stride": 2, "kernel": delta}
    every_other = build_operator("strided_blur", params, x_space=Space((1, 8, 8), F64))
    problem, prior, (_, x) = blurred(after=every_other)
    assert problem.measurement.shape == (4, 1, 4, 4)
    found = GenerativeBilinear(parameter_prior=prior, **GOOD).solve(problem)
    assert int((relative_error(aligned(found.image, x).image, x) < 0.05).sum()) >= 2


def test_pointwise_products(blurred):
    problem, prior, (_, x) = blurred(op=Product(in_shape=(1, 8, 8), dtype=F64))
    found = GenerativeBilinear(parameter_prior=prior, **GOOD).solve(problem)
    pair = aligned(found.image, x, shift=False)
    seen = problem.measurement > 0  # elsewhere w is 0 and x cannot be known
    assert int((relative_error(pair.image * seen, x * seen) < 0.02).sum()) >= 3


def test_a_mask_for_each_picture(blurred):
    problem, prior, _ = blurred(after=mask((1, 8, 8), batch=(4,)))
    solver = GenerativeBilinear(parameter_prior=prior, **{**GOOD, "max_steps": 20})
    together = solver.solve(problem)
    for i in range(4):
        inner = problem.operator.inner
        own = attrs.evolve(problem.operator.outer, mask=problem.operator.outer.mask[i]) @ inner
        alone = attrs.evolve(problem, operator=own, measurement=problem.measurement[i])
        torch.testing.assert_close(together.image[i], solver.solve(alone).image, rtol=1e-9, atol=0)


@pytest.mark.parametrize("solver", [GenerativeBilinear, GenerativeBilinearSlack])
def test_masks_for_each_picture_and_several_batch_axes_are_refused_at_once(blurred, solver):
    problem, prior, _ = blurred(batch=(2, 3), after=mask((1, 8, 8), batch=(3,)))
    with pytest.raises(IncompatibleError, match=r"one batch axis where Mask.*batch \(2, 3\)"):
        solver(parameter_prior=prior).init(problem)


# ---- restarts ---------------------------------------------------------------------------------


def one_restart(state: State, r: int) -> State:
    return attrs.evolve(
        state,
        points=tuple(p[..., r : r + 1, :] for p in state.points),
        moments=tuple(tuple(m[..., r : r + 1, :] for m in pair) for pair in state.moments),
        losses=state.losses[..., r : r + 1],
    )


@pytest.mark.parametrize("update", ["jacobi", "gauss_seidel", "normalised", "adam"])
def test_restarts_together_equal_restarts_one_after_another(blurred, update):
    problem, prior, _ = blurred()
    solver = GenerativeBilinear(
        parameter_prior=prior, restarts=3, update=update, step_size=3e-4, decay=None
    )
    first = solver.init(problem)
    together = first
    for _ in range(10):
        together = solver.step(problem, together)
    for r in range(3):
        alone = one_restart(first, r)
        for _ in range(10):
            alone = solver.step(problem, alone)
        for got, want in zip(together.points, alone.points, strict=True):
            torch.testing.assert_close(got[..., r : r + 1, :], want, rtol=1e-9, atol=1e-12)


def test_starts_are_those_of_the_seed_whoever_else_is_there(blurred):
    problem, prior, _ = blurred()
    few, many = (GenerativeBilinear(parameter_prior=prior, restarts=r) for r in (2, 5))
    h, m = many.init(problem).points
    for small, large in zip(few.init(problem).points, (h, m), strict=True):
        assert torch.equal(small, large[:, :2])
    assert torch.equal(m[0], m[3]) and not torch.equal(m[0, 0], m[0, 1])
    alone = attrs.evolve(problem, measurement=problem.measurement[2])
    assert torch.equal(many.init(alone).points[1], m[2])
    other = attrs.evolve(problem, seed=7)
    assert not torch.equal(many.init(other).points[0], h)


def astray(step_size, restarts=6, batch=(2,)):
    op = Product(in_shape=(1, 1, 3), dtype=F64)
    y = torch.rand(*batch, 1, 1, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    solver = GenerativeBilinear(
        parameter_prior=Cubic(),
        restarts=restarts,
        max_steps=60,
        step_size=step_size,
        decay=None,
        **FREE,
    )
    return solver, Problem(operator=op, measurement=y, prior=Cubic())


def test_a_diverged_restart_touches_no_other():
    solver, problem = astray(0.03)
    found = solver.solve(problem)
    gone = found.extras["losses"].isinf()
    assert 0 < int(gone.sum()) < gone.numel()
    assert bool(found.image.isfinite().all())
    assert found.status is Status.BUDGET_SPENT and bool((found.steps == 60).all())
    first = solver.init(problem)
    for r in range(6):
        alone = one_restart(first, r)
        for _ in range(60):
            alone = solver.step(problem, alone)
        if not bool(gone[:, r].any()):
            for got, want in zip(found.extras["latents"].values(), alone.points, strict=True):
                torch.testing.assert_close(got[:, r : r + 1], want)


def test_a_picture_without_a_restart_left_is_reported_and_finite():
    solver, problem = astray(1e3)
    found = solver.solve(problem)
    assert found.status >= Status.DIVERGED
    assert bool(found.image.isfinite().all())
    assert bool(found.extras["parameter"].isfinite().all())


def test_a_diverged_picture_touches_no_other():
    solver, problem = astray(0.003)
    y = torch.stack((problem.measurement[0], 1e12 * problem.measurement[1]))
    found = solver.solve(attrs.evolve(problem, measurement=y))
    assert found.statuses[0] is Status.BUDGET_SPENT
    alone = solver.solve(attrs.evolve(problem, measurement=problem.measurement[:1]))
    torch.testing.assert_close(found.image[:1], alone.image)
    assert found.statuses[1] >= Status.DIVERGED and bool(found.image.isfinite().all())


def test_a_step_in_place_is_a_step(blurred):
    """What is replayed on CUDA, run here without a graph."""
    problem, prior, _ = blurred()
    for update in ("gauss_seidel", "adam"):
        solver = GenerativeBilinear(parameter_prior=prior, update=update, step_size=3e-4)
        plain = placed = solver.init(problem)
        turn = Turn(lambda state, s=solver: s._advance(problem, state), plain)
        placed = attrs.evolve(plain, turn=turn)
        for _ in range(5):
            plain, before = solver.step(problem, plain), placed
            kept = [t.clone() for t in before.tensors()]
            placed = solver.step(problem, placed)
            assert all(map(torch.equal, before.tensors(), kept))
            assert all(map(torch.equal, plain.tensors(), placed.tensors()))
        assert placed.turn is turn


@pytest.mark.parametrize("update", ["gauss_seidel", "adam"])
def test_restarts_in_pieces_are_restarts_together(blurred, monkeypatch, update):
    problem, prior, _ = blurred(batch=(2, 3))
    solver = GenerativeBilinear(
        parameter_prior=prior, update=update, step_size=3e-4, restarts=7, max_steps=5
    )
    at_once = solver.solve(problem)
    monkeypatch.setattr(descent, "_PIXELS", 2 * 6 * 64)  # two restarts of six pictures, or fewer
    sizes = [s.stop - s.start for s in descent._pieces(problem, 7)]
    assert sum(sizes) == 7 and set(sizes) == {1, 2}
    in_pieces = solver.solve(problem)
    torch.testing.assert_close(in_pieces.image, at_once.image)
    for name in ("losses", "best", "parameter"):
        torch.testing.assert_close(in_pieces.extras[name], at_once.extras[name])
    for got, want in zip(
        *(f.extras["latents"].values() for f in (in_pieces, at_once)), strict=True
    ):
        torch.testing.assert_close(got, want)


# ---- what is kept from step to step -----------------------------------------------------------


def counted(prior):
    """Return a generator that counts how often it runs, and where it counts."""
    runs = []
    prior.network.register_forward_hook(lambda *_: runs.append(1))
    return prior, runs


@pytest.mark.parametrize("update", ["gauss_seidel", "normalised"])
def test_a_new_code_is_decoded_once(blurred, update):
    problem, prior, _ = blurred()
    prior, runs = counted(prior)
    solver = GenerativeBilinear(parameter_prior=prior, update=update, step_size=3e-4)
    state = solver.init(problem)
    runs.clear()
    for _ in range(5):
        state = solver.step(problem, state)
    assert len(runs) == 6


def test_steps_with_nothing_kept_are_the_same(blurred):
    """Of a copy, and of a state that has been stepped from before, the next step is the same."""
    problem, prior, _ = blurred()
    solver = GenerativeBilinear(parameter_prior=prior, update="normalised", step_size=0.05)
    state = solver.step(problem, solver.init(problem))
    copies = copy.deepcopy(state), pickle.loads(pickle.dumps(state)), state.copied(), state
    first = solver.step(problem, state)
    for other in copies:
        again = solver.step(problem, other)
        assert all(map(torch.equal, first.tensors(), again.tensors()))


def test_what_is_kept_serves_no_other_problem_solver_or_code(blurred):
    problem, prior, _ = blurred()
    solver = GenerativeBilinear(parameter_prior=prior, update="gauss_seidel", step_size=3e-4)
    other = attrs.evolve(solver, parameter_prior=blurred(seed=4)[1])
    other.parameter_prior.network[0].weight.data *= 2
    noisy = attrs.evolve(problem, measurement=problem.measurement + 1)
    for who, what, change in ((other, problem, 0), (solver, noisy, 0), (solver, problem, 0.1)):
        state = solver.step(problem, solver.init(problem))
        assert state.kept is not None
        state = attrs.evolve(state, points=tuple(p + change for p in state.points))
        found, fresh = (who.step(what, s) for s in (state, state.copied()))
        assert all(map(torch.equal, found.tensors(), fresh.tensors()))


# ---- starts, ends -----------------------------------------------------------------------------


@pytest.mark.parametrize("after", [None, "mask"])
def test_the_projected_start_fits_the_measurement(blurred, after):
    """For a measurement without blur, the picture itself is found."""
    problem, prior, (_, x) = blurred(after=after and mask((1, 8, 8)))
    outer = (lambda x: x) if after is None else problem.operator.outer
    problem = attrs.evolve(problem, measurement=outer(x))
    normal = GenerativeBilinear(
        parameter_prior=prior, update="normalised", step_size=0.05, start_steps=100
    )
    starts = [attrs.evolve(normal, start=s).init(problem).points for s in ("normal", "projection")]
    assert torch.equal(starts[0][0], starts[1][0])
    with torch.no_grad():
        gaps = [
            (outer(problem.prior.decode(m)) - problem.measurement[:, None]).square().sum((2, 3, 4))
            for _, m in starts
        ]
    assert gaps[1].shape == (4, 10)
    assert bool((gaps[1].amin(1) < 0.01 * gaps[0].amin(1)).all())
    assert float(gaps[1].mean()) < 0.2 * float(gaps[0].mean())


def test_a_projected_start_that_goes_astray_is_the_drawn_one():
    solver, problem = astray(1e200)
    solver = attrs.evolve(solver, start="projection", start_steps=3)
    points = solver.init(problem).points
    assert torch.equal(points[1], attrs.evolve(solver, start="normal").init(problem).points[1])


def test_it_stops_when_the_codes_stand_still(blurred):
    problem, prior, _ = blurred()
    solver = GenerativeBilinear(parameter_prior=prior, **{**GOOD, "decay": 5.0}, tolerance=1e-3)
    found = solver.solve(problem)
    assert set(found.statuses) == {Status.CONVERGED}
    assert 5 < int(found.steps.max()) < 100


def test_what_is_returned_belongs_together(blurred):
    problem, prior, _ = blurred(after=mask((1, 8, 8)))
    solver = GenerativeBilinear(parameter_prior=prior, **{**GOOD, "max_steps": 30}, restarts=4)
    found = solver.solve(problem)
    extras, batch = found.extras, (4,)
    w = extras["parameter"]
    assert w.shape == (*batch, 1, 5, 5) and extras["losses"].shape == (*batch, 4)
    predicted = problem.operator(w, found.image)
    torch.testing.assert_close(found.operator(found.image), predicted)
    gap = (predicted - problem.measurement).square().sum((1, 2, 3))
    torch.testing.assert_close(gap, extras["losses"].amin(-1))
    assert torch.equal(extras["best"], extras["losses"].argmin(-1))
    m = extras["latents"]["image"][torch.arange(4), extras["best"]]
    torch.testing.assert_close(problem.prior.decode(m).detach(), found.image)
    ones = extras["parameter_normalised"].sum((1, 2, 3))
    torch.testing.assert_close(ones, torch.ones_like(ones))
    assert set(found.history) == {"change", "loss"} and found.history["loss"].shape == (4, 30)


def test_kernels_can_be_saved_and_one_of_zeros_is_left_alone(blurred, tmp_path):
    problem, prior, _ = blurred(batch=())
    with torch.no_grad():
        prior.network[2].weight.zero_()
    found = GenerativeBilinear(parameter_prior=prior, max_steps=2).solve(problem)
    assert found.extras["parameter"].shape == (1, 5, 5)
    assert not bool(found.extras["parameter_normalised"].any())
    assert [p.name for p in found.save_kernel(tmp_path / "w.npy")] == ["w.npy"]


def test_several_batch_axes(blurred):
    problem, prior, _ = blurred(batch=(2, 3))
    solver = GenerativeBilinear(parameter_prior=prior, max_steps=5, restarts=2)
    found = solver.solve(problem)
    flat = solver.solve(attrs.evolve(problem, measurement=problem.measurement.flatten(0, 1)))
    torch.testing.assert_close(found.image.flatten(0, 1), flat.image)
    assert found.extras["losses"].shape == (2, 3, 2) and found.operator.batch_shape == (6,)


def test_by_name_in_single_precision(blurred):
    problem, prior, _ = blurred()
    op = CircularConvolution(in_shape=(1, 8, 8), kernel_shape=(5, 5))
    found = wellposed.solve(
        problem.measurement.float(),
        op=op,
        solver="generative_bilinear",
        solver_params={"parameter_prior": prior, "max_steps": 3, "update": "adam"},
        prior=problem.prior,
        seed=1,
    )
    assert found.image.dtype == torch.float32 and "update=adam" in found.report().replace("'", "")


# ---- errors -----------------------------------------------------------------------------------


def test_errors(blurred):
    problem, prior, _ = blurred()
    solver = GenerativeBilinear(parameter_prior=prior)
    wide = CircularConvolution(in_shape=(1, 8, 8), kernel_shape=(3, 3), dtype=F64)
    with pytest.raises(IncompatibleError, match=r"parameters w of shape \(1, 3, 3\).*\(1, 5, 5\)"):
        solver.solve(attrs.evolve(problem, operator=wide))
    with pytest.raises(IncompatibleError, match=r"pictures of shape \(1, 8, 8\).*\(1, 5, 5\)"):
        solver.solve(attrs.evolve(problem, prior=prior))
    with pytest.raises(IncompatibleError, match="no code is known for a picture"):
        solver.solve(attrs.evolve(problem, initial=problem.measurement))
    known = problem.operator.at_w(torch.ones(1, 5, 5, dtype=F64))
    with pytest.raises(IncompatibleError, match="needs a BilinearOperator"):
        solver.solve(attrs.evolve(problem, operator=known))
    for params, match in (
        ({"update": "newton"}, "expected one of 'jacobi'"),
        ({"start": "zero"}, "expected one of 'normal'"),
        ({"restarts": 0}, "restarts expects a whole number of at least 1"),
        ({"step_size": 0.0}, "step_size expects a finite number above 0"),
        ({"decay": -1.0}, "decay expects a finite number above 0"),
        ({"data_weight": 0.0}, "data_weight expects"),
        ({"image_penalty": -1.0}, "image_penalty expects"),
    ):
        with pytest.raises(ParameterError, match=match):
            build_solver("generative_bilinear", {"parameter_prior": prior, **params})
    with pytest.raises((TypeError, ParameterError), match="GenerativePrior"):
        GenerativeBilinear(parameter_prior=3)


def test_a_projected_start_needs_pictures_that_compare(blurred):
    """A bilinear operator that changes the picture's shape, as a valid convolution would."""

    @attrs.frozen(eq=False, kw_only=True)
    class FirstRow(Product):
        @property
        def out_space(self):
            return Space((1, 1, 8), F64)

        def _apply(self, w, x):
            return (w * x)[..., :1, :]

    problem, prior, _ = blurred(op=FirstRow(in_shape=(1, 8, 8), dtype=F64))
    solver = GenerativeBilinear(parameter_prior=prior, start="projection")
    with pytest.raises(IncompatibleError, match="start='projection' compares"):
        solver.solve(problem)
