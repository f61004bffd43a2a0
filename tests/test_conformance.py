"""Every registered component passes its kit: a new plugin gets these tests by being registered.

The draws are the same in every run. `WELLPOSED_SEARCH=1` draws others, to look for trouble.
"""

from __future__ import annotations

import functools
import importlib
import os
from typing import Any

import pytest
import torch
from wellposed.registry import default_registry
from wellposed.testing import check_names, kit_for
from wellposed.testing.runner import KITS

# Enough to reach the hard sizes, few enough for a minute or two on two slow cores.
EXAMPLES = {
    "operator": 12,
    "bilinear": 12,
    "kernel": 20,
    "prior": 10,
    "solver": 4,
    "network": 6,
    "noise": 20,
    "condition": 12,
}
SEARCH = bool(os.environ.get("WELLPOSED_SEARCH"))
OURS = [s for s in default_registry().specs() if s.dist == "wellposed" and s.kind in EXAMPLES]
# The package behind it takes half a second for the smallest picture, hence minutes for the kit.
UNCHECKED = ("bm3d",)
MODULES = {"bm3d": "bm3d", "skimage": "skimage"}  # extra: the module that it brings


@functools.cache
def kit(kind: str, name: str) -> Any:
    """Return the kit of a component; one for all its checks, which share what costs time."""
    found = kit_for(kind, name, max_examples=EXAMPLES.get(kind), reproducible=not SEARCH)
    type(found).max_seconds = 4.0
    if kind == "plugin":
        type(found).unchecked = UNCHECKED
    return found


@pytest.mark.parametrize(
    ("kind", "name", "check"),
    [(s.kind, s.name, check) for s in OURS for check in check_names(s.kind)],
)
def test_component(kind: str, name: str, check: str) -> None:
    if "cuda" in check and not torch.cuda.is_available():
        pytest.skip("needs a CUDA device")
    if lacks := missing(kind, name):
        pytest.skip(lacks)
    getattr(kit(kind, name), check)()


@functools.cache
def missing(kind: str, name: str) -> str:
    """Return why a component cannot be checked here: an extra, or no examples."""
    for extra in default_registry().spec(kind, name).extras:
        try:
            importlib.import_module(MODULES.get(extra, extra))
        except ModuleNotFoundError:
            return f"needs the extra {extra}"
    try:
        kit(kind, name).instances()
    except Exception as error:  # told once, by the test of the plugin's examples
        return f"has no examples: {error}"
    return ""


@pytest.mark.parametrize(
    ("kind", "name"), [(s.kind, s.name) for s in OURS if s.name not in UNCHECKED]
)
def test_has_examples(kind: str, name: str) -> None:
    assert not missing(kind, name).startswith("has no examples"), missing(kind, name)


@pytest.mark.parametrize("check", check_names("plugin"))
def test_plugin(check: str) -> None:
    getattr(kit("plugin", "wellposed"), check)()


def test_every_kind_with_a_kit_is_run() -> None:
    assert set(EXAMPLES) | {"plugin"} == set(KITS)
