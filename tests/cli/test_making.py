"""`check`, `demo` and `new-plugin`."""

from __future__ import annotations

import builtins

import pytest
from wellposed.testing import runner
from wellposed.testing.engine import CheckResult


@pytest.fixture
def kit(monkeypatch):
    """Put two results in the place of the kit's, and note what it was asked for."""
    asked = []

    def results(kind, name):
        asked.append((kind, name))
        yield CheckResult(name="test_adjoint", passed=True, seconds=0.1)
        yield CheckResult(
            name="test_batch",
            passed=name != "identity",
            message="first line\nsecond line",
            seconds=0.2,
        )

    monkeypatch.setattr(runner, "iter_checks", results)
    return asked


def test_check_runs_the_kit(run):
    text = run("check", "none", "--kind", "noise").stdout
    assert text.startswith("noise none\n")
    assert "passed  input_is_not_modified" in text
    assert "checks passed" in text


def test_check_of_a_name_with_two_kinds_and_of_a_plugin(run, kit):
    run("check", "tikhonov")
    run("check", "wellposed", "--kind", "plugin")
    assert kit == [("prior", "tikhonov"), ("solver", "tikhonov"), ("plugin", "wellposed")]


def test_a_failed_check(run, kit):
    result = run("check", "identity", code=1)
    assert "FAILED  batch  (0.20 s)\n      first line\n      second line" in result.stdout
    assert "1 of 2 checks passed" in result.stdout
    assert "1 check failed." in result.stderr


def test_a_skipped_check_is_not_called_passed(run, monkeypatch):
    def results(kind, name):
        yield CheckResult(name="test_compiles", passed=True, message="skipped: calls a C library")

    monkeypatch.setattr(runner, "iter_checks", results)
    text = run("check", "identity").stdout
    assert "skipped  compiles  (0.00 s)\n      skipped: calls a C library" in text


def test_check_of_an_unknown_name(run, kit):
    assert "no component is called 'blurr'" in run("check", "blurr", code=2).stderr
    assert kit == []


def test_check_without_hypothesis(run, monkeypatch):
    genuine = builtins.__import__

    def without(name, globals=None, locals=None, fromlist=(), level=0):
        if name.endswith("testing.runner"):
            raise ModuleNotFoundError("No module named 'hypothesis'", name="hypothesis")
        return genuine(name, globals, locals, fromlist, level)

    monkeypatch.setattr(builtins, "__import__", without)
    text = run("check", "identity", code=2).stderr
    assert "the kit needs hypothesis, which is not installed: pip install 'wellposed[t" in text


def test_new_plugin(run, tmp_path):
    text = run("new-plugin", "acme").stdout
    assert "acme/pyproject.toml" in text
    assert "pip install -e './acme[test]' && python -m pytest ./acme" in text
    assert (tmp_path / "acme" / "pyproject.toml").is_file()
    text = run("new-plugin", "my acme").stdout
    assert "pip install -e './my acme[test]' && python -m pytest './my acme'" in text
    assert "is not empty" in run("new-plugin", "acme", code=2).stderr
    assert "a plugin needs a name" in run("new-plugin", "other", "--name", "3!", code=2).stderr


def test_demo_of_one_case(run, tmp_path):
    result = run("demo", "--quick", "--only", "denoising", "-o", "page")
    assert result.stdout.count("Denoising") == 1
    assert "pnp_hqs + nlm" in result.stdout
    assert "report: page/index.html" in result.stdout
    assert (tmp_path / "page" / "index.html").is_file()


def test_demo_of_no_case_and_without_a_place(run, tmp_path):
    text = run("demo", "--only", "time travel", code=2).stderr
    assert "no case of the demo has 'time travel' in its title" in text
    (tmp_path / "file").write_text("")
    text = run("demo", "--quick", "--only", "denoising", "-o", "file", code=2).stderr
    assert "cannot make the folder file" in text


def test_demo_with_a_case_that_fails(run, monkeypatch):
    from wellposed import demo

    case = demo.Case(title="Impossible", problem={"op": "identityy", "solver": "admm"})
    monkeypatch.setattr(demo, "load_cases", lambda: (case,))
    result = run("demo", "--quick", "-o", "page", code=1)
    assert "no operator named 'identityy'" in result.stdout
    assert "1 case failed." in result.stderr
