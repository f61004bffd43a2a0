"""A plugin with something to train, and pictures to train it on."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from wellposed.images import write
from wellposed.registry import default_registry
from wellposed.training import recipe_from

HERE = Path(__file__).parent
RECIPE = {
    "solver": "toy_solver",
    "operator": {
        "name": "blur",
        "params": {
            "kernel": {"name": "gaussian", "params": {"width": {"uniform": [0, 2]}, "size": 5}}
        },
    },
    "noise": {"name": "gaussian", "params": {"sigma": {"uniform": [0, 0.05]}}},
    "data": {"crop": 12, "rotations": True},
    "clip": 1.0,
    "schedule": {"name": "cosine", "warmup": 3},
    "batch": 4,
    "steps": 12,
    "log_every": 1,
    "save_every": 5,
}


@pytest.fixture(scope="session")
def plugin_folder(tmp_path_factory):
    """Return a folder that holds the plugin as an installed distribution."""
    folder = tmp_path_factory.mktemp("installed")
    for file in HERE.glob("toy_learner*.py"):
        shutil.copy(file, folder)
    info = folder / "toy_learner-1.0.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: toy-learner\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[wellposed]\ntoy = toy_learner\n")
    return folder


@pytest.fixture
def plugin(plugin_folder, monkeypatch):
    """Install the plugin for one test."""
    monkeypatch.syspath_prepend(str(plugin_folder))
    default_registry.cache_clear()
    yield plugin_folder
    default_registry.cache_clear()


@pytest.fixture
def recipe():
    """Return a function that gives the recipe, with some entries changed or (None) left out."""

    def make(**changes):
        return recipe_from({**RECIPE, **changes})

    return make


def smooth_picture(seed, channels=3, height=20, width=24):
    """Return a picture with something to learn in it."""
    small = torch.rand(1, channels, 5, 6, generator=torch.Generator().manual_seed(seed))
    return torch.nn.functional.interpolate(small, (height, width), mode="bicubic")[0].clamp(0, 1)


@pytest.fixture
def pictures(tmp_path):
    """Return a folder with six pictures."""
    folder = tmp_path / "pictures"
    folder.mkdir()
    for i in range(6):
        write(folder / f"{i}.png", smooth_picture(i, height=20 + i))
    return folder


@pytest.fixture
def environment(plugin_folder):
    """Return the environment in which a subprocess finds the plugin."""
    return {**os.environ, "PYTHONPATH": str(plugin_folder), "OMP_NUM_THREADS": "1"}


@pytest.fixture
def start(environment, tmp_path):
    """Return a function that starts `wellposed ...` in a process of its own."""

    def call(*words, before=()):
        main = [sys.executable, "-c", "from wellposed.cli import main; main()"]
        return subprocess.Popen(
            [*before, *main, *map(str, words)],
            env=environment, cwd=tmp_path, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
            text=True,
        )  # fmt: skip

    return call
