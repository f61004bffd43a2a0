"""Gradients of several networks, each clipped by itself."""

from __future__ import annotations

import csv

import pytest
import torch
import wellposed.training.engine as engine
from torch import nn
from wellposed.training import recipe_from, train
from wellposed.training.averages import clip_gradients
from wellposed.training.learner import NetworkLearner, build_learner

PAIR = {
    "solver": {
        "name": "inversenet",
        "params": {
            "inversion": {"name": "inversenet_unet", "params": {"depth": 2, "width": 2}},
            "denoiser": {"name": "inversenet_dae", "params": {"width": 4}},
        },
    },
    "operator": "motion_blur",
    "data": {"crop": 12},
    "loss": [{"norm": "l2", "weight": 100.0}, {"norm": "l2", "of": "z", "weight": 1e-3}],
    "batch": 2,
    "steps": 1,
    "log_every": 1,
}


def network(*gradients):
    """Return a network of a parameter for each gradient."""
    module = nn.ParameterList([nn.Parameter(torch.zeros_like(g)) for g in gradients])
    for p, g in zip(module, gradients, strict=True):
        p.grad = g.clone()
    return module


def norm(module):
    return float(torch.cat([p.grad.flatten() for p in module.parameters()]).norm())


def test_each_network_is_clipped_by_itself():
    a, b = torch.tensor([3.0, 0.0]), torch.tensor([[4.0]])  # a norm of 5
    small = torch.tensor([0.3, 0.4])
    one, two = network(a, b), network(small)
    found = clip_gradients([one, two], 2.0)
    assert float(found) == pytest.approx((25 + 0.25) ** 0.5)  # of all together, before
    torch.testing.assert_close(one[0].grad, 0.4 * a, rtol=1e-5, atol=0)
    torch.testing.assert_close(one[1].grad, 0.4 * b, rtol=1e-5, atol=0)
    assert torch.equal(two[0].grad, small)  # a common factor would have made it smaller


def test_a_network_without_gradients_has_none():
    one, two = network(torch.tensor([3.0])), network(torch.tensor([1.0]))
    two[0].grad = None
    assert float(clip_gradients([one, two], 1.0)) == pytest.approx(3.0)
    assert two[0].grad is None
    assert float(clip_gradients([two], 1.0)) == 0


def test_a_run_clips_every_network_of_the_solver(pictures, tmp_path, monkeypatch):
    """The second network's gradient is a million times that of the first, and leaves it alone."""
    seen = []

    def clipped(networks, largest):
        networks = list(networks)
        before = [norm(n) for n in networks]
        total = clip_gradients(networks, largest)
        seen.append((before, [norm(n) for n in networks], float(total)))
        return total

    monkeypatch.setattr(engine, "clip_gradients", clipped)
    train(recipe_from({**PAIR, "clip": 5.0}), data=pictures, out=tmp_path / "run", device="cpu")
    ((first, second), after, total) = seen[0]
    assert second > 5 > first > 0
    assert after == [pytest.approx(first), pytest.approx(5, rel=1e-4)]
    assert total == pytest.approx((first**2 + second**2) ** 0.5)
    with (tmp_path / "run" / "log.csv").open() as file:
        (row,) = csv.DictReader(file)
    assert float(row["gradient"]) == pytest.approx(total)


def test_which_networks_are_clipped():
    learner = build_learner(recipe_from(PAIR))
    solver = learner.solver
    assert list(learner.each().values()) == [solver.inverting, solver.denoising]
    module = nn.Conv2d(1, 1, 1)
    assert list(NetworkLearner(module, "estimate").each().values()) == [module]
