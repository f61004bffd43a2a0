"""`new_plugin`: complete or not at all, and the sample that CI installs is what it writes."""

from __future__ import annotations

import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from wellposed.errors import ParameterError
from wellposed.registry import Registry
from wellposed.scaffold import new_plugin
from wellposed.testing import run_checks

ROOT = Path(__file__).parents[1]
SAMPLE = ROOT / "tests" / "third_party" / "wellposed_sample"
FILES = {
    "README.md",
    "pyproject.toml",
    "src/wellposed_acme/__init__.py",
    "src/wellposed_acme/binning.py",
    "src/wellposed_acme/examples.py",
    "tests/test_plugin.py",
}


def contents(folder: Path) -> dict[str, str]:
    return {str(p.relative_to(folder)): p.read_text() for p in folder.rglob("*") if p.is_file()}


def test_it_writes_a_package(tmp_path):
    made = new_plugin(tmp_path / "acme", "wellposed-acme")
    assert {str(p.relative_to(tmp_path / "acme")) for p in made} == FILES
    project = tomllib.loads((tmp_path / "acme" / "pyproject.toml").read_text())
    assert project["project"]["name"] == "wellposed-acme"
    assert project["project"]["entry-points"]["wellposed"] == {"wellposed_acme": "wellposed_acme"}
    assert not [path for path, text in contents(tmp_path / "acme").items() if "@" in _marks(text)]
    assert [p.name for p in tmp_path.iterdir()] == ["acme"]


def _marks(text: str) -> str:
    words = ("@package@", "@distribution@", "@component@")
    return "@" if any(word in text for word in words) else ""


def test_its_component_passes_the_kit(tmp_path, monkeypatch):
    new_plugin(tmp_path / "new", "acme_lab")
    monkeypatch.syspath_prepend(tmp_path / "new" / "src")
    registry = Registry([("acme-lab", "acme_lab")])
    results = run_checks("operator", "acme_lab_binning", registry, max_examples=3)
    assert [(r.name, r.message) for r in results if not r.passed] == []


def test_its_own_tests_can_be_collected(tmp_path):
    new_plugin(tmp_path / "new", "acme_lab")
    environment = os.environ | {"PYTHONPATH": str(tmp_path / "new" / "src")}
    command = [sys.executable, "-m", "pytest", "-q", "-k", "test_a_block or refused", "-p"]
    done = subprocess.run(
        [*command, "no:cacheprovider", "tests"],
        cwd=tmp_path / "new",
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "2 passed" in done.stdout


@pytest.mark.parametrize("name", ["aa", "wellposed_" + "long" * 6])
def test_what_it_writes_is_formatted_whatever_the_name(tmp_path, name):
    ruff = pytest.importorskip("ruff").find_ruff_bin()
    new_plugin(tmp_path / "new", name)
    for command in (["check", "."], ["format", "--check", "."]):
        done = subprocess.run(
            [ruff, *command], cwd=tmp_path / "new", capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stdout


def test_the_sample_that_ci_installs_is_what_it_writes(tmp_path):
    new_plugin(tmp_path / "sample", "wellposed_sample")
    wanted = contents(tmp_path / "sample")
    assert {path: (SAMPLE / path).read_text() for path in wanted} == wanted


@pytest.mark.parametrize("kind", ["folder with a file", "file", "link"])
def test_it_never_writes_over_something(tmp_path, kind):
    target = tmp_path / "there"
    if kind == "file":
        target.write_text("mine")
    elif kind == "link":
        (tmp_path / "real").mkdir()
        target.symlink_to(tmp_path / "real")
    else:
        target.mkdir()
        (target / "mine").write_text("mine")
    before = sorted(p.name for p in tmp_path.rglob("*"))
    with pytest.raises(ParameterError, match=r"is not empty; choose|is no folder; choose"):
        new_plugin(target, "acme")
    assert sorted(p.name for p in tmp_path.rglob("*")) == before


def test_an_empty_folder_and_missing_parents_will_do(tmp_path):
    (tmp_path / "empty").mkdir()
    assert new_plugin(tmp_path / "empty", "acme")
    assert new_plugin(tmp_path / "a" / "b", "acme")


@pytest.mark.parametrize("name", ["", "3d", "class", "json", "wellposed", "tests", "a/b", "ü"])
def test_names_that_no_package_can_have_are_refused(tmp_path, name):
    with pytest.raises(ParameterError, match="a plugin needs a name that Python can import"):
        new_plugin(tmp_path / "x", name)
    assert not list(tmp_path.iterdir())


def test_what_fails_half_way_leaves_nothing(tmp_path, monkeypatch):
    def full(*args, **kwargs):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "rename", full)
    with pytest.raises(ParameterError, match=r"cannot write a plugin to .*No space left"):
        new_plugin(tmp_path / "acme", "acme")
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["numpy", "Torch", "typing-extensions"])
def test_no_installed_package_is_replaced(tmp_path, name):
    with pytest.raises(ParameterError, match="is installed already, and the plugin would take its"):
        new_plugin(tmp_path / "x", name)
    assert not list(tmp_path.iterdir())


def test_a_folder_beside_is_no_installed_package(tmp_path, monkeypatch):
    (tmp_path / "acme").mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    assert new_plugin(tmp_path / "acme", "acme")
