"""Algorithm 1's gradients, training by recipe, and from weights back to solvers."""

from __future__ import annotations

import csv
import shlex

import attrs
import pytest
import torch
import wellposed
import wellposed.registry as reg
from torch import nn
from typer.testing import CliRunner
from wellposed import Problem, Space
from wellposed.cli.app import app
from wellposed.edge import build_operator
from wellposed.errors import IncompatibleError, ParameterError, UnknownComponent, WeightsError
from wellposed.plugins.inversenet.solver import InverseNet
from wellposed.plugins.networks.inversenet import InverseNetDae, InverseNetUnet
from wellposed.plugins.networks.solver import NetworkSolver
from wellposed.training import recipe_from, solver_from_weights, train
from wellposed.training.cards import read_card
from wellposed.training.installed import InstalledWeights
from wellposed.training.learner import SolverLearner, build_learner
from wellposed.training.losses import LossTerm, total_loss

from .conftest import HALVES, tiny

F64 = torch.float64


ANOTHER = "operator='[{name: motion_blur, params: {kernel: KERNEL.npy}}]'"


def problem(name="motion_blur", shape=(3, 16, 17), dtype=torch.float32, **params):
    op = build_operator(name, params or None, x_space=Space(shape, dtype))
    x = torch.rand(2, *shape, dtype=F64, generator=torch.Generator().manual_seed(0)).to(dtype)
    return Problem(operator=op, measurement=op(x)), x


def pair(**options):
    """Return a solver whose networks are in training mode, batch normalisation and all."""
    return InverseNet(
        inverting=InverseNetUnet(depth=2, width=3).build(seed=0, dtype=F64),
        denoising=InverseNetDae(width=4).build(seed=1, dtype=F64),
        **options,
    )


def losses_by_hand(solver, p, x, *, through):
    """Return the losses of z and x from the two networks alone."""
    f, g = solver.inverting, solver.denoising
    y = p.operator.initial_estimate(p.measurement)
    z = (f(2 * y - 1) + 1) / 2
    restored = g(z if through else z.detach(), measurement=y)
    return (z - x).square().mean(), (restored - x).square().mean()


def gradients(loss, network):
    found = torch.autograd.grad(loss, list(network.parameters()), retain_graph=True)
    assert any(bool(g.any()) for g in found)
    return found


def close(got, want):
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


# --- algorithm 1 -----------------------------------------------------------------------------


@pytest.mark.parametrize("end_to_end", [False, True])
def test_the_gradients_of_algorithm_1(end_to_end):
    """f learns from z alone, g from x alone; with `end_to_end`, f from both."""
    p, x = problem(dtype=F64)
    solver = pair(end_to_end=end_to_end)
    restored = SolverLearner(solver)(p.measurement, p.operator)
    terms = (LossTerm(norm="l2", weight=3.0), LossTerm(norm="l2", of="z", weight=0.5))
    total = total_loss(terms, restored, truth=x, measurement=p.measurement, operator=p.operator)
    of_z, of_x = losses_by_hand(solver, p, x, through=end_to_end)
    torch.testing.assert_close(total, 3 * of_x + 0.5 * of_z)
    f, g = solver.inverting, solver.denoising
    close(gradients(total, g), gradients(3 * of_x, g))
    wanted = [0.5 * v for v in gradients(of_z, f)]
    if end_to_end:
        more = [3 * v for v in gradients(of_x, f)]
        assert not torch.allclose(wanted[0], wanted[0] + more[0])
        wanted = [a + b for a, b in zip(wanted, more, strict=True)]
    close(gradients(total, f), wanted)


def test_without_a_loss_on_z_the_first_network_learns_nothing():
    p, x = problem(dtype=F64)
    for end_to_end in (False, True):
        solver = pair(end_to_end=end_to_end)
        restored = SolverLearner(solver)(p.measurement, p.operator)
        (restored.picture - x).square().mean().backward()
        assert all(v.grad is not None for v in solver.denoising.parameters())
        learns = [v.grad is not None for v in solver.inverting.parameters()]
        assert learns == [end_to_end] * len(learns)


def test_gradients_against_differences():
    """One weight of each network, in evaluation mode."""
    p, x = problem(dtype=F64)
    solver = pair(end_to_end=True)
    solver.inverting.eval(), solver.denoising.eval()

    def loss():
        found = solver._reconstruct(p)
        return (found.image - x).square().mean() + (found.extras["z"] - x).square().mean()

    for network in (solver.inverting, solver.denoising):
        weight = next(network.parameters())
        (got,) = torch.autograd.grad(loss(), weight)
        values = []
        for shift in (1e-5, -2e-5):
            with torch.no_grad():
                weight.view(-1)[0] += shift
                values.append(loss())
        with torch.no_grad():
            weight.view(-1)[0] += 1e-5
        want = (values[0] - values[1]) / 2e-5
        torch.testing.assert_close(got.view(-1)[0], want, rtol=1e-5, atol=1e-9)


