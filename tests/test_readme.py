"""The README's table and commands are those of the code."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from wellposed.registry import default_registry

ROOT = Path(__file__).parents[1]
README = (ROOT / "README.md").read_text()


def own_specs():
    return [s for s in default_registry().specs() if s.dist == "wellposed"]


def table_rows() -> dict[str, set[str]]:
    """Return kind -> names from the table of components."""
    rows = re.findall(r"^\| ([a-z ]+) \| (`[^|]+`) \|$", README, re.MULTILINE)
    return {kind.strip(): set(re.findall(r"`([a-z0-9_]+)`", names)) for kind, names in rows}


def test_the_table_of_components_is_complete():
    expected: dict[str, set[str]] = {}
    for spec in own_specs():
        expected.setdefault(spec.kind, set()).add(spec.name)
    assert table_rows() == expected


def python_blocks() -> list[str]:
    return re.findall(r"```python\n(.*?)```", README, re.DOTALL)


def command_lines() -> list[str]:
    blocks = re.findall(r"```(?:sh|console)\n(.*?)```", README, re.DOTALL)
    lines = [line for block in blocks for line in block.splitlines()]
    return [line for line in lines if line.startswith("wellposed ")]


@pytest.mark.parametrize("block", python_blocks())
def test_python_examples_run(block, tmp_path, monkeypatch):
    import wellposed
    from PIL import Image

    monkeypatch.chdir(tmp_path)
    tiny = (wellposed.sample()[:, 64:128, 64:128] * 255).byte().movedim(0, -1).numpy()
    Image.fromarray(tiny).save("photo.png")
    exec(compile(block, "README.md", "exec"), {"__name__": "readme"})


@pytest.mark.parametrize("line", command_lines())
def test_commands_are_understood(line):
    """Every option named in the README exists (the commands themselves run in their own tests)."""
    from typer.testing import CliRunner
    from wellposed.cli.app import app

    words = shlex.split(line.split("#")[0])[1:]
    shown = CliRunner().invoke(app, [words[0], "--help"], env={"COLUMNS": "200"})
    assert shown.exit_code == 0, line
    for option in (w for w in words[1:] if re.fullmatch(r"--?[a-z][a-z-]*", w)):
        assert option in shown.output, f"{line}: {option}"


def yaml_blocks(*, problems: bool) -> list[str]:
    found = re.findall(r"```yaml\n(.*?)```", README, re.DOTALL)
    return [block for block in found if block.startswith("op:") == problems]


@pytest.mark.parametrize("block", yaml_blocks(problems=True))
def test_problem_files_are_understood(block, tmp_path):
    from wellposed.config import load_problem

    path = tmp_path / "problem.yaml"
    path.write_text(block)
    assert load_problem(path).pipeline()


@pytest.mark.parametrize("block", yaml_blocks(problems=False))
def test_recipes_are_understood(block, tmp_path):
    from wellposed.training.recipe import load_recipe

    path = tmp_path / "recipe.yaml"
    path.write_text(block)
    assert load_recipe(path).steps > 0


def test_files_that_the_readme_points_to_exist():
    for target in re.findall(r"\]\(([^)#:]+)\)", README):
        assert (ROOT / target).exists(), target
