"""Plain values (from YAML, a command line or Python) to the annotated type of a parameter.

cattrs goes through the annotations and notes the place of every error. What it is told here is to
convert without loss only: by itself it calls the type, where ``int(1.5)`` is 1 and
``bool("false")`` is True.
"""

from __future__ import annotations

import collections.abc
import contextlib
import dataclasses
import enum
import functools
import pathlib
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, Final

import attrs
from wellposed.registry.errors import (
    ParameterError,
    UnknownComponent,
    WellposedError,
    join_path,
    suggestion,
)
from wellposed.registry.params import Field, Unresolved, fields_of, type_name, unresolved_error
from wellposed.registry.scalars import SCALARS, refused
from wellposed.registry.spec import article

if TYPE_CHECKING:
    from cattrs import Converter
    from cattrs.errors import ForbiddenExtraKeysError

_TYPES: Final[dict[object, Callable[[Any], object]]] = {}
_COMPONENTS: Final[dict[type, str]] = {}


@attrs.frozen(eq=False)
class Context:
    """What the conversions need to know besides value and type.

    ``build(kind, value)`` makes a component, ``record(class, mapping)`` any other attrs class or
    dataclass. ``text`` says that the values of parameters were typed on a command line.
    """

    build: Callable[[str, Any], object]
    record: Callable[[type, Mapping[Any, Any]], object]
    text: bool = False
    nonfinite: bool = False


_CONTEXT: Final[ContextVar[Context]] = ContextVar("_CONTEXT")


def register_type(type_: object, function: Callable[[Any], object]) -> None:
    """Let fields annotated with ``type_`` be given as plain values.

    ``function(value)`` returns the instance; the place of the value is put in front of whatever
    error it raises. Instances never get there. Registering again replaces the function.
    """
    _TYPES[type_] = function
    _converter.cache_clear()


def register_component_type(base: type, kind: str) -> None:
    """Let fields annotated with ``base``, or a subclass, be given as the name of a component."""
    if _COMPONENTS.setdefault(base, kind) != kind:
        raise ParameterError(
            f"{base.__name__} already stands for the kind {_COMPONENTS[base]!r}; got {kind!r}"
        )


def component_kind(class_: object) -> str | None:
    """Return the kind of component that a class belongs to, by its nearest registered base."""
    mro = class_.__mro__ if isinstance(class_, type) else ()
    return next((_COMPONENTS[base] for base in mro if base in _COMPONENTS), None)


def component_bases(kind: str) -> tuple[type, ...]:
    """Return the base classes registered for a kind."""
    return tuple(base for base, its_kind in _COMPONENTS.items() if its_kind == kind)


def convert(value: Any, annotation: Any, context: Context) -> Any:
    """Return ``value`` as an instance of the annotated type.

    Raises: ParameterError, with the place inside the value, where that would lose or invent
        something.
    """
    from cattrs.errors import BaseValidationError

    token = _CONTEXT.set(context)
    try:
        return _converter().structure(value, annotation)
    except BaseValidationError as group:
        error = _first(group)
        raise error from error.__cause__
    finally:
        _CONTEXT.reset(token)


def convert_params(
    class_: type, mapping: Mapping[Any, Any], context: Context, *, name: str, omit: Sequence[str]
) -> dict[str, Any]:
    """Return the given parameters of a class, converted; messages call the class ``name``."""
    named = {str(key): value for key, value in mapping.items()}
    given = convert(named, _params_class(class_, name, tuple(omit)), context)
    return {key: getattr(given, key) for key in named}


class _Params:
    """Base of the classes that cattrs structures parameters into: no check, all optional."""


@functools.cache
def _params_class(class_: type, name: str, omit: tuple[str, ...]) -> Any:
    shown = [its for its in fields_of(class_) if its.name not in omit]
    field: Any = attrs.field  # its type is a class, as a rule
    attributes = {its.name: field(default=None, type=its) for its in shown}
    made: Any = attrs.make_class("Params", attributes, bases=(_Params,), eq=False)
    made.__source__ = name, omit
    return made


class _Slot:
    """Stands for the pair of an element of a fixed tuple and its type."""


