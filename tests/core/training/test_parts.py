"""Losses, learners and schedules: their mathematics, and what they refuse."""

import math
from types import SimpleNamespace

import pytest
import torch
from torch import nn
from wellposed.edge import build_operator
from wellposed.errors import IncompatibleError, ParameterError
from wellposed.network import Network
from wellposed.space import Space
from wellposed.training.learner import NetworkLearner, SolverLearner, build_learner
from wellposed.training.losses import LossTerm, sample_losses, total_loss
from wellposed.training.optimisers import OptimiserRecipe, ScheduleRecipe
from wellposed.training.restored import Restored
from wellposed.training.runtime import own_slice


@pytest.mark.parametrize(
    ("norm", "function"),
    [
        ("l1", lambda e: abs(e)),
        ("l2", lambda e: abs(e) ** 2),
        ("charbonnier", lambda e: math.sqrt(abs(e) ** 2 + 0.01)),
    ],
)
def test_losses_are_means_of_their_formula(norm, function):
    term = LossTerm(norm=norm, weight=0.5, epsilon=0.1)
    error = torch.tensor([0.0, -2.0, 0.3])
    expected = 0.5 * sum(function(float(e)) for e in error) / 3
    assert float(term(error)) == pytest.approx(expected, rel=1e-6)
    z = torch.tensor([3 + 4j])
    assert float(term(z)) == pytest.approx(0.5 * function(5.0), rel=1e-6)
    assert term(error.bfloat16()).dtype == torch.float32


def test_terms_add_up_on_pictures_and_measurements():
    op = build_operator("strided_blur", x_space=Space((1, 8, 8)))
    x, f = torch.rand(2, 1, 8, 8), torch.rand(2, 1, 8, 8)
    y = op(x)
    terms = (LossTerm(norm="l1"), LossTerm(norm="l2", on="measurement", weight=3.0))
    found = total_loss(terms, Restored(f), truth=x, measurement=y, operator=op)
    torch.testing.assert_close(found, (f - x).abs().mean() + 3 * (op(f) - y).square().mean())
    with pytest.raises(ParameterError, match=r"^loss: a loss on the picture needs the truth"):
        total_loss(terms, Restored(f), truth=None, measurement=y, operator=op)
    with pytest.raises(ParameterError, match=r"^loss: a loss on the measurement needs an operator"):
        total_loss(terms, Restored(f), truth=x, measurement=y, operator=None)
    with pytest.raises(ParameterError, match=r"returns pictures \(1, 4, 4\), the truth has \(1, 8"):
        total_loss(terms, Restored(y), truth=x, measurement=y, operator=op)


def test_pictures_and_parts_by_name():
    x, z = torch.zeros(1), torch.ones(1)
    found = Restored(x, {"z": z})
    assert found.of("picture") is x and found.of("z") is z
    with pytest.raises(ParameterError, match=r"^of: .*finds no 'pictures'. Did you mean 'picture'"):
        found.of("pictures")
    with pytest.raises(ParameterError, match=r"It finds: picture, z$"):
        found.of("dual")
    assert Restored(x).parts == {}


def test_a_term_of_a_part():
    """Equations (11) and (12) of InverseNet without their other terms, and a measurement of z."""
    op = build_operator("blur", x_space=Space((1, 8, 8)))
    x, f, z = torch.rand(3, 2, 1, 8, 8)
    y = op(x)
    both = {"truth": x, "measurement": y, "operator": op}
    terms = (
        LossTerm(norm="l2", weight=0.5, of="z"),
        LossTerm(norm="l2", weight=0.25),
        LossTerm(norm="l1", of="z", on="measurement"),
        LossTerm(norm="l1", of="picture", weight=2.0),
    )
    want = 0.5 * (z - x).square() + 0.25 * (f - x).square() + 2 * (f - x).abs()
    want = (want + (op(z) - y).abs()).flatten(1).mean(1)
    found = Restored(f, {"z": z})
    torch.testing.assert_close(total_loss(terms, found, **both), want.mean())
    torch.testing.assert_close(sample_losses(terms, found, **both), want)
    with pytest.raises(ParameterError, match=r"^of: what is trained finds no 'z'"):
        total_loss(terms, Restored(f), **both)
    with pytest.raises(ParameterError, match=r"^loss: the solver returns pictures \(1, 4, 4\)"):
        total_loss(terms, Restored(f, {"z": z[..., ::2, ::2]}), **both)


