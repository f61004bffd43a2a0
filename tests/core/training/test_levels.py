"""Levels: where one ends and the next begins, what is drawn from them, and what is refused."""

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wellposed.errors import ParameterError
from wellposed.training import recipe_from
from wellposed.training.degradations import Degradation
from wellposed.training.distributions import draws_for, realise
from wellposed.training.levels import Levels, LevelsRecipe
from wellposed.training.parsing import parse

HOLE = {"name": "mask", "params": {"mask": {"hole": {"size": {"integers": [1, 30]}}}}}
MISSING = {"name": "mask", "params": {"mask": {"missing_pixels": {"uniform": [0, 0.75]}}}}
BLUR = {
    "name": "blur",
    "params": {"kernel": {"name": "gaussian", "params": {"width": {"uniform": [0, 3]}}}},
}
USE = {"weighting": "uncertainty"}


def numbers(data):
    return parse(data, "x")


def levels(data, **options):
    return Levels.of(LevelsRecipe(**USE, **options), {"x": numbers(data)})


def draws(batch=400, step=0, own=None):
    return draws_for(3, step, stream=1, batch=batch, own=own)


@pytest.mark.parametrize(
    ("data", "count", "edges"),
    [
        ({"integers": [1, 30]}, 5, [1, 7, 13, 19, 25, 31]),
        ({"integers": [1, 30]}, 30, range(1, 32)),
        ({"uniform": [0, 0.75]}, 30, [0.025 * a for a in range(31)]),
        ({"log_uniform": [0.01, 100]}, 4, [0.01, 0.1, 1, 10, 100]),
        ({"choice": [8, 2, 4, 2, 6]}, 2, [2, 6, 8]),
    ],
)
def test_levels_share_a_range_equally(data, count, edges):
    made = levels(data, count=count)
    assert made.count == count
    np.testing.assert_allclose(made.edges, list(edges), atol=1e-12)


def test_a_level_is_a_bin_of_a_histogram():
    made = levels({"integers": [1, 30]}, edges=[1, 7, 13, 30])
    found = made.as_drawn(draws()).level
    counts = np.histogram(found.values, bins=[1, 7, 13, 30])[0]
    assert (np.bincount(found.index) == counts).all()
    assert found.index[found.values == 7].min() == 1
    assert 30 in found.values
    assert found.index.max() == 2


def test_levels_alone_change_nothing_that_is_drawn():
    for step in range(3):
        made = levels({"uniform": [0, 3]}, count=4)
        plain = realise(made.distribution, draws(step=step))
        assert torch.equal(realise(made.distribution, made.as_drawn(draws(step=step))), plain)


@given(
    shares=st.lists(st.floats(0.01, 1), min_size=2, max_size=9),
    batch=st.integers(1, 40),
    step=st.integers(0, 99),
)
def test_each_level_has_its_share_of_every_batch(shares, batch, step):
    total = sum(shares)
    shares = [share / total for share in shares]
    made = levels({"integers": [1, 9]}, count=len(shares))
    found = made.by_share(draws(batch, step), shares).level
    counts = np.bincount(found.index, minlength=len(shares))
    assert counts.sum() == batch
    assert (np.abs(counts - batch * np.array(shares)) < 1 + 1e-9).all()
    own = np.searchsorted(made.edges[1:-1], found.values, side="right")
    assert (own == found.index).all()


def test_shares_are_met_on_average_and_levels_are_shuffled():
    made = levels({"uniform": [0, 1]}, count=3)
    shares = [0.2, 0.5, 0.3]
    found = [made.by_share(draws(4, step), shares).level.index for step in range(3000)]
    means = np.bincount(np.concatenate(found)) / 12000
    np.testing.assert_allclose(means, shares, atol=0.01)
    assert np.abs(np.mean(found, axis=0) - 1.1).max() < 0.05  # the same at every place


@pytest.mark.parametrize(
    ("data", "within"),
    [
        ({"uniform": [0, 3]}, lambda v: (v > 1) & (v <= 2)),
        ({"log_uniform": [0.01, 10]}, lambda v: (v > 0.1) & (v <= 1)),
        ({"integers": [1, 9]}, lambda v: np.isin(v, [4, 5, 6])),
        ({"choice": [1, 1, 2, 3, 4, 5]}, lambda v: np.isin(v, [3, 4])),
    ],
)
def test_one_level_gives_its_own_values(data, within):
    made = levels(data, count=3)
    found = made.only(draws(), 1).level
    assert within(found.values).all()
    assert (found.index == 1).all()
    assert len(np.unique(found.values)) > 1


