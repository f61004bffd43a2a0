"""Weights of tiny networks, trained for two steps on pictures that the tests make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wellposed.training import recipe_from, train

BLURRED = [
    {"name": "strided_blur", "params": {"stride": 2}},
    {"name": "blur",
     "params": {"kernel": {"name": "gaussian", "params": {"width": {"uniform": [0, 2]}}}}},
]  # fmt: skip


def tiny(**changes):
    """Return the recipe of a tiny DL-Net for super-resolution."""
    network = {"name": "vdsr", "params": {"scale": 2, "depth": 3, "width": 4}}
    return recipe_from(
        {
            "solver": {"name": "dlnet", "params": {"network": network, "steps": 3, "rate": 2e-3}},
            "operator": BLURRED,
            "data": {"crop": 16, "colour": "luminance"},
            "loss": "l2",
            "batch": 2,
            "steps": 2,
            **changes,
        }
    )


@pytest.fixture(scope="session")
def pictures(tmp_path_factory) -> Path:
    """Return a folder of small colour pictures."""
    folder = tmp_path_factory.mktemp("pictures")
    rng = np.random.default_rng(0)
    for i in range(3):
        coarse = Image.fromarray(rng.integers(0, 255, (6, 6, 3), np.uint8))
        coarse.resize((24, 24), Image.Resampling.BICUBIC).save(folder / f"{i}.png")
    return folder


@pytest.fixture(scope="session")
def weights(pictures, tmp_path_factory) -> Path:
    """Return a trained weights file."""
    out = tmp_path_factory.mktemp("run")
    result = train(tiny(), data=pictures, out=out, device="cpu")
    assert result.weights is not None
    return result.weights