@functools.cache
def _converter() -> Converter:
    from cattrs import Converter

    made = Converter(
        forbid_extra_keys=True,
        detailed_validation=True,
        structure_fallback_factory=lambda _: _plain,
    )
    for class_ in (str, bytes, int, float, pathlib.Path, enum.Enum):  # cattrs has its own, lossy
        made.register_structure_hook(class_, _plain)
    made.register_structure_hook(_Slot, lambda pair, _: made.structure(*pair))
    made.register_structure_hook_func(lambda t: isinstance(t, Field), _field)
    made.register_structure_hook_func(_is_union, _union)
    made.register_structure_hook_func(lambda t: _origin(t) is typing.Literal, _choice)
    made.register_structure_hook_factory(lambda t: _origin(t) in _SEQUENCES, _sequence)
    made.register_structure_hook_factory(lambda t: _origin(t) in _MAPPINGS, _mapping)
    made.register_structure_hook_func(_is_plain, _plain)
    return made


def _first(error: Exception) -> Exception:
    """Return the first error of those that cattrs grouped; its notes say where that is."""
    from cattrs.errors import AttributeValidationNote, BaseValidationError, ForbiddenExtraKeysError

    path = ""
    while isinstance(error, BaseValidationError):
        in_mapping, error = error.cl is dict, error.exceptions[0]
        if isinstance(error, ForbiddenExtraKeysError):
            error = _unknown(error)
            break
        note: Any = error.__notes__.pop()
        if isinstance(note, AttributeValidationNote):
            path = join_path(path, note.name)
        else:
            path = join_path(path, str(note.index) if in_mapping else f"[{note.index}]")
    if isinstance(error, WellposedError):
        error.where = join_path(path, error.where)
    return error


def _unknown(error: ForbiddenExtraKeysError) -> ParameterError:
    key = min(error.extra_fields)
    class_: Any = error.cl
    name, omit = class_.__source__
    names = [attribute.name for attribute in attrs.fields(class_)]
    if key in omit:
        text = f"'{key}' of {name} is set automatically; leave it out."
    else:
        text = f"{name} has no parameter '{key}'.{suggestion(key, names)}"
    text += f" Parameters: {', '.join(names) or 'none'}"
    return ParameterError(text, where=key, name=key, choices=names)


def _field(value: Any, field: Field) -> Any:
    """Convert the value of a parameter; what was typed as YAML, or if that fails, as text."""
    outer = _CONTEXT.get()
    context = attrs.evolve(outer, text=False, nonfinite=field.nonfinite)
    readings = [value]
    if outer.text and isinstance(value, str):
        from wellposed.registry.config import parse_value  # needs PyYAML

        with contextlib.suppress(ParameterError):
            parsed = parse_value(value)
            readings = [parsed] if isinstance(parsed, str) else [parsed, value]
    failures = []
    for reading in readings:
        try:
            return convert(reading, field.annotation, context)
        except WellposedError as error:
            failures.append(error)
    raise failures[0]


def _origin(annotation: Any) -> Any:
    return typing.get_origin(annotation) or annotation


def _is_plain(annotation: Any) -> bool:
    """Tell whether `_plain` converts to it, and not what cattrs has for it."""
    class_ = _origin(annotation)
    if annotation in _TYPES or class_ in _TYPES or isinstance(annotation, Unresolved):
        return True
    return isinstance(class_, type) and class_ not in _FORMS and not issubclass(class_, _Params)


def _plain(value: Any, annotation: Any) -> Any:
    """Convert to a class, or to a form that says nothing at run time."""
    context, class_ = _CONTEXT.get(), _origin(annotation)
    if isinstance(annotation, Unresolved):
        raise unresolved_error(annotation, "")
    if isinstance(annotation, typing.TypeVar):
        return convert(value, annotation.__bound__ or Any, context)
    if annotation in SCALARS and annotation not in _TYPES:
        return SCALARS[annotation](value, context.nonfinite)
    if annotation in _TYPES and annotation is not class_:  # list[X] says more than list
        return _registered(value, _TYPES[annotation])
    try:
        if isinstance(value, class_):
            return value
    except TypeError:  # no class, or a Protocol that cannot be checked at run time
        return value
    if class_ in _TYPES:
        return _registered(value, _TYPES[class_])
    kind = component_kind(class_)
    if kind is not None:
        return _component(value, class_, kind, context)
    if issubclass(class_, enum.Enum):
        return _choice(value, class_)
    is_record = attrs.has(class_) or dataclasses.is_dataclass(class_)
    if is_record and isinstance(value, Mapping):
        return context.record(class_, value)
    if class_ is collections.abc.Callable:
        raise refused("a function, passed from Python", value)
    how = "a mapping of its parameters" if is_record else "an object from Python"
    raise refused(f"{class_.__name__} ({how})", value)


