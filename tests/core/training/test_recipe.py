"""Recipes: what is refused, with the path, and what comes back unchanged."""

import pytest
from wellposed import Space
from wellposed.errors import IncompatibleError, ParameterError, UnknownComponent
from wellposed.registry import dump_yaml
from wellposed.training import load_recipe
from wellposed.training.learner import build_learner

BASE = {"network": "toy_network", "operator": "identity", "steps": 5}


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"stepps": 3}, r"^stepps: recipe has no parameter 'stepps'. Did you mean 'steps'"),
        ({"data": {"crp": 3}}, r"^data.crp: .*Did you mean 'crop'"),
        ({"optimiser": {"name": "adan"}}, r"^optimiser.name: .*got 'adan'. Did you mean 'adam'"),
        ({"optimiser": {"rate": "fast"}}, r"^optimiser.rate: expected a number"),
        ({"optimiser": {"betas": [0.9, 1.0]}}, r"^optimiser.betas: expected two numbers from 0"),
        ({"optimiser": {"rate": 0}}, r"^optimiser.rate: 'rate' must be > 0"),
        ({"schedule": {"name": "steps"}}, r"^schedule.milestones: this schedule needs milestones"),
        ({"schedule": {"final": 2.0}}, r"^schedule.final: expected a number from 0 to 1"),
        ({"loss": "l3"}, r"^loss\[0\].norm: expected one of 'l1'"),
        ({"loss": []}, r"^loss: expected at least one term"),
        ({"loss": [{"on": "pictur"}]}, r"^loss\[0\].on: .*Did you mean 'picture'"),
        ({"data": {"crop": 0}}, r"^data.crop: expected a crop of 1 pixel or more"),
        ({"data": {"crop": [8, 9], "rotations": True}}, r"^data.rotations: turning by 90 degrees"),
        ({"data": {"scales": [0]}}, r"^data.scales: expected factors above 0"),
        ({"data": {"resize": 0}}, r"^data.resize: expected 1 or more"),
        ({"data": {"middle": [3, 0]}}, r"^data.middle: expected 1 or more"),
        ({"steps": None}, r"recipe needs 1 more parameter: 'steps'"),
        ({"steps": 0}, r"'steps' must be >= 1"),
        ({"seed": 2**64}, r"^seed: 'seed' must be < 18446744073709551616"),
        ({"solver": "toy_solver"}, r"either a solver or a network or a prior, one of them"),
        ({"network": None}, r"either a solver or a network or a prior, one of them"),
        ({"network": 3}, r"^network: expected a name, or a mapping of name and params"),
        ({"operator": None}, r"^operator: a recipe needs an operator, except for pairs"),
        ({"operator": []}, r"^operator: expected an operator or a list of them"),
        ({"operator": 3}, r"^operator: expected the name of an operator"),
        (
            {"data": {"kind": "measurements", "flips": False}},
            r"^loss: measurements alone come without the truth",
        ),
        ({"data": {"kind": "pairs"}}, r"^data.flips: pairs cannot be mirrored"),
        (
            {"data": {"kind": "pairs", "flips": False, "scales": [0.5]}},
            r"^data.scales: only pictures may be resampled",
        ),
        ({"data": {"kind": "pairs", "flips": False}, "noise": "gaussian"}, r"^noise: pairs hold"),
        (
            {
                "data": {"kind": "pairs", "flips": False},
                "operator": {"name": "mask", "params": {"mask": {"missing_pixels": 0.5}}},
            },
            r"^operator: pairs were made by one operator",
        ),
    ],
)
def test_mistakes_are_named_with_their_path(changes, message):
    data = {key: value for key, value in {**BASE, **changes}.items() if value is not None}
    with pytest.raises(ParameterError, match=message):
        load_recipe(dump_yaml(data))


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ({"uniform": [3, 1]}, r"operator.params.mask.uniform: expected \[low, high\], with low"),
        ({"uniform": 3}, r"uniform: expected two numbers, \[low, high\]"),
        ({"log_uniform": [0, 1]}, r"log_uniform: expected \[low, high\] above 0"),
        ({"integers": [1.5, 2]}, r"integers: expected two whole numbers"),
        ({"choice": []}, r"choice: expected a list of numbers"),
        ({"choice": ["a"]}, r"choice: .*\{per_step: \{choice: \[...\]\}\}"),
        ({"per_step": {"choice": 3}}, r"per_step.choice: expected a list"),
        ({"uniform": [0, 1], "x": 1}, r"mask: a distribution has one entry; got 'x' beside it"),
        ({"hole": {"sise": 3}}, r"hole.sise: a hole has no entry 'sise'. Did you mean 'size'"),
        ({"hole": {"window": [0, 0, 2, 2]}}, r"hole: a hole needs a size"),
        ({"hole": {"size": 3, "window": [1]}}, r"hole.window: expected \[top, left, height, width"),
        ({"missing_pixels": "many"}, r"missing_pixels: expected a number or a distribution"),
        ({"missing_pixels": float("nan")}, r"missing_pixels: expected a number .*; got nan"),
        ({"choice": [0.1, float("inf")]}, r"choice: expected a list of numbers"),
    ],
)
def test_mistakes_in_distributions_are_named_with_their_path(value, message):
    data = {**BASE, "operator": {"name": "mask", "params": {"mask": value}}}
    with pytest.raises(ParameterError, match=message):
        load_recipe(dump_yaml(data))


def test_a_recipe_survives_being_written_and_read(recipe):
    made = recipe(loss=["l2", {"norm": "charbonnier", "on": "measurement", "weight": 0.1}])
    again = load_recipe(dump_yaml(made.as_data()))
    assert again == made
    assert again.digest() == made.digest()
    assert recipe(steps=99).digest() == recipe().digest()  # a run may be prolonged
    assert recipe(seed=1).digest() != recipe().digest()


def test_operators_are_checked_before_any_picture_is_read(recipe):
    bad = recipe(operator={"name": "blur", "params": {"kernal": "motion"}})
    with pytest.raises(ParameterError, match=r"^operator.params.kernal: .*Did you mean 'kernel'"):
        bad.degradation().check(Space((3, 12, 12)))
    bad = recipe(operator=["identity", "blurr"])
    with pytest.raises(UnknownComponent, match=r"^operator\[1\].*Did you mean 'blur'"):
        bad.degradation().check(Space((3, 12, 12)))
    bad = recipe(operator={"name": "strided_blur", "params": {"stride": {"integers": [2, 3]}}})
    with pytest.raises(ParameterError, match=r"^operator.params.stride: .*\{per_step: ...\} draws"):
        bad.degradation().check(Space((3, 12, 12)))


def test_learners_are_built_from_the_seed(plugin, recipe):
    first, again = (build_learner(recipe()).weights().state_dict() for _ in range(2))
    other = build_learner(recipe(seed=1)).weights().state_dict()
    assert all((first[k] == again[k]).all() for k in first)
    assert any((first[k] != other[k]).any() for k in first)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"solver": "toy_solvr"}, UnknownComponent, r"^solver: .*Did you mean 'toy_solver'"),
        ({"solver": {"name": "toy_solver", "params": {"widht": 3}}}, ParameterError,
         r"^solver.params.widht: .*Did you mean 'width'"),
        ({"solver": "tikhonov"}, IncompatibleError,
         r"^solver: Tikhonov has no network with parameters"),
    ],
)  # fmt: skip
def test_what_cannot_be_trained_is_said(plugin, recipe, changes, error, message):
    with pytest.raises(error, match=message):
        build_learner(recipe(**changes))
