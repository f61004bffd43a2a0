"""`--condition`: files beside the pictures, by name, several of them, or a folder."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import wellposed
from wellposed.cli.given import conditions_for, conditions_from
from wellposed.config import load_problem
from wellposed.errors import ImageFileError, ParameterError
from wellposed.images import read, write
from wellposed.training import recipe_from, save_weights
from wellposed.training.learner import build_learner

RECIPE = {
    "network": {"name": "edge_connect", "params": {"blocks": 1, "width": 2}},
    "feed": "measurement",
    "operator": "identity",
    "conditions": {"edges": "canny"},
    "steps": 1,
}


@pytest.fixture
def weights(tmp_path):
    """Return the weights of a small network that is given edges."""
    recipe = recipe_from(RECIPE)
    card = {"recipe": recipe.as_data(), "trained_for": {}, "quality": {}, "licence": "x"}
    path = tmp_path / "weights.safetensors"
    save_weights(path, build_learner(recipe).weights(), card)
    return path


def test_texts_are_a_mapping_of_files():
    given = ["edges=a.png", "frames=b=1.png", "frames=c.png"]
    assert conditions_from(given) == {"edges": "a.png", "frames": ["b=1.png", "c.png"]}
    for text in ("edges", "=a.png", "edges="):
        with pytest.raises(ParameterError, match=r"--condition expects NAME=FILE, .*; got '"):
            conditions_from([text])


def test_a_folder_stands_for_the_file_of_the_same_name(tmp_path):
    folder = tmp_path / "maps"
    folder.mkdir()
    for name in ("a.png", "b.npy", "b.png"):
        (folder / name).touch()
    given = {"edges": str(folder), "frames": ["x.png", str(folder)], "other": "y.npy"}
    assert conditions_for(given, Path("photos/a.jpg")) == {
        "edges": str(folder / "a.png"),
        "frames": ["x.png", str(folder / "a.png")],
        "other": "y.npy",
    }
    assert conditions_for(None, Path("a.png")) is None
    with pytest.raises(ImageFileError, match=r"^conditions.edges: .*named c in .*found none"):
        conditions_for(given, Path("c.png"))
    with pytest.raises(ImageFileError, match=r"found b.npy, b.png"):
        conditions_for(given, Path("b.png"))


def test_conditions_reach_the_network(run, picture, tmp_path, weights):
    sources = [picture("a.png"), picture("b.png", height=9)]
    (tmp_path / "maps").mkdir()
    for source in sources:
        x = read(source).tensor
        write(tmp_path / "maps" / source.name, (x[:1] > 0.5).float())
    solver = ("--op", "identity", "--solver", "network", "-s", f"weights={weights}")
    run("solve", *sources, *solver, "--condition", "edges=maps", "-o", "out", "--report", "r.html")
    for source in sources:
        x = read(source).tensor
        want = wellposed.solve(
            x,
            op="identity",
            solver={"name": "network", "params": {"weights": str(weights)}},
            conditions={"edges": x[:1] > 0.5},
        )
        got = read(tmp_path / "out" / source.name).tensor
        assert (got - want.image.clamp(0, 1)).abs().max() < 3e-3
    assert "conditions={'edges': 'maps'}" in (tmp_path / "r.html").read_text().replace(
        "&#x27;", "'"
    )
    result = run("solve", sources[0], *solver, "-o", "x.png", code=2)
    assert "needs edges, which Denoising has not. Give it" in result.stderr
    words = ("--condition", "edges=a.png", "--condition", "edge=a.png", "-o", "x.png")
    result = run("solve", sources[0], *solver, *words, code=2)
    assert "conditions.edge: EdgeConnectNetwork has no condition of that name" in result.stderr


def test_a_problem_file_may_hold_them(run, picture, tmp_path, weights):
    source = picture("a.png")
    edges = torch.eye(12, 16)[None]
    write(tmp_path / "edges.png", edges)
    write(tmp_path / "other.png", edges.flip(-1))
    text = f"""
op: identity
solver: {{name: network, params: {{weights: {weights}}}}}
conditions: {{edges: edges.png}}
"""
    (tmp_path / "problem.yaml").write_text(text)
    problem = load_problem(tmp_path / "problem.yaml")
    want = problem.solve(source).image.clamp(0, 1)
    run("solve", source, "--config", "problem.yaml", "-o", "one.png")
    assert (read(tmp_path / "one.png").tensor - want).abs().max() < 3e-3
    words = ("--config", "problem.yaml", "--condition", "edges=other.png")
    run("solve", source, *words, "-o", "two.png")
    assert (read(tmp_path / "two.png").tensor - want).abs().max() > 0.01
