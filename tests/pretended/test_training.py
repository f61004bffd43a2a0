"""Training on a CUDA device that is not there is what it is on the CPU; see `tests/pretended`."""

from __future__ import annotations

import csv

import pytest
import torch
from wellposed.training import train

lightning_fabric = pytest.importorskip("lightning_fabric")


@pytest.fixture
def fabric(monkeypatch):
    """Let Fabric take the pretended device; its own accelerator asks the driver."""
    from lightning_fabric.accelerators import CPUAccelerator
    from lightning_fabric.strategies import SingleDeviceStrategy

    class Accelerator(CPUAccelerator):
        def setup_device(self, device):
            pass

    real = lightning_fabric.Fabric

    def made(*, accelerator, **kwargs):
        if accelerator == "cpu":
            return real(accelerator="cpu", **kwargs)
        return real(strategy=SingleDeviceStrategy(torch.device("cuda:0"), Accelerator()))

    monkeypatch.setattr(lightning_fabric, "Fabric", made)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"adversarial": {"width": 4, "weight": 0.1}},
        {"levels": {"count": 2, "weighting": "uncertainty", "parameter": "noise.params.sigma"}},
        {"operator": {"name": "mask", "params": {"mask": {"missing_pixels": {"uniform": [0, 1]}}}}},
    ],
    ids=["plain", "adversarial", "levels", "masks"],
)
def test_the_losses_are_those_of_the_cpu(
    changes, plugin, recipe, pictures, tmp_path, waits, fabric
):
    def losses(device):
        out = tmp_path / device
        made = recipe(steps=6, save_every=4, **changes)
        assert train(made, data=pictures, out=out, device=device).finished
        with (out / "log.csv").open() as file:
            return [float(row["loss"]) for row in csv.DictReader(file)]

    on_cpu = losses("cpu")
    waits.count = 0
    assert losses("cuda") == pytest.approx(on_cpu, rel=1e-5)
    assert waits.count > 0  # or it was not on the device at all
