"""Plugins that exist only in memory."""

from __future__ import annotations

import sys
import types
from collections.abc import Callable, Iterable

import pytest
from wellposed.registry import ComponentSpec, Example, hookimpl


@pytest.fixture
def manifest() -> Callable[..., types.ModuleType]:
    """Return a function that makes a manifest module declaring the given specs and examples."""

    def make(
        *specs: ComponentSpec, examples: Iterable[Example] = (), name: str = "manifest"
    ) -> types.ModuleType:
        module = types.ModuleType(name)

        @hookimpl
        def wellposed_components() -> Iterable[ComponentSpec]:
            return specs

        @hookimpl
        def wellposed_examples() -> Iterable[Example]:
            return examples

        module.wellposed_components = wellposed_components
        module.wellposed_examples = wellposed_examples
        return module

    return make


@pytest.fixture
def spec() -> Callable[..., ComponentSpec]:
    """Return a function that makes a spec from kind, name and target."""

    def make(
        kind: str = "operator", name: str = "blur", target: str = "fractions:Fraction", **kw: object
    ) -> ComponentSpec:
        return ComponentSpec(kind, name, target, f"the {name}", "no paper", **kw)

    return make


@pytest.fixture
def importable(monkeypatch: pytest.MonkeyPatch) -> Callable[..., types.ModuleType]:
    """Return a function that puts a module with the given attributes where imports find it."""

    def put(name: str, **attributes: object) -> types.ModuleType:
        module = types.ModuleType(name)
        for key, value in attributes.items():
            setattr(module, key, value)
            if isinstance(value, type):
                value.__module__, value.__qualname__ = name, key
        monkeypatch.setitem(sys.modules, name, module)
        return module

    return put
