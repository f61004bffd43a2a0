"""Conditions of recipes: made of the true picture, by the same operators, whoever makes them."""

from __future__ import annotations

import csv
import sys

import attrs
import numpy as np
import pytest
import torch
from skimage.feature import canny
from wellposed import NetworkView, Problem, Space
from wellposed.errors import IncompatibleError, MissingExtraError, ParameterError, UnknownComponent
from wellposed.images import write
from wellposed.registry import dump_yaml, load_yaml
from wellposed.training import load_recipe, recipe_from, solver_from_weights, train
from wellposed.training.batches import Sample, open_data
from wellposed.training.distributions import draws_for
from wellposed.training.learner import build_learner
from wellposed.training.quality import measure_quality
from wellposed.training.step import measured

EDGES = {
    "solver": {
        "name": "dlnet",
        "params": {
            "network": {"name": "edge_connect", "params": {"blocks": 1, "width": 2}},
            "steps": 2,
            "feed": "measurement",
        },
    },
    "operator": {"name": "mask", "params": {"mask": {"hole": {"size": {"integers": [1, 6]}}}}},
    "conditions": {"edges": {"name": "canny", "params": {"sigma": 1}}},
    "data": {"crop": 12, "held_out": 2},
    "loss": "l2",
    "batch": 4,
    "steps": 6,
    "log_every": 1,
}
BLUR = {
    "name": "blur",
    "params": {"kernel": {"name": "gaussian", "params": {"width": {"uniform": [0, 2]}, "size": 5}}},
}
VIDEO = {
    "network": {"name": "vespcn", "params": {"scale": 2, "depth": 3, "width": 4}},
    "feed": "measurement",
    "operator": ["strided_blur", BLUR],
    "noise": {"name": "gaussian", "params": {"sigma": {"uniform": [0, 0.1]}}},
    "conditions": {"neighbours": {"name": "shifted_frames", "params": {"reach": 3}}},
    "data": {"crop": 16, "colour": "luminance", "rotations": True, "held_out": 2},
    "batch": 4,
    "steps": 4,
    "log_every": 1,
}


def made(base, **changes):
    return recipe_from({**base, **changes})


def with_reach(reach):
    return {"neighbours": {"name": "shifted_frames", "params": {"reach": reach}}}


def step_of(recipe, x, *, own=None, step=5):
    draws = draws_for(0, step, stream=1, batch=4, own=own)
    x = x if own is None else x[own]
    return measured(Sample(x), recipe.degradation(), Space(tuple(x.shape[1:])), draws)


def rand(*shape):
    return torch.rand(shape, generator=torch.Generator().manual_seed(0))


def curve(folder):
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


# ---- what is made ----------------------------------------------------------------------------


def test_edges_are_those_of_the_true_picture_that_is_cut():
    recipe, x = made(EDGES), (rand(4, 3, 12, 12) > 0.5).float()
    truth, y, _, _, conditions = step_of(recipe, x)
    for n in range(4):
        grey = np.einsum("chw,c->hw", x[n].double().numpy(), (0.2125, 0.7154, 0.0721))
        assert np.array_equal(conditions["edges"][n, 0], canny(grey, 1.0, 0.1, 0.2))
    assert torch.equal(truth, x) and not torch.equal(y, x)


def test_frames_are_measured_by_each_samples_own_operator():
    recipe = made(VIDEO, conditions=with_reach(0), noise=None)
    _, y, _, _, conditions = step_of(recipe, rand(4, 1, 16, 16))
    assert conditions["neighbours"].shape == (4, 2, 8, 8)
    assert torch.equal(conditions["neighbours"], torch.cat([y, y], 1))


def test_frames_have_noise_of_their_own_and_of_the_samples_level():
    noise = {"name": "gaussian", "params": {"sigma": {"choice": [0.01, 0.2]}}}
    recipe = made(VIDEO, conditions=with_reach(0), noise=noise, operator="identity")
    x = rand(4, 1, 64, 64)
    _, y, _, model, conditions = step_of(recipe, x)
    parts = torch.cat([y - x, conditions["neighbours"] - x], 1)
    found = parts.std((-2, -1))
    torch.testing.assert_close(found, model.sigma[:, None].expand(4, 3), rtol=0.1, atol=0)
    mixed = torch.corrcoef(parts[0].flatten(1))
    assert (mixed - torch.eye(3)).abs().max() < 0.1


