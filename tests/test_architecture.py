"""The layout, the direction of imports, and what importing costs."""

from __future__ import annotations

import ast
import importlib
import importlib.metadata
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
import wellposed

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
PLUGINS = sorted(p.parent.name for p in (ROOT / "plugins").glob("*/__init__.py"))


def imports_of(path: Path) -> set[str]:
    """Return the absolute names of all modules that a file imports, relative ones resolved."""
    parts = path.relative_to(ROOT).with_suffix("").parts
    home = {"core": ("wellposed",)}.get(parts[0], ("wellposed", parts[0])) + parts[1:-1]
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            base = home[: len(home) - node.level + 1] if node.level else ()
            module = ".".join((*base, *(node.module or "").split("."))).strip(".")
            found |= {module, *(f"{module}.{alias.name}" for alias in node.names)}
    return found


def files(folder: str) -> list[Path]:
    return sorted((ROOT / folder).rglob("*.py"))


def test_imports_go_one_way():
    for path in files("registry"):
        wrong = {m for m in imports_of(path) if m.startswith("wellposed") and "registry" not in m}
        assert wrong <= {"wellposed"}, f"{path} imports {wrong}"
        assert not {m for m in imports_of(path) if m.split(".")[0] in ("torch", "numpy")}, path
    for path in files("core"):
        assert not {m for m in imports_of(path) if m.startswith("wellposed.plugins")}, path
    for path in files("plugins"):
        own = path.relative_to(ROOT / "plugins").parts[0]
        others = {m for m in imports_of(path) if m.startswith("wellposed.plugins.")}
        assert {m.split(".")[2] for m in others} <= {own}, f"{path} imports a sibling plugin"


def test_the_source_folders_are_imported_by_their_public_name():
    for folder in ("core", "registry", "plugins", "tests", "benchmarks"):
        for path in files(folder):
            tops = {m.split(".")[0] for m in imports_of(path)}
            assert not tops & {"core", "registry", "plugins"}, path


def test_importing_core_under_another_name_is_refused():
    code = "import sys; sys.path.insert(0, sys.argv[1]); import core"
    done = subprocess.run(
        [sys.executable, "-c", code, str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert "this package is `wellposed`; it was imported as `core`" in done.stderr


def test_every_package_is_listed_for_the_wheel():
    listed = set(PROJECT["tool"]["setuptools"]["packages"])
    found = set()
    for folder, name in (("core", ""), ("registry", ".registry"), ("plugins", ".plugins")):
        for init in (ROOT / folder).rglob("__init__.py"):
            inner = init.parent.relative_to(ROOT / folder).parts
            found.add(".".join((f"wellposed{name}", *inner)))
    assert found == listed


def test_every_data_file_is_listed_for_the_wheel():
    data = PROJECT["tool"]["setuptools"]["package-data"]
    listed = set()
    for package, patterns in data.items():
        inner = package.removeprefix("wellposed").strip(".").replace(".", "/")
        folder = ROOT / inner if inner.startswith("plugins/") else ROOT / "core" / inner
        listed |= {p for pattern in patterns for p in folder.glob(pattern) if p.is_file()}
    found = {
        path
        for folder in ("core", "registry", "plugins")
        for path in (ROOT / folder).rglob("*")
        if path.is_file() and path.suffix != ".py" and "__pycache__" not in path.parts
    }
    assert found == listed


def test_every_plugin_folder_has_an_entry_point():
    points = PROJECT["project"]["entry-points"]["wellposed"]
    assert points == {name: f"wellposed.plugins.{name}" for name in PLUGINS}
    installed = importlib.metadata.entry_points(group="wellposed")
    ours = {p.name for p in installed if p.value.startswith("wellposed.plugins")}
    assert ours == set(PLUGINS), "reinstall the package: entry points are read at install time"


def test_the_facade_names_what_exists():
    public = set(wellposed._WHERE)
    assert set(wellposed.__all__) == {*public, "__version__"}
    for name in public:
        home = importlib.import_module(f"wellposed.{wellposed._WHERE[name]}")
        assert getattr(wellposed, name) is getattr(home, name)
        # A module of that name would replace the function once it is imported.
        assert not (ROOT / "core" / f"{name}.py").exists()
        assert not (ROOT / "core" / name).exists()
    with pytest.raises(AttributeError, match="module 'wellposed' has no attribute 'slove'"):
        _ = wellposed.slove
    assert "solve" in dir(wellposed)


def test_the_version_is_written_once_too_often_but_equal():
    assert wellposed.__version__ == PROJECT["project"]["version"]
    assert importlib.metadata.version("wellposed") == wellposed.__version__


def test_listing_imports_no_torch_and_no_numpy():
    code = """
import sys
import wellposed, wellposed.registry
registry = wellposed.registry.default_registry()
assert len(registry.specs()) > 20
heavy = {"torch", "numpy", "scipy", "cattrs", "PIL"} & set(sys.modules)
assert not heavy, heavy
"""
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT / "tests")
