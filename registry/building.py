"""From a name and plain parameters to an object, with errors that carry the path of the entry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from wellposed.registry.conversion import Context, component_bases, convert_params
from wellposed.registry.errors import (
    ParameterError,
    WellposedError,
    join_path,
    located,
    suggestion,
)
from wellposed.registry.lookup import Registry, default_registry
from wellposed.registry.params import Field, fields_of
from wellposed.registry.scalars import shown
from wellposed.registry.spec import article

_KEYS: Final = ("name", "params")
_QUOTED = re.compile(r"'(\w+)' (must|has)\b.*", re.DOTALL)  # how attrs validators begin


def structure_params(
    class_: type,
    mapping: Mapping[str, object],
    *,
    path: str,
    omit: Sequence[str] = (),
    text: bool = False,
    name: str = "",
    registry: Registry | None = None,
) -> dict[str, object]:
    """Return the given parameters converted to the annotated types of ``class_``'s fields.

    Missing parameters are simply absent. Those in ``omit`` are supplied by the caller, hence not
    accepted here. ``text=True`` is for values typed on a command line: each is read as YAML first.
    ``name`` is what messages call the class, and nested components come from ``registry``.

    Raises: ParameterError, whose text starts with the path of the offending entry.
    """
    name = name or class_.__name__
    if not isinstance(mapping, Mapping):
        raise ParameterError(
            f"expected a mapping of parameters of {name}; got {shown(mapping)}", where=path
        )
    with located(path):
        context = _context(registry, text=text)
        return convert_params(class_, mapping, context, name=name, omit=omit)


def check_missing(class_: type, params: Mapping[str, object], path: str, *, name: str = "") -> None:
    """Check that all required parameters of ``class_`` are among ``params``.

    Raises: ParameterError that names all missing ones together, with what they mean.
    """
    missing = [f for f in fields_of(class_) if f.parameter.required and f.name not in params]
    if missing:
        plural = "s" if len(missing) > 1 else ""
        raise ParameterError(
            f"{name or class_.__name__} needs {len(missing)} more parameter{plural}:"
            f" {'; '.join(_described(field) for field in missing)}",
            where=path,
            name=missing[0].name,
            choices=[field.name for field in missing],
        )


def build(
    registry: Registry | None,
    kind: str,
    given: object,
    *,
    path: str,
    params: Mapping[str, object] | None = None,
    text: bool = False,
) -> Any:
    """Return the component that ``given`` stands for.

    ``given`` is a name, a ``{name:, params:}`` mapping, or already an instance, which is returned
    as it is. ``params`` adds to the parameters of the mapping, and wins; ``text=True`` says that
    they come from a command line. Without a registry the default one is used.

    Raises: ParameterError, UnknownComponent, AmbiguousName or BrokenPluginError, with the path.
    """
    if not isinstance(given, str | Mapping):
        return _instance(kind, given, path, params)
    registry = registry or default_registry()
    name, inner = _name_and_params(kind, given, path)
    with located(path):
        class_ = registry.load(kind, name)
    inside = join_path(path, "params")
    values = structure_params(class_, inner, path=inside, name=name, registry=registry)
    extra = structure_params(
        class_, params or {}, path=inside, name=name, registry=registry, text=text
    )
    return construct(class_, {**values, **extra}, inside, name=name)


def construct(class_: type, values: Mapping[str, object], path: str, *, name: str = "") -> Any:
    """Call the class with converted values; what its validators refuse carries the path."""
    check_missing(class_, values, path, name=name)
    try:
        with located(path):
            return class_(**values)
    except WellposedError:
        raise
    except (ValueError, TypeError) as error:
        message = str(error.args[0]) if error.args else type(error).__name__
        quoted = _QUOTED.match(message)
        if quoted and quoted[1] in values:
            where = join_path(path, quoted[1])
            raise ParameterError(message, where=where, name=quoted[1]) from error
        label = name or class_.__name__
        raise ParameterError(f"{label} cannot be built: {message}", where=path) from error


def _instance(kind: str, given: object, path: str, params: Mapping[str, object] | None) -> object:
    bases = component_bases(kind)
    if given is None or isinstance(given, type) or (bases and not isinstance(given, bases)):
        hint = "; build it first" if isinstance(given, type) else ""
        raise ParameterError(
            f"expected {article(kind)}: its name, a mapping of 'name' and 'params', or an object;"
            f" got {shown(given)}{hint}",
            where=path,
        )
    if params:
        raise ParameterError(
            f"parameters ({', '.join(params)}) go with the name of {article(kind)}; got an object:"
            " change it with attrs.evolve instead",
            where=path,
        )
    return given


def _name_and_params(
    kind: str, given: str | Mapping[str, object], path: str
) -> tuple[str, Mapping[str, object]]:
    if isinstance(given, str):
        return given, {}
    for key in given:
        if key not in _KEYS:
            raise ParameterError(
                f"{article(kind)} is a mapping of 'name' and 'params'; got {key!r}."
                f"{suggestion(str(key), _KEYS)} Its parameters belong under 'params'",
                where=join_path(path, str(key)),
                name=str(key),
                choices=_KEYS,
            )
    name = given.get("name")
    if not isinstance(name, str):
        raise ParameterError(
            f"expected the name of {article(kind)}; got {shown(name)}",
            where=join_path(path, "name"),
        )
    params = given.get("params")
    # an empty `params:` in YAML is None; anything else that is no mapping is refused further on
    return name, {} if params is None else params  # type: ignore[return-value]


def _context(registry: Registry | None, *, text: bool) -> Context:
    def nested(kind: str, given: object) -> object:
        return build(registry, kind, given, path="")

    def record(class_: type, mapping: Mapping[Any, Any]) -> object:
        return construct(class_, structure_params(class_, mapping, path="", registry=registry), "")

    return Context(nested, record, text=text)


def _described(field: Field) -> str:
    doc = f" ({field.parameter.doc})" if field.parameter.doc else ""
    return f"'{field.name}': {field.parameter.type}{doc}"
