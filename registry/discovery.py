"""From entry points to declared components, one plugin at a time.

A plugin that fails, in whatever way, is recorded and left out; the others never notice. The loop is
our own because pluggy's loader drops a second entry point of the same name and stops at the first
plugin that raises. Plugins are visited in alphabetical order, so that the order of installation
never changes a result.
"""

from __future__ import annotations

import importlib
import importlib.metadata
import inspect
import itertools
import os
import re
import time
from collections.abc import Callable, Iterable, Sequence
from typing import Final, TypeVar

import attrs
import pluggy
from wellposed.registry import hookspecs
from wellposed.registry.errors import WellposedError, suggestion
from wellposed.registry.spec import PROJECT, BrokenPlugin, ComponentSpec, Example, PluginInfo

GROUP: Final = "wellposed"
OURS: Final = "wellposed"
ENVIRONMENT: Final = "WELLPOSED_PLUGINS"
HOOKS: Final = tuple(name for name in vars(hookspecs) if name.startswith("wellposed_"))
MOST_ITEMS: Final = 10_000  # per hook and plugin: ends a hook that would yield for ever

Item = TypeVar("Item", ComponentSpec, Example)


class _Rejected(WellposedError):
    """A manifest breaks a rule; becomes the text of a `BrokenPlugin`."""


@attrs.frozen(eq=False)
class Source:
    """A plugin that has not been imported yet."""

    info: PluginInfo
    load: Callable[[], object]

    @property
    def key(self) -> str:
        """Return the name under which pluggy knows this plugin."""
        return f"{self.info.dist}:{self.info.entry_point}"


@attrs.frozen(eq=False)
class Discovery:
    """What all manifests declare, and which plugins declare nothing because they failed."""

    manager: pluggy.PluginManager
    plugins: tuple[PluginInfo, ...]
    specs: tuple[ComponentSpec, ...]
    examples: tuple[Example, ...]
    broken: tuple[BrokenPlugin, ...]


def normalised(dist: str) -> str:
    """Return the distribution name as package indexes compare it."""
    return re.sub(r"[-_.]+", "-", dist).lower()


def is_ours(dist: str) -> bool:
    """Tell whether this is our own distribution, whose names are reserved."""
    return normalised(dist) == OURS


def installed_sources(
    allowed: str | None = None,
) -> tuple[tuple[Source, ...], tuple[BrokenPlugin, ...]]:
    """Return the installed plugins that ``allowed`` lets through, and a record of each misspelling.

    ``allowed`` is the value of the environment variable WELLPOSED_PLUGINS (read when None): empty
    for all, ``none`` for our own only, else a list of distributions or entry points. Ours always
    load.
    """
    if allowed is None:
        allowed = os.environ.get(ENVIRONMENT, "")
    sources = _entry_points()
    names = {normalised(word.strip()) for word in allowed.split(",") if word.strip()}
    if not names:
        return sources, ()
    chosen = [s for s in sources if is_ours(s.info.dist) or names & _handles(s)]
    unknown = names - {"none"} - {handle for source in sources for handle in _handles(source)}
    text = f"{ENVIRONMENT} names it, but no such distribution or entry point is installed"
    return tuple(chosen), tuple(BrokenPlugin(name, "", text) for name in sorted(unknown))


def explicit_sources(pairs: Iterable[tuple[str, object]]) -> tuple[Source, ...]:
    """Return plugins given as (distribution, manifest) pairs; a manifest may be an import path."""
    sources = []
    for number, (dist, manifest) in enumerate(pairs):
        module = manifest if isinstance(manifest, str) else getattr(manifest, "__name__", "")
        info = PluginInfo(dist=dist, entry_point=module or f"plugin{number}", module=module)
        sources.append(Source(info, _loader(manifest)))
    return tuple(sources)


def discover(sources: Sequence[Source]) -> Discovery:
    """Load every plugin in isolation and collect what it declares."""
    manager = pluggy.PluginManager(PROJECT)
    manager.add_hookspecs(hookspecs)
    specs: list[ComponentSpec] = []
    examples: list[Example] = []
    plugins: list[PluginInfo] = []
    broken: list[BrokenPlugin] = []
    for source in sorted(sources, key=_order):
        started = time.perf_counter()
        try:
            manifest = source.load()
            seconds = time.perf_counter() - started
            info = attrs.evolve(source.info, seconds=seconds)
            _register(manager, manifest, source.key)
            own_specs = _components(manager, manifest, info, specs)
            own_examples = _examples(manager, manifest, info, own_specs)
        except KeyboardInterrupt:
            raise
        except BaseException as error:  # SystemExit and pytest.skip are not Exceptions
            _forget(manager, source.key)
            seconds = time.perf_counter() - started
            names = (source.info.dist, source.info.entry_point)
            broken.append(BrokenPlugin(*names, describe(error), seconds))
        else:
            plugins.append(info)
            specs += own_specs
            examples += own_examples
    return Discovery(manager, tuple(plugins), tuple(specs), tuple(examples), tuple(broken))


def describe(error: BaseException) -> str:
    """Return type, message and place of an error that happened in somebody's plugin."""
    try:
        text = str(error)
    except Exception:
        text = "(its message cannot be printed)"
    if isinstance(error, _Rejected):
        return text
    return f"{type(error).__name__}{': ' if text else ''}{text}{_place(error)}"


