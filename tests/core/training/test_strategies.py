"""Strategies by recipe: joint training, naive likelihood, on-demand learning, uncertainty."""

import csv
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from wellposed.edge import build_operator
from wellposed.space import Space
from wellposed.training import recipe_from, train
from wellposed.training.batches import open_data
from wellposed.training.degradations import Degradation
from wellposed.training.distributions import draws_for
from wellposed.training.durable import checkpoints, load_checkpoint
from wellposed.training.learner import Learner
from wellposed.training.levels import Levels, LevelsRecipe
from wellposed.training.losses import LossTerm, sample_losses, total_loss
from wellposed.training.on_demand import OnDemand, shares_of
from wellposed.training.restored import Restored
from wellposed.training.strategy import Outcome
from wellposed.training.uncertainty import Uncertainty

pytestmark = pytest.mark.usefixtures("plugin")
MASK = {"name": "mask", "params": {"mask": {"missing_pixels": {"uniform": [0, 0.75]}}}}


@pytest.fixture
def interpolation(recipe):
    """Return a function that gives a recipe for a range of missing pixels."""

    def make(**changes):
        base = {"operator": MASK, "noise": None, "loss": "l2", "schedule": {"name": "constant"},
                "data": {"crop": 12, "held_out": 2}, "batch": 6}  # fmt: skip
        return recipe(**{**base, **changes})

    return make


def run(recipe, pictures, out, **options):
    return train(recipe, data=pictures, out=out, device="cpu", **options)


def rows(folder):
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def in_pieces(recipe, pictures, out):
    """Train a step at a time, each from a checkpoint."""
    while not run(recipe, pictures, out, resume=True, max_minutes=1e-9).finished:
        pass


def first_loss(recipe, pictures, out):
    run(recipe, pictures, out, steps=1)
    return float(rows(out)[0]["loss"])


def test_a_fixed_level_and_a_range_need_constants_and_distributions(
    interpolation, pictures, tmp_path
):
    fixed = {"name": "mask", "params": {"mask": {"missing_pixels": 0.75}}}
    for name, operator in (("fixed", fixed), ("joint", MASK)):
        made = interpolation(operator=operator, steps=60, optimiser={"rate": 0.01})
        assert run(made, pictures, tmp_path / name).finished
        losses = [float(row["loss"]) for row in rows(tmp_path / name)]
        assert np.mean(losses[-5:]) < 0.7 * np.mean(losses[:5])


def test_a_likelihood_joins_the_loss(interpolation, pictures, tmp_path):
    picture, measurement = {"norm": "l2"}, {"norm": "l2", "on": "measurement"}
    found = [
        first_loss(interpolation(loss=loss), pictures, tmp_path / str(number))
        for number, loss in enumerate(
            ([picture], [measurement], [picture, {**measurement, "weight": 1e4}])
        )
    ]
    assert found[2] == pytest.approx(found[0] + 1e4 * found[1], rel=1e-6)


def test_the_weight_that_stands_for_lambda_leaves_the_papers_objective_as_it_is():
    shape, sigma, lam, count = (3, 8, 6), 0.7, 20.0, 5
    op = build_operator("mask", {"mask": (torch.rand(1, 8, 6) > 0.4).double()},
                        x_space=Space(shape, torch.float64))  # fmt: skip
    x, f = torch.rand(2, count, *shape, dtype=torch.float64)
    y = op(x)
    rec = (f - x).square().sum() / (8 * 6 * count)
    likelihood = (op(f) - y).square().sum() / (2 * sigma**2)
    weight = lam * y[0].numel() * count / (2 * sigma**2 * 3)
    terms = (LossTerm(norm="l2"), LossTerm(norm="l2", on="measurement", weight=weight))
    ours = total_loss(terms, Restored(f), truth=x, measurement=y, operator=op)
    torch.testing.assert_close(3 * ours, rec + lam * likelihood)


@pytest.mark.parametrize("norm", ["l1", "l2", "charbonnier"])
def test_losses_of_samples_have_the_mean_of_the_batch(norm):
    op = build_operator("strided_blur", x_space=Space((1, 8, 8)))
    x, f = torch.rand(2, 3, 1, 8, 8)
    y = op(x)
    terms = (LossTerm(norm=norm, weight=0.5), LossTerm(norm="l1", on="measurement"))
    each = sample_losses(terms, Restored(f), truth=x, measurement=y, operator=op)
    assert each.shape == (3,)
    torch.testing.assert_close(
        each.mean(), total_loss(terms, Restored(f), truth=x, measurement=y, operator=op)
    )
    one = total_loss(terms, Restored(f[1:2]), truth=x[1:2], measurement=y[1:2], operator=op)
    torch.testing.assert_close(each[1], one)


