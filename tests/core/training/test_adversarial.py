"""Adversarial losses: the discriminator, what it is told, and what it tells."""

import csv
import math
from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from torch import nn
from wellposed.errors import ParameterError, UnknownComponent
from wellposed.training import recipe_from, train
from wellposed.training.adversarial import Adversarial, AdversarialRecipe
from wellposed.training.discriminator import Discriminator
from wellposed.training.distributions import draws_for
from wellposed.training.durable import load_checkpoint
from wellposed.training.restored import Restored
from wellposed.training.strategy import Outcome

FABRIC = SimpleNamespace(
    device=torch.device("cpu"), world_size=1, all_reduce=lambda value, reduce_op: value
)
SHAPE = (3, 16, 16)


def made(schedule=None, precision="float32", seed=0, **options):
    data = {"network": "dncnn", "operator": "identity", "steps": 10, "seed": seed,
            "precision": precision, "schedule": schedule or {"name": "constant"}}  # fmt: skip
    return Adversarial(
        recipe_from(data), AdversarialRecipe(**{"width": 4, **options}), FABRIC, SHAPE
    )


def outcome(restored, truth, step=0, **parts):
    draws = draws_for(0, 0, stream=1, batch=len(truth))
    return Outcome(
        step=step,
        restored=Restored(restored, parts),
        truth=truth,
        measurement=truth,
        operator=None,
        draws=draws,
    )


def pictures_of(seed):
    return torch.rand(5, *SHAPE, generator=torch.Generator().manual_seed(seed))


# --- the discriminator ---------------------------------------------------------------------


@pytest.mark.parametrize(
    ("size", "layers"),
    [((64, 64), 4), ((48, 64), 3), ((128, 130), 5), ((12, 17), 1), ((5, 4), 0), ((1, 3), 0)],
)
def test_every_size_of_crop_gets_one_logit(size, layers):
    net = Discriminator(3, min(size), width=2)
    net.initialise(torch.Generator().manual_seed(0))
    assert sum(isinstance(m, nn.Conv2d) for m in net.modules()) == layers + 1
    assert net(torch.rand(2, 3, *size)).shape == (2, 1, 1, 1)
    if min(size) > 1:
        assert net(torch.rand(1, 3, *size)).shape == (1, 1, 1, 1)


def test_at_64_pixels_it_is_that_of_dcgan():
    net = Discriminator(3, 64)
    net.initialise(torch.Generator().manual_seed(0))
    convolutions = [m for m in net.modules() if isinstance(m, nn.Conv2d)]
    assert [m.out_channels for m in convolutions] == [64, 128, 256, 512, 1]
    assert {m.kernel_size for m in convolutions} == {(4, 4)}
    assert [type(m).__name__ for m in net.features] == ["Conv2d", "LeakyReLU"] + 3 * [
        "Conv2d", "BatchNorm2d", "LeakyReLU"
    ]  # fmt: skip
    x = torch.rand(2, 3, 64, 64)
    plain = nn.Sequential(net.features, net.last)  # nothing is averaged
    torch.testing.assert_close(net(x), plain(2 * x - 1))
    assert float(convolutions[3].weight.std().detach()) == pytest.approx(0.02, rel=0.02)
    assert not list(net.buffers())


# --- the losses ----------------------------------------------------------------------------


def test_binary_cross_entropy_with_smoothed_labels():
    strategy = made(rate=1e-30, real_label=0.9)  # it does not move, so that all can be computed
    x, f = pictures_of(0), pictures_of(1)
    found = strategy.objective(torch.tensor(5.0), outcome(f, x)).item()
    net = strategy.discriminator
    with torch.no_grad():
        real, fake = torch.sigmoid(net(x)).flatten(), torch.sigmoid(net(f)).flatten()
    figures = strategy.figures()
    d = -(0.9 * real.log() + 0.1 * (1 - real).log()).mean() - (1 - fake).log().mean()
    assert figures["discriminator"] == pytest.approx(float(d), rel=1e-5)
    assert figures["adversarial"] == pytest.approx(float(-fake.log().mean()), rel=1e-5)
    assert found == pytest.approx(5 + 1e-3 * figures["adversarial"])


