"""The loop: it learns, it resumes onto the same curve, and it says what is wrong."""

import contextlib
import csv
import os
import resource
import shutil
import signal
import sys
import types

import pytest
import torch
from wellposed.errors import (
    DataError,
    MissingExtraError,
    ParameterError,
    ShapeError,
    TrainingError,
    TrainingWarning,
)
from wellposed.registry import load_yaml
from wellposed.training import load_weights, recipe_from, train
from wellposed.training.durable import Journal, checkpoints, load_checkpoint
from wellposed.training.engine import _Run
from wellposed.training.learner import build_learner

pytestmark = pytest.mark.usefixtures("plugin")


def curve(folder):
    """Return the log without its times."""
    with (folder / "log.csv").open() as file:
        return [{k: v for k, v in row.items() if k != "seconds"} for row in csv.DictReader(file)]


def run(recipe, pictures, out, **options):
    return train(recipe, data=pictures, out=out, device="cpu", **options)


def test_it_learns_and_leaves_weights_that_load(recipe, pictures, tmp_path):
    made = recipe(
        steps=60, save_every=30, log_every=2, optimiser={"rate": 0.01},
        data={"crop": 12, "held_out": 2},
    )  # fmt: skip
    seen = []
    result = run(made, pictures, tmp_path / "o", observer=lambda *a: seen.append(a))
    assert result.finished and result.step == 60
    losses = [float(row["loss"]) for row in curve(tmp_path / "o")]
    assert len(losses) == 30 and max(losses[-5:]) < 0.75 * losses[0]
    assert [step for step, _, _ in seen] == list(range(1, 61))
    assert [loss for _, _, loss in seen if loss is not None] == losses
    learner = build_learner(made)
    card = load_weights(learner.weights(), result.weights)
    assert card["quality"]["psnr"] == round(result.quality["psnr"], 4)
    assert card["quality"]["measured_on"] == "2 held-out pictures"
    assert card["trained_for"]["operator"] == made.operator
    assert card["data"]["pictures"] == 4 and card["steps"] == 60
    quality = list(csv.DictReader((tmp_path / "o" / "quality.csv").read_text().splitlines()))
    assert [row["step"] for row in quality] == ["30", "60"]
    # the last line was measured with float32 weights, the card with the half precision of the file
    assert float(quality[-1]["psnr"]) == pytest.approx(result.quality["psnr"], abs=0.05)


def test_pieces_end_by_themselves_and_join_onto_the_same_curve(recipe, pictures, tmp_path):
    made = recipe(solver={"name": "toy_solver"}, log_every=3)
    run(made, pictures, tmp_path / "whole")
    pieces = 0
    while True:
        result = run(made, pictures, tmp_path / "o", resume=True, max_minutes=1e-9)
        pieces += 1
        if result.finished:
            break
        assert result.weights is None
    assert pieces == 12  # a step each: less would never end
    assert curve(tmp_path / "o") == curve(tmp_path / "whole")
    for name in ("weights.safetensors", "weights.yaml"):
        assert (tmp_path / "o" / name).read_bytes() == (tmp_path / "whole" / name).read_bytes()
    assert len(checkpoints(tmp_path / "o")) == 2


class Killed(BaseException):
    """Stands for the end of the process."""


@pytest.mark.parametrize("call", ["replace", "fsync", "truncate"])
def test_dying_at_any_write_loses_nothing(recipe, pictures, tmp_path, monkeypatch, call):
    made = recipe(
        network={"name": "toy_network", "params": {"dropout": 0.3}}, solver=None,
        schedule={"name": "constant"}, save_every=2,
    )  # fmt: skip
    run(made, pictures, tmp_path / "whole")
    true = getattr(os, call)
    deaths = 0
    for number in range(1, 17):
        count = 0

        def dying(*args, at=1 if call == "truncate" else number, after=number % 2):
            nonlocal count
            count += 1
            if count == at and not after:
                raise Killed
            result = true(*args)
            if count == at:
                raise Killed
            return result

        if (tmp_path / "o" / "log.csv").exists():
            with (tmp_path / "o" / "log.csv").open("a") as file:
                file.write("13,0.1")  # a line that was cut off
        with monkeypatch.context() as patch:
            patch.setattr(os, call, dying)
            try:
                run(made, pictures, tmp_path / "o", resume=True, steps=min(number + 3, 12))
            except Killed:
                deaths += 1
    run(made, pictures, tmp_path / "o", resume=True)
    assert deaths > 3
    assert curve(tmp_path / "o") == curve(tmp_path / "whole")


