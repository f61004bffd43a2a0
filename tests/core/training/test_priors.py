"""Generative priors on the engine: idx files, drawn kernels, and a run from recipe to prior."""

import gzip
import struct

import numpy as np
import pytest
import torch
from wellposed.errors import DataError, IncompatibleError, ParameterError, WeightsError
from wellposed.training import prior_from_weights, recipe_from, solver_from_weights, train
from wellposed.training.batches import open_data
from wellposed.training.drawn import DrawnKernels
from wellposed.training.sources import open_source

MOTION = {"name": "motion", "params": {"length": 10, "angle": {"uniform": [0, 180]}}}
SMALL = {
    "prior": {"name": "blur_vae", "params": {"latent": 3, "width": 2}},
    "data": {"kind": "kernels", "kernel": MOTION, "crop": 28, "count": 40, "held_out": 8},
    "loss": [{"norm": "l2"}, {"of": "divergence", "on": "itself", "weight": 1e-4}],
    "batch": 8,
    "steps": 3,
}


def idx(pictures):
    return b"\0\0\x08\x03" + struct.pack(">3I", *pictures.shape) + pictures.tobytes()


# --- idx files -----------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["some-idx3-ubyte", "some-idx3-ubyte.gz"])
def test_an_idx_file_holds_the_pictures_that_were_written(tmp_path, name):
    pictures = np.random.default_rng(0).integers(0, 256, (5, 7, 4), dtype=np.uint8)
    data = idx(pictures)
    (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith("gz") else data)
    source = open_source(tmp_path / name)
    assert source.names == tuple(f"{name}[{i}]" for i in range(5))
    for i in range(5):
        np.testing.assert_array_equal(source.load(i).numpy()[0], np.float32(pictures[i]) / 255)


def test_a_damaged_idx_file_is_refused(tmp_path):
    data = idx(np.zeros((3, 4, 4), np.uint8))
    cases = {
        "labels-idx1-ubyte": (b"\0\0\x08\x01" + data[4:], "does not begin as an idx file"),
        "short-idx3-ubyte": (data[:-1], "3 pictures of 4 x 4 bytes, and has 47"),
        "huge-idx3-ubyte": (
            b"\0\0\x08\x03" + struct.pack(">3I", 2**31, 2**31, 4) + data[16:],
            "and has 48",
        ),
        "none-idx3-ubyte": (idx(np.zeros((0, 4, 4), np.uint8)), "holds 0 pictures"),
        "cut-idx3-ubyte.gz": (gzip.compress(data)[:-9], "cannot be read"),
        "odd-idx3-ubyte.gz": (data, "cannot be read"),
    }
    for name, (content, message) in cases.items():
        (tmp_path / name).write_bytes(content)
        with pytest.raises(DataError, match=message):
            open_source(tmp_path / name)


# --- drawn kernels -------------------------------------------------------------------------


def test_drawn_kernels_are_those_of_the_component_with_their_largest_tap_1():
    drawn = DrawnKernels.of(MOTION, count=1003, size=28, seed=4)
    again = DrawnKernels.of(MOTION, count=1003, size=28, seed=4)
    other = DrawnKernels.of(MOTION, count=1003, size=28, seed=5)
    assert drawn.kernels.shape == (1003, 1, 28, 28) and len(drawn.names) == 1003
    np.testing.assert_array_equal(drawn.kernels, again.kernels)
    assert not np.array_equal(drawn.kernels, other.kernels)
    assert len({drawn.load(i).numpy().tobytes() for i in range(1003)}) == 1003
    np.testing.assert_allclose(drawn.kernels.max((1, 2, 3)), 1)
    taps = drawn.kernels[:, 0] / drawn.kernels.sum((2, 3))[..., None]
    at = np.arange(28) - 14  # the middle is index n // 2
    for marginal in (taps.sum(1), taps.sum(2)):
        np.testing.assert_allclose(marginal @ at, 0, atol=1e-3)
    spread = (taps.sum(1) @ at**2) + (taps.sum(2) @ at**2)
    np.testing.assert_allclose(spread, (10**2 + 1) / 12 + 1 / 6, rtol=0.02)  # line, and pixels


def test_a_fixed_kernel_and_one_larger_than_its_place():
    drawn = DrawnKernels.of({"name": "box", "params": {"width": 9}}, count=3, size=5, seed=0)
    np.testing.assert_allclose(drawn.kernels, np.ones((3, 1, 5, 5)))
    odd = DrawnKernels.of("inversenet_motion", count=1, size=9, seed=0).kernels[0, 0]
    even = DrawnKernels.of("inversenet_motion", count=1, size=12, seed=0).kernels[0, 0]
    np.testing.assert_array_equal(even[2:11, 2:11], odd)
    with pytest.raises(ParameterError, match=r"^data.kernel: expected kernels of one channel"):
        DrawnKernels.of("inversenet_colour", count=1, size=9, seed=0)