def test_least_squares():
    strategy = made(rate=1e-30, loss="least_squares", weight=2.0)
    x, f = pictures_of(0), pictures_of(1)
    found = strategy.objective(torch.tensor(0.0), outcome(f, x)).item()
    net = strategy.discriminator
    with torch.no_grad():
        real, fake = net(x), net(f)
    figures = strategy.figures()
    d = (real - 1).square().mean() / 2 + fake.square().mean() / 2
    assert figures["discriminator"] == pytest.approx(float(d), rel=1e-5)
    assert found == pytest.approx(float((fake - 1).square().mean()), rel=1e-5)


# --- several parts, with soft labels -------------------------------------------------------

LABELS = {"real_label": 0.99, "fake_label": 0.01, "wanted_label": 0.99}


def soft(logits, label):
    """Equation (9) of InverseNet, -l log D - (1 - l) log(1 - D), its mean over a batch."""
    d = 1 / (1 + np.exp(-logits.detach().double().numpy()))
    return (-label * np.log(d) - (1 - label) * np.log(1 - d)).mean()


def test_soft_labels_for_two_parts():
    """Equations (10), and the first terms of (11) and (12); one discriminator for both parts."""
    strategy = made(rate=1e-30, of=("z", "picture"), weight=0.7, **LABELS)
    x, f, z = (pictures_of(seed) for seed in range(3))
    found = strategy.objective(torch.tensor(5.0), outcome(f, x, z=z)).item()
    net, figures = strategy.discriminator, strategy.figures()
    of_d = soft(net(x), 0.99) + soft(net(z), 0.01) + soft(net(f), 0.01)
    of_g = soft(net(z), 0.99) + soft(net(f), 0.99)
    assert figures["discriminator"] == pytest.approx(of_d, rel=1e-5)
    assert figures["adversarial"] == pytest.approx(of_g, rel=1e-5)
    assert found == pytest.approx(5 + 0.7 * of_g, rel=1e-5)


def test_least_squares_for_two_parts():
    strategy = made(rate=1e-30, loss="least_squares", of=("z", "picture"), weight=1.0, **LABELS)
    x, f, z = (pictures_of(seed) for seed in range(3))
    found = strategy.objective(torch.tensor(0.0), outcome(f, x, z=z)).item()
    net = strategy.discriminator
    real, *fakes = (net(v).detach().numpy() for v in (x, f, z))
    want = ((real - 0.99) ** 2).mean() / 2 + sum(((v - 0.01) ** 2).mean() for v in fakes) / 2
    assert strategy.figures()["discriminator"] == pytest.approx(want, rel=1e-5)
    assert found == pytest.approx(sum(((v - 0.99) ** 2).mean() for v in fakes) / 2, rel=1e-5)


def test_each_part_gets_the_gradient_of_its_own_term():
    strategy = made(rate=0.01, of=("z", "picture"), weight=1.0, **LABELS)
    x = pictures_of(0)
    f, z = (pictures_of(seed).requires_grad_() for seed in (1, 2))
    strategy.objective(torch.tensor(0.0), outcome(f, x, z=z)).backward()
    for v in (f, z):
        logits = strategy.discriminator(v)  # with the updated weights
        loss = (0.99 * F.softplus(-logits) + 0.01 * F.softplus(logits)).mean()
        (want,) = torch.autograd.grad(loss, v)
        torch.testing.assert_close(v.grad, want)


def test_the_discriminator_is_that_of_the_picture_alone_when_parts_are_not_named():
    one, two = made(rate=0.1), made(rate=0.1)
    x, f, z = (pictures_of(seed) for seed in range(3))
    a = one.objective(torch.tensor(0.0), outcome(f, x))
    b = two.objective(torch.tensor(0.0), outcome(f, x, z=z))
    assert torch.equal(a, b)
    with pytest.raises(ParameterError, match=r"^of: what is trained finds no 'z'.*finds: picture$"):
        made(of=("z",)).objective(torch.tensor(0.0), outcome(f, x))