# --- uncertainty ---------------------------------------------------------------------------


def three_levels():
    degradation = Degradation.from_data(MASK, None)
    given = LevelsRecipe(count=3, weighting="uncertainty")
    return Levels.of(given, degradation.numbers())


def outcome(levels, errors, own=None):
    """Return what restored samples, whose errors are given, look like to a strategy."""
    truth = torch.zeros(len(errors), 1, 2, 2)
    restored = torch.tensor(errors)[:, None, None, None].expand_as(truth)
    draws = levels.as_drawn(draws_for(0, 0, stream=1, batch=6, own=own))
    return Outcome(
        step=0,
        restored=Restored(restored),
        truth=truth,
        measurement=truth,
        operator=None,
        draws=draws,
    )


@pytest.mark.parametrize(("norm", "factor"), [("l2", 0.5), ("l1", 1.0)])
def test_the_loss_is_that_of_a_likelihood(norm, factor):
    levels = three_levels()
    strategy = Uncertainty(levels, (LossTerm(norm=norm),), "cpu")
    errors = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6]
    seen = outcome(levels, errors)
    plain = [e**2 if norm == "l2" else e for e in errors]
    start = strategy.objective(torch.tensor(9.0), seen)
    assert start.item() == pytest.approx(factor * sum(plain) / 6)
    strategy.load({"log_variance": torch.tensor([0.5, -1.0, 2.0])})
    s = [[0.5, -1.0, 2.0][a] for a in seen.draws.level.index]
    expected = sum(math.exp(-v) * e + v for v, e in zip(s, plain, strict=True)) / 6
    found = strategy.objective(torch.tensor(9.0), seen)
    assert found.item() == pytest.approx(factor * expected)
    halves = [
        strategy.objective(torch.tensor(9.0), outcome(levels, errors[part], part))
        for part in (slice(0, 3), slice(3, 6))
    ]
    assert sum(halves).item() / 2 == pytest.approx(found.item())  # the processes' mean


def test_a_level_weighs_the_inverse_of_its_loss():
    levels = three_levels()
    strategy = Uncertainty(levels, (LossTerm(norm="l2"),), "cpu")
    index = levels.as_drawn(draws_for(0, 0, stream=1, batch=6)).level.index
    assert set(index) == {0, 1, 2}
    errors = [(0.1, 0.2, 0.5)[a] for a in index]
    optimiser = torch.optim.Adam(strategy.parameters(), 0.1)
    for _ in range(600):
        optimiser.zero_grad()
        strategy.objective(torch.tensor(0.0), outcome(levels, errors)).backward()
        optimiser.step()
    weights = [strategy.figures()[f"weight_{a}"] for a in (1, 2, 3)]
    assert weights == pytest.approx([1 / 0.01, 1 / 0.04, 1 / 0.25], rel=1e-3)


UNCERTAIN = {"levels": {"count": 4, "weighting": "uncertainty"}}


