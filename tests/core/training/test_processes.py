"""Real processes: killed without warning, and several at once."""

import csv
import sys
import time

import pytest
from wellposed.registry import dump_yaml
from wellposed.training import load_weights, train
from wellposed.training.learner import build_learner

pytestmark = pytest.mark.usefixtures("plugin")


def columns(path, *names):
    with path.open() as file:
        return [[row[name] for name in names] for row in csv.DictReader(file)]


def test_killed_twice_it_resumes_onto_the_same_curve(recipe, pictures, tmp_path, start):
    made = recipe(steps=300, save_every=30, schedule={"name": "cosine"})
    (tmp_path / "r.yaml").write_text(dump_yaml(made.as_data()))
    out = tmp_path / "o"
    words = ("train", "r.yaml", "--data", pictures, "--out", out, "--resume", "--device", "cpu")
    for least in (60, 160):
        process = start(*words)
        limit = time.monotonic() + 60
        while not (out / "log.csv").exists() or (out / "log.csv").read_bytes().count(b"\n") < least:
            assert process.poll() is None, process.stdout.read()
            assert time.monotonic() < limit
            time.sleep(0.005)
        process.kill()
        process.communicate()
        assert process.returncode == -9
    assert not (out / "weights.safetensors").exists()
    # In processes of their own, too: sums depend on the number of threads in the last digits.
    for folder in (out, tmp_path / "whole"):
        process = start("train", "r.yaml", "--data", pictures, "--out", folder, "--resume")
        output, _ = process.communicate(timeout=120)
        assert process.returncode == 0, output
    names = ("step", "loss", "rate", "gradient")
    whole = columns(tmp_path / "whole" / "log.csv", *names)
    assert len(whole) == 300
    assert columns(out / "log.csv", *names) == whole
    weights = "weights.safetensors"
    assert (out / weights).read_bytes() == (tmp_path / "whole" / weights).read_bytes()


def test_two_processes_give_the_losses_of_one(recipe, pictures, tmp_path, start):
    made = recipe(
        operator=[
            {"name": "mask", "params": {"mask": {"missing_pixels": {"uniform": [0, 0.5]}}}},
            recipe().operator,
        ],
        data={"crop": 12, "rotations": True, "held_out": 2},
        log_every=3,
    )
    (tmp_path / "r.yaml").write_text(dump_yaml(made.as_data()))
    torchrun = [sys.executable, "-m", "torch.distributed.run", "--no-python", "--standalone",
                "--nproc-per-node", "2"]  # fmt: skip
    process = start(
        "train", "r.yaml", "--data", pictures, "--out", "two", "--device", "cpu", before=torchrun
    )
    train(made, data=pictures, out=tmp_path / "one", device="cpu")
    try:
        output, _ = process.communicate(timeout=120)
    finally:
        process.terminate()  # and torchrun its workers, should they hang
    assert process.returncode == 0, output
    assert output.count("weights.safetensors: 12 steps") == 1
    for file, names in (("log.csv", ("step", "loss", "gradient")), ("quality.csv", ("psnr",))):
        one, two = (columns(tmp_path / folder / file, *names) for folder in ("one", "two"))
        assert len(one) == len(two) > 1
        for a, b in zip(one, two, strict=True):
            assert [float(v) for v in a] == pytest.approx([float(v) for v in b], rel=2e-5)
    learner = build_learner(made)
    assert load_weights(learner.weights(), tmp_path / "two" / "weights.safetensors")["steps"] == 12