def test_the_gradient_of_the_discriminator_is_clipped():
    free, bound = (made(clip=clip, loss="least_squares") for clip in (None, 0.02))
    x, f = pictures_of(0), pictures_of(1)
    for strategy in (free, bound):
        strategy.objective(torch.tensor(0.0), outcome(f, x))
    whole, cut = (
        torch.cat([p.grad.flatten() for p in s.discriminator.parameters()]) for s in (free, bound)
    )
    assert float(whole.norm()) > 0.02
    torch.testing.assert_close(cut, 0.02 * whole / whole.norm(), rtol=1e-4, atol=1e-8)
    loose = made(clip=1e3, loss="least_squares")
    loose.objective(torch.tensor(0.0), outcome(f, x))
    kept = torch.cat([p.grad.flatten() for p in loose.discriminator.parameters()])
    assert torch.equal(kept, whole)


def test_the_gradient_is_that_of_the_new_discriminator_and_leaves_it_alone():
    strategy = made(rate=0.01)
    x, f = pictures_of(0), pictures_of(1).requires_grad_()
    value = strategy.objective(torch.tensor(0.0), outcome(f, x))
    before = [p.grad.clone() for p in strategy.discriminator.parameters()]
    value.backward()
    after = [p.grad for p in strategy.discriminator.parameters()]
    assert all(torch.equal(a, b) for a, b in zip(before, after, strict=True))
    loss = 1e-3 * F.softplus(-strategy.discriminator(f)).mean()  # with the updated weights
    (expected,) = torch.autograd.grad(loss, f)
    torch.testing.assert_close(f.grad, expected)


@pytest.mark.parametrize("loss", ["non_saturating", "least_squares"])
def test_it_learns_to_tell_pictures_apart_and_makes_them_alike(loss):
    strategy = made(rate=2e-3, loss=loss, weight=1.0)
    shift = nn.Parameter(torch.tensor(0.0))
    optimiser = torch.optim.Adam([shift], 5e-3)
    for step in range(150):
        x = 0.3 * pictures_of(2 * step) + 0.5
        f = 0.3 * pictures_of(2 * step + 1) + shift  # 0.5 too dark at the start
        optimiser.zero_grad()
        strategy.objective(torch.tensor(0.0), outcome(f, x)).backward()
        optimiser.step()
    assert 0.35 < shift.item() < 0.75


def test_its_rate_follows_the_schedule():
    strategy = made(schedule={"name": "linear"}, rate=0.5)
    x = pictures_of(0)
    for step, rate in ((0, 0.5), (5, 0.25), (9, 0.05)):
        strategy.objective(torch.tensor(0.0), outcome(x, x, step))
        assert strategy._optimiser.param_groups[0]["lr"] == pytest.approx(rate)


def test_its_weights_come_from_the_seed():
    one, two, other = (made(seed=seed).discriminator.last.weight for seed in (0, 0, 1))
    assert torch.equal(one, two)
    assert not torch.equal(one, other)


def test_losses_are_float32_in_bf16(monkeypatch):
    monkeypatch.setattr("wellposed.training.runtime.computes_bf16", lambda device: True)
    strategy = made(precision="bf16")
    seen = []
    strategy.discriminator.last.register_forward_hook(lambda m, i, o: seen.append(o.dtype))
    x, f = pictures_of(0), pictures_of(1).bfloat16().requires_grad_()
    loss = strategy.objective(torch.tensor(0.0), outcome(f, x))
    assert loss.dtype == torch.float32
    assert set(seen) == {torch.bfloat16}
    loss.backward()
    assert f.grad.dtype == torch.bfloat16


def test_any_network_may_be_the_discriminator(monkeypatch):
    strategy = made(discriminator={"name": "unet", "params": {"channels": 3, "width": 2}}, rate=0.1)
    x, f = pictures_of(0), pictures_of(1)
    before = [p.detach().clone() for p in strategy.discriminator.parameters()]
    value = strategy.objective(torch.tensor(0.0), outcome(f, x)).item()
    assert math.isfinite(value)
    after = strategy.discriminator.parameters()
    assert any(not torch.equal(a, b) for a, b in zip(before, after, strict=True))
    with pytest.raises(UnknownComponent, match=r"^adversarial.discriminator.*Did you mean 'unet'"):
        made(discriminator="unett")
    monkeypatch.setattr("wellposed.registry.build", lambda *a, **k: 3)
    with pytest.raises(ParameterError, match=r"^adversarial.discriminator: .*; int is neither"):
        made(discriminator="unet")