@pytest.mark.parametrize(
    ("operator", "path"),
    [
        (HOLE, "operator.params.mask.hole.size"),
        (MISSING, "operator.params.mask.missing_pixels"),
        (BLUR, "operator.params.kernel.params.width"),
        ([BLUR, MISSING], "operator[1].params.mask.missing_pixels"),
    ],
)
def test_a_parameter_is_named_by_its_path(operator, path):
    degradation = Degradation.from_data(operator, {"name": "gaussian", "params": {"sigma": 0.1}})
    made = Levels.of(LevelsRecipe(**USE, parameter=path, count=3), degradation.numbers())
    chosen = made.only(attrs.evolve(draws(6), size=(40, 40)), 2)
    tree = degradation.operators[1 if "[1]" in path else 0]
    params = realise(tree, chosen)["params"]
    if "mask" in params:
        missing = (1 - params["mask"]).sum((1, 2, 3))
        values = torch.from_numpy(chosen.level.values)
        expected = (values * 1600).round() if "missing" in path else values**2
        torch.testing.assert_close(missing.double(), expected.double())
    else:
        assert (params["kernel"]["params"]["width"] > 2).all()


def test_a_noise_level_is_a_parameter_too():
    noise = {"name": "gaussian", "params": {"sigma": {"uniform": [0, 0.2]}}}
    degradation = Degradation.from_data("identity", noise)
    made = Levels.of(LevelsRecipe(**USE, count=2), degradation.numbers())
    model = degradation.noise_model(made.only(draws(5), 1))
    assert (model.sigma > 0.1).all()


def test_ranks_share_the_levels_of_a_batch():
    made = levels({"integers": [1, 9]}, count=3)
    shares = [0.5, 0.2, 0.3]
    whole = made.by_share(draws(6), shares)
    parts = [made.by_share(draws(6, own=slice(i, i + 3)), shares) for i in (0, 3)]
    split = [realise(made.distribution, part) for part in parts]
    assert torch.equal(realise(made.distribution, whole), torch.cat(split))


BASE = {"network": "dncnn", "operator": HOLE, "steps": 5}


@pytest.mark.parametrize(
    ("given_levels", "message"),
    [
        ({"cuont": 5}, r"^levels.cuont: .*Did you mean 'count'"),
        ({**USE}, r"^levels: levels need either a count or edges"),
        ({**USE, "count": 2, "edges": [1, 2, 30]}, r"^levels: .* and not both"),
        ({"count": 5}, r"^levels: levels change nothing yet; set sampling: on_demand, or"),
        ({**USE, "count": 1}, r"^levels.count: 'count' must be >= 2"),
        ({**USE, "count": 31}, r"^levels.count: level \d+, from .* has no values of operator"),
        ({**USE, "edges": []}, r"^levels.edges: expected three numbers or more"),
        ({**USE, "edges": [1, 7, 7, 30]}, r"^levels.edges: .* that increase; got \[1"),
        ({**USE, "edges": [1, 7, 20]}, r"^levels.edges: the levels \[1, 7, 20\] do not cover oper"),
        ({**USE, "edges": [2, 7, 31]}, r"^levels.edges: the levels \[2, 7, 31\] do not cover"),
        ({**USE, "edges": [-9, -3, 7, 31]}, r"^levels.edges: level 1, from -9 to -3, has no val"),
        ({**USE, "count": 2, "parameter": "operator.params.mask.hole.sise"},
         r"^levels.parameter: .*Did you mean 'operator.params.mask.hole.size'.* It draws: op"),
        ({"count": 5, "sampling": "ondemand"}, r"^levels.sampling: .*Did you mean 'on_demand'"),
        ({"count": 5, "weighting": "kendall"}, r"^levels.weighting: expected one of 'equal'"),
        ({"count": 5, "sampling": "on_demand", "every": 0}, r"^levels.every: 'every' must be"),
        ({"count": 5, "sampling": "on_demand", "samples": 0}, r"^levels.samples: 'samples' must"),
        ({"count": 5, "sampling": "on_demand"}, r"^data.held_out: sampling: on_demand measures"),
    ],
)  # fmt: skip
def test_mistakes_are_named_with_their_path(given_levels, message):
    with pytest.raises(ParameterError, match=message):
        recipe_from({**BASE, "levels": given_levels})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"operator": [BLUR, MISSING]},
         r"^levels.parameter: .* the recipe draws for each sample: operator\[0\].*, operator\[1\]"),
        ({"operator": "blur"}, r"^levels.parameter: .*: none$"),
        ({"operator": {"name": "blur", "params": {"kernel": {"per_step": {"choice": ["box"]}}}}},
         r"^levels.parameter: .*: none$"),
        ({"operator": {"name": "mask", "params": {"mask": {"hole": 4}}}},
         r"^levels.parameter: .*: none$"),
        ({"operator": "blur", "data": {"kind": "pairs", "flips": False}},
         r"^levels: pairs were made by one operator"),
    ],
)  # fmt: skip
def test_levels_need_something_to_cut(changes, message):
    with pytest.raises(ParameterError, match=message):
        recipe_from({**BASE, **changes, "levels": {**USE, "count": 2}})


def test_recipes_of_before_are_still_the_same_run(recipe):
    # a run that began without these sections must be able to resume
    digest = "36558514645a129556aec59ebae615e1658cba415ca5635e5970affd94bb1651"
    assert recipe().digest() == digest
    assert recipe(levels={**USE, "count": 2, "parameter": "noise.params.sigma"}).digest() != digest
    assert recipe(adversarial={}).digest() != digest
