"""Strategies in real processes: killed without warning, and several at once."""

import csv
import sys
import time

import pytest
import torch
from wellposed.registry import dump_yaml
from wellposed.training import train
from wellposed.training.durable import load_checkpoint

pytestmark = pytest.mark.usefixtures("plugin")
LEVELS = {"count": 3, "sampling": "on_demand", "weighting": "uncertainty", "every": 4,
          "samples": 8, "parameter": "operator.params.mask.hole.size"}  # fmt: skip
ALL = {
    "operator": {"name": "mask", "params": {"mask": {"hole": {"size": {"integers": [1, 6]}}}}},
    "data": {"crop": 12, "held_out": 2},
    "levels": LEVELS,
    "schedule": {"name": "constant"},
    "adversarial": {"width": 4, "weight": 0.01},
}


def rows(path):
    with path.open() as file:
        return [{**row, "seconds": ""} for row in csv.DictReader(file)]


def ended(process):
    """Return what a process printed; it must end well."""
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.terminate()  # and torchrun its workers, should they hang
    assert process.returncode == 0, output
    return output


def test_killed_they_resume_onto_the_same_curve(recipe, pictures, tmp_path, start):
    made = recipe(**ALL, steps=120, save_every=10)
    (tmp_path / "r.yaml").write_text(dump_yaml(made.as_data()))
    out = tmp_path / "o"
    words = ("train", "r.yaml", "--data", pictures, "--resume", "--device", "cpu", "--out")
    process = start(*words, out)
    limit = time.monotonic() + 60
    while not (out / "log.csv").exists() or (out / "log.csv").read_bytes().count(b"\n") < 47:
        assert process.poll() is None, process.stdout.read()
        assert time.monotonic() < limit
        time.sleep(0.005)
    process.kill()
    process.communicate()
    assert process.returncode == -9
    for folder in (out, tmp_path / "whole"):
        ended(start(*words, folder))
    whole = rows(tmp_path / "whole" / "log.csv")
    assert len(whole) == 120
    assert rows(out / "log.csv") == whole
    weights = "weights.safetensors"
    assert (out / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_two_processes_give_the_losses_of_one(recipe, pictures, tmp_path, start):
    # without batch normalisation, whose statistics are those of half a batch
    made = recipe(**{**ALL, "adversarial": {**ALL["adversarial"], "batch_norm": False}})
    (tmp_path / "r.yaml").write_text(dump_yaml(made.as_data()))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone",
                "--nproc-per-node", "2"]  # fmt: skip
    words = ("train", "r.yaml", "--data", pictures, "--device", "cpu", "--out", "two")
    ended(start(*words, "--steps", "7", before=torchrun))
    ended(start(*words, "--resume", before=torchrun))
    train(made, data=pictures, out=tmp_path / "one", device="cpu")
    one, two = (rows(tmp_path / folder / "log.csv") for folder in ("one", "two"))
    assert len(one) == len(two) == 12
    for a, b in zip(one, two, strict=True):
        for key in set(a) - {"seconds"}:
            assert (a[key] == "") == (b[key] == ""), key
            if a[key]:
                assert float(b[key]) == pytest.approx(float(a[key]), rel=1e-4), key
    assert one[-1]["psnr_1"] != ""
    states = [load_checkpoint(tmp_path / folder)["strategies"] for folder in ("one", "two")]
    for a, b in zip(*(state["adversarial"]["discriminator"].values() for state in states),
                    strict=True):  # fmt: skip
        torch.testing.assert_close(a, b, rtol=1e-3, atol=1e-5)