# --- by recipe -----------------------------------------------------------------------------

BASE = {"network": "dncnn", "operator": "identity", "steps": 5}


@pytest.mark.parametrize(
    ("adversarial", "message"),
    [
        ({"wieght": 1}, r"^adversarial.wieght: .*Did you mean 'weight'"),
        ({"weight": 0}, r"^adversarial.weight: 'weight' must be > 0"),
        ({"loss": "bce"}, r"^adversarial.loss: expected one of 'non_saturating'"),
        ({"real_label": 1.2}, r"^adversarial.real_label: 'real_label' must be <= 1"),
        ({"fake_label": -0.1}, r"^adversarial.fake_label: 'fake_label' must be >= 0"),
        ({"fake_label": 1}, r"^adversarial.fake_label: 'fake_label' must be < 1"),
        (
            {"fake_label": 0.9, "real_label": 0.9},
            r"^adversarial.fake_label: expected less than real_label, 0.9; got 0.9",
        ),
        ({"wanted_label": 0}, r"^adversarial.wanted_label: 'wanted_label' must be > 0"),
        ({"clip": 0}, r"^adversarial.clip: 'clip' must be > 0"),
        ({"of": []}, r"^adversarial.of: expected names, each once.*got \[\]"),
        ({"of": ["z", "z"]}, r"^adversarial.of: expected names, each once.*got \['z', 'z'\]"),
        ({"rate": 0}, r"^adversarial.rate: 'rate' must be > 0"),
        ({"width": 0}, r"^adversarial.width: 'width' must be >= 1"),
        ({"betas": [0.5, 1]}, r"^adversarial.betas: expected two numbers from 0 to below 1"),
        ({"discriminator": 3}, r"^adversarial.discriminator: expected a name, or a mapping"),
        (0.001, r"^adversarial: expected"),
    ],
)
def test_mistakes_are_named_with_their_path(adversarial, message):
    with pytest.raises(ParameterError, match=message):
        recipe_from({**BASE, "adversarial": adversarial})


def test_it_needs_real_pictures():
    with pytest.raises(ParameterError, match=r"^adversarial: measurements alone come without real"):
        recipe_from(
            {**BASE, "adversarial": {}, "loss": {"norm": "l2", "on": "measurement"},
             "data": {"kind": "measurements", "flips": False}}
        )  # fmt: skip


def test_a_run_resumes_onto_the_same_curve(plugin, recipe, pictures, tmp_path):
    options = recipe(adversarial={"width": 4, "weight": 0.1}, log_every=3)
    result = train(options, data=pictures, out=tmp_path / "whole", device="cpu")
    while not train(
        options, data=pictures, out=tmp_path / "o", device="cpu", resume=True, max_minutes=1e-9
    ).finished:
        pass

    def rows(folder):
        with (folder / "log.csv").open() as file:
            return [{**row, "seconds": ""} for row in csv.DictReader(file)]

    whole = rows(tmp_path / "whole")
    assert rows(tmp_path / "o") == whole
    assert all(float(row["adversarial"]) > 0 for row in whole)
    assert float(whole[0]["discriminator"]) == pytest.approx(2 * math.log(2), abs=0.3)
    for name in ("weights.safetensors", "weights.yaml"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert set(load_file(result.weights)) == {"first.weight", "first.bias", "last.weight",
                                              "last.bias"}  # fmt: skip
    state = load_checkpoint(tmp_path / "o")["strategies"]["adversarial"]
    assert "last.weight" in state["discriminator"]
    plain = attrs.evolve(options, adversarial=None)
    train(plain, data=pictures, out=tmp_path / "plain", device="cpu")
    changed = (tmp_path / "plain" / "weights.safetensors").read_bytes()
    assert changed != (tmp_path / "o" / "weights.safetensors").read_bytes()
    assert "adversarial" not in rows(tmp_path / "plain")[0]