def test_new_networks_come_from_the_seed():
    solver = InverseNet(inversion=InverseNetUnet(depth=2, width=2), denoiser=InverseNetDae(width=4))
    one, again, other = (solver.for_training(seed=seed) for seed in (5, 5, 6))
    for field in ("inverting", "denoising"):
        states = [list(getattr(s, field).state_dict().values()) for s in (one, again, other)]
        assert all(torch.equal(a, b) for a, b in zip(*states[:2], strict=True))
        assert any(not torch.equal(a, b) for a, b in zip(*states[1:], strict=True))
    learner = build_learner(tiny())
    assert [type(m) for m in learner.each().values()] == [type(one.inverting), type(one.denoising)]
    assert {key.split(".")[0] for key in learner.weights().state_dict()} == {
        "inverting", "denoising"
    }  # fmt: skip


# --- by recipe -------------------------------------------------------------------------------


def test_what_is_trained_comes_back(weights):
    p, _ = problem()
    solver = solver_from_weights(weights)
    assert isinstance(solver, InverseNet)
    assert not solver.inverting.training and not solver.denoising.training
    want = solver.solve(p)
    for found in (
        InverseNet(weights=str(weights)).solve(p),
        wellposed.solve(
            p.measurement, op="motion_blur", solver="inversenet",
            solver_params={"weights": str(weights)},
        ),
    ):  # fmt: skip
        torch.testing.assert_close(found.image, want.image)
        torch.testing.assert_close(found.extras["z"], want.extras["z"])
        assert str(weights) in found.provenance.solver
    double, _ = problem(dtype=F64)
    found = InverseNet(weights=str(weights)).solve(double).image
    assert found.dtype == F64
    torch.testing.assert_close(found.float(), want.image, rtol=1e-3, atol=1e-4)
    card = reg.load_yaml(weights.with_suffix(".yaml"))
    assert card["trained_for"]["operator"] == "motion_blur"
    assert card["recipe"]["solver"]["params"] == HALVES


