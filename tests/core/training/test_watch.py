"""Means and variances of what a solver finds on the way, against NumPy."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from wellposed.errors import ParameterError
from wellposed.training import recipe_from, train
from wellposed.training.distributions import draws_for
from wellposed.training.restored import Restored
from wellposed.training.strategy import Outcome
from wellposed.training.watch import Watch

FABRIC = SimpleNamespace(
    device=torch.device("cpu"), world_size=1, all_reduce=lambda value, reduce_op: value
)
COLUMNS = ("z_error_mean", "z_error_variance", "z_change_mean", "z_change_variance")


def outcome(seed, names=("z",)):
    generator = torch.Generator().manual_seed(seed)
    truth, picture, *parts = torch.rand(2 + len(names), 4, 3, 6, 5, generator=generator)
    return Outcome(
        step=seed,
        restored=Restored(picture.requires_grad_(), dict(zip(names, parts, strict=True))),
        truth=truth,
        measurement=truth,
        operator=None,
        draws=draws_for(0, 0, stream=1, batch=4),
    )


def watched(watch, seeds, names=("z",)):
    """Show steps to it, and return what they were, as arrays."""
    steps = [outcome(seed, names) for seed in seeds]
    for step in steps:
        watch.objective(torch.zeros(()), step)
    found = {"truth": [s.truth for s in steps], "picture": [s.restored.picture for s in steps]}
    found |= {name: [s.restored.parts[name] for s in steps] for name in names}
    return {key: torch.stack(v).detach().double().numpy() for key, v in found.items()}


def test_over_all_pixels_and_steps_between_two_lines():
    watch = Watch(("z",), FABRIC)
    assert watch.columns == COLUMNS
    for seeds in ((0, 1, 2), (3,)):  # the second line knows nothing of the first
        v = watched(watch, seeds)
        error, change = v["z"] - v["truth"], v["picture"] - v["z"]
        want = dict(
            zip(COLUMNS, (error.mean(), error.var(), change.mean(), change.var()), strict=True)
        )
        assert watch.figures() == pytest.approx(want, rel=1e-5, abs=1e-7)


def test_several_parts():
    watch = Watch(("z", "u"), FABRIC)
    v = watched(watch, (0, 1), ("u", "z"))
    found = watch.figures()
    assert tuple(found) == watch.columns and len(found) == 8
    for name in ("z", "u"):
        assert found[f"{name}_error_variance"] == pytest.approx(np.var(v[name] - v["truth"]))
        assert found[f"{name}_change_mean"] == pytest.approx(
            np.mean(v["picture"] - v[name]), rel=1e-4
        )


def test_a_constant_difference_has_no_variance():
    watch = Watch(("z",), FABRIC)
    x = torch.full((2, 1, 3, 3), 0.3)
    step = outcome(0)
    for _ in range(3):
        watch.objective(
            torch.zeros(()),
            Outcome(step=0, restored=Restored(x + 0.1, {"z": x - 0.2}), truth=x, measurement=x,
                    operator=None, draws=step.draws),
        )  # fmt: skip
    found = watch.figures()
    assert found["z_error_mean"] == pytest.approx(-0.2) and found["z_error_variance"] < 1e-7
    assert found["z_change_mean"] == pytest.approx(0.3) and found["z_change_variance"] >= 0


def test_it_changes_nothing():
    watch = Watch(("z",), FABRIC)
    step = outcome(0)
    loss = step.restored.picture.sum()
    assert watch.objective(loss, step) is loss
    assert not list(watch.parameters())


def test_a_checkpoint_in_the_middle_of_a_line():
    one, two = Watch(("z",), FABRIC), Watch(("z",), FABRIC)
    watched(one, (0, 1))
    two.load(one.state())
    watched(one, (2,))
    watched(two, (2,))
    assert two.figures() == one.figures()


def test_what_is_not_there_to_be_watched():
    with pytest.raises(ParameterError, match=r"^of: what is trained finds no 'zz'. Did you mean"):
        Watch(("zz",), FABRIC).objective(torch.zeros(()), outcome(0))
    with pytest.raises(ParameterError, match=r"^watch: measurements alone come without real"):
        recipe_from(
            {"network": "dncnn", "operator": "identity", "steps": 5, "watch": ["z"],
             "loss": {"norm": "l2", "on": "measurement"},
             "data": {"kind": "measurements", "flips": False}}
        )  # fmt: skip


def test_a_recipe_writes_them_to_the_log(plugin, recipe, pictures, tmp_path):
    """A network by itself has no parts but the picture, whose change is none."""
    options = recipe(watch=["picture"], log_every=4)
    result = train(options, data=pictures, out=tmp_path / "run", device="cpu")
    assert result.finished
    with (tmp_path / "run" / "log.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert len(rows) == 3
    for row in rows:
        assert float(row["picture_change_mean"]) == float(row["picture_change_variance"]) == 0
        assert 0 < float(row["picture_error_variance"]) < 1
    with pytest.raises(ParameterError, match=r"finds no 'z'.*It finds: picture"):
        train(recipe(watch=["z"]), data=pictures, out=tmp_path / "other", device="cpu")
