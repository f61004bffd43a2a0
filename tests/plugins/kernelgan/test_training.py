"""Whole steps against the layer-by-layer networks, and the schedule of the losses."""

import sys
from pathlib import Path

import attrs
import pytest
import torch
from wellposed.plugins.kernelgan.crops import crop_corners, importance
from wellposed.plugins.kernelgan.kernel_gan import _bicubic
from wellposed.plugins.kernelgan.recipe import RECIPES, Recipe
from wellposed.plugins.kernelgan.training import Schedule, start

sys.path.insert(0, str(Path(__file__).parent))
from official import Run

F64 = torch.float64


def pictures(count, channels=3, side=80):
    draw = torch.Generator().manual_seed(5)
    x = torch.rand(count, channels, side // 4, side // 4, dtype=F64, generator=draw)
    return torch.nn.functional.interpolate(x, scale_factor=4, mode="bicubic").clamp(0, 1)


def training(recipe="clean", count=2, channels=3, steps=6, seeds=(0, 1)):
    y = pictures(count, channels)
    return start(
        y.clone(),
        [importance(p) for p in y],
        [torch.Generator().manual_seed(s) for s in seeds],
        RECIPES[recipe],
        restarts=len(seeds) // count,
        steps=steps,
        bicubic=torch.from_numpy(_bicubic()),
    )


@pytest.mark.parametrize("recipe", ["clean", "paper"])
@pytest.mark.parametrize("scale", [1.0, 6.0])
def test_steps_equal_those_of_the_layers(recipe, scale):
    state = training(recipe)
    for weight in state.generator.weights:
        weight.mul_(scale)  # far from zero, where the maps mean something
    state.generator.refresh()
    runs = [Run(state, n, 3) for n in range(2)]
    bicubic = torch.from_numpy(_bicubic())
    frame = torch.zeros(13, 13, dtype=F64)
    frame[3:11, 3:11] = bicubic
    for i in range(3):
        small, crop = state.inputs.noise.shape[-1], 64
        before = state.pictures.clone()
        state.step()
        noise = state.noise[i]
        for n, run in enumerate(runs):
            row, column = state.corners[0][i, n].tolist()
            x = 2 * before[n, :, row : row + crop, column : column + crop] - 1
            row, column = state.corners[1][i, n].tolist()
            real = before[n, :, row : row + small, column : column + small]
            if recipe == "paper":  # twice the noise, which stays in the picture
                real = 2 * (real + noise[n, 0] / 255) - 1
            else:
                real = 2 * real - 1 + noise[n, 0] / 255
            distance = run.step(x, real, noise[n, 1], frame, (5.0, 0.0, 0.0), recipe == "paper")
            assert float(state.distance[n]) == pytest.approx(distance, rel=1e-9)
            for got, want in zip(state.generator.weights, run.weights, strict=True):
                torch.testing.assert_close(got[n], want[0], rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(state.kernel[n], run.kernel, rtol=1e-6, atol=1e-9)


def test_nothing_moves_in_memory():
    """What a CUDA graph needs, seen on the CPU: every tensor of the state stays where it is."""

    def addresses(value, seen):
        if isinstance(value, torch.Tensor):
            seen.append(value.data_ptr())
        elif isinstance(value, (list, tuple)):
            for item in value:
                addresses(item, seen)
        elif attrs.has(type(value)) and not isinstance(value, Recipe):
            for field in attrs.fields(type(value)):
                if field.name not in ("noise", "curves", "streams"):
                    addresses(getattr(value, field.name), seen)
        return seen

    state = training("paper", steps=4)
    before = addresses(state, [])
    for _ in range(3):
        state.step()
    state.schedule.shift(state.recipe)
    state.optimizers[0].slow_down()
    assert addresses(state, []) == before and len(before) > 50


def test_schedule_is_that_of_the_authors():
    """Three steps in a row below the tolerance, then a hundredth at each 200th step."""
    recipe = attrs.evolve(RECIPES["paper"], bicubic_tolerance=0.4)
    schedule = Schedule.of(recipe, torch.zeros(2, 1))
    for loss in (0.1, 0.1, 0.1):  # the first step's loss is not looked at
        schedule.see(torch.tensor([loss, 0.5]), recipe)
    assert schedule.similar.tolist() == [False, False]
    schedule.see(torch.tensor([0.1, 0.1]), recipe)
    schedule.shift(recipe)  # found in this very step: not yet
    assert schedule.similar.tolist() == [True, False]
    assert schedule.bicubic.tolist() == [5, 5]
    expected = [0.05, 5e-4, 5e-6, 5e-6]
    for step, weight in enumerate(expected):
        schedule.see(torch.tensor([0.5, 0.5]), recipe)
        schedule.shift(recipe)
        assert schedule.bicubic.tolist() == pytest.approx([weight, 5])
        assert schedule.sparse.tolist() == ([0, 0] if step == 0 else [5, 0])
        assert schedule.centred.tolist() == ([0, 0] if step == 0 else [1, 0])


def test_noise_stays_in_the_picture_of_the_paper_only():
    for name in ("paper", "clean"):
        state = training(name, steps=3)
        before = state.pictures.clone()
        state.step()
        assert torch.equal(before, state.pictures) is (name == "clean")


def test_crops_are_drawn_where_the_detail_is():
    picture = torch.zeros(1, 100, 140, dtype=F64)
    picture[:, 40:70, 90:120] = torch.rand(
        1, 30, 30, dtype=F64, generator=torch.Generator().manual_seed(0)
    )
    corners = crop_corners(importance(picture), 26, 500, torch.Generator().manual_seed(1))
    assert bool((corners % 2 == 0).all())
    assert int(corners.min()) >= 0
    assert int(corners[:, 0].max()) <= 74 and int(corners[:, 1].max()) <= 114
    centres = corners + 13
    assert float(((centres[:, 1] > 70) & (centres[:, 1] < 140)).double().mean()) > 0.9