def test_lines_behind_the_checkpoint_are_cut_off(recipe, pictures, tmp_path, monkeypatch):
    made = recipe()
    run(made, pictures, tmp_path / "whole")
    true = _Run._advance

    def dying(self, sample):
        if self.step == 8:
            raise Killed
        return true(self, sample)

    with monkeypatch.context() as patch, pytest.raises(Killed):
        patch.setattr(_Run, "_advance", dying)
        run(made, pictures, tmp_path / "o")
    assert len(curve(tmp_path / "o")) == 8
    with (tmp_path / "o" / "log.csv").open("a") as file:
        file.write("9,0.1")  # a line that was cut off
    (tmp_path / "o" / ".checkpoint-000000010.pt.00.part").write_bytes(b"half")
    run(made, pictures, tmp_path / "o", resume=True)
    assert curve(tmp_path / "o") == curve(tmp_path / "whole")
    assert not list((tmp_path / "o").glob(".*.part"))


def test_a_damaged_checkpoint_gives_way_to_the_one_before(recipe, pictures, tmp_path):
    made = recipe()
    run(made, pictures, tmp_path / "o")
    before = curve(tmp_path / "o")
    old, new = checkpoints(tmp_path / "o")
    new.write_bytes(new.read_bytes()[:500])
    with pytest.warns(TrainingWarning, match=f"{new.name} cannot be read"):
        run(made, pictures, tmp_path / "o", resume=True)
    assert curve(tmp_path / "o") == before
    for path in checkpoints(tmp_path / "o"):
        path.write_bytes(b"x")
    with (
        pytest.warns(TrainingWarning),
        pytest.raises(TrainingError, match=r"none of the checkpoints .* can be read"),
    ):
        run(made, pictures, tmp_path / "o", resume=True)
    torch.save([1], old)
    with (
        pytest.warns(TrainingWarning, match=r"cannot be read"),
        pytest.raises(TrainingError, match=r"none of the checkpoints"),
    ):
        load_checkpoint(tmp_path / "o")


