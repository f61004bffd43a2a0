"""Restarts that come to rest: which ones, when, and that nothing else changes."""

from __future__ import annotations

import copy
import itertools
import pickle

import attrs
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wellposed import Identity, Problem, Status
from wellposed.edge import build_solver
from wellposed.errors import ParameterError
from wellposed.plugins.generative_bilinear import descent
from wellposed.plugins.generative_bilinear.bilinear import GenerativeBilinear
from wellposed.plugins.generative_bilinear.projection import GenerativeProjection
from wellposed.plugins.generative_bilinear.slack import GenerativeBilinearSlack
from wellposed.plugins.generative_bilinear.state import Resting
from wellposed.plugins.operators.bilinear import Product

from .made import Cubic

F64 = torch.float64
UPDATES = ["jacobi", "gauss_seidel", "normalised", "adam"]


def solver_for(prior, update="normalised", kind=GenerativeBilinear, **params):
    size = 3e-4 if update in ("jacobi", "gauss_seidel") else 0.05
    params = {"restarts": 7, "max_steps": 20, "halve_every": 4, "step_size": size, **params}
    return kind(parameter_prior=prior, update=update, decay=None, **params)


def states(solver, problem, count, state=None):
    """Return the state at the start, and after each step."""
    state = solver.init(problem) if state is None else state
    found = [state]
    for _ in range(count):
        found.append(solver.step(problem, found[-1]))
    return found


# ---- which restarts move ----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "update"),
    [*((GenerativeBilinear, update) for update in UPDATES), (GenerativeBilinearSlack, "adam")],
)
def test_a_restart_moves_as_it_would_and_then_rests(blurred, kind, update):
    """Of 7 restarts 4, 2 and 1 go on after 4, 8 and 12 steps: the best of each picture there."""
    problem, prior, _ = blurred(batch=(3,))
    solver = solver_for(prior, update, kind)
    halved = states(solver, problem, 20)
    plain = states(attrs.evolve(solver, halve_every=None), problem, 20)
    until = torch.full((3, 7), 20)  # after how many steps each came to rest
    for step, left in ((4, 4), (8, 2), (12, 1)):
        losses, _ = solver._best(problem, plain[step].points)
        losses = torch.where(until < 20, torch.inf, losses)
        worse = losses.argsort(-1)[:, left:]
        until = torch.where(until < 20, until, until.scatter(-1, worse, step))
        at_rest = halved[step].resting.others.sort().values
        assert torch.equal(at_rest, worse.sort().values)
    for end, picture, restart in itertools.product((6, 20), range(3), range(7)):
        last = plain[min(end, int(until[picture, restart]))]
        got, want = ((*s.points, *itertools.chain(*s.moments)) for s in (halved[end], last))
        for mine, its in zip(got, want, strict=True):
            mine, its = mine[picture, restart], its[picture, restart]
            torch.testing.assert_close(mine, its, rtol=1e-9, atol=1e-12)


def test_what_rests_stays_as_it_is_bit_for_bit(blurred):
    problem, prior, _ = blurred()
    halved = states(solver_for(prior, "adam"), problem, 20)
    for before, after in itertools.pairwise(halved[4:]):
        rest = before.resting.others
        stays = [before.losses.gather(-1, rest), after.losses.gather(-1, rest)]
        for old, new in zip(before.points, after.points, strict=True):
            stays += [torch.take_along_dim(p, rest[..., None], -2) for p in (old, new)]
        assert all(map(torch.equal, stays[::2], stays[1::2]))
        moved = torch.take_along_dim(
            after.points[0] - before.points[0], before.resting.first[..., None], -2
        )
        assert bool(moved.any(-1).all())
    assert halved[-1].resting.moving == 1 and halved[-1].resting.steps == 20


def test_losses_and_the_best_are_of_all_restarts(blurred):
    problem, prior, _ = blurred()
    found = solver_for(prior).solve(problem)
    extras = found.extras
    h, m = (extras["latents"][name].movedim(1, 0) for name in ("parameter", "image"))
    with torch.no_grad():
        off = problem.operator(prior.decode(h), problem.prior.decode(m)) - problem.measurement
    losses = off.square().sum((2, 3, 4)).T
    torch.testing.assert_close(extras["losses"], losses)
    assert extras["losses"].shape == (4, 7)
    assert torch.equal(extras["best"], losses.argmin(-1))
    for name, value in (("image", found.image), ("parameter", extras["parameter"])):
        code = extras["latents"][name][torch.arange(4), extras["best"]]
        made = (problem.prior if name == "image" else prior).decode(code).detach()
        torch.testing.assert_close(value, made)