def test_what_else_is_drawn_does_not_depend_on_conditions():
    """Hence runs without conditions go on as they began."""
    x = rand(4, 1, 16, 16)
    plain = step_of(made(VIDEO, conditions=None), x)
    given = step_of(made(VIDEO), x)
    assert torch.equal(plain[1], given[1]) and plain[4] == {}


@pytest.mark.parametrize("base", [EDGES, VIDEO])
def test_processes_share_what_one_alone_makes(base):
    recipe = made(base)
    x = rand(4, 1, 16, 16) if base is VIDEO else rand(4, 3, 12, 12)
    _, y, _, _, whole = step_of(recipe, x)
    for own in (slice(0, 1), slice(1, 4)):
        _, part, _, _, conditions = step_of(recipe, x, own=own)
        torch.testing.assert_close(part, y[own])
        for name, value in conditions.items():
            torch.testing.assert_close(value, whole[name][own])


def test_pairs_bring_their_own_measurements(tmp_path):
    for i in range(4):
        x = (rand(3, 12, 12) > 0.2 * i).float()
        for side in ("x", "y"):
            (tmp_path / side).mkdir(exist_ok=True)
            write(tmp_path / side / f"{i}.png", x)
    data = {"kind": "pairs", "crop": 12, "flips": False}
    recipe = made(EDGES, operator="identity", data=data)
    batches, _ = open_data(tmp_path, recipe, own=slice(0, 4))
    draws = draws_for(0, 0, stream=1, batch=4)
    x, y, operator, noise, conditions = measured(
        batches[0], recipe.degradation(), Space(batches.shape), draws
    )
    assert noise is None and torch.equal(x, y) and operator is not None
    assert conditions["edges"].shape == (4, 1, 12, 12) and conditions["edges"].any()


# ---- runs ------------------------------------------------------------------------------------


@pytest.mark.parametrize("base", [EDGES, VIDEO])
def test_pieces_join_onto_the_same_curve_and_the_weights_restore(base, pictures, tmp_path):
    recipe = made(base)
    options = {"data": pictures, "device": "cpu"}
    whole = train(recipe, out=tmp_path / "whole", **options)
    assert not train(recipe, out=tmp_path / "o", max_minutes=1e-9, **options).finished
    train(recipe, out=tmp_path / "o", resume=True, **options)
    assert curve(tmp_path / "o") == curve(tmp_path / "whole")
    weights = "weights.safetensors"
    assert (tmp_path / "o" / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()
    card = load_yaml(whole.weights.with_suffix(".yaml"))
    assert card["recipe"]["conditions"] == base["conditions"]
    solver = solver_from_weights(whole.weights)
    size = (1, 16, 16) if base is VIDEO else (3, 12, 12)
    x, y, operator, _, conditions = step_of(recipe, rand(4, *size))
    found = solver.solve(Problem(operator=operator, measurement=y, conditions=conditions))
    assert found.image.shape == x.shape
    (name,) = conditions
    with pytest.raises(IncompatibleError, match=f"needs {name}, which .* a recipe says under"):
        solver.solve(Problem(operator=operator, measurement=y))


def test_two_processes_give_the_losses_of_one(pictures, tmp_path, start):
    recipe = made(VIDEO)
    (tmp_path / "r.yaml").write_text(dump_yaml(recipe.as_data()))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone",
                "--nproc-per-node", "2"]  # fmt: skip
    words = ("train", "r.yaml", "--data", pictures, "--device", "cpu", "--out", "two")
    process = start(*words, before=torchrun)
    train(recipe, data=pictures, out=tmp_path / "one", device="cpu")
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.terminate()
    assert process.returncode == 0, output
    one, two = curve(tmp_path / "one"), curve(tmp_path / "two")
    assert len(one) == len(two) == 4
    for a, b in zip(one, two, strict=True):
        for key in ("loss", "gradient"):
            assert float(b[key]) == pytest.approx(float(a[key]), rel=1e-4)


def test_levels_and_quality_are_measured_with_conditions(pictures, tmp_path):
    levels = {"count": 2, "sampling": "on_demand", "every": 2, "samples": 4}
    recipe = made(EDGES, levels=levels)
    result = train(recipe, data=pictures, out=tmp_path / "o", device="cpu")
    assert result.quality["psnr"] > 0
    assert curve(tmp_path / "o")[-1]["psnr_2"] != ""
    _, held = open_data(pictures, recipe, own=slice(0, 4))
    learner = build_learner(recipe)
    seen = []
    forward = learner.forward
    learner.forward = lambda *given: seen.append(given[3]) or forward(*given)
    options = {"device": torch.device("cpu"), "samples": 4}
    first = measure_quality(learner, held, recipe.degradation(), **options)
    assert first == measure_quality(learner, held, recipe.degradation(), **options)
    assert torch.equal(seen[0]["edges"], seen[1]["edges"])