def _registered(value: Any, function: Callable[[Any], object]) -> object:
    try:
        return function(value)
    except WellposedError as error:
        error.message = error.message.lstrip(" :")  # of a text that begins with the path
        raise
    except (ValueError, TypeError) as error:
        raise ParameterError(str(error)) from error


def _component(value: Any, class_: type, kind: str, context: Context) -> object:
    built = context.build(kind, value)
    if not isinstance(built, class_):
        raise ParameterError(
            f"expected a {class_.__name__}; {type(built).__name__} is {article(kind)}, but not"
            " of that type"
        )
    return built


def _is_union(annotation: Any) -> bool:
    """Tell whether there is more than one real member; cattrs does ``X | None``."""
    members = typing.get_args(annotation)
    is_optional = len(members) == 2 and type(None) in members
    return _origin(annotation) in (typing.Union, types.UnionType) and not is_optional


def _union(value: Any, annotation: Any) -> Any:
    """Try the member of just that type, then the others; raise the error that got furthest."""
    errors = []
    members = typing.get_args(annotation)
    for member in sorted(members, key=lambda m: type(value) is not m):
        try:
            return convert(value, member, _CONTEXT.get())
        except WellposedError as error:
            errors.append(error)
    # Where a measure could stand, text is no misspelt name.
    dull = (ParameterError, UnknownComponent) if float in members else ParameterError
    telling = (e for e in errors if e.where or not isinstance(e, dull))
    raise next(telling, refused(type_name(annotation), value))


def _choice(value: Any, annotation: Any) -> Any:
    """Return the member of an enumeration, or of a Literal, that the value stands for."""
    members = typing.get_args(annotation) or tuple(annotation)
    options = [getattr(member, "value", member) for member in members]
    for option, member in zip(options, members, strict=True):
        if value is member or (type(option) is type(value) and option == value):
            return member
    names = [option for option in options if isinstance(option, str)]
    hint = suggestion(value, names) if isinstance(value, str) else ""
    listed = ", ".join(repr(option) for option in options)
    raise refused(f"one of {listed}", value, f".{hint}" if hint else "")


def _sequence(annotation: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    from cattrs.cols import list_structure_factory

    origin, arguments = _origin(annotation), typing.get_args(annotation)
    is_fixed = (arguments or annotation == tuple[()]) and origin is tuple and ... not in arguments
    element = _Slot if is_fixed else arguments[0] if arguments else Any
    elements = list_structure_factory(list[element], converter)  # type: ignore[valid-type]

    def structure(value: Any, _: Any) -> Any:
        if is_fixed:
            if not isinstance(value, list | tuple) or len(value) != len(arguments):
                raise refused(f"a list of {len(arguments)} ({type_name(annotation)})", value)
            value = list(zip(value, arguments, strict=True))
        elif not isinstance(value, list | tuple | set | frozenset):
            raise refused(f"a list ({type_name(annotation)})", value)
        return _SEQUENCES[origin](elements(value, annotation))

    return structure


def _mapping(annotation: Any, converter: Converter) -> Callable[[Any, Any], Any]:
    from cattrs.gen import make_mapping_structure_fn

    entries = make_mapping_structure_fn(annotation, converter)

    def structure(value: Any, _: Any) -> Any:
        if not isinstance(value, Mapping):
            raise refused(f"a mapping ({type_name(annotation)})", value)
        return entries(value, annotation)

    return structure


_SEQUENCES: Final[dict[Any, Callable[[list[Any]], Any]]] = {
    list: list,
    tuple: tuple,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: tuple,
    collections.abc.Iterable: tuple,
    collections.abc.Collection: tuple,
    collections.abc.Set: frozenset,
}
_MAPPINGS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
_FORMS: Final = (*_SEQUENCES, *_MAPPINGS, Any, typing.Annotated, typing.Union, types.UnionType)
