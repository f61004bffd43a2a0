"""`solve` and `simulate` on files, from the simplest call to hostile ones."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import wellposed
from PIL import Image
from wellposed.images import Picture, read, write

MASK = ("--op", "random_mask", "-p", "missing=0.3")
TV = ("--solver", "admm", "--prior", "tv", "-r", "weight=0.01", "-s", "max_steps=5")


def names(folder):
    return sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file())


def test_solve_does_what_the_call_does(run, picture, tmp_path):
    source = picture(bits=16)
    result = run("solve", source, *MASK, *TV, "-o", "out.png")
    assert "out.png: budget_spent in 5 steps" in result.stderr
    expected = wellposed.solve(
        source,
        op="random_mask",
        op_params={"missing": 0.3},
        solver="admm",
        solver_params={"max_steps": 5},
        prior="tv",
        prior_params={"weight": 0.01},
    )
    found = read("out.png")
    assert found.bits == 16
    assert (found.tensor - expected.image.clamp(0, 1)).abs().max() < 1e-5
    assert names(tmp_path) == ["out.png", "x.png"]


def test_results_lie_beside_their_inputs_unless_told(run, picture, tmp_path):
    sources = [picture("a.png"), picture("b.jpg"), picture("c.tif")]
    run("solve", *sources, "--op", "identity", "--solver", "adjoint")
    assert {"a-restored.png", "b-restored.jpg", "c-restored.tif"} <= set(names(tmp_path))


def test_many_pictures_into_a_new_folder(run, picture, tmp_path):
    sources = [picture("a.png"), picture("b.bmp", height=7)]
    np.save("c.npy", np.full((1, 5, 6), 0.5, np.float32))
    run("solve", *sources, "c.npy", "--op", "identity", "--solver", "adjoint", "-o", "new/folder")
    assert names(tmp_path / "new") == ["folder/a.png", "folder/b.bmp", "folder/c.png"]


def test_a_bad_picture_does_not_stop_the_others(run, picture, tmp_path):
    good = [picture("a.png"), picture("z.png")]
    (tmp_path / "text.png").write_text("hello")
    (tmp_path / "empty.jpg").write_bytes(b"")
    (tmp_path / "cut.png").write_bytes(good[0].read_bytes()[:100])
    bad = ["text.png", "empty.jpg", "cut.png", "missing.png"]
    result = run(
        *("solve", good[0], *bad, good[1], "--op", "identity", "--solver", "adjoint", "-o", "out"),
        code=2,
    )
    assert names(tmp_path / "out") == ["a.png", "z.png"]
    assert "4 of 6 pictures failed:" in result.stderr
    assert "text.png: text.png is not a picture" in result.stderr
    assert "empty.jpg: empty.jpg is empty" in result.stderr
    assert "cut.png: cut.png is damaged or cut off" in result.stderr
    assert "missing.png: there is no file missing.png" in result.stderr


def test_an_npy_with_nan_is_refused(run, tmp_path):
    np.save("y.npy", np.array([[[0.5, np.nan]]]))
    result = run("solve", "y.npy", "--op", "identity", "--solver", "adjoint", "-o", "x.png", code=2)
    assert "y.npy holds NaN or Inf at 1 of 2 values" in result.stderr
    assert names(tmp_path) == ["y.npy"]


def test_alpha_and_orientation(run, tmp_path):
    x = torch.rand(3, 6, 9, generator=torch.Generator().manual_seed(0))
    alpha = torch.linspace(0, 1, 54).reshape(1, 6, 9)
    write(tmp_path / "a.png", x, like=Picture(tensor=x, alpha=alpha))
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new("RGB", (9, 6)).save("b.jpg", exif=exif)
    run("solve", "a.png", "b.jpg", "--op", "identity", "--solver", "adjoint", "-o", "out")
    assert torch.equal(read("out/a.png").alpha, read("a.png").alpha)
    with Image.open("out/b.jpg") as turned:
        assert turned.size == (6, 9) and 0x0112 not in turned.getexif()


def test_a_problem_file_and_options_that_add_to_it(run, picture, tmp_path):
    source = picture()
    (tmp_path / "p.yaml").write_text(
        "op: {name: random_mask, params: {missing: 0.3}}\n"
        "solver: {name: admm, params: {max_steps: 5}}\n"
        "prior: {name: tv, params: {weight: 0.5}}\nseed: 3\n"
    )
    run("solve", source, "--config", "p.yaml", "-r", "weight=0.01", "-o", "a.png")
    run("solve", source, *MASK, *TV, "--seed", 3, "-o", "b.png")
    assert torch.equal(read("a.png").tensor, read("b.png").tensor)
    longer = run("solve", source, "--config", "p.yaml", "-s", "max_steps=9", "-o", "c.png")
    assert "in 9 steps" in longer.stderr


def test_a_composition(run, picture):
    source = picture()
    options = ("--op", "random_mask", "--op", "hole_mask", "-p", "hole_mask.size=3")
    run("solve", source, *options, "-p", "0.missing=0.2", "--solver", "cg", "-o", "a.png")
    op = [
        {"name": "random_mask", "params": {"missing": 0.2}},
        {"name": "hole_mask", "params": {"size": 3}},
    ]
    expected = wellposed.solve(source, op=op, solver="cg").image.clamp(0, 1)
    assert (read("a.png").tensor - expected).abs().max() < 0.5 / 255 + 1e-6


def test_a_report(run, picture, tmp_path):
    sources = [picture("a<b>.png"), picture("c.png")]
    run("solve", *sources, *MASK, *TV, "-o", "out", "--report", "page.html")
    page = (tmp_path / "page.html").read_text()
    assert page.count("data:image/png;base64,") == 4
    assert "a&lt;b&gt;.png" in page and "a<b>" not in page
    assert "wellposed.solve(" in page


# ---- what is refused ---------------------------------------------------------------------------


def test_no_input_is_overwritten(run, picture, tmp_path):
    source = picture()
    before = source.read_bytes()
    for out in ("x.png", ".", f"../{tmp_path.name}/x.png"):
        result = run("solve", source, *MASK, *TV, "-o", out, "--force", code=2)
        assert "is an input, and is never overwritten" in result.stderr
    assert source.read_bytes() == before


def test_existing_results_need_force(run, picture):
    source = picture()
    (source.parent / "y.png").write_text("precious")
    options = ("solve", source, "--op", "identity", "--solver", "adjoint", "-o", "y.png")
    assert "y.png exists already; --force overwrites it" in run(*options, code=2).stderr
    assert (source.parent / "y.png").read_text() == "precious"
    run(*options, "--force")
    assert read("y.png").tensor.shape == (3, 12, 16)
    page = (*options, "--force", "--report", source)
    assert "is an input, and is never overwritten" in run(*page, code=2).stderr


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--op", "blurr", "--solver", "admm"), "op: no operator named 'blurr'. Did you mean"),
        (("--op", "identity", "--solver", "amm"), "solver: no solver named 'amm'. Did you mean"),
        (("--op", "identity"), "expected --solver NAME, or --config FILE with solver"),
        (("--solver", "admm"), "expected --op NAME, or --config FILE with op"),
        ((*MASK, "--solver", "admm", "-p", "mising=1"), "op.params.mising: random_mask has no"),
        ((*MASK, "--solver", "admm", "-s", "max_steps=x"), "solver.params.max_steps: expected a"),
        (("-p", "a=1", "--solver", "admm"), "op: parameters (a) but no name"),
        (("--op", "identity", "--solver", "admm", "--bits", 12), ".png holds 8 or 16 bits"),
        (("--op", "identity", "--solver", "admm", "--device", "x"), "device 'x' cannot be used"),
        (("--op", "identity", "--solver", "admm", "--seed", -1), "seed: expected a whole number"),
        (("--config", "nowhere.yaml"), "there is no file 'nowhere.yaml'"),
        (("--op", "{name: [", "--solver", "admm"), "not valid YAML"),
    ],
)
def test_mistakes_are_one_message_and_nothing_is_written(run, picture, tmp_path, options, message):
    result = run("solve", picture(), *options, "-o", "out.png", code=2)
    assert message in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1
    assert names(tmp_path) == ["x.png"]


def test_hostile_problem_files(run, picture, tmp_path):
    source = picture()
    for text in ("op: !!python/object/apply:os.system [true]", "op: &a [*a]", "a: [", "x: 1"):
        (tmp_path / "p.yaml").write_text(text)
        run("solve", source, "--config", "p.yaml", "-o", "out.png", code=2)
    assert names(tmp_path) == ["p.yaml", "x.png"]


def test_outputs_that_cannot_be(run, picture, tmp_path):
    one, two = picture("a.png"), picture("b.png")
    (tmp_path / "file").write_text("")
    identity = ("--op", "identity", "--solver", "adjoint", "-o")
    many = run("solve", one, two, *identity, "out.png", code=2)
    assert "-o out.png names one file, for 2 pictures" in many.stderr
    odd = run("solve", one, *identity, "out.gif", code=2)
    assert "is not a format that is written. Take one of .png" in odd.stderr
    inside = run("solve", one, *identity, "file/out.png", code=2)
    assert "file is not a folder" in inside.stderr
    folder = run("solve", one, two, *identity, "file/out", code=2)
    assert "cannot make the folder" in folder.stderr
    same = run("solve", one, one, *identity, "out", code=2)
    assert "several pictures would be written to" in same.stderr
    assert names(tmp_path) == ["a.png", "b.png", "file"]


def test_a_solver_that_fails_is_a_failed_picture(run, picture, tmp_path, monkeypatch):
    def fails(self):
        from wellposed.errors import SolveFailed

        raise SolveFailed("Admm: 1 of 1 samples ended as diverged")

    monkeypatch.setattr("wellposed.Solution.require", fails)
    result = run("solve", picture(), *MASK, *TV, "-o", "out.png", code=2)
    assert "x.png: Admm: 1 of 1 samples ended as diverged" in result.stderr
    assert names(tmp_path) == ["x.png"]


# ---- simulate ----------------------------------------------------------------------------------


def test_simulate_does_what_the_call_does(run, picture):
    source = picture()
    noise = ("--noise", "gaussian", "-n", "sigma=0.05", "--seed", 4)
    run("simulate", source, *MASK, *noise, "-o", "y.npy")
    expected = wellposed.simulate(
        source,
        op="random_mask",
        op_params={"missing": 0.3},
        noise={"name": "gaussian", "params": {"sigma": 0.05}},
        seed=4,
    )
    assert np.array_equal(np.load("y.npy"), expected.numpy())
    run("simulate", source, *MASK, *noise, "-o", "y.png", "--bits", 16)
    again = read("y.png")
    assert again.bits == 16
    assert (again.tensor - expected.clamp(0, 1)).abs().max() < 1e-5


def test_simulate_refuses_to_make_a_picture_of_what_is_none(run, picture, monkeypatch):
    source = picture()
    loud = ("--noise", "gaussian", "-n", "sigma=50")
    result = run("simulate", source, "--op", "identity", *loud, "-o", "y.png", code=2)
    assert "is no picture, which .png holds; write .npy" in result.stderr
    monkeypatch.setattr(
        "wellposed.config.simulate", lambda *_, **__: torch.zeros(1, 2, 2, dtype=torch.complex64)
    )
    result = run("simulate", source, "--op", "identity", "-o", "y.png", code=2)
    assert "a complex measurement is no picture" in result.stderr
    assert "y.png exists" not in run("simulate", source, "--op", "identity", "-o", "y.npy").stderr


def test_simulate_needs_an_output_and_an_operator(run, picture):
    source = picture()
    assert "--out" in run("simulate", source, "--op", "identity", code=2).stderr
    assert "expected --op NAME" in run("simulate", source, "-o", "y.png", code=2).stderr
    assert (
        "is never over" in run("simulate", source, "--op", "identity", "-o", source, code=2).stderr
    )