def test_weights_of_levels_are_learned_kept_and_not_exported(interpolation, pictures, tmp_path):
    made = interpolation(
        **UNCERTAIN, optimiser={"name": "adamw", "rate": 0.05, "weight_decay": 0.1}, log_every=4
    )
    result = run(made, pictures, tmp_path / "whole")
    in_pieces(made, pictures, tmp_path / "o")
    whole = rows(tmp_path / "whole")
    assert rows(tmp_path / "o") == whole
    for name in ("weights.safetensors", "weights.yaml"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    weights = [float(whole[-1][f"weight_{a}"]) for a in (1, 2, 3, 4)]
    assert min(weights) > 1.3  # all losses are below 1
    state = load_checkpoint(tmp_path / "o")
    s = state["strategies"]["uncertainty"]["log_variance"]
    torch.testing.assert_close(torch.exp(-s), torch.tensor(weights))
    assert [group["weight_decay"] for group in state["optimiser"]["param_groups"]] == [0.1, 0.0]
    assert set(load_file(result.weights)) == {"first.weight", "first.bias", "last.weight",
                                              "last.bias"}  # fmt: skip


def test_uncertainty_takes_the_batches_of_joint_training(interpolation, pictures, tmp_path):
    found = [
        first_loss(interpolation(**changes), pictures, tmp_path / str(number))
        for number, changes in enumerate(({}, UNCERTAIN))
    ]
    assert found[0] == found[1]


# --- on demand -----------------------------------------------------------------------------


def test_shares_are_inversely_proportional_to_the_psnr():
    shares = shares_of([40.0, 20.0, 20.0])
    assert shares == pytest.approx([0.2, 0.4, 0.4])
    assert shares_of([40.0000001, 20.0, 19.9999999]) == shares  # another order of summation
    assert shares_of([math.inf, -3.0]) == pytest.approx([0.01 / 1.01, 1 / 1.01])


class Nothing(Learner):
    """Returns the measurement."""

    def forward(self, y, operator, noise=None, conditions=None):
        assert not self.training
        return Restored(y)

    def weights(self):
        return self


def test_each_level_is_measured_on_held_out_pictures(pictures):
    noise = {"name": "gaussian", "params": {"sigma": {"uniform": [0.1, 0.2]}}}
    made = recipe_from(
        {"network": "toy_network", "operator": "identity", "noise": noise, "steps": 1, "batch": 8,
         "data": {"crop": 16, "held_out": 2}}
    )  # fmt: skip
    _, held = open_data(pictures, made, own=slice(0, 8))
    degradation = made.degradation()
    given = LevelsRecipe(count=2, sampling="on_demand", every=3, samples=512)
    strategy = OnDemand(
        Levels.of(given, degradation.numbers()), given, learner=Nothing(), degradation=degradation,
        held=held,
        fabric=SimpleNamespace(device=torch.device("cpu"), global_rank=0, broadcast=lambda v: v),
    )  # fmt: skip
    assert strategy.shares == [0.5, 0.5]
    assert set(strategy.figures()) == {"share_1", "share_2"}
    strategy.after(2)
    assert strategy.scores == []
    strategy.after(3)

    def expected(low, high):
        sigma = np.linspace(low, high, 10001)
        return np.mean(-20 * np.log10(sigma))

    assert strategy.scores == pytest.approx([expected(0.1, 0.15), expected(0.15, 0.2)], abs=0.05)
    assert strategy.figures()["psnr_2"] == strategy.scores[1]
    inverse = [1 / score for score in strategy.scores]
    assert strategy.shares == pytest.approx([i / sum(inverse) for i in inverse], rel=1e-3)
    other = OnDemand(strategy._levels, given, learner=Nothing(), degradation=degradation,
                     held=held, fabric=None)  # fmt: skip
    other.load(strategy.state())
    assert other.shares == strategy.shares


def test_hard_levels_are_trained_on_more(interpolation, pictures, tmp_path):
    made = interpolation(
        levels={"count": 3, "sampling": "on_demand", "every": 4, "samples": 6}, save_every=5
    )
    run(made, pictures, tmp_path / "whole")
    in_pieces(made, pictures, tmp_path / "o")
    whole = rows(tmp_path / "whole")
    assert rows(tmp_path / "o") == whole
    assert [row["psnr_1"] != "" for row in whole] == [step >= 4 for step in range(1, 13)]
    assert float(whole[0]["share_1"]) == pytest.approx(1 / 3)
    last = whole[-1]
    assert float(last["psnr_1"]) > float(last["psnr_2"]) > float(last["psnr_3"])
    assert float(last["share_1"]) < float(last["share_2"]) < float(last["share_3"])
    assert sum(float(last[f"share_{a}"]) for a in (1, 2, 3)) == pytest.approx(1)
    assert len({row["psnr_1"] for row in whole}) == 4  # none, and after 4, 8 and 12 steps
    for name in ("weights.safetensors", "weights.yaml"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()


def test_both_go_together(interpolation, pictures, tmp_path):
    made = interpolation(
        levels={"edges": [0, 0.3, 0.75], "sampling": "on_demand", "weighting": "uncertainty",
                "every": 2, "samples": 6},
        solver=None, network="toy_network", feed="measurement",
    )  # fmt: skip
    result = run(made, pictures, tmp_path / "o")
    assert result.finished
    assert set(rows(tmp_path / "o")[-1]) >= {"psnr_2", "share_2", "weight_2"}
    assert set(load_checkpoint(tmp_path / "o")["strategies"]) == {"on_demand", "uncertainty"}


def test_a_checkpoint_of_before_is_taken_up(interpolation, pictures, tmp_path):
    made = interpolation()
    run(made, pictures, tmp_path / "whole")
    run(made, pictures, tmp_path / "o", steps=5)
    (path,) = checkpoints(tmp_path / "o")
    state = torch.load(path, weights_only=True)
    assert state.pop("strategies") == {}  # which checkpoints did not have
    torch.save(state, path)
    run(made, pictures, tmp_path / "o", resume=True)
    assert rows(tmp_path / "o") == rows(tmp_path / "whole")
