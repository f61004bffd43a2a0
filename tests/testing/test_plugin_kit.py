"""`PluginKit` on our own distribution, and on plugins with one fault each."""

from __future__ import annotations

import ast
import sys

import pytest
from wellposed.errors import ParameterError
from wellposed.registry import Registry
from wellposed.testing import CheckFailure, PluginKit, run_checks
from wellposed.testing.plugin_kit import _unformatted

HEAD = "from wellposed.registry import ComponentSpec, Example, hookimpl\n"
GOOD = """
@hookimpl
def wellposed_components():
    yield ComponentSpec("kernel", "dot", "{package}.code:Dot", "One pixel", "The definition")

@hookimpl
def wellposed_examples():
    yield Example("kernel", "dot", "{package}.code:dots")
"""
CODE = '''
"""Kernels."""
__all__ = ["Dot"]
import attrs, torch
from wellposed import Kernel

@attrs.frozen(eq=False, kw_only=True)
class Dot(Kernel):
    """One pixel.

    Source: the definition.
    """

    def tensor(self, *, stride=1, dtype=torch.float32, device=None):
        """Return it."""
        return torch.ones((1, 1, 1, 1), dtype=dtype, device=device)

def dots():
    return [Dot()]
'''


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """Return a function that makes the kit of a plugin written from the given texts."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    made = []

    def make(manifest=HEAD + GOOD, code=CODE):
        package = f"acme_plugin_{len(made)}"
        made.append(package)
        folder = tmp_path / package
        folder.mkdir()
        (folder / "__init__.py").write_text(manifest.replace("{package}", package))
        (folder / "code.py").write_text(code)
        registry = Registry([("acme", package)])
        return type("Kit", (PluginKit,), {"distribution": "acme", "registry": registry})()

    yield make
    for name in [m for m in sys.modules if m.split(".")[0] in made]:
        del sys.modules[name]


CHECKS = [name for name in vars(PluginKit) if name.startswith("test_")]


@pytest.mark.parametrize("check", CHECKS)
def test_a_good_plugin_passes(plugin, check):
    getattr(plugin(), check)()


@pytest.mark.parametrize(
    ("check", "manifest", "code", "words"),
    [
        (
            "test_is_found_by_its_entry_point",
            HEAD + "raise RuntimeError('no disk')",
            CODE,
            "of acme is broken: RuntimeError: no disk",
        ),
        ("test_manifest_is_light", HEAD + "import torch" + GOOD, CODE, "imports torch"),
        (
            "test_manifest_is_light",
            HEAD + "import time; time.sleep(0.3)" + GOOD,
            CODE,
            r"takes 0\.\d+ s; 0\.2 allowed",
        ),
        (
            "test_components_are_described",
            HEAD + GOOD.replace("The definition", ""),
            CODE,
            "kernel 'dot' names no source",
        ),
        (
            "test_components_are_described",
            HEAD + GOOD.replace("One pixel", "One pixel."),
            CODE,
            "without a stop",
        ),
        (
            "test_components_are_described",
            HEAD + GOOD.replace('"kernel"', '"cake"'),
            CODE,
            "'dot' is of kind 'cake'; known are operator",
        ),
        (
            "test_targets_can_be_imported",
            HEAD + GOOD.replace('"kernel"', '"operator"'),
            CODE,
            "operator 'dot' is Dot, which is no ForwardOperator or NonlinearOperator",
        ),
        (
            "test_targets_can_be_imported",
            HEAD + GOOD,
            CODE.replace("def tensor", "def other"),
            "which does not define tensor",
        ),
        (
            "test_components_have_examples",
            HEAD + GOOD.split("@hookimpl\ndef wellposed_examples")[0],
            CODE,
            "no example, hence no check, for: kernel dot",
        ),
        (
            "test_docstrings_name_their_source",
            HEAD + GOOD,
            CODE.replace("Source:", "From"),
            "kernel 'dot': no 'Source:' in the docstring",
        ),
        (
            "test_error_messages_are_formatted",
            HEAD + GOOD,
            CODE + "\ndef check(size):\n    raise ValueError('got {size!r} pixels')\n",
            "'got {size!r} pixels' looks like an f-string without f",
        ),
        (
            "test_star_imports_shadow_nothing",
            HEAD + GOOD,
            CODE.replace('["Dot"]', '["Dot", "range"]') + "\nrange = 3\n",
            "would replace range",
        ),
    ],
)
def test_a_fault_is_found(plugin, check, manifest, code, words):
    with pytest.raises(CheckFailure, match=words):
        getattr(plugin(manifest, code), check)()


def test_a_plugin_that_is_not_installed_is_told():
    results = run_checks("plugin", "wellposed-nowhere")
    assert not results[0].passed
    assert (
        "no plugin of a distribution named 'wellposed-nowhere' is installed" in results[0].message
    )


def test_a_kit_needs_a_distribution():
    with pytest.raises(ParameterError, match="expects `distribution = 'name'`; got none"):
        PluginKit().test_manifest_is_light()


@pytest.mark.parametrize(
    ("code", "count"),
    [
        ("raise E('got {x}')", 1),
        ("raise E('got {x.shape} and {y:.2f}')", 1),
        ("raise E(f'got {x}')", 0),
        ("raise E('got {}'.format(x))", 0),
        ("raise E('got {x}'.format(x=1))", 0),
        ("raise E(f'expects {{name:, params:}}')", 0),
        ("raise E('expects {name:, params:}')", 0),
        ("print('got {x}')", 0),
    ],
)
def test_forgotten_f_prefixes_are_found(code, count):
    assert len(_unformatted(ast.parse(code))) == count