def _place(error: BaseException) -> str:
    """Return file and line of the innermost frame that is neither the import system nor ours."""
    place = ""
    frame = error.__traceback__
    while frame is not None:
        file = frame.tb_frame.f_code.co_filename
        package = frame.tb_frame.f_globals.get("__package__") or ""
        if package.partition(".")[0] != "importlib" and package != __package__ and file[0] != "<":
            parts = file.replace(os.sep, "/").split("/")
            place = f" ({'/'.join(parts[-2:])}, line {frame.tb_lineno})"
        frame = frame.tb_next
    return place


def _entry_points() -> tuple[Source, ...]:
    versions: dict[int, tuple[str, str]] = {}  # reading a distribution's metadata is the slow part
    sources = []
    for point in importlib.metadata.entry_points(group=GROUP):
        dist = point.dist
        if id(dist) not in versions:
            versions[id(dist)] = _release(dist)
        name, version = versions[id(dist)]
        sources.append(Source(PluginInfo(name, version, point.name, point.value), point.load))
    return tuple(sources)


def _release(dist: importlib.metadata.Distribution | None) -> tuple[str, str]:
    try:
        return (dist.name or "", dist.version or "") if dist else ("", "")
    except Exception:  # damaged metadata of somebody's package must not stop the listing
        return "", ""


def _loader(manifest: object) -> Callable[[], object]:
    if isinstance(manifest, str):
        return lambda: importlib.import_module(manifest)
    return lambda: manifest


def _handles(source: Source) -> set[str]:
    return {normalised(source.info.dist), normalised(source.info.entry_point)}


def _order(source: Source) -> tuple[bool, str, str]:
    dist = source.info.dist
    return not is_ours(dist), normalised(dist), source.info.entry_point


def _register(manager: pluggy.PluginManager, manifest: object, key: str) -> None:
    """Register the manifest, refusing what pluggy would let pass in silence."""
    if manifest is None or manager.is_registered(manifest):
        known = manager.get_name(manifest) if manifest is not None else None
        raise _Rejected(f"the same manifest is already loaded as '{known}'; keep one entry point")
    manager.register(manifest, name=key)
    callers = manager.get_hookcallers(manifest) or []
    for caller in callers:
        optional = any(i.optionalhook for i in caller.get_hookimpls() if i.plugin is manifest)
        if not caller.has_spec() and not optional:
            raise _Rejected(
                f"there is no hook named '{caller.name}'.{suggestion(caller.name, HOOKS)} A hook of"
                " a newer wellposed is declared with @hookimpl(optionalhook=True)"
            )
    for name in dir(manifest):
        if name in HOOKS or (name.startswith("wellposed_") and suggestion(name, HOOKS)):
            function = getattr(manifest, name, None)
            if inspect.isroutine(function) and not hasattr(function, f"{PROJECT}_impl"):
                raise _Rejected(f"function '{name}' is not marked: write @hookimpl above it")
    if not callers:
        raise _Rejected("it declares no hook; expected a function wellposed_components")


def _forget(manager: pluggy.PluginManager, key: str) -> None:
    if manager.has_plugin(key):
        manager.unregister(name=key)


def _items(
    manager: pluggy.PluginManager, manifest: object, hook: str, type_: type[Item]
) -> list[Item]:
    """Call one hook of one plugin, without the machinery that stops at the first failure."""
    found: list[Item] = []
    implementations = getattr(manager.hook, hook).get_hookimpls()
    for implementation in [i for i in implementations if i.plugin is manifest]:
        if implementation.wrapper or implementation.hookwrapper:
            raise _Rejected(f"{hook} cannot be a wrapper")
        result = implementation.function()
        if not isinstance(result, Iterable):
            raise _Rejected(
                f"{hook} returned {type(result).__name__}; expected a list of {type_.__name__}"
            )
        for number, item in enumerate(itertools.islice(result, MOST_ITEMS + 1)):
            if number == MOST_ITEMS:
                raise _Rejected(f"{hook} yields more than {MOST_ITEMS} items")
            if not isinstance(item, type_):
                raise _Rejected(
                    f"{hook} yielded {type(item).__name__} at position {number};"
                    f" expected only {type_.__name__}"
                )
            found.append(item)
    return found


def _components(
    manager: pluggy.PluginManager,
    manifest: object,
    info: PluginInfo,
    known: Sequence[ComponentSpec],
) -> list[ComponentSpec]:
    dist = normalised(info.dist)
    taken = {(s.kind, s.name): s for s in known if normalised(s.dist) == dist}
    found = []
    for declared in _items(manager, manifest, "wellposed_components", ComponentSpec):
        spec = attrs.evolve(declared, plugin=info, note="")
        earlier = taken.setdefault((spec.kind, spec.name), spec)
        if earlier is not spec:
            raise _Rejected(
                f"it declares {spec.kind} '{spec.name}' a second time; '{earlier.target}' has that"
                f" name already (entry point '{earlier.plugin.entry_point}')"
            )
        found.append(spec)
    return found


def _examples(
    manager: pluggy.PluginManager,
    manifest: object,
    info: PluginInfo,
    specs: Sequence[ComponentSpec],
) -> list[Example]:
    declared = {(spec.kind, spec.name) for spec in specs}
    found = _items(manager, manifest, "wellposed_examples", Example)
    for example in found:
        if (example.kind, example.name) not in declared:
            raise _Rejected(
                f"it has an example of {example.kind} '{example.name}', which it does not declare"
            )
    return [attrs.evolve(example, plugin=info) for example in found]
