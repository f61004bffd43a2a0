"""Names to components: listing, qualified names, conflicts, suggestions, import on first use."""

from __future__ import annotations

import functools
import importlib
import sys
from collections.abc import Iterable, Sequence

import attrs
import pluggy
from wellposed.registry.discovery import (
    Discovery,
    describe,
    discover,
    explicit_sources,
    installed_sources,
    is_ours,
    normalised,
)
from wellposed.registry.errors import (
    AmbiguousName,
    BrokenPluginError,
    UnknownComponent,
    close_names,
    suggestion,
)
from wellposed.registry.spec import (
    KINDS,
    BrokenPlugin,
    ComponentSpec,
    Example,
    PluginInfo,
    article,
    noun,
)


class Registry:
    """All components that a set of plugins declares. Immutable after construction.

    ``Registry([("acme", module)])`` reads exactly these (distribution, manifest) pairs, for tests;
    `Registry.installed` reads the entry points. Nothing that a component needs is imported before
    `load`.
    """

    def __init__(self, plugins: Iterable[tuple[str, object]] = ()) -> None:
        """Load the given manifests."""
        self._read(discover(explicit_sources(plugins)), ())

    @classmethod
    def installed(cls, allowed: str | None = None) -> Registry:
        """Load the installed plugins; ``allowed`` overrides the variable WELLPOSED_PLUGINS."""
        sources, missing = installed_sources(allowed)
        registry = cls.__new__(cls)
        registry._read(discover(sources), missing)
        return registry

    def _read(self, found: Discovery, missing: tuple[BrokenPlugin, ...]) -> None:
        self._found = found
        self._broken = (*found.broken, *missing)
        specs = sorted(found.specs, key=_order)
        rivals = _by_name(specs)
        noted = (attrs.evolve(s, note=_note(s, rivals[s.kind, s.name])) for s in specs)
        self._specs = tuple(noted)
        self._by_name = _by_name(self._specs)

    def __repr__(self) -> str:
        """Return a short description."""
        counts = f"{len(self._specs)} components, {len(self._found.plugins)} plugins"
        return f"<Registry: {counts}, {len(self._broken)} broken>"

    @property
    def broken(self) -> tuple[BrokenPlugin, ...]:
        """Return the plugins that failed to load."""
        return self._broken

    @property
    def hook(self) -> pluggy.HookRelay:
        """Return the relay that calls observers: ``hook.wellposed_iteration(event=event)``."""
        return self._found.manager.hook

    def plugins(self) -> tuple[PluginInfo, ...]:
        """Return the plugins that loaded, ours first."""
        return self._found.plugins

    def specs(self, kind: str | None = None) -> tuple[ComponentSpec, ...]:
        """Return the declared components, sorted by kind and name; ``note`` holds any warning."""
        if kind is None:
            return self._specs
        self._check_kind(kind)
        return tuple(spec for spec in self._specs if spec.kind == kind)

    def spec(self, kind: str, name: str) -> ComponentSpec:
        """Return the component called ``name`` or ``dist/name``.

        Raises: UnknownComponent, AmbiguousName; BrokenPluginError if its plugin failed to load.
        """
        self._check_kind(kind)
        dist, slash, bare = name.rpartition("/")
        found = self._by_name.get((kind, bare), [])
        if slash:
            found = [spec for spec in found if normalised(spec.dist) == normalised(dist)]
        elif own := [spec for spec in found if is_ours(spec.dist)]:
            found = own
        if not found:
            raise self._unknown(kind, name)
        if len(found) > 1:
            names = [spec.qualified for spec in found]
            raise AmbiguousName(
                f"{len(found)} plugins declare {article(kind)} named {name!r}:"
                f" write {' or '.join(names)}",
                kind=kind,
                name=name,
                candidates=names,
            )
        return found[0]

    def load(self, kind: str, name: str) -> type:
        """Return the class behind a name, importing it on first use.

        Raises: BrokenPluginError if it cannot be imported, naming what to install; see also `spec`.
        """
        spec = self.spec(kind, name)
        label = f"{kind} {spec.name!r} of {_release(spec.plugin)}"
        if kind not in KINDS:
            raise BrokenPluginError(
                f"{label} needs a newer wellposed: this one knows no components of kind {kind!r}",
                plugin=spec.dist,
                target=spec.target,
            )
        found = _import(spec.target, label, spec.plugin, spec.extras)
        if not isinstance(found, type):
            raise BrokenPluginError(
                f"{label}: '{spec.target}' is of type {type(found).__name__}, not a class",
                plugin=spec.dist,
                target=spec.target,
            )
        return found

    def examples(self, kind: str, name: str) -> tuple[Example, ...]:
        """Return the examples that a component's plugin declares for it."""
        spec = self.spec(kind, name)
        wanted = (spec.kind, spec.name, spec.plugin)
        return tuple(e for e in self._found.examples if (e.kind, e.name, e.plugin) == wanted)

    def load_example(self, example: Example) -> object:
        """Call an example's function: a hypothesis strategy, or a list, of instances."""
        label = f"example of {example.kind} {example.name!r} of {_release(example.plugin)}"
        function = _import(example.target, label, example.plugin, ())
        if not callable(function):
            raise BrokenPluginError(
                f"{label}: '{example.target}' is of type {type(function).__name__}, not a function",
                plugin=example.plugin.dist,
                target=example.target,
            )
        result: object = function()
        return result

    def reference(self, spec: ComponentSpec) -> str:
        """Return the shortest name that leads to this component: bare, or ``dist/name``."""
        rivals = self._by_name.get((spec.kind, spec.name), [])
        return spec.name if len(rivals) < 2 or is_ours(spec.dist) else spec.qualified

    def spec_of(self, class_: type) -> ComponentSpec | None:
        """Return the component that a class implements, or None if no plugin declares it."""
        exact = f"{class_.__module__}:{class_.__qualname__}"
        for spec in self._specs:
            if spec.target == exact:
                return spec
        for spec in self._specs:  # the target may name a module that re-exports the class
            module, _, attribute = spec.target.partition(":")
            if attribute == class_.__qualname__ and module in sys.modules:
                if getattr(sys.modules[module], attribute, None) is class_:
                    return spec
        return None

    def _check_kind(self, kind: str) -> None:
        known = (*KINDS, *sorted({s.kind for s in self._specs if s.kind not in KINDS}))
        if kind not in known:
            raise UnknownComponent(
                f"no kind of component is called {kind!r}.{suggestion(kind, known)}"
                f" Kinds: {', '.join(known)}",
                kind=kind,
                suggestions=close_names(kind, known),
                available=known,
            )

    def _unknown(self, kind: str, name: str) -> Exception:
        """Return the most helpful error for a name that leads nowhere."""
        dist, _, bare = name.rpartition("/")
        dist = normalised(dist or bare)
        working = {normalised(plugin.dist) for plugin in self._found.plugins}
        for plugin in self._broken:
            whole = dist not in working and dist == normalised(plugin.dist)
            if whole or plugin.entry_point == name:
                return BrokenPluginError(
                    f"{noun(kind)} {name!r} is not available: plugin '{plugin.entry_point}' of"
                    f" {plugin.dist} failed to load. {plugin.error}",
                    plugin=plugin.dist,
                )
        available = [self.reference(spec) for spec in self.specs(kind)]
        elsewhere = [k for k in KINDS if k != kind and (k, bare) in self._by_name]
        text = f"no {noun(kind)} named {name!r}.{suggestion(name, available)}"
        if elsewhere:
            text = f"{name!r} is {article(elsewhere[0])}, not {article(kind)}."
        text += f" {noun(kind).capitalize()}s: {', '.join(available) or 'none installed'}"
        if self._broken:
            plural = "s" if len(self._broken) > 1 else ""
            text += f" ({len(self._broken)} plugin{plural} failed to load: run `wellposed plugins`)"
        close = close_names(name, available)
        return UnknownComponent(text, kind=kind, name=name, suggestions=close, available=available)