def test_the_log_shows_the_annealing(weights):
    with (weights.parent / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for key in ("z_error_mean", "z_error_variance", "z_change_mean", "z_change_variance"):
        assert all(abs(float(row[key])) < 2 for row in rows)
    assert all(float(row["z_error_variance"]) > 0 for row in rows)


def test_a_recipe_with_everything_of_the_appendix(pictures, tmp_path):
    """Two losses, a shared discriminator, a comparator, clipping and Adam's numbers; x2 in grey."""
    terms = [{"norm": "l2", "weight": 0.5}, {"norm": "l2", "of": "z", "weight": 0.5}]
    parts = ["z", "picture"]
    recipe = tiny(
        operator=["grayscale", {"name": "strided_blur", "params": {"kernel": "inversenet_colour"}}],
        loss=terms,
        optimiser={"rate": 1e-4, "betas": [0.5, 0.999]},
        adversarial={"of": parts, "real_label": 0.99, "fake_label": 0.01, "wanted_label": 0.99,
                     "clip": 5.0, "rate": 1e-4, "width": 4, "weight": 1.0},
        comparator={"of": parts, "weight": 0.5,
                    "network": {"name": "dncnn", "params": {"depth": 2, "width": 2,
                                                            "channels": 3}}},
        steps=2,
    )  # fmt: skip
    result = train(recipe, data=pictures, out=tmp_path / "run", device="cpu")
    with (tmp_path / "run" / "log.csv").open() as file:
        last = list(csv.DictReader(file))[-1]
    assert all(float(last[key]) > 0 for key in ("adversarial", "discriminator", "comparator"))
    y = torch.rand(1, 9, 8)
    op = ["grayscale", {"name": "strided_blur", "params": {"kernel": "inversenet_colour"}}]
    found = wellposed.solve(
        y, op=op, solver="inversenet", solver_params={"weights": str(result.weights)}
    )
    assert found.image.shape == (3, 18, 16)


@pytest.mark.parametrize(
    ("solver", "match"),
    [
        ("inversenet", r"^inversion: inversenet needs two networks to train"),
        ({"name": "inversenet", "params": {"inversion": HALVES["inversion"]}}, r"^denoiser: "),
        ({"name": "inversenet", "params": {**HALVES, "inversion": "inversenet_unett"}},
         r"inversion.*Did you mean 'inversenet_unet'"),
    ],
)  # fmt: skip
def test_recipes_without_two_networks(solver, match):
    with pytest.raises((IncompatibleError, UnknownComponent), match=match):
        build_learner(tiny(solver=solver))


def test_a_loss_on_what_the_solver_does_not_find(pictures, tmp_path):
    recipe = tiny(loss=[{"norm": "l2", "of": "zz"}], steps=1)
    with pytest.raises(ParameterError, match=r"finds no 'zz'. Did you mean 'z'.*picture, z"):
        train(recipe, data=pictures, out=tmp_path / "run", device="cpu")


# --- other operators -------------------------------------------------------------------------


def turned():
    """Return the motion's kernel turned by half, which no level tells from it."""
    op, _ = problem()
    return op.operator.kernel.flip(-2, -1)


def refusal(call):
    with pytest.raises(IncompatibleError) as caught:
        call()
    return str(caught.value)


def test_another_motion_is_refused_with_a_command(weights):
    p, _ = problem(kernel=turned())
    text = refusal(lambda: InverseNet(weights=str(weights)).solve(p))
    assert f"{weights} was not trained for this MotionBlur: operator " in text
    assert "away from the one trained for, more than 0.15" in text
    assert f"wellposed train {weights.with_suffix('.yaml')} --set {ANOTHER}" in text
    other, _ = problem(boundary="circular")
    InverseNet(weights=str(weights)).solve(other)


def test_installed_weights_of_another_motion_are_refused(weights, monkeypatch):
    one = InstalledWeights(weights, plugin="inversenet", card=read_card(weights))
    monkeypatch.setattr("wellposed.training.trained.installed_weights", lambda: [one])
    mine, _ = problem()
    found = InverseNet().solve(mine)
    assert str(weights) in found.provenance.solver
    torch.testing.assert_close(found.image, InverseNet(weights=str(weights)).solve(mine).image)
    other, _ = problem(kernel=turned())
    text = refusal(lambda: InverseNet().solve(other))
    assert "inversenet has no weights for this MotionBlur (weights: operator " in text
    assert f"wellposed train weights --set {ANOTHER}" in text
    assert "--data PICTURES --out RUN. Then give weights=RUN/weights.safetensors" in text


def test_the_command_that_is_printed_trains(weights, pictures, tmp_path):
    """For super-resolution, from the weights for motion."""
    p, _ = problem("strided_blur", (3, 16, 16))
    text = refusal(lambda: InverseNet(weights=str(weights)).solve(p))
    words = shlex.split("train " + text.split("RUN. Then")[0].split("wellposed train ")[1])
    words[words.index("PICTURES")] = str(pictures)
    words += [str(tmp_path / "run"), "--set", "steps=1"]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    found = InverseNet(weights=str(tmp_path / "run" / "weights.safetensors")).solve(p)
    assert found.image.shape == (2, 3, 16, 16)


def test_no_weights_at_all(monkeypatch):
    monkeypatch.setattr("wellposed.training.trained.installed_weights", list)
    p, _ = problem()
    text = refusal(lambda: InverseNet().solve(p))
    assert "inversenet has no weights for this MotionBlur (none are installed)" in text
    assert "wellposed train" in text


def test_weights_that_are_not_for_it(pictures, weights, tmp_path):
    p, _ = problem()
    with pytest.raises(WeightsError, match=r"there are no weights"):
        InverseNet(weights=str(tmp_path / "none.safetensors")).solve(p)
    plain = recipe_from(
        {"network": HALVES["inversion"], "operator": "motion_blur", "data": {"crop": 16},
         "batch": 2, "steps": 1}
    )  # fmt: skip
    path = train(plain, data=pictures, out=tmp_path / "run", device="cpu").weights
    with pytest.raises(IncompatibleError, match=r"weights.safetensors belongs to NetworkSolver"):
        InverseNet(weights=str(path)).solve(p)
    with pytest.raises(IncompatibleError, match=r"belongs to InverseNet, which is more than one"):
        NetworkSolver(weights=str(weights)).solve(p)
    with pytest.raises(IncompatibleError, match=r"without weights, which can only be trained"):
        InverseNet(denoiser=InverseNetDae(), weights=str(path)).solve(p)


def test_the_feed_of_the_weights_is_taken_unless_one_is_given(pictures, tmp_path):
    params = {**HALVES, "feed": "measurement"}
    recipe = tiny(solver={"name": "inversenet", "params": params}, steps=1, operator="random_mask")
    path = train(recipe, data=pictures, out=tmp_path / "run", device="cpu").weights
    p, _ = problem("random_mask")
    f = solver_from_weights(path).inverting
    y, ones = p.measurement, p.operator(torch.ones(3, 16, 17))
    estimate = p.operator.initial_estimate(y)
    for feed, given in ((None, 2 * y - ones), ("estimate", 2 * estimate - 1)):
        with torch.no_grad():
            z = InverseNet(weights=str(path), feed=feed).solve(p).extras["z"]
            torch.testing.assert_close(z, (f(given) + 1) / 2)


# --- tiles -----------------------------------------------------------------------------------


def test_tiles_of_trained_networks_are_close_to_the_whole(weights):
    """A larger picture than they were trained on; tiles start where the strides divide."""
    solver = InverseNet(weights=str(weights))
    p, _ = problem(shape=(3, 80, 72))
    with torch.no_grad():
        whole, tiled = (attrs.evolve(solver, tile=tile).solve(p) for tile in (None, 48))
    for key, least in (("z", 90), ("x", 55)):
        a, b = (v.extras["z"] if key == "z" else v.image for v in (whole, tiled))
        assert float(wellposed.psnr(b, a).min()) > least


def test_all_networks_are_modules_of_the_learner():
    learner = build_learner(tiny())
    assert isinstance(learner, SolverLearner)
    assert all(isinstance(m, nn.Module) for m in learner.each().values())
    count = sum(p.numel() for m in learner.each().values() for p in m.parameters())
    assert count == sum(p.numel() for p in learner.parameters())