@given(
    st.lists(st.sampled_from([0.0, 1.0, 2.0, torch.inf]), min_size=2, max_size=9),
    st.data(),
)
def test_the_order_in_which_restarts_go_on(losses, data):
    """Finite before infinite, moving before resting, then by the loss, then as they were."""
    order = data.draw(st.permutations(range(len(losses))))
    moving = data.draw(st.integers(2, len(losses)))
    rest = Resting(order=torch.tensor([order, order]), shown=(), moving=moving)
    found = rest.halved(torch.tensor([losses, losses]))

    def key(restart):
        place = order.index(restart)
        return (
            losses[restart] == torch.inf,
            place >= moving,
            losses[restart] if place < moving else 0,
        )

    assert found.order.tolist() == [sorted(order, key=key)] * 2
    assert found.moving == (moving + 1) // 2
    assert torch.equal(torch.cat((found.first, found.others), -1), found.order)


# ---- what stays the same ----------------------------------------------------------------------


@pytest.mark.parametrize("every", [6, 7, 100])
def test_no_restart_rests_before_its_time(blurred, every):
    problem, prior, _ = blurred()
    solver = solver_for(prior, max_steps=6, halve_every=every)
    halved, plain = (s.solve(problem) for s in (solver, attrs.evolve(solver, halve_every=None)))
    assert torch.equal(halved.image, plain.image)
    for name in ("change", "loss"):
        assert torch.equal(halved.history[name], plain.history[name])
    for name in ("losses", "best", "parameter"):
        assert torch.equal(halved.extras[name], plain.extras[name])


def test_one_restart_never_rests(blurred):
    problem, prior, _ = blurred()
    solver = solver_for(prior, restarts=1, halve_every=1)
    halved, plain = (s.solve(problem) for s in (solver, attrs.evolve(solver, halve_every=None)))
    assert torch.equal(halved.image, plain.image)


@pytest.mark.parametrize("update", UPDATES)
def test_each_picture_as_if_it_were_alone(blurred, update):
    problem, prior, _ = blurred(batch=(2, 3))
    solver = solver_for(prior, update)
    together = solver.solve(problem)
    for at in itertools.product(range(2), range(3)):
        alone = solver.solve(attrs.evolve(problem, measurement=problem.measurement[at]))
        torch.testing.assert_close(together.image[at], alone.image, rtol=1e-8, atol=1e-12)
        for name in ("losses", "best"):
            torch.testing.assert_close(together.extras[name][at], alone.extras[name])
        for name, codes in together.extras["latents"].items():
            torch.testing.assert_close(codes[at], alone.extras["latents"][name])


def test_in_pieces(blurred, monkeypatch):
    problem, prior, _ = blurred(batch=(2,))
    solver = solver_for(prior, "gauss_seidel")
    at_once = solver.solve(problem)
    monkeypatch.setattr(descent, "_PIXELS", 2 * 2 * 64)  # two restarts of both pictures
    in_pieces = solver.solve(problem)
    torch.testing.assert_close(in_pieces.image, at_once.image)
    torch.testing.assert_close(in_pieces.extras["losses"], at_once.extras["losses"])


@pytest.mark.parametrize("update", ["normalised", "adam"])
def test_steps_in_place_are_steps(blurred, update):
    """What is replayed on CUDA, run here without a graph: one for each number of restarts."""
    problem, prior, _ = blurred()
    solver = solver_for(prior, update)
    plain = states(solver, problem, 14)
    placed = states(solver, problem, 14, solver._with_turn(problem, plain[0].copied()))
    for want, got in zip(plain, placed, strict=True):
        assert all(map(torch.equal, want.tensors(), got.tensors()))
        assert (want.resting.moving, want.resting.steps) == (got.resting.moving, got.resting.steps)
    turns = [state.turn for state in placed]
    assert len(set(turns)) == 4 and turns[4] is turns[7] is not turns[3]


def test_no_step_waits_for_the_device(blurred, monkeypatch):
    problem, prior, _ = blurred()
    solver = solver_for(prior, "adam", halve_every=2)
    first = solver.init(problem)

    def refused(*_):
        raise AssertionError("a number is read from a tensor")

    for name in ("item", "tolist", "cpu", "numpy", "__bool__", "__int__", "__float__"):
        monkeypatch.setattr(torch.Tensor, name, refused)
    last = states(solver, problem, 7, first)[-1]
    monkeypatch.undo()
    assert last.resting.moving == 1


def test_a_state_can_be_copied_and_saved(blurred):
    problem, prior, _ = blurred()
    solver = solver_for(prior)
    state = states(solver, problem, 7)[-1]  # the next step halves
    after = states(solver, problem, 3, state)[-1]
    for other in (copy.deepcopy(state), pickle.loads(pickle.dumps(state)), state.copied()):
        again = states(solver, problem, 3, other)[-1]
        assert all(map(torch.equal, after.tensors(), again.tensors()))
        assert again.resting.moving == 2 and again.resting.steps == 10


