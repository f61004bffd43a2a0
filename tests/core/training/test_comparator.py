"""The comparator: distances of features, against the network by itself."""

from __future__ import annotations

import csv
from types import SimpleNamespace

import attrs
import pytest
import torch
from torch import nn
from wellposed import Network, NetworkSpec
from wellposed.errors import ParameterError, UnknownComponent
from wellposed.training import recipe_from, train
from wellposed.training.comparator import Comparator, ComparatorRecipe
from wellposed.training.distributions import draws_for
from wellposed.training.durable import load_checkpoint
from wellposed.training.restored import Restored
from wellposed.training.strategy import Outcome

FABRIC = SimpleNamespace(
    device=torch.device("cpu"), world_size=1, all_reduce=lambda value, reduce_op: value
)
SHAPE = (3, 12, 10)
SMALL = {"name": "toy", "params": {}}
DNCNN = {"name": "dncnn", "params": {"channels": 3, "depth": 3, "width": 4}}
BASE = {"network": "dncnn", "operator": "identity", "steps": 5}


class Features(Network):
    """Features of a picture in [-1, 1], half as large; batch normalisation and dropout within."""

    def __init__(self, channels):
        super().__init__(channels=channels, out_channels=5, value_range=(-1.0, 1.0))
        self.layer = nn.Conv2d(channels, 5, 3, 2)
        self.norm, self.dropout = nn.BatchNorm2d(5), nn.Dropout(0.5)

    def out_sides(self, height, width):
        return (height - 1) // 2, (width - 1) // 2

    def initialise(self, generator):
        for p in self.parameters():
            p.normal_(0, 0.5, generator=generator)
        self.norm.running_mean.fill_(0.1)
        self.norm.running_var.fill_(2.0)
        self.norm.num_batches_tracked.zero_()

    def _forward(self, x):
        return self.dropout(self.norm(self.layer(x)))


@attrs.frozen(eq=False, kw_only=True)
class Spec(NetworkSpec):
    """Builds `Features`."""

    channels: int = 3

    def _module(self):
        return Features(self.channels)


def made(monkeypatch, *, precision="float32", network=None, seed=0, **options):
    """Return the strategy for a network that is in no registry."""
    built = Spec() if network is None else network
    recipe = recipe_from({**BASE, "seed": seed, "precision": precision})
    given = ComparatorRecipe(**{"network": SMALL, **options})
    monkeypatch.setattr(
        "wellposed.training.comparator.reg", SimpleNamespace(build=lambda *a, **k: built)
    )
    return Comparator(recipe, given, FABRIC, SHAPE)


def outcome(truth, picture, **parts):
    draws = draws_for(0, 0, stream=1, batch=len(truth))
    restored = Restored(picture, parts)
    return Outcome(step=0, restored=restored, truth=truth, measurement=truth, operator=None,
                   draws=draws)  # fmt: skip


def pictures_of(seed):
    return torch.rand(4, *SHAPE, generator=torch.Generator().manual_seed(seed))


def features(network, x):
    """Written out: the range, a strided convolution, and the normalisation that was learned."""
    v = torch.nn.functional.conv2d(2 * x - 1, network.layer.weight, network.layer.bias, stride=2)
    scale, shift = (p[:, None, None] for p in network.norm.parameters())
    return scale * (v - 0.1) / (2.0 + 1e-5) ** 0.5 + shift


def test_the_distance_of_features_in_the_range_of_the_network(monkeypatch):
    strategy = made(monkeypatch, weight=0.5)
    x, f = pictures_of(0), pictures_of(1)
    found = strategy.objective(torch.tensor(2.0), outcome(x, f))
    c = strategy.network
    want = (features(c, f) - features(c, x)).square().mean()
    torch.testing.assert_close(found, 2 + 0.5 * want)
    assert strategy.figures() == pytest.approx({"comparator": float(want)})


def test_of_the_picture_and_parts_together(monkeypatch):
    """Equations (11) and (12): the same distance for z and for the picture."""
    x, f, z = (pictures_of(seed) for seed in range(3))
    strategy = made(monkeypatch, of=("z", "picture"))
    found = strategy.objective(torch.tensor(0.0), outcome(x, f, z=z))
    c = strategy.network
    want = sum((features(c, v) - features(c, x)).square().mean() for v in (f, z))
    torch.testing.assert_close(found, want)
    only = made(monkeypatch, of=("z",)).objective(torch.tensor(0.0), outcome(x, f, z=z))
    torch.testing.assert_close(only, (features(c, z) - features(c, x)).square().mean())


def test_the_gradient_reaches_pictures_and_not_the_network_nor_the_truth(monkeypatch):
    strategy = made(monkeypatch, of=("picture", "z"), weight=3.0)
    x, f, z = (pictures_of(seed).requires_grad_() for seed in range(3))
    strategy.objective(torch.tensor(0.0), outcome(x, f, z=z)).backward()
    for v in (f, z):
        w = v.detach().requires_grad_()
        loss = 3 * (features(strategy.network, w) - features(strategy.network, x.detach()))
        (want,) = torch.autograd.grad((loss * loss / 3).mean(), w)
        torch.testing.assert_close(v.grad, want)
    assert x.grad is None
    assert all(p.grad is None and not p.requires_grad for p in strategy.network.parameters())
    assert not list(strategy.parameters())


