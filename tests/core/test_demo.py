"""The demo: its cases, its table, and the calls that it says repeat them."""

from __future__ import annotations

import io
import re

import pytest
import torch
import wellposed
from rich.console import Console
from wellposed.demo import Case, load_cases, run_case, run_demo
from wellposed.errors import ImageFileError, ParameterError
from wellposed.solution import Status

CASES = load_cases()


def case(**problem):
    return Case(title="A case", problem={"op": "identity", "solver": "adjoint", **problem})


def test_the_demo_covers_what_it_promises():
    operators = {str(c.problem["op"]) for c in CASES}
    for word in ("motion", "stride': 2", "stride': 4", "hole_mask", "random_mask", "identity"):
        assert any(word in op for op in operators), word
    assert any("fourier" in op for op in operators) and any("radon" in op for op in operators)
    assert len({c.title for c in CASES}) == len(CASES)
    assert all(c.text for c in CASES)


@pytest.mark.parametrize("one", CASES, ids=lambda c: c.title)
def test_every_case_beats_its_baseline(one):
    found = run_case(one, quick=True)
    assert not found.error
    assert found.solution.status < Status.DIVERGED
    # The baseline is the better of two; the fill of random pixels is hard to beat by much.
    margin = 0.05 if "random" in one.title else 0.5
    assert found.scores["result PSNR"] > found.scores["baseline PSNR"] + margin
    assert found.scores["result SSIM"] > found.scores["baseline SSIM"]


@pytest.mark.parametrize("title", ["Super-resolution x2", "Denoising", "MRI"])
def test_the_code_repeats_a_case(title):
    (one,) = (c for c in CASES if c.title.startswith(title))
    found = run_case(one, quick=True)
    names: dict = {}
    exec(found.code.replace("print(", "("), names)
    assert torch.equal(names["solution"].image, found.solution.image)


def test_the_quick_picture_is_part_of_the_full_one():
    for one in (CASES[0], CASES[-1]):
        full, text = one.truth(False)
        assert full.shape[-2:] == (256, 256)
        assert torch.equal(eval(text), full)
        small, text = one.truth(True)
        assert small.shape[-2:] == (96, 96)
        assert torch.equal(eval(text), small)


def test_the_baseline_is_the_better_of_the_measurement_and_the_first_estimate():
    noise = {"name": "gaussian", "params": {"sigma": 0.1}}
    found = run_case(case(noise=noise), quick=True)
    assert found.baseline is found.measurement
    assert found.scores["baseline PSNR"] == pytest.approx(20, abs=0.2)
    small = run_case(case(op={"name": "strided_blur", "params": {"stride": 2}}), quick=True)
    assert small.measurement.shape == (3, 48, 48) and small.baseline.shape == (3, 96, 96)
    holes = run_case(case(op={"name": "random_mask", "params": {"missing": 0.5}}), quick=True)
    assert holes.measurement.shape == (3, 96, 96) and holes.baseline is not holes.measurement


def test_the_table_and_the_page_hold_the_same(tmp_path):
    text = io.StringIO()
    console = Console(file=text, width=160)
    cases = [case(), Case(title="Broken", problem={"op": "identity", "solver": "amm"})]
    page, failures = run_demo(tmp_path / "a" / "b", quick=True, console=console, cases=cases)
    assert failures == 1
    table, html = text.getvalue(), page.read_text()
    assert "inf / 1.000" in table and "inf / 1.000" in html
    assert "no solver named 'amm'" in table
    assert re.search(r'class="error">solver: no solver named &#x27;amm&#x27;', html)
    assert html.count("data:image/png;base64,") == 3
    assert "wellposed.solve(y, op=op, solver=&#x27;adjoint&#x27;)" in html


def test_cases_from_a_file(tmp_path):
    (tmp_path / "cases.yaml").write_text("cases:\n  - {title: One, op: identity, solver: cg}\n")
    (one,) = load_cases(tmp_path / "cases.yaml")
    assert one.title == "One" and one.sample == "astronaut"
    assert one.problem == {"op": "identity", "solver": "cg"}


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("cases: 3", "cases: expected a list of cases, each a mapping"),
        ("cases: [blur]", "cases: expected a list of cases, each a mapping"),
        ("cases: [{op: blur}]", r"cases\[0\]: a case needs a title"),
    ],
)
def test_files_that_hold_no_cases(text, match):
    with pytest.raises(ParameterError, match=match):
        load_cases(text)


def test_an_unknown_sample():
    with pytest.raises(ParameterError, match="no sample named 'cat'"):
        Case(title="x", sample="cat", problem={}).truth(False)


def test_the_code_spells_out_a_seed():
    found = run_case(case(seed=3, prior=None), quick=True)
    assert "wellposed.simulate(truth, op=op, seed=3)" in found.code
    assert "prior" not in found.code
    assert wellposed.__version__


def test_a_page_that_is_not_ours_is_left_alone_and_told_at_once(tmp_path, monkeypatch):
    monkeypatch.setattr("wellposed.demo.run_case", None)  # nothing runs before
    page = tmp_path / "index.html"
    page.write_text("my own page")
    with pytest.raises(ImageFileError, match="exists already, and is no report of the demo"):
        run_demo(tmp_path, quick=True)
    assert page.read_text() == "my own page"


def test_its_own_page_is_written_again(tmp_path):
    for _ in range(2):
        page, failures = run_demo(
            tmp_path, quick=True, cases=[case()], console=Console(file=io.StringIO())
        )
        assert page.is_file() and not failures
