"""`wellposed train` and `wellposed weights`: exit codes and messages."""

import subprocess
import sys

import pytest
from typer.testing import CliRunner
from wellposed.cli.app import app
from wellposed.registry import dump_yaml
from wellposed.training import save_weights
from wellposed.training.learner import build_learner

pytestmark = pytest.mark.usefixtures("plugin")


@pytest.fixture
def call(tmp_path, monkeypatch):
    """Return a function that runs `wellposed ...` and checks the exit code."""
    monkeypatch.chdir(tmp_path)

    def run(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result.output

    return run


@pytest.fixture
def written(recipe, tmp_path):
    """Write the recipe with some changes."""

    def make(**changes):
        path = tmp_path / "r.yaml"
        path.write_text(dump_yaml({**recipe().as_data(), **changes}))
        return path

    return make


@pytest.mark.filterwarnings("always::wellposed.errors.TrainingWarning")
def test_training_in_pieces_and_listing_the_weights(call, written, pictures):
    (pictures / "bad.png").write_bytes(b"nothing")
    words = ("train", written(), "--data", pictures, "-o", "out", "--device", "cpu", "--resume")
    output = call(*words, "--max-minutes", "0.000001")
    assert "stopped after 1 of 12 steps; go on with --resume." in output
    assert "Warning: 1 of 7 pictures are skipped" in output and "bad.png" in output
    output = call(*words)
    assert "weights.safetensors: 12 steps, psnr" in output
    output = call("weights", "out")
    assert "blur" in output and "ok" in output and " dB" in output


def test_a_bar_is_drawn_on_a_terminal_only(call, written, pictures, monkeypatch):
    words = ("train", written(), "--data", pictures, "--device", "cpu", "-o")
    assert "loss" not in call(*words, "plain")
    monkeypatch.setenv("FORCE_COLOR", "1")
    output = call(*words, "drawn")
    assert "loss 0." in output and "12/12" in output
    monkeypatch.setenv("RANK", "1")
    assert "loss" not in call(*words, "second")


@pytest.mark.filterwarnings("always::wellposed.errors.TrainingWarning")
@pytest.mark.parametrize(
    ("changes", "words", "message"),
    [
        ({"stepps": 3}, (), "stepps: recipe has no parameter 'stepps'. Did you mean"),
        ({"optimiser": {"rte": 1}}, (), "optimiser.rte: OptimiserRecipe has no parameter 'rte'"),
        ({"solver": "dlnt"}, (), "solver: no solver named 'dlnt'"),
        ({"batch": 0}, (), "batch: 'batch' must be >= 1"),
        ({}, ("--data", "missing"), "there is no folder or file missing. --data expects"),
        ({}, ("--data", "empty"), "empty holds no pictures"),
        ({}, ("--steps", "0"), "steps: expected 1 or more; got 0"),
        ({"data": {"crop": 10**6}}, (), "of 6 pictures 0 can be used"),
        ({}, ("--device", "tpu"), "device: expected 'auto', 'cpu' or 'cuda'; got 'tpu'"),
        ({}, ("--out", "file"), "cannot make the folder file"),
    ],
)
def test_mistakes_end_with_code_2(call, written, pictures, tmp_path, changes, words, message):
    (tmp_path / "empty").mkdir()
    (tmp_path / "file").touch()
    given = ["--data", pictures, "--out", "out", "--device", "cpu", *words]
    assert message in call("train", written(**changes), *given, code=2)


def test_a_missing_recipe_is_said(call, pictures):
    assert "there is no file 'no.yaml'" in call(
        "train", "no.yaml", "--data", pictures, "--out", "o", code=2
    )


def test_bad_weights_end_with_code_1(call, recipe, tmp_path):
    module = build_learner(recipe()).weights()
    card = {"recipe": {}, "trained_for": {"operator": ["blur", {"name": "mask"}]}, "licence": "x",
            "quality": {}}  # fmt: skip
    save_weights(tmp_path / "good.safetensors", module, card)
    save_weights(tmp_path / "bad.safetensors", module, card)
    with (tmp_path / "bad.safetensors").open("ab") as file:
        file.write(b"x")
    output = call("weights", tmp_path, code=1)
    assert "blur @ mask" in output
    assert "FAILED  " in output and "bad.safetensors is not what its card says" in output
    assert "holds no weights" in call("weights", tmp_path / "none", code=2)
    call("weights", tmp_path / "good.safetensors")


def test_listing_weights_imports_no_torch():
    code = (
        "import sys; from wellposed.training import installed_weights; installed_weights();"
        "import wellposed.cli.app; assert not {'torch', 'numpy', 'lightning_fabric'} & "
        "set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