def test_the_network_stays_as_it_is(monkeypatch):
    """Neither batch normalisation nor dropout does what it does in training."""
    strategy = made(monkeypatch)
    before = {key: value.clone() for key, value in strategy.network.state_dict().items()}
    step = outcome(pictures_of(0), pictures_of(1))
    one, two = (strategy.objective(torch.tensor(0.0), step) for _ in range(2))
    assert torch.equal(one, two) and not strategy.network.training
    after = strategy.network.state_dict()
    assert all(torch.equal(value, after[key]) for key, value in before.items())


def test_the_mean_over_steps(monkeypatch):
    strategy = made(monkeypatch)
    steps = [outcome(pictures_of(0), pictures_of(seed)) for seed in (1, 2, 3)]
    losses = [float(strategy.objective(torch.tensor(0.0), step)) for step in steps[:2]]
    again = made(monkeypatch)
    again.load(strategy.state())
    losses.append(float(again.objective(torch.tensor(0.0), steps[2])))
    assert again.figures()["comparator"] == pytest.approx(sum(losses) / 3)
    again.objective(torch.tensor(0.0), steps[0])
    assert again.figures()["comparator"] == pytest.approx(losses[0])


def test_losses_are_float32_in_bf16(monkeypatch):
    monkeypatch.setattr("wellposed.training.runtime.computes_bf16", lambda device: True)
    strategy = made(monkeypatch, precision="bf16")
    seen = []
    strategy.network.layer.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    f = pictures_of(1).bfloat16().requires_grad_()
    loss = strategy.objective(torch.tensor(0.0), outcome(pictures_of(0), f))
    assert loss.dtype == torch.float32 and set(seen) == {torch.bfloat16}
    loss.backward()
    assert f.grad.dtype == torch.bfloat16


def test_what_cannot_be_a_comparator(monkeypatch):
    ready = Spec().build(seed=1)
    assert made(monkeypatch, network=ready).network is ready  # one that is built already
    with pytest.raises(
        ParameterError, match=r"^comparator.network: .* of features.*int is neither"
    ):
        made(monkeypatch, network=3)
    with pytest.raises(ParameterError, match=r"^comparator.network: .*Conv2d is neither"):
        made(monkeypatch, network=nn.Conv2d(3, 3, 1))
    with pytest.raises(
        ParameterError, match=r"^comparator.network: Features takes pictures of 1 .* have 3$"
    ):
        made(monkeypatch, network=Spec(channels=1))


# --- by recipe -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("comparator", "message"),
    [
        ({}, r"^comparator: .* needs 1 more parameter: 'network'"),
        ({"network": 3}, r"^comparator.network: expected a name, or a mapping.*got int"),
        ({"network": "dncnn", "weight": 0}, r"^comparator.weight: 'weight' must be > 0"),
        ({"network": "dncnn", "of": []}, r"^comparator.of: expected names, each once.*got \[\]"),
        ({"network": "dncnn", "of": ["z", "z"]}, r"^comparator.of: expected names, each once"),
        ({"network": "dncnn", "wieght": 1}, r"^comparator.wieght: .*Did you mean 'weight'"),
        ("dncnn", r"^comparator: expected"),
    ],
)
def test_mistakes_are_named_with_their_path(comparator, message):
    with pytest.raises(ParameterError, match=message):
        recipe_from({**BASE, "comparator": comparator})


def test_it_needs_real_pictures():
    with pytest.raises(ParameterError, match=r"^comparator: measurements alone come without real"):
        recipe_from(
            {**BASE, "comparator": {"network": "dncnn"},
             "loss": {"norm": "l2", "on": "measurement"},
             "data": {"kind": "measurements", "flips": False}}
        )  # fmt: skip


def test_the_network_is_one_of_the_registry_and_its_weights_come_from_the_seed():
    given = ComparatorRecipe(network=DNCNN)
    one, two, other = (
        Comparator(recipe_from({**BASE, "seed": seed}), given, FABRIC, SHAPE).network
        for seed in (0, 0, 1)
    )
    states = [torch.cat([p.flatten() for p in n.parameters()]) for n in (one, two, other)]
    assert torch.equal(states[0], states[1]) and not torch.equal(states[0], states[2])
    wrong = ComparatorRecipe(network="dncn")
    with pytest.raises(UnknownComponent, match=r"^comparator.network.*Did you mean 'dncnn'"):
        Comparator(recipe_from(BASE), wrong, FABRIC, SHAPE)


def test_a_run_resumes_onto_the_same_curve(plugin, recipe, pictures, tmp_path):
    options = recipe(comparator={"network": DNCNN, "weight": 0.1}, log_every=3)
    train(options, data=pictures, out=tmp_path / "whole", device="cpu")
    while not train(
        options, data=pictures, out=tmp_path / "o", device="cpu", resume=True, max_minutes=1e-9
    ).finished:
        pass

    def rows(folder):
        with (folder / "log.csv").open() as file:
            return [{**row, "seconds": ""} for row in csv.DictReader(file)]

    whole = rows(tmp_path / "whole")
    assert rows(tmp_path / "o") == whole
    assert all(float(row["comparator"]) > 0 for row in whole)
    weights = [(tmp_path / name / "weights.safetensors").read_bytes() for name in ("o", "whole")]
    assert weights[0] == weights[1]
    assert set(load_checkpoint(tmp_path / "o")["strategies"]["comparator"]) == {"mean"}
    plain = attrs.evolve(options, comparator=None)
    train(plain, data=pictures, out=tmp_path / "plain", device="cpu")
    assert (tmp_path / "plain" / "weights.safetensors").read_bytes() != weights[0]
    assert "comparator" not in rows(tmp_path / "plain")[0]