class Masked(Network):
    """Returns what it was given, and remembers it."""

    def __init__(self, **options):
        super().__init__(channels=1, **options)
        self.weight = nn.Parameter(torch.ones(()))

    def initialise(self, generator):
        self.weight.fill_(1)

    def _forward(self, x, mask=None):
        self.seen = x, mask
        return self.weight * x


def test_a_network_sees_pictures_in_its_own_range_and_gives_them_back():
    op = build_operator("blur", x_space=Space((1, 8, 8)))
    y = op(torch.rand(2, 1, 8, 8))
    network = Masked(value_range=(-1.0, 1.0))
    torch.testing.assert_close(NetworkLearner(network, "measurement")(y, op).picture, y)
    ones = op(torch.ones(2, 1, 8, 8))
    torch.testing.assert_close(network.seen[0], 2 * y - ones)
    estimate = op.initial_estimate(y)
    torch.testing.assert_close(NetworkLearner(network, "estimate")(y, op).picture, estimate)
    torch.testing.assert_close(network.seen[0], 2 * estimate - 1)


def test_a_network_gets_its_conditions_from_the_operator():
    mask = (torch.rand(2, 1, 8, 8) > 0.5).float()
    space = Space((1, 8, 8))
    op = build_operator("mask", {"mask": mask}, x_space=space)
    op = op @ build_operator("blur", x_space=space)
    network = Masked(conditions={"mask": 1})
    NetworkLearner(network, "measurement")(torch.rand(2, 1, 8, 8), op)
    assert torch.equal(network.seen[1], mask)
    with pytest.raises(IncompatibleError, match=r"Masked needs mask, which Blur has not"):
        NetworkLearner(network, "estimate")(torch.rand(2, 1, 8, 8), op.factors[1])


def test_a_solver_keeps_the_networks_that_are_trained(plugin, recipe):
    learner = build_learner(recipe())
    assert isinstance(learner, SolverLearner)
    assert learner.solver.network is learner.weights()
    learner.solver_to(torch.device("cpu"))
    assert learner.solver.network is learner.weights()


def test_networks_must_be_networks(plugin, recipe, monkeypatch):
    monkeypatch.setattr("wellposed.registry.build", lambda *a, **k: 3)
    with pytest.raises(ParameterError, match=r"^network: expected a network; int is neither"):
        build_learner(recipe(solver=None, network="toy_network"))


def test_schedules_depend_on_the_step_alone():
    def rates(steps=10, **options):
        schedule = ScheduleRecipe(**options)
        return [schedule.fraction(step, steps) for step in range(steps + 1)]

    assert rates() == [1.0] * 11
    cosine = rates(name="cosine", final=0.2)
    assert cosine[0] == 1 and cosine[5] == pytest.approx(0.6) and cosine[10] == pytest.approx(0.2)
    assert rates(name="linear", final=0.5)[5] == pytest.approx(0.75)
    assert rates(name="steps", milestones=(3, 6), factor=0.1)[2:7] == pytest.approx(
        [1, 0.1, 0.1, 0.1, 0.01]
    )
    assert rates(warmup=4)[:5] == [0.25, 0.5, 0.75, 1.0, 1.0]


@pytest.mark.parametrize(
    ("name", "expected"),
    [("adam", torch.optim.Adam), ("adamw", torch.optim.AdamW), ("sgd", torch.optim.SGD)],
)
def test_optimisers_get_their_parameters(name, expected):
    made = OptimiserRecipe(name=name, rate=0.02, weight_decay=0.1).build(
        [nn.Parameter(torch.ones(2))]
    )
    assert type(made) is expected
    group = made.param_groups[0]
    assert (group["lr"], group["weight_decay"]) == (0.02, 0.1)


def test_a_batch_is_shared_equally():
    fabric = SimpleNamespace(world_size=3, global_rank=1)
    assert own_slice(fabric, 6) == slice(2, 4)
    with pytest.raises(ParameterError, match=r"^batch: a batch of 4 cannot be shared equally by 3"):
        own_slice(fabric, 4)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a CUDA device")
def test_bf16_on_cuda_learns_from_a_data_set_on_the_device(plugin, recipe, pictures, tmp_path):
    import csv

    from wellposed.training import train

    made = recipe(precision="bf16", steps=60, optimiser={"rate": 0.01}, schedule=None)
    result = train(made, data=pictures, out=tmp_path / "o", device="cuda")
    assert result.finished
    with (tmp_path / "o" / "log.csv").open() as file:
        losses = [float(row["loss"]) for row in csv.DictReader(file)]
    assert max(losses[-5:]) < 0.75 * losses[0]
