"""Camera shake, against the published recurrence written out for one path in NumPy."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from wellposed.edge import register_types
from wellposed.errors import ParameterError
from wellposed.plugins.kernels.shake import CameraShake
from wellposed.registry import build
from wellposed.training.distributions import draws_for, realise
from wellposed.training.parsing import parse

F64 = torch.float64


def walked(length, anxiety, seed, size, middle):
    """Return the kernel by the paper's program: one path, point by point."""
    generator = torch.Generator().manual_seed(seed)
    uniform = torch.rand(4 + 2 * 1999, dtype=F64, generator=generator).numpy()
    n = torch.randn(2, 1999, dtype=F64, generator=generator).numpy()
    gaussian, centripetal, big = 10 * uniform[0], 0.7 * uniform[1], 0.2 * uniform[2]
    pace = length / 1999
    v = pace * np.exp(2j * math.pi * uniform[3])
    x = np.zeros(2000, dtype=complex)
    shakes = 0
    for t in range(1999):
        jump = 0
        if uniform[4 + t] < big * anxiety:
            jump = 2 * v * np.exp(1j * (math.pi + uniform[4 + 1999 + t] - 0.5))
            shakes += 1
        tremble = gaussian * (n[0, t] + 1j * n[1, t])
        v = v + jump + anxiety * (tremble - centripetal * x[t]) * pace
        v = v / abs(v) * pace
        x[t + 1] = x[t] + v
    x = x - x.mean()
    origin = size // 2 if middle == "tap" else (size - 1) / 2
    most = max(abs(x.real).max(), abs(x.imag).max())
    x = x * min(1, min(origin, size - 1 - origin) / most)
    kernel = np.zeros((size, size))
    for place in x:
        row, column = origin - place.imag, origin + place.real
        for i in range(size):
            weight = max(1 - abs(row - i), 0)
            if weight:
                kernel[i] += weight * np.maximum(1 - abs(column - np.arange(size)), 0)
    return kernel / 2000, shakes


@pytest.mark.parametrize(
    ("length", "anxiety", "seed", "size", "middle"),
    [
        (12.0, 1e-3, 3, 28, "tap"),
        (20.0, 5e-3, 4, 28, "frame"),
        (40.0, 5e-4, 5, 15, "tap"),  # larger than its frame
        (9.0, 0.05, 6, 9, "frame"),
    ],
)
def test_is_the_published_path(length, anxiety, seed, size, middle):
    shake = CameraShake(length=length, anxiety=anxiety, seed=seed, size=size, middle=middle)
    want, shakes = walked(length, anxiety, seed, size, middle)
    # A tangled path makes rounding grow: of two programs that round differently, too.
    np.testing.assert_allclose(shake.tensor(dtype=F64)[0, 0].numpy(), want, atol=1e-9)
    assert shakes > 0 or anxiety < 0.05


def test_without_anxiety_it_is_a_straight_line():
    k = CameraShake(length=10.0, anxiety=0.0, seed=torch.arange(20)).tensor(dtype=F64)[:, 0]
    at = torch.arange(28, dtype=F64) - 14
    rows, columns = k.sum(2) @ at**2, k.sum(1) @ at**2
    across = torch.einsum("bij,i,j->b", k, at, at)
    # 2,000 points on a line of length L have the variance L^2 / 12, to 1e-3; interpolation adds
    # at most 1/4 in each direction.
    least = (rows + columns) / 2 - ((rows - columns) ** 2 / 4 + across**2).sqrt()
    added = rows + columns - 10.0**2 / 12
    assert bool((least < 0.26).all()) and bool((added > 0).all()) and bool((added < 0.51).all())


@pytest.mark.parametrize("size", [9, 28])
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("middle", ["tap", "frame"])
def test_its_mean_is_where_it_says(size, stride, middle):
    shake = CameraShake(size=size, length=14.0, seed=torch.arange(5), middle=middle)
    k = shake.tensor(stride=stride, dtype=F64)[:, 0]
    assert k.shape == (5, size, size)
    at = torch.arange(size, dtype=F64)
    want = size // 2 - (0 if stride % 2 else 0.5) if middle == "tap" else (size - 1) / 2
    for mean in (k.sum(2) @ at, k.sum(1) @ at):
        torch.testing.assert_close(mean, torch.full((5,), want, dtype=F64))
    torch.testing.assert_close(k.sum((1, 2)), torch.ones(5, dtype=F64))
    assert shake.centred is (middle == "tap")