@functools.cache
def default_registry() -> Registry:
    """Return the registry of everything installed, read once per process."""
    return Registry.installed()


def _by_name(specs: Iterable[ComponentSpec]) -> dict[tuple[str, str], list[ComponentSpec]]:
    groups: dict[tuple[str, str], list[ComponentSpec]] = {}
    for spec in specs:
        groups.setdefault((spec.kind, spec.name), []).append(spec)
    return groups


def _note(spec: ComponentSpec, same_name: Sequence[ComponentSpec]) -> str:
    """Return the warning to list a component with, or nothing."""
    if spec.kind not in KINDS:
        return "needs a newer wellposed"
    if len(same_name) == 1 or is_ours(spec.dist):
        return ""
    if any(is_ours(other.dist) for other in same_name):
        return f"{spec.name!r} alone means wellposed's own: write {spec.qualified}"
    others = ", ".join(other.dist for other in same_name if other.dist != spec.dist)
    return f"{spec.name!r} is also declared by {others}: write {spec.qualified}"


def _order(spec: ComponentSpec) -> tuple[int, str, str, bool, str]:
    rank = KINDS.index(spec.kind) if spec.kind in KINDS else len(KINDS)
    return rank, spec.kind, spec.name, not is_ours(spec.dist), normalised(spec.dist)


def _release(plugin: PluginInfo) -> str:
    return f"{plugin.dist} {plugin.version}".strip()


def _import(target: str, label: str, plugin: PluginInfo, extras: Sequence[str]) -> object:
    """Import ``package.module:Name``; whatever goes wrong becomes one BrokenPluginError."""
    module, _, attribute = target.partition(":")
    install = f"pip install {plugin.dist}[{','.join(extras)}]" if extras else ""
    try:
        found: object = importlib.import_module(module)
        for part in attribute.split("."):
            found = getattr(found, part)
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # SystemExit at import is no reason to end the caller's process
        hint = f". Install what it needs: {install}" if install else ""
        raise BrokenPluginError(
            f"{label} cannot be loaded from '{target}': {describe(error)}{hint}",
            plugin=plugin.dist,
            target=target,
            install=install,
        ) from error
    return found
