"""`list`, `info`, `plugins`, `version`, and the cost of a listing."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import typer
from wellposed.cli import guard, looking
from wellposed.registry import ComponentSpec, Registry, UnknownComponent, hookimpl

LISTING = """
import json, sys
sys.argv = ["wellposed", "list"]
from wellposed.cli import main
try:
    main()
except SystemExit as end:
    assert not end.code, end.code
print(json.dumps(sorted(sys.modules)))
"""


@pytest.fixture
def two_plugins(monkeypatch):
    """A registry of one working and one broken plugin, for the commands that only look."""

    class Working:
        @hookimpl
        def wellposed_components(self):
            yield ComponentSpec("operator", "warp", "fractions:Fraction", "Warps.", "Me", ("new",))
            yield ComponentSpec("prior", "smooth", "x:Y", "Smooths.", "Me", extras=("fast",))

    registry = Registry([("acme", Working()), ("broken", "a_module_that_is_not_there")])
    for module in ("wellposed.registry", "wellposed.registry.lookup", "wellposed.cli.looking"):
        monkeypatch.setattr(f"{module}.default_registry", lambda: registry)
    return registry


def test_listing_is_light():
    done = subprocess.run([sys.executable, "-c", LISTING], capture_output=True, check=True)
    modules = json.loads(done.stdout.splitlines()[-1])
    # Each of these alone would take longer than the listing.
    heavy = {"torch", "numpy", "scipy", "PIL", "yaml", "lightning_fabric", "safetensors"}
    assert heavy.isdisjoint(modules)


def test_list_shows_every_component(run):
    from wellposed.registry import default_registry

    lines = run("list").stdout.splitlines()
    assert lines[0].split() == ["kind", "name", "summary"]
    shown = {tuple(line.split()[:2]) for line in lines[1:]}
    assert shown == {(s.kind, s.name) for s in default_registry().specs()}


def test_list_of_one_kind_and_of_one_tag(run, two_plugins):
    assert "warp" in run("list", "operator").stdout
    assert "smooth" not in run("list", "operator").stdout
    tagged = run("list", "--tag", "new").stdout
    assert "warp" in tagged and "smooth" not in tagged
    assert "[fast]" in run("list", "prior").stdout
    assert "1 plugin(s) failed to load: run `wellposed plugins`" in run("list").stderr


def test_an_unknown_kind(run):
    result = run("list", "operators", code=2)
    assert "no kind of component is called 'operators'. Did you mean 'operator'?" in result.stderr
    assert not result.stdout


def test_debug_shows_the_traceback(run):
    with pytest.raises(UnknownComponent, match="'operators'"):
        run("list", "operators", "--debug")


def test_plugins_with_broken_ones_and_why(run, two_plugins):
    text = run("plugins").stdout
    assert "acme" in text
    assert "FAILED  a_module_that_is_not_there (of broken)" in text
    assert "ModuleNotFoundError: No module named 'a_module_that_is_not_there'" in text


def test_version(run):
    words = run("version").stdout.split()
    assert {"wellposed", "torch", "python"} <= set(words)


def test_info_of_a_solver(run):
    text = run("info", "admm").stdout
    assert "admm (solver)" in text
    assert "Boyd" in text
    assert "needs prior" in text and "ProximalPrior or AnalysisPrior" in text and "tv" in text
    assert "max_steps" in text and "int" in text and "Largest number of steps" in text


def test_info_of_a_prior(run):
    text = run("info", "tv").stdout
    assert "tv (prior)" in text
    assert "ProximalPrior" in text
    assert "weight" in text and "1.0" in text


def test_info_of_an_operator(run):
    text = run("info", "random_mask").stdout
    assert "(3, 64, 64) -> (3, 64, 64), float32" in text
    assert "data_prox" in text and "closed form" in text
    assert "in_shape" in text and "required" in text and "[pixels]" in text
    assert "Shapes:" in text


def test_info_of_a_name_with_two_kinds(run):
    both = run("info", "tikhonov").stdout
    assert "tikhonov (prior)" in both and "tikhonov (solver)" in both
    one = run("info", "tikhonov", "--kind", "solver").stdout
    assert "tikhonov (prior)" not in one


def test_info_of_an_unknown_name(run):
    text = run("info", "amdm", code=2).stderr
    assert "no component is called 'amdm'. Did you mean 'admm'?" in text


def test_an_unknown_command(run):
    assert "No such command 'lst'" in run("lst", code=2).stderr


def test_ctrl_c_is_one_line(capsys):
    @guard.guarded
    def command(debug=False):
        raise KeyboardInterrupt

    with pytest.raises(typer.Exit) as ended:
        command()
    assert ended.value.exit_code == guard.INTERRUPTED
    assert capsys.readouterr().err == "interrupted\n"


def test_an_unexpected_error_keeps_its_traceback():
    @guard.guarded
    def command(debug=False):
        raise ZeroDivisionError("a bug")

    with pytest.raises(ZeroDivisionError, match="a bug"):
        command()


def test_a_long_line_is_cut_in_a_terminal(monkeypatch, capsys):
    monkeypatch.setattr("sys.stdout.isatty", lambda: True)
    monkeypatch.setenv("COLUMNS", "20")
    looking._table(["a", "b"], [["x", "y" * 40]])
    assert max(map(len, capsys.readouterr().out.replace("\x1b[1m", "").splitlines())) <= 24


def test_a_plugin_that_keeps_all_waiting_is_named(run, monkeypatch):
    monkeypatch.setattr(looking, "_SLOW", -1.0)
    assert "plugin priors of wellposed took 0.0 s to load; tell its author" in run("list").stderr


def test_an_error_of_several_lines_stands_out(run, monkeypatch):
    class Broken:
        @hookimpl
        def wellposed_components(self):
            raise RuntimeError("one\ntwo")

    registry = Registry([("acme", Broken())])
    monkeypatch.setattr(looking, "default_registry", lambda: registry)
    assert "        RuntimeError: one\n        two" in run("plugins").stdout


def test_info_of_what_this_version_does_not_know_or_could_not_load(run, monkeypatch):
    class Later:
        @hookimpl
        def wellposed_components(self):
            yield ComponentSpec("gadget", "thing", "x:Y", "Of tomorrow", "Me")

    registry = Registry([("acme", Later()), ("broken", "a_module_that_is_not_there")])
    for module in ("looking", "names", "describing"):
        monkeypatch.setattr(f"wellposed.cli.{module}.default_registry", lambda: registry)
    assert "gadget 'thing' of acme needs a newer wellposed" in run("info", "thing", code=2).stderr
    text = run("info", "other", code=2).stderr
    assert "no component is called 'other'." in text
    assert "; 1 plugin(s) failed to load: run `wellposed plugins`" in text


def test_info_is_true_for_the_defaults_and_reads_as_text(run):
    text = run("info", "blur").stdout
    assert "commutes with circular shifts (not by default)" in text
    assert "the picture beyond its frame. One of 'circular'" in text
    assert "(not by default)" not in run("info", "hole_mask").stdout
    assert "without one: tv, weight=0.002. Fitting:" in run("info", "admm").stdout
    assert "pip install 'wellposed[bm3d]'" in run("info", "bm3d").stdout