def test_a_sample_is_the_same_alone():
    length, anxiety = torch.tensor([5.0, 28.0, 16.0]), torch.tensor([1e-3, 2e-3, 0.0])
    seed = torch.tensor([7, 2**31, 2**62])
    three = CameraShake(length=length, anxiety=anxiety, seed=seed).tensor(dtype=F64)
    for i in range(3):
        alone = CameraShake(length=length[i], anxiety=anxiety[i], seed=int(seed[i]))
        torch.testing.assert_close(alone.tensor(dtype=F64)[0], three[i], atol=1e-12, rtol=0)
    paths = CameraShake(length=10.0, seed=torch.arange(4)).tensor()
    assert len({tuple(k.flatten().tolist()) for k in paths}) == 4
    several = CameraShake(length=length, seed=1).tensor()
    assert several.shape == (3, 1, 28, 28)


def test_anxiety_makes_it_smaller_and_rounder():
    at = torch.arange(28, dtype=F64) - 14
    spread = []
    for anxiety in (0.0, 1e-3, 5e-3):
        shake = CameraShake(length=16.0, anxiety=anxiety, seed=torch.arange(60))
        k = shake.tensor(dtype=F64)[:, 0]
        spread.append(float((k.sum(2) @ at**2 + k.sum(1) @ at**2).mean()))
    assert spread[0] > 1.2 * spread[1] > 1.2**2 * spread[2]


@pytest.mark.parametrize("reach", [6.0, 30.0])
def test_gradients_reach_length_and_anxiety(reach):
    """The longer path is made smaller."""
    at = torch.arange(12, dtype=F64)

    def second_moments(length, anxiety):
        shake = CameraShake(size=12, length=length, anxiety=anxiety, seed=2)
        k = shake.tensor(dtype=F64)[:, 0]
        return k.sum(2) @ at**2 + k.sum(1) @ at**2

    length = torch.tensor([reach], dtype=F64, requires_grad=True)
    anxiety = torch.tensor([2e-3], dtype=F64, requires_grad=True)
    # No shake starts or ends within the difference, and few places cross into another pixel.
    assert torch.autograd.gradcheck(second_moments, (length, anxiety), eps=1e-7, rtol=1e-2)


def test_a_recipe_draws_a_path_for_each_sample():
    register_types()
    given = {
        "name": "camera_shake",
        "params": {"length": {"uniform": [5, 28]}, "seed": {"integers": [0, 2147483647]}},
    }
    tree = parse(given, "data.kernel")
    shake = build(None, "kernel", realise(tree, draws_for(0, 0, stream=1, batch=6)), path="")
    assert shake.seed.dtype == torch.int64 and shake.tensor().shape == (6, 1, 28, 28)
    assert len({tuple(k.flatten().tolist()) for k in shake.tensor()}) == 6


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"size": 0}, "CameraShake.size expects a whole number of at least 1; got 0"),
        ({"length": 0.0}, "CameraShake.length expects a positive number; got 0"),
        ({"anxiety": -0.1}, "CameraShake.anxiety expects a number of at least 0; got -0.1"),
        ({"anxiety": torch.tensor([0.1, -1.0])}, "of at least 0; got -1"),
        ({"anxiety": torch.tensor([0.1, math.inf])}, "of at least 0; got inf"),
        ({"anxiety": math.nan}, "of at least 0; got nan"),
        ({"seed": -1}, "CameraShake.seed expects a whole number of at least 0.*got -1"),
        ({"seed": True}, "seed expects a whole number of at least 0.*got True"),
        ({"seed": torch.tensor([1.0])}, r"got float32\[1\].*\{integers: \[0, 2147483647\]\}"),
        ({"seed": torch.tensor([[1]])}, r"one for each sample, \(B,\).*got int64\[1, 1\]"),
        ({"seed": torch.tensor([3, -2])}, r"at least 0.*got int64\[2\]"),
        ({"middle": "mass"}, "expected one of 'tap', 'frame'"),
    ],
)
def test_errors(given, match):
    with pytest.raises(ParameterError, match=match):
        CameraShake(**given)