def test_a_network_by_itself_sees_what_its_view_says():
    recipe = made(VIDEO)
    learner = build_learner(recipe)
    x, y, operator, noise, conditions = step_of(recipe, rand(4, 1, 16, 16))
    view = NetworkView.of(learner.weights(), operator, y, conditions=conditions)
    got = learner(y, operator, noise, conditions).picture
    torch.testing.assert_close(got, view.picture(view.output()))
    assert got.shape == x.shape


# ---- what is refused -------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"conditions": ["canny"]}, r"^conditions: expected names of conditions.*got list"),
        ({"conditions": {}}, r"^conditions: expected names .*got an empty mapping"),
        ({"conditions": {"edges": 3}}, r"^conditions.edges: expected a name, or.*got int"),
        ({"solver": None, "network": "srcnn", "feed": "measurement", "operator": None,
          "data": {"kind": "pairs", "flips": False}},
         r"^operator: a recipe with conditions needs an operator"),
        ({"data": {"kind": "measurements", "flips": False}, "operator": "identity",
          "loss": {"norm": "l2", "on": "measurement"}},
         r"^conditions: measurements alone come without the truth"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_path(changes, match):
    data = {key: value for key, value in {**EDGES, **changes}.items() if value is not None}
    with pytest.raises(ParameterError, match=match):
        load_recipe(dump_yaml(data))


@pytest.mark.parametrize(
    ("maker", "error", "match"),
    [
        ("cany", UnknownComponent, r"^conditions.edges: no condition named 'cany'. Did you mean"),
        ({"name": "canny", "sigma": 2}, ParameterError,
         r"^conditions.edges.sigma: a condition is a mapping of 'name' and 'params'"),
        ({"name": "canny", "params": {"sigm": 2}}, ParameterError,
         r"^conditions.edges.params.sigm: .*Did you mean 'sigma'"),
        ({"name": "canny", "params": {"sigma": {"uniform": [0, 1]}}}, ParameterError,
         r"^conditions.edges.params.sigma: expected a number"),
        ("blur", UnknownComponent, r"^conditions.edges: 'blur' is an operator, not a condition"),
    ],
)  # fmt: skip
def test_makers_are_checked_before_any_picture_is_read(maker, error, match):
    recipe = made(EDGES, conditions={"edges": maker})
    with pytest.raises(error, match=match):
        recipe.degradation().check(Space((3, 12, 12)))


def test_a_package_that_is_missing_is_named_before_any_picture_is_read(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match=r"^conditions.edges: canny_edges needs scikit-im"):
        made(EDGES).degradation().check(Space((3, 12, 12)))


@pytest.mark.parametrize(
    ("changes", "match"),
    [
        ({"conditions": {"edgs": "canny"}},
         r"^conditions.edgs: what is trained takes no condition 'edgs'. Did you mean 'edges'"),
        ({"solver": None, "network": "srcnn"}, r"^conditions.edges: .* It takes: none"),
        ({"solver": "toy_solver"}, r"^conditions.edges: .* It takes: none"),
    ],
)  # fmt: skip
def test_conditions_that_nobody_takes_are_refused(plugin, changes, match):
    data = {key: value for key, value in {**EDGES, **changes}.items() if value is not None}
    with pytest.raises(ParameterError, match=match):
        build_learner(recipe_from(data))


def test_a_solver_that_may_take_any_is_believed(plugin, monkeypatch):
    recipe = made(EDGES, solver="toy_solver")
    learner = build_learner(attrs.evolve(recipe, conditions=None))
    monkeypatch.setattr(type(learner.solver), "takes_conditions", True)
    learner.networks["network"] = torch.nn.Conv2d(1, 1, 1)
    assert learner.conditions() is None


def test_recipes_with_conditions_are_other_runs_and_survive_being_written():
    recipe = made(EDGES)
    again = load_recipe(dump_yaml(recipe.as_data()))
    assert again == recipe and again.digest() == recipe.digest()
    plain = made(EDGES, conditions=None)
    assert plain.digest() != recipe.digest() and "conditions" not in plain.as_data()