# --- recipes -------------------------------------------------------------------------------


def changed(**data):
    return {**SMALL, "data": {**SMALL["data"], **data}}


@pytest.mark.parametrize(
    ("recipe", "message"),
    [
        ({**SMALL, "operator": "identity"}, "^operator: a prior learns pictures"),
        ({**SMALL, "noise": "none"}, "^noise: a prior learns pictures"),
        ({**SMALL, "network": "dncnn"}, "one of them; got network, prior"),
        ({"steps": 3}, "one of them; got none"),
        (changed(kernel=None), "kernel: kind: kernels and a kernel go together"),
        (changed(crop=None), "crop: kernels need a crop"),
        ({**SMALL, "data": {"kind": "measurements", "flips": False}}, "learns from pictures or"),
        (
            {"network": "dncnn", "operator": "identity", "steps": 1, "data": SMALL["data"]},
            "data.kind: kernels are what a prior is trained on",
        ),
    ],
)
def test_recipes_that_make_no_sense_are_refused(recipe, message):
    with pytest.raises(ParameterError, match=message):
        recipe_from(recipe)


def test_a_prior_that_cannot_be_trained_is_refused(tmp_path):
    with pytest.raises(IncompatibleError, match=r"^prior: .* has nothing to train"):
        train(recipe_from({**SMALL, "prior": "tv"}), out=tmp_path / "run", device="cpu")


def test_pictures_need_files():
    made = recipe_from({**SMALL, "data": {"crop": 28, "colour": "grey"}})
    with pytest.raises(DataError, match="pictures come from files: say where they are"):
        open_data(None, made, own=slice(0, 8))


# --- a run ---------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights(tmp_path_factory):
    result = train(recipe_from(SMALL), out=tmp_path_factory.mktemp("prior") / "run", device="cpu")
    assert result.finished and set(result.quality) == {"psnr"}
    return result.weights


def test_from_recipe_to_prior(weights):
    prior = prior_from_weights(weights)
    assert prior.name == "BlurVae" and prior.latent_shape == (3,)
    kernels = prior.decode(torch.randn(2, 4, 3))
    assert kernels.shape == (2, 4, 1, 28, 28)
    torch.testing.assert_close(kernels.sum((-2, -1)), torch.ones(2, 4, 1))
    assert not any(p.requires_grad for p in prior.trained.parameters())
    assert prior_from_weights(weights).trained is prior.trained  # read once


def test_weights_of_another_kind_are_refused(weights):
    with pytest.raises(WeightsError, match="holds a prior, no solver"):
        solver_from_weights(weights)
    with pytest.raises(WeightsError, match="no installed weights of a prior called blur_q"):
        prior_from_weights("blur_q")


def test_the_divergence_has_its_part_in_what_is_learned(tmp_path):
    light = {**SMALL, "optimiser": {"rate": 0.01}}
    heavy = {**light, "loss": [{"norm": "l2"}, {"of": "divergence", "on": "itself", "weight": 9}]}
    learned = [
        prior_from_weights(
            train(recipe_from(made), out=tmp_path / name, device="cpu", steps=30).weights
        )
        for name, made in (("light", light), ("heavy", heavy))
    ]
    x = torch.rand(4, 1, 28, 28)
    weak, strong = (float(p.reconstructed(x, sampling=False).parts["divergence"].mean())
                     for p in learned)  # fmt: skip
    assert strong < 0.5 * weak


# --- what is kept of weights ---------------------------------------------------------------


def test_weights_that_were_first_read_in_inference_mode_still_take_gradients(weights, tmp_path):
    import shutil

    for name in ("weights.safetensors", "weights.yaml"):
        shutil.copy(weights.with_name(name), tmp_path / name)
    path = tmp_path / "weights.safetensors"
    with torch.inference_mode():
        prior_from_weights(path).decode(torch.randn(3))
    z = torch.randn(3, requires_grad=True)
    (grad,) = torch.autograd.grad(prior_from_weights(path).decode(z).square().sum(), z)
    assert bool(grad.isfinite().all())


def test_a_part_that_is_no_picture_is_not_watched(tmp_path):
    with pytest.raises(
        ParameterError, match=r"^of: 'divergence' has the shape \(\), pictures have"
    ):
        train(recipe_from({**SMALL, "watch": ["divergence"]}), out=tmp_path / "run", device="cpu")
