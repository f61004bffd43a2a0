"""The generator of a DCGAN against its table, and how a recipe trains it."""

import csv

import numpy as np
import pytest
import torch
from torch import nn
from wellposed import psnr
from wellposed.errors import ParameterError
from wellposed.plugins.generative_bilinear.dcgan import Dcgan
from wellposed.registry import default_registry
from wellposed.training import recipe_from, train
from wellposed.training.durable import load_checkpoint
from wellposed.training.learner import build_learner

TINY = {
    "prior": {"name": "dcgan", "params": {"latent": 3, "width": 1}},
    "data": {"flips": False},
    "loss": [],
    "adversarial": {"weight": 1.0, "width": 2, "every": 2},
    "optimiser": {"name": "adam", "rate": 2e-4, "betas": [0.5, 0.999]},
    "schedule": {"name": "constant"},
    "batch": 2,
    "steps": 3,
    "log_every": 1,
}


def test_the_generator_is_that_of_radford_et_al():
    network = Dcgan().for_training(seed=0).trained
    v = network.dense(torch.randn(2, 100))
    assert v.shape == (2, 8192)
    v, found = v.reshape(2, 512, 4, 4), []
    for layer in network.layers:
        v = layer(v)
        if isinstance(layer, nn.ConvTranspose2d):
            assert layer.kernel_size == (5, 5)
            found.append(tuple(v.shape[1:]))
    assert found == [(256, 8, 8), (128, 16, 16), (64, 32, 32), (3, 64, 64)]
    kinds = [type(m).__name__ for m in network.layers]
    assert kinds == 4 * ["BatchNorm2d", "ReLU", "ConvTranspose2d"] + ["Tanh"]
    assert v.abs().max() <= 1


def test_weights_are_drawn_from_the_seed():
    one, same, other = (Dcgan(width=2).for_training(seed=s).trained for s in (1, 1, 2))
    torch.testing.assert_close(one.dense.weight, same.dense.weight)
    assert not torch.equal(one.dense.weight, other.dense.weight)
    assert 0.018 < one.dense.weight.std() < 0.022


@pytest.mark.parametrize("batch", [(), (3,), (2, 3)])
def test_pictures_lie_between_0_and_1(batch):
    prior = Dcgan(latent=4, width=1).for_training(seed=0)
    prior.trained.eval()
    picture = prior.decode(torch.randn(*batch, 4))
    assert picture.shape == (*batch, 3, 64, 64)
    assert 0 <= picture.min() and picture.max() <= 1


def test_the_nearest_in_range_is_nearer_than_a_start():
    prior = Dcgan(latent=4, width=2).for_training(seed=0)
    prior.trained.eval().requires_grad_(False)
    with torch.no_grad():
        for layer in (m for m in prior.trained.modules() if isinstance(m, nn.ConvTranspose2d)):
            layer.weight.mul_(8)  # else everything is grey
        x = prior.decode(torch.randn(2, 4, generator=torch.Generator().manual_seed(1)))
        near = prior.reconstructed(x, sampling=False).picture
        drawn = prior.reconstructed(x, sampling=True).picture
    assert (psnr(near, x) > psnr(drawn, x) + 6).all()


def test_in_its_training_the_discriminator_learns_every_other_step(tmp_path, monkeypatch):
    monkeypatch.setattr("wellposed.plugins.generative_bilinear.dcgan._STEPS", 3)
    pictures = tmp_path / "pictures.npy"
    np.save(pictures, np.random.default_rng(0).random((4, 64, 64, 3), dtype=np.float32))
    result = train(recipe_from(TINY), data=pictures, out=tmp_path / "run")
    assert result.finished
    assert result.quality["psnr"] > 5
    rows = list(csv.DictReader((tmp_path / "run" / "log.csv").read_text().splitlines()))
    assert [float(row["loss"]) for row in rows] == [0, 0, 0]
    assert all(float(row["adversarial"]) > 0 for row in rows)
    # a line without a step of the discriminator has nothing to tell of it
    assert [row["discriminator"] != "" for row in rows] == [True, False, True]
    state = load_checkpoint(tmp_path / "run")["strategies"]["adversarial"]["optimiser"]["state"]
    assert {int(one["step"]) for one in state.values()} == {2}
    found = Dcgan(latent=3, width=1, weights=str(result.weights))
    assert found.decode(torch.zeros(3)).shape == (3, 64, 64)


def test_nothing_to_minimise_is_refused():
    with pytest.raises(ParameterError, match=r"^loss: expected at least one term"):
        recipe_from({**TINY, "adversarial": None})


def test_new_pictures_are_not_compared_with_others():
    with pytest.raises(ParameterError, match=r"^loss: Dcgan draws new pictures.* loss: \[\]"):
        build_learner(recipe_from({**TINY, "loss": "l1"}))


def test_a_recipe_of_before_is_still_the_same_run():
    every = {**TINY, "adversarial": {"weight": 1.0, "width": 2, "every": 1}}
    left_out = {**TINY, "adversarial": {"weight": 1.0, "width": 2}}
    assert recipe_from(every).digest() == recipe_from(left_out).digest()
    assert recipe_from(TINY).digest() != recipe_from(every).digest()
    assert recipe_from(recipe_from(TINY).as_data()).digest() == recipe_from(TINY).digest()


@pytest.mark.parametrize("name", ["blur_vae", "mnist_vae", "svhn_vae", "face_vae", "dcgan"])
def test_codes_can_be_mapped_over(name):
    prior = default_registry().load("prior", name)(latent=3, width=2).for_training(seed=0)
    prior.trained.eval().requires_grad_(False)
    codes = torch.randn(2, 3, 3)
    mapped = torch.func.vmap(prior.decode)(codes)
    torch.testing.assert_close(mapped, prior.decode(codes))
