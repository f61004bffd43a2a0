"""What a plugin declares: components and examples, as strings, so that listing imports nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Final, cast

import attrs
import pluggy
from wellposed.registry.errors import ParameterError

PROJECT: Final = "wellposed"
hookspec = pluggy.HookspecMarker(PROJECT)
hookimpl = pluggy.HookimplMarker(PROJECT)

KINDS: Final = (
    "operator",
    "bilinear",
    "kernel",
    "prior",
    "solver",
    "network",
    "noise",
    "condition",
)
"""The kinds this version can build. Others are listed as "needs a newer wellposed"."""

_NOUNS: Final = {"bilinear": "bilinear operator", "noise": "noise model"}
_NAME = re.compile(r"[a-z][a-z0-9_]*", re.ASCII)
_TARGET = re.compile(r"[A-Za-z_]\w*(\.[A-Za-z_]\w*)*:[A-Za-z_]\w*(\.[A-Za-z_]\w*)*", re.ASCII)


def noun(kind: str) -> str:
    """Return a kind as it is called in a sentence."""
    return _NOUNS.get(kind, kind)


def article(kind: str) -> str:
    """Return a kind with its article: ``an operator``."""
    name = noun(kind)
    return f"{'an' if name[0] in 'aeiou' else 'a'} {name}"


def _fail(instance: object, attribute: attrs.Attribute[Any], value: object, expected: str) -> None:
    label = type(instance).__name__
    raise ParameterError(f"{label}: {attribute.name} must be {expected}; got {value!r}")


def _identifier(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not _NAME.fullmatch(value):
        _fail(instance, attribute, value, "lower case, as in 'strided_blur' ([a-z][a-z0-9_]*)")


def _target(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not _TARGET.fullmatch(value):
        _fail(instance, attribute, value, "a string of the form 'package.module:Name'")


def _line(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str) or not value.strip() or len(value.splitlines()) != 1:
        _fail(instance, attribute, value, "one line of text")


def _text(instance: object, attribute: attrs.Attribute[str], value: object) -> None:
    if not isinstance(value, str):
        _fail(instance, attribute, value, "text (the paper and equation, or '')")


def _words(instance: object, attribute: attrs.Attribute[Any], value: object) -> None:
    # tuple("fast") would be ('f', 'a', 's', 't'), hence the converter leaves strings alone.
    if not isinstance(value, tuple) or not all(isinstance(v, str) and v.strip() for v in value):
        _fail(instance, attribute, value, "a tuple of words, as in ('fast',)")


def _as_tuple(value: Sequence[str]) -> tuple[str, ...]:
    return tuple(value) if isinstance(value, list) else cast("tuple[str, ...]", value)


@attrs.frozen
class PluginInfo:
    """Where components come from: a distribution, its entry point, and what loading it cost."""

    dist: str = ""
    version: str = ""
    entry_point: str = ""
    module: str = ""
    seconds: float = 0.0


@attrs.frozen
class ComponentSpec:
    """One component, described by strings only: nothing is imported until it is used.

    ``target`` is ``package.module:Class``; ``summary`` one line; ``source`` the paper and equation;
    ``extras`` names the optional dependencies of the distribution that the target needs. The fields
    ``plugin`` and ``note`` are filled in by the registry, never by the author.
    """

    kind: str = attrs.field(validator=_identifier)
    name: str = attrs.field(validator=_identifier)
    target: str = attrs.field(validator=_target)
    summary: str = attrs.field(validator=_line)
    source: str = attrs.field(validator=_text)
    tags: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple, validator=_words)
    extras: tuple[str, ...] = attrs.field(default=(), converter=_as_tuple, validator=_words)
    plugin: PluginInfo = attrs.field(default=PluginInfo(), kw_only=True)
    note: str = attrs.field(default="", kw_only=True)

    @property
    def dist(self) -> str:
        """Return the name of the distribution that declares this component."""
        return self.plugin.dist

    @property
    def version(self) -> str:
        """Return the version of that distribution."""
        return self.plugin.version

    @property
    def seconds(self) -> float:
        """Return the time it took to import the manifest that declares this component."""
        return self.plugin.seconds

    @property
    def qualified(self) -> str:
        """Return ``dist/name``, which stays valid whatever else is installed."""
        return f"{self.dist}/{self.name}" if self.dist else self.name


@attrs.frozen
class Example:
    """Instances of one component for the conformance kit to test.

    ``target`` is ``package.module:function``; called without arguments, the function returns a
    hypothesis strategy, or a list, of instances. ``kind`` and ``name`` are those of a component
    that the same plugin declares.
    """

    kind: str = attrs.field(validator=_identifier)
    name: str = attrs.field(validator=_identifier)
    target: str = attrs.field(validator=_target)
    plugin: PluginInfo = attrs.field(default=PluginInfo(), kw_only=True)


@attrs.frozen
class BrokenPlugin:
    """A plugin that could not be loaded, and why. Everything else goes on working."""

    dist: str
    entry_point: str
    error: str
    seconds: float = 0.0
