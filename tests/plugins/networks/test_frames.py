"""Shifted frames against NumPy's mirrored pictures, and their random numbers."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from wellposed.errors import ParameterError
from wellposed.plugins.networks.edges import Canny, canny_edges
from wellposed.plugins.networks.frames import ShiftedFrames, _shifted
from wellposed.training.distributions import draws_for

F64 = torch.float64


def rand(*shape):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(0))


def draws(batch=4, own=None, step=7, seed=1):
    return draws_for(seed, step, stream=1, batch=batch, own=own)


@pytest.mark.parametrize("size", [(1, 1), (1, 5), (3, 2), (6, 7)])
@pytest.mark.parametrize("reach", [1, 4, 20])
def test_a_shift_looks_beside_the_picture_into_its_mirror_image(size, reach):
    x = rand(3, 2, *size)
    whole = np.pad(x.numpy(), [(0, 0), (0, 0), (reach, reach), (reach, reach)], mode="symmetric")
    down, right = torch.tensor([0, -reach, reach]), torch.tensor([reach, 1, -1])
    got = _shifted(x, down, right)
    for n in range(3):
        top, left = reach + int(down[n]), reach + int(right[n])
        want = whole[n, :, top : top + size[0], left : left + size[1]]
        assert np.array_equal(got[n], want)


def test_every_frame_of_every_sample_is_shifted_by_itself_and_then_measured():
    x = torch.arange(4 * 400, dtype=F64).reshape(4, 1, 20, 20)  # where a pixel is, is its value
    seen = []

    def measure(v):
        seen.append(v)
        return v[..., ::2, ::2] * (len(seen) + 1)

    maker = ShiftedFrames(count=2, reach=3)
    frames = maker.make(x, measure=measure, draws=draws())
    assert frames.shape == (4, 2, 10, 10)
    shifts = []
    for index, frame in enumerate(seen):
        torch.testing.assert_close(frames[:, index], frame[:, 0, ::2, ::2] * (index + 2))
        moved = (frame - x)[:, 0, 10, 10].long()
        shifts += [divmod(int(m) + 3 * 20 + 3, 20) for m in moved]
    assert all(0 <= v <= 6 for pair in shifts for v in pair)
    assert len(set(shifts)) > 4


def test_shifts_are_uniform_and_depend_on_the_step_alone():
    maker = ShiftedFrames(count=1, reach=2)
    x = torch.arange(500 * 100, dtype=F64).reshape(500, 1, 10, 10)

    def shifts(step):
        given = draws(500, step=step)
        got = maker.make(x, measure=lambda v: v, draws=given)
        return (got - x)[:, 0, 5, 5].long() + 22

    first = shifts(3)
    assert torch.equal(first, shifts(3)) and not torch.equal(first, shifts(4))
    for numbers in (first // 10, first % 10):
        counts = torch.bincount(numbers, minlength=5)
        assert len(counts) == 5 and counts.min() > 60 and counts.max() < 140


def test_without_reach_they_are_the_picture():
    x = rand(2, 3, 4, 5)
    got = ShiftedFrames(count=2, reach=0).make(x, measure=lambda v: v, draws=draws(2))
    assert torch.equal(got, torch.cat([x, x], 1))


def test_canny_makes_the_edges_of_the_true_picture():
    x = rand(3, 3, 9, 11)
    maker = Canny(sigma=1.0, low=0.2, high=0.3)
    got = maker.make(x, measure=lambda v: 0 * v, draws=draws(3))
    assert got.any() and torch.equal(got, canny_edges(x, 1.0, low=0.2, high=0.3))


@pytest.mark.parametrize(
    ("cls", "params", "match"),
    [
        (Canny, {"sigma": -1}, r"Canny.sigma expects a finite number of at least 0; got -1"),
        (Canny, {"low": 0.3, "high": 0.2}, r"^low: Canny expects low <= high; got low 0.3, high"),
        (Canny, {"high": float("nan")}, r"Canny.high expects a finite number"),
        (ShiftedFrames, {"count": 0}, r"ShiftedFrames.count expects a whole number of at least 1"),
        (ShiftedFrames, {"reach": -1}, r"ShiftedFrames.reach expects a whole number of at least 0"),
    ],
)
def test_what_they_refuse(cls, params, match):
    with pytest.raises(ParameterError, match=match):
        cls(**params)
