"""What could lose somebody's work or time: said before the solver runs, or not silently."""

from __future__ import annotations

import os

import numpy as np
import pytest
import torch
import wellposed
from wellposed.images import Picture, read, write

MASK = ("--op", "random_mask", "-p", "missing=0.3")
STEPS = ("-s", "max_steps=5")
ADJOINT = ("--op", "identity", "--solver", "adjoint")


@pytest.fixture
def never(monkeypatch):
    """Fail when a solver is asked for anything."""

    def solve(*_, **__):
        raise AssertionError("the solver ran")

    monkeypatch.setattr("wellposed.api.Pipeline.__call__", solve)


# ---- the solver's own prior --------------------------------------------------------------------


def test_parameters_of_the_solvers_own_prior(run, picture):
    """As in Python, where `prior_params` go with the prior that the solver takes by itself."""
    source = picture(bits=16)
    options = (*MASK, "--solver", "admm", *STEPS)
    run("solve", source, *options, "-r", "weight=0.2", "-o", "a.png")
    expected = wellposed.solve(
        source,
        op="random_mask",
        op_params={"missing": 0.3},
        solver="admm",
        solver_params={"max_steps": 5},
        prior_params={"weight": 0.2},
    )
    assert (read("a.png").tensor - expected.image.clamp(0, 1)).abs().max() < 1e-5
    run("solve", source, *options, "-o", "b.png")
    assert not torch.equal(read("a.png").tensor, read("b.png").tensor)


def test_a_solver_without_a_prior_of_its_own(run, picture):
    options = ("--op", "identity", "--solver", "tikhonov", "-r", "weight=1")
    result = run("solve", picture(), *options, code=2)
    assert "-r: expected a prior that they belong to; Tikhonov takes none by itself" in (
        result.stderr
    )


def test_a_prior_can_be_taken_out_of_a_problem_file(run, picture, tmp_path):
    (tmp_path / "p.yaml").write_text("op: identity\nsolver: admm\nprior: tv\n")
    options = ("solve", picture(), "--config", "p.yaml", "--solver", "tikhonov")
    assert "takes no prior" in run(*options, code=2).stderr
    run(*options, "--prior", "null", "-o", "a.png")


def test_a_parameter_changes_the_component_that_a_file_names(run, picture, tmp_path):
    source = picture()
    (tmp_path / "p.yaml").write_text(
        "op: {name: blur, params: {kernel: {name: motion, params: {angle: 90, length: 9}}}}\n"
        "solver: tikhonov\n"
    )
    run("solve", source, "--config", "p.yaml", "-p", "kernel.params.length=3", "-o", "a.tif")
    kernel = {"name": "motion", "params": {"angle": 90, "length": 3}}
    expected = wellposed.solve(source, op="blur", op_params={"kernel": kernel}, solver="tikhonov")
    assert (read("a.tif").tensor - expected.image.clamp(0, 1)).abs().max() < 0.5 / 255 + 1e-6


# ---- where results go --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("-o", "new/y.png"), "cannot write new/y.png: new does not exist. Create the folder"),
        (("-o", "y.png", "--report", "new/page.html"), "new does not exist"),
        (("-o", "y.png", "--save-kernel", "new/k.npy"), "new does not exist"),
        (("-o", "y.png", "--report", "y.png"), "y.png would be both a picture and the report"),
        (("-o", f"{'y' * 300}.png"), "File name too long"),
    ],
)
def test_a_place_that_cannot_be_written_is_told_at_once(run, picture, never, options, message):
    result = run("solve", picture(), *ADJOINT, *options, code=2)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_a_folder_without_permission_is_told_at_once(run, picture, never, monkeypatch):
    source = picture()
    monkeypatch.setattr("wellposed.files.os.access", lambda _, mode, **__: not mode & os.W_OK)
    result = run("solve", source, *ADJOINT, code=2)
    assert "you may not write to the folder" in result.stderr


def test_transparency_that_a_format_lacks_is_told_at_once(run, tmp_path, never):
    x = torch.full((3, 4, 5), 0.5)
    write(tmp_path / "a.png", x, like=Picture(tensor=x, alpha=torch.full((1, 4, 5), 0.5)))
    result = run("solve", "a.png", *ADJOINT, "-o", "b.jpg", code=2)
    assert "the picture is partly transparent, which .jpg cannot hold" in result.stderr


# ---- what must not be silent, or end everything ------------------------------------------------


def test_a_picture_that_clipping_spoils_is_written_with_a_warning(run):
    np.save("loud.npy", np.full((3, 4, 5), 200, np.float32))
    np.save("fine.npy", np.full((3, 4, 5), 0.5, np.float32))
    result = run("solve", "loud.npy", "fine.npy", *ADJOINT, "-o", "out")
    assert "loud.npy: 100% of the values of out/loud.png are lost" in result.stderr
    assert result.stderr.count("are lost") == 1
    assert (
        run("solve", "loud.npy", *ADJOINT, "-o", "loud.tif", "--bits", 32).stderr.count("\n") == 1
    )


def test_warnings_are_one_line_for_each_picture(run, picture, monkeypatch):
    import warnings

    from wellposed.errors import NotConvergedWarning

    inner = wellposed.Pipeline.__call__

    def solve(self, *args, **more):
        for step in range(30):
            warnings.warn(f"not yet after {step} steps", NotConvergedWarning, stacklevel=2)
        return inner(self, *args, **more)

    monkeypatch.setattr("wellposed.api.Pipeline.__call__", solve)
    result = run("solve", picture("a.png"), picture("b.png"), *ADJOINT, "-o", "out")
    for name in "ab":
        assert result.stderr.count(f"{name}.png: not yet after 0 steps") == 1
        assert result.stderr.count(f"{name}.png: not yet after 29 steps") == 1
    assert result.stderr.count("not yet") == 4
    assert "warnings.warn" not in result.stderr


def test_a_fault_in_one_picture_stops_no_other(run, picture, tmp_path, monkeypatch):
    inner = wellposed.Pipeline.__call__

    def solve(self, measurement, **more):
        if measurement.shape[-1] == 7:
            raise MemoryError("no room for 7 columns")
        return inner(self, measurement, **more)

    monkeypatch.setattr("wellposed.api.Pipeline.__call__", solve)
    pictures = [picture("a.png"), picture("b.png", width=7), picture("c.png")]
    with pytest.raises(MemoryError, match="no room for 7 columns"):
        run("solve", *pictures, *ADJOINT, "-o", "out")
    assert sorted(p.name for p in (tmp_path / "out").iterdir()) == ["a.png", "c.png"]