def test_callbacks_see_every_step(blurred):
    problem, prior, _ = blurred()
    seen = []
    solver_for(prior).solve(problem, callback=lambda e: seen.append((e.step, e.estimate())))
    assert [step for step, _ in seen] == list(range(1, 21))
    assert all(x.shape == problem.measurement.shape and bool(x.isfinite().all()) for _, x in seen)


def test_the_projection_halves_too(relu_generator):
    prior = relu_generator(4, 40, (1, 8, 8), 2)
    z = torch.randn(10, 4, generator=torch.Generator().manual_seed(1), dtype=F64)
    with torch.no_grad():
        x = prior.decode(z)
    fast = {"update": "normalised", "step_size": 0.1, "decay": 100.0, "max_steps": 400}
    solver = GenerativeProjection(restarts=5, halve_every=30, **fast)
    problem = Problem(operator=Identity(prior.out_space), measurement=x, prior=prior)
    found = solver.solve(problem)
    off = (found.image - x).flatten(1).norm(dim=1) / x.flatten(1).norm(dim=1)
    assert int((off < 0.01).sum()) >= 9


# ---- restarts that diverge --------------------------------------------------------------------


def cubic(**params):
    y = torch.rand(3, 1, 1, 3, generator=torch.Generator().manual_seed(0), dtype=F64)
    params = {"restarts": 8, "step_size": 0.03, "max_steps": 60, "halve_every": 10, **params}
    solver = solver_for(Cubic(), "jacobi", parameter_penalty=0.0, image_penalty=0.0, **params)
    return solver, Problem(
        operator=Product(in_shape=(1, 1, 3), dtype=F64), measurement=y, prior=Cubic()
    )


def test_a_diverged_restart_goes_first():
    solver, problem = cubic()
    gone = 0
    for state in states(solver, problem, 59)[10::10]:
        rest = state.resting
        moving, still = (state.losses.gather(-1, i).isfinite() for i in (rest.first, rest.others))
        assert bool((moving.all(-1) | ~still.any(-1)).all())
        gone += int((~still).sum())
    assert gone > 0
    found = solver.solve(problem)
    assert bool(found.image.isfinite().all()) and found.status is Status.BUDGET_SPENT


def led_astray(state):
    """Return the state with codes of the moving restarts from where the next step goes astray."""
    far = [p.new_full((*state.resting.first.shape, *p.shape[2:]), 1e60) for p in state.points]
    where = state.resting.first[..., None]
    points = [p.scatter(1, where.expand_as(f), f) for p, f in zip(state.points, far, strict=True)]
    return attrs.evolve(state, points=tuple(points))


def test_those_at_rest_take_the_place_of_diverged_ones():
    solver, problem = cubic(step_size=1e-3)
    state = led_astray(states(solver, problem, 13)[-1])
    rested = state.resting.others
    best = state.losses.gather(-1, rested).argmin(-1, keepdim=True)
    best = rested.gather(-1, best)
    *_, before, last = states(solver, problem, 7, state)
    assert bool(before.losses.gather(-1, before.resting.first).isinf().all())
    assert torch.equal(before.losses.argmin(-1, keepdim=True), best)
    with torch.no_grad():
        parts = [Cubic().decode(p[torch.arange(3), best[:, 0]]) for p in before.points]
    for shown, part in zip(before.shown, parts, strict=True):
        torch.testing.assert_close(shown, part)
    assert torch.equal(solver.change(problem, state, before), torch.ones(3, dtype=F64))
    assert torch.equal(last.resting.first[:, :1], best)
    assert last.resting.moving == 2
    assert bool(solver.step(problem, last).losses.gather(-1, best).isfinite().all())


def test_a_picture_whose_last_restart_diverges_has_the_best_at_rest():
    solver, problem = cubic(step_size=1e-3)
    state = led_astray(states(solver, problem, 33)[-1])
    assert state.resting.moving == 1
    state = states(solver, problem, 5, state)[-1]
    end = solver.finish(problem, state)
    kept = end["losses"].gather(-1, state.resting.others)
    assert torch.equal(end["losses"].amin(-1), kept.amin(-1))
    assert all(bool(part.isfinite().all()) for part in end["shown"])


# ---- errors -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "name", ["generative_bilinear", "generative_bilinear_slack", "generative_projection"]
)
@pytest.mark.parametrize("value", [0, -3, 2.5, True])
def test_errors(name, value):
    others = {} if name == "generative_projection" else {"parameter_prior": Cubic()}
    with pytest.raises(ParameterError, match=r"halve_every(:| expects).* whole number"):
        build_solver(name, {**others, "halve_every": value})