def test_a_full_disk_keeps_the_last_good_checkpoint(recipe, pictures, tmp_path):
    made = recipe(solver={"name": "toy_solver", "params": {"width": 16}})
    run(made, pictures, tmp_path / "o", steps=5)
    (good,) = checkpoints(tmp_path / "o")
    content = good.read_bytes()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (6000, limits[1]))
    try:
        with pytest.raises(TrainingError, match=r"cannot write .*MB\): File too large.*--resume"):
            run(made, pictures, tmp_path / "o", resume=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert checkpoints(tmp_path / "o") == [good]
    assert good.read_bytes() == content
    assert not list((tmp_path / "o").glob(".*.part"))
    assert run(made, pictures, tmp_path / "o", resume=True).finished


def test_a_log_that_cannot_be_written_is_said(tmp_path):
    if not os.path.exists("/dev/full"):
        pytest.skip("this system has no /dev/full")
    journal = Journal(tmp_path / "a.csv", ("a",))
    journal.close()
    journal._file = open("/dev/full", "ab", buffering=0)
    with pytest.raises(TrainingError, match=r"cannot write .*a.csv: No space left"):
        journal.write({"a": 1})
    journal._file.close()
    with pytest.raises(TrainingError, match=r"cannot write .*: No such file"):
        Journal(tmp_path / "missing" / "a.csv", ("a",))


def test_a_folder_with_a_run_is_not_overwritten(recipe, pictures, tmp_path):
    out = tmp_path / "o"
    run(recipe(), pictures, out)
    with pytest.raises(TrainingError, match=r"holds a run already. Go on with it \(--resume\)"):
        run(recipe(), pictures, out)
    other = recipe(optimiser={"rate": 0.5})
    with pytest.raises(TrainingError, match=r"another recipe: optimiser.rate was 0.001, is 0.5"):
        run(other, pictures, out, resume=True)
    (out / "recipe.yaml").unlink()
    with pytest.raises(TrainingError, match=r"the checkpoints in .* belong to another recipe"):
        run(other, pictures, out, resume=True)
    (pictures / "3.png").unlink()
    with pytest.raises(TrainingError, match=r"not those that this run began with: 6 then, 5 now"):
        run(recipe(), pictures, out, resume=True)
    (tmp_path / "file").touch()
    with pytest.raises(TrainingError, match=r"cannot make the folder"):
        run(recipe(), pictures, tmp_path / "file")


def test_a_longer_run_goes_on(recipe, pictures, tmp_path):
    made = recipe(schedule={"name": "constant"})
    run(made, pictures, tmp_path / "o")
    assert run(made, pictures, tmp_path / "o", resume=True, steps=15).step == 15
    run(made, pictures, tmp_path / "whole", steps=15)
    assert curve(tmp_path / "o") == curve(tmp_path / "whole")
    assert load_yaml(tmp_path / "o" / "recipe.yaml")["steps"] == 15


def test_divergence_is_said_and_not_saved(recipe, pictures, tmp_path):
    made = recipe(
        optimiser={"name": "sgd", "rate": 3e38}, clip=None, schedule={"name": "constant"},
        log_every=100, steps=40,
    )  # fmt: skip
    with pytest.raises(TrainingError, match=r"no longer finite at step 5; .* set clip: 1.0"):
        run(made, pictures, tmp_path / "o")
    assert not checkpoints(tmp_path / "o")
    with pytest.raises(TrainingError, match=r"the loss is no longer finite at step"):
        run(recipe(**{**made.as_data(), "log_every": 3, "clip": None}), pictures, tmp_path / "p")


def test_a_signal_ends_the_run_with_a_checkpoint(recipe, pictures, tmp_path):
    def stop(step, steps, loss):
        if step == 7:
            os.kill(os.getpid(), signal.SIGTERM)

    result = run(recipe(), pictures, tmp_path / "o", observer=stop)
    assert (result.step, result.finished) == (7, False)
    assert load_checkpoint(tmp_path / "o")["step"] == 7

    def twice(step, steps, loss):
        os.kill(os.getpid(), signal.SIGINT)
        os.kill(os.getpid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(recipe(), pictures, tmp_path / "p", observer=twice)


@pytest.mark.parametrize(
    ("changes", "options", "error", "message"),
    [
        ({}, {"max_minutes": 0}, ParameterError, "expected minutes above 0; got 0"),
        ({}, {"device": "gpu"}, ParameterError, "expected 'auto', 'cpu' or 'cuda'; got 'gpu'"),
        ({}, {"steps": 0}, ValueError, "steps: expected 1 or more; got 0"),
        ({"operator": {"name": "blur", "params": {"kernel": {"name": "gauss"}}}}, {}, LookupError,
         "operator.params.kernel"),
        ({"data": {"crop": 64}}, {}, DataError, "of 6 pictures 0 can be used.*smaller than a crop"),
        ({"data": {"crop": 12, "colour": "grey"}}, {}, ShapeError, r"expects pictures .*3"),
        ({"operator": "strided_blur", "solver": None, "network": "toy_network",
          "feed": "measurement"}, {}, ShapeError, r"makes a picture of shape"),
    ],
)  # fmt: skip
def test_mistakes_are_said(recipe, pictures, tmp_path, changes, options, error, message):
    with pytest.warns(TrainingWarning) if "64" in str(changes) else contextlib.nullcontext():
        with pytest.raises(error, match=message):
            made = recipe(**changes)
            train(made, data=pictures, out=tmp_path / "o", **{"device": "cpu", **options})


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device")
def test_no_cuda_is_said(recipe, pictures, tmp_path):
    with pytest.raises(ParameterError, match=r"torch sees no CUDA device here"):
        train(recipe(), data=pictures, out=tmp_path / "o", device="cuda")


def test_missing_extras_are_named(recipe, pictures, tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", None)
    with pytest.raises(MissingExtraError, match=r"pip install tensorboard"):
        run(recipe(), pictures, tmp_path / "o", tensorboard=True)
    monkeypatch.setitem(sys.modules, "lightning_fabric", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'wellposed\[train\]'"):
        run(recipe(), pictures, tmp_path / "p")


def test_tensorboard_gets_the_numbers_of_the_logs(recipe, pictures, tmp_path, monkeypatch):
    seen, opened = [], []

    class Writer:
        def __init__(self, folder, purge_step):
            opened.append(purge_step)

        def add_scalar(self, *what):
            seen.append(what)

        def close(self):
            opened.append("closed")

    fake = types.ModuleType("tensorboard")
    fake.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", fake)
    run(recipe(), pictures, tmp_path / "o", tensorboard=True)
    run(recipe(), pictures, tmp_path / "o", tensorboard=True, resume=True, steps=13)
    assert opened == [0, "closed", 12, "closed"]
    losses = [(step, value) for key, value, step in seen if key == "loss"]
    assert losses == [(int(r["step"]), float(r["loss"])) for r in curve(tmp_path / "o")]


@pytest.mark.parametrize("norm", ["l1", "l2", "charbonnier"])
def test_measurements_alone_teach_too(recipe, pictures, tmp_path, norm):
    made = recipe(
        noise=None, solver=None, network="toy_network", feed="measurement", operator="blur",
        loss={"norm": norm, "on": "measurement"}, steps=60, optimiser={"rate": 0.01},
        schedule={"name": "constant"},
        data={"kind": "measurements", "crop": 12, "flips": False},
    )  # fmt: skip
    result = run(made, pictures, tmp_path / "o")
    losses = [float(row["loss"]) for row in curve(tmp_path / "o")]
    assert max(losses[-5:]) < 0.6 * losses[0]
    assert set(result.quality) == {"residual"}


def test_pairs_teach_without_an_operator(recipe, pictures, tmp_path):
    for name in ("x", "y"):
        shutil.copytree(pictures, tmp_path / "pairs" / name)
    made = recipe(
        noise=None, operator=None, solver=None, network="toy_network", feed="measurement",
        data={"kind": "pairs", "crop": 12, "flips": False},
    )  # fmt: skip
    result = run(made, tmp_path / "pairs", tmp_path / "o")
    assert set(result.quality) == {"psnr"}


def test_a_network_that_no_loss_reaches_is_refused(pictures, tmp_path):
    recipe = recipe_from(
        {
            "solver": {
                "name": "inversenet",
                "params": {
                    "inversion": {"name": "dncnn", "params": {"depth": 2, "width": 2}},
                    "denoiser": {"name": "dncnn", "params": {"depth": 2, "width": 2}},
                },
            },
            "operator": "identity",
            "data": {"crop": 16, "colour": "grey"},
            "steps": 2,
            "batch": 2,
        }
    )
    with pytest.raises(ParameterError, match=r"^loss: nothing in it depends on .* of inverting"):
        train(recipe, data=pictures, out=tmp_path / "run", device="cpu")


def test_what_is_restored_exactly_leaves_a_mean(plugin, recipe, pictures, tmp_path):
    nothing_missing = {"name": "mask", "params": {"mask": {"missing_pixels": 0}}}
    made = recipe(operator=nothing_missing, noise=None, steps=1)
    result = train(made, data=pictures, out=tmp_path / "o", device="cpu")
    assert result.quality["psnr_estimate"] == 100
