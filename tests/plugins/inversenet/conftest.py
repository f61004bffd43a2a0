"""Weights of tiny networks, trained for a few steps on pictures that the tests make."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from wellposed.training import recipe_from, train

HALVES = {
    "inversion": {"name": "inversenet_unet", "params": {"depth": 2, "width": 2}},
    "denoiser": {
        "name": "inversenet_dae",
        "params": {"width": 4, "last": "linear", "residual": True},
    },
}


def tiny(operator="motion_blur", **changes):
    """Return the recipe of a tiny InverseNet, with the losses of algorithm 1."""
    return recipe_from(
        {
            "solver": {"name": "inversenet", "params": HALVES},
            "operator": operator,
            "data": {"crop": 16},
            "loss": [{"norm": "l2"}, {"norm": "l2", "of": "z"}],
            "watch": ["z"],
            "clip": 5.0,
            "batch": 2,
            "steps": 3,
            "log_every": 1,
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
    """Return weights that were trained for the motion blur."""
    out = tmp_path_factory.mktemp("run")
    result = train(tiny(), data=pictures, out=out, device="cpu")
    assert result.weights is not None
    return result.weights
