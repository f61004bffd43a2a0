"""Names to components: how wellposed finds, describes and builds operators, priors and solvers.

Knows nothing of images and imports no torch. A plugin's manifest needs two names from here,
``ComponentSpec`` and ``hookimpl``; everything else is loaded on first use.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Final

from wellposed.registry.errors import (
    AmbiguousName,
    BrokenPluginError,
    ParameterError,
    UnknownComponent,
    WellposedError,
)
from wellposed.registry.spec import (
    KINDS,
    BrokenPlugin,
    ComponentSpec,
    Example,
    PluginInfo,
    hookimpl,
    hookspec,
)

if TYPE_CHECKING:
    from wellposed.registry.building import build, check_missing, structure_params
    from wellposed.registry.config import dump_yaml, load_yaml, parse_value
    from wellposed.registry.conversion import register_component_type, register_type
    from wellposed.registry.lookup import Registry, default_registry
    from wellposed.registry.params import Parameter, param, schema_of
    from wellposed.registry.plain import register_unstructure, unstructure

__all__ = [
    "KINDS",
    "AmbiguousName",
    "BrokenPlugin",
    "BrokenPluginError",
    "ComponentSpec",
    "Example",
    "Parameter",
    "ParameterError",
    "PluginInfo",
    "Registry",
    "UnknownComponent",
    "WellposedError",
    "build",
    "check_missing",
    "default_registry",
    "dump_yaml",
    "hookimpl",
    "hookspec",
    "load_yaml",
    "param",
    "parse_value",
    "register_component_type",
    "register_type",
    "register_unstructure",
    "schema_of",
    "structure_params",
    "unstructure",
]

_LAZY: Final = {
    "building": ("build", "check_missing", "structure_params"),
    "config": ("dump_yaml", "load_yaml", "parse_value"),
    "conversion": ("register_component_type", "register_type"),
    "lookup": ("Registry", "default_registry"),
    "params": ("Parameter", "param", "schema_of"),
    "plain": ("register_unstructure", "unstructure"),
}
_HOME: Final = {name: module for module, names in _LAZY.items() for name in names}


def __getattr__(name: str) -> object:
    """Import the module that defines a public name, the first time the name is used."""
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    value: object = getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names, loaded or not."""
    return sorted(__all__)
