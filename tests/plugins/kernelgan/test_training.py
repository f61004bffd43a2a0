"""Whole steps against the layer-by-layer networks, and the schedule of the losses."""

import sys
from pathlib import Path

import pytest
import torch
from wellposed.plugins.kernelgan.crops import importance
from wellposed.plugins.kernelgan.generator import compose
from wellposed.plugins.kernelgan.kernel_gan import _bicubic
from wellposed.plugins.kernelgan.recipe import RECIPES
from wellposed.plugins.kernelgan.training import start

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
    with torch.no_grad():
        for weight in state.weights:
            weight.mul_(scale)  # far from zero, where the maps mean something
    state.kernel = compose(state.weights)
    runs = [Run(state, n, 3) for n in range(2)]
    bicubic = torch.from_numpy(_bicubic())
    frame = torch.zeros(13, 13, dtype=F64)
    frame[3:11, 3:11] = bicubic
    for i in range(3):
        small, crop = state._small, 64
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
            assert float(state.losses["bicubic"][n]) == pytest.approx(distance, rel=1e-9)
            for got, want in zip(state.weights, run.weights, strict=True):
                torch.testing.assert_close(got[n], want[0], rtol=1e-7, atol=1e-9)
            torch.testing.assert_close(state.kernel[n], run.kernel, rtol=1e-6, atol=1e-9)
