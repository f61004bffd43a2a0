"""From weights back to solvers, and recipes by name."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest
import torch
import wellposed.registry as reg
from wellposed.errors import DataError, WeightsError
from wellposed.training import load_recipe, recipe_from, save_weights, solver_from_weights, train
from wellposed.training.installed import InstalledWeights, find_recipe
from wellposed.training.learner import build_learner
from wellposed.training.recipe import DataRecipe
from wellposed.training.trained import _of_one_subject


def plain(**changes):
    return recipe_from(
        {
            "network": {"name": "srcnn", "params": {"channels": 3}},
            "feed": "estimate",
            "operator": "strided_blur",
            "data": {"crop": 12},
            "batch": 2,
            "steps": 1,
            **changes,
        }
    )


def test_a_network_trained_by_itself_comes_back_as_a_solver(pictures, tmp_path):
    found = train(plain(), data=pictures, out=tmp_path / "run", device="cpu").weights
    solver = solver_from_weights(found)
    assert solver.name == "NetworkSolver" and solver.feed == "estimate"
    assert not solver.trained.training
    assert not any(p.requires_grad for p in solver.trained.parameters())
    assert solver_from_weights(found) is solver
    double = solver_from_weights(found, dtype=torch.float64)
    assert next(double.trained.parameters()).dtype == torch.float64
    levels = reg.load_yaml(found.with_suffix(".yaml"))["trained_for"]["levels"]
    assert levels["ratio"] == [2, 2] and levels["missing"] == [0, 0]


def test_reading_weights_leaves_the_random_state_alone(pictures, tmp_path):
    found = train(plain(), data=pictures, out=tmp_path / "run", device="cpu").weights
    torch.manual_seed(5)
    expected = torch.rand(1)
    torch.manual_seed(5)
    solver_from_weights(found)
    assert torch.rand(1) == expected


def test_rewritten_weights_are_read_again(tmp_path):
    recipe = plain()
    path = tmp_path / "weights.safetensors"
    card = {"recipe": recipe.as_data(), "trained_for": {}, "quality": {}, "licence": "x"}
    save_weights(path, build_learner(recipe).weights(), card)
    first = solver_from_weights(path).trained.state_dict()
    other = build_learner(attrs.evolve(recipe, seed=1)).weights()
    save_weights(path, other, card)
    second = solver_from_weights(path).trained.state_dict()
    assert any(not torch.equal(first[k], second[k]) for k in first)


def test_a_card_whose_recipe_no_version_knows_is_refused(tmp_path):
    recipe = plain()
    path = tmp_path / "weights.safetensors"
    made = {**recipe.as_data(), "network": {"name": "nosuch"}}
    card = {"recipe": made, "trained_for": {}, "quality": {}, "licence": "x"}
    save_weights(path, build_learner(recipe).weights(), card)
    with pytest.raises(WeightsError, match=r"recipe in the card of .* cannot be used.*nosuch"):
        solver_from_weights(path)


def test_recipes_that_ship_are_found_by_name():
    assert find_recipe("super_resolution_x2").name == "super_resolution_x2.yaml"
    assert str(find_recipe("some/where.yaml")) == "some/where.yaml"
    with pytest.raises(DataError, match=r"no recipe 'super_resolution_x5'.*Did you mean"):
        find_recipe("super_resolution_x5")


def test_entries_of_a_recipe_can_be_changed():
    path = find_recipe("super_resolution_x2")
    changes = {
        "solver": {"params": {"network": {"name": "drrn"}, "steps": 1}},
        "operator": {"name": "strided_blur", "params": {"stride": 2}},
        "batch": 8,
    }
    before, after = load_recipe(path), load_recipe(path, changes=changes)
    assert after.batch == 8 and after.loss == before.loss
    assert after.solver["params"]["network"] == {"name": "drrn", "params": {"scale": 2}}
    assert after.solver["params"]["rate"] == before.solver["params"]["rate"]
    assert after.operator == changes["operator"]


def test_a_card_stands_for_its_recipe(tmp_path):
    recipe = plain()
    path = tmp_path / "card.yaml"
    path.write_text(reg.dump_yaml({"format": 1, "recipe": recipe.as_data()}))
    assert load_recipe(path) == recipe


@pytest.mark.parametrize(
    "name",
    ["inpainting_faces", "inpainting_faces_small", "interpolation_faces",
     "interpolation_faces_small", "super_resolution_x2", "super_resolution_x2_small",
     "super_resolution_x3", "super_resolution_x4", "inpainting_faces_edges", "video_x2"],
)  # fmt: skip
def test_every_shipped_recipe_runs(name, tmp_path):
    """One step of the recipe as it is, but for its batch, on random pictures."""
    recipe = load_recipe(find_recipe(name))
    side = recipe.data.crop
    assert recipe.data.held_out > 0 and recipe.data.sides == (side, side)
    data = tmp_path / "x.npy"
    import numpy as np

    rng = np.random.default_rng(0)
    np.save(data, rng.integers(0, 255, (3, side + 8, side + 8, 3), np.uint8))
    small = {"name": recipe.solver["params"]["network"]}
    assert small
    changed = attrs.evolve(
        recipe, batch=1, steps=1,
        data=attrs.evolve(recipe.data, held_out=1, middle=None, scales=(1.0,)),
    )  # fmt: skip
    assert isinstance(changed.data, DataRecipe)
    result = train(changed, data=data, out=tmp_path / "run", device="cpu")
    assert result.finished and result.weights.is_file()


def test_weights_of_one_subject_come_after_those_of_any():
    def one(name, **data):
        recipe = {"solver": {"name": "dlnet"}, "data": data}
        return InstalledWeights(Path(f"{name}.safetensors"), card={"recipe": recipe})

    weights = [one("b_any"), one("a_faces", resize=64), one("a_middle", middle=89), one("c_any")]
    found = sorted(weights, key=lambda w: (_of_one_subject(w), w.path.name))
    assert [w.path.stem for w in found] == ["b_any", "c_any", "a_faces", "a_middle"]
