"""Plain values (from YAML, a command line or Python) to the annotated type of a parameter.

Only lossless conversions happen: ``"1e-3"`` is a float (PyYAML reads it as text), ``2.0`` is an
int, ``1.5`` and ``True`` are not. General structuring libraries convert by calling the type, where
``int(1.5)`` is 1 and ``bool("false")`` is True; that is why the rules are written out here.
"""

from __future__ import annotations

import collections.abc
import dataclasses
import enum
import types
import typing
from collections.abc import Callable
from typing import Any, Final

import attrs
from wellposed.registry.errors import ParameterError, WellposedError, suggestion
from wellposed.registry.params import Unresolved, type_name, unresolved_error
from wellposed.registry.scalars import SCALARS, Context
from wellposed.registry.spec import article

_TYPES: Final[dict[object, Callable[[Any, str], object]]] = {}
_COMPONENTS: Final[dict[type, str]] = {}


def register_type(type_: object, function: Callable[[Any, str], object]) -> None:
    """Let fields annotated with ``type_`` be given as plain values.

    ``function(value, path)`` returns the instance; ``path`` is for its error messages. Instances
    never get there. Registering again replaces the function.
    """
    _TYPES[type_] = function


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

    Raises: ParameterError, with the path, where that would lose or invent something.
    """
    annotation = _bare(annotation)
    if isinstance(annotation, Unresolved):
        raise unresolved_error(annotation, context.where)
    if annotation is Any or annotation is object:
        return value
    if annotation is None or annotation is type(None):
        if value is not None:
            raise context.error("None", value)
        return None
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin in (typing.Union, types.UnionType):
        return _union(value, annotation, context)
    if origin is typing.Literal:
        return _literal(value, arguments, context)
    if annotation in _TYPES or (origin or annotation) in _TYPES:
        return _registered(value, annotation, origin or annotation, context)
    if annotation in SCALARS:
        return SCALARS[annotation](value, context)
    return _structured(value, annotation, origin or annotation, arguments, context)


def _bare(annotation: Any) -> Any:
    """Strip Annotated, Final, NewType and a type variable's bound."""
    while True:
        origin = typing.get_origin(annotation)
        if origin is typing.Annotated or origin is typing.Final:
            annotation = typing.get_args(annotation)[0]
        elif isinstance(annotation, typing.NewType):
            annotation = annotation.__supertype__
        elif isinstance(annotation, typing.TypeVar):
            annotation = annotation.__bound__ or Any
        else:
            return annotation


def _structured(
    value: Any, annotation: Any, origin: Any, arguments: tuple[Any, ...], context: Context
) -> Any:
    if origin is tuple:
        return _tuple(value, annotation, arguments, context)
    if origin in _SEQUENCES:
        element = arguments[0] if arguments else Any
        return _SEQUENCES[origin](_elements(value, annotation, element, context))
    if origin in _MAPPINGS:
        return _mapping(value, annotation, arguments or (Any, Any), context)
    if origin is collections.abc.Callable:
        if not callable(value):
            raise context.error("a function, passed from Python", value)
        return value
    if not isinstance(origin, type):
        return value  # a form that says nothing at run time
    kind = component_kind(origin)
    if kind is not None:
        return _component(value, origin, kind, context)
    if issubclass(origin, enum.Enum):
        return _enum(value, origin, context)
    if isinstance(value, collections.abc.Mapping) and _is_record(origin):
        return context.structure(origin, value, context.where)
    return _instance(value, origin, context)


def _is_record(class_: type) -> bool:
    return attrs.has(class_) or dataclasses.is_dataclass(class_)


def _instance(value: Any, class_: type, context: Context) -> Any:
    try:
        fits = isinstance(value, class_)
    except TypeError:  # a Protocol that cannot be checked at run time
        return value
    if not fits:
        how = "a mapping of its parameters" if _is_record(class_) else "an object from Python"
        raise context.error(f"{class_.__name__} ({how})", value)
    return value


def _component(value: Any, class_: type, kind: str, context: Context) -> Any:
    if isinstance(value, class_):
        return value
    built = context.build(kind, value, context.where)
    if not isinstance(built, class_):
        raise ParameterError(
            f"expected a {class_.__name__}; {type(built).__name__} is {article(kind)}, but not"
            " of that type",
            where=context.where,
        )
    return built


def _registered(value: Any, annotation: Any, origin: Any, context: Context) -> Any:
    exactly = annotation in _TYPES
    by_class = annotation is origin or not exactly
    if by_class and isinstance(origin, type) and isinstance(value, origin):
        return value
    function = _TYPES[annotation if exactly else origin]
    try:
        return function(value, context.where)
    except WellposedError as error:
        if not str(error).startswith(context.where):
            error.where = context.where
        raise
    except (ValueError, TypeError) as error:
        raise ParameterError(str(error), where=context.where) from error


def _union(value: Any, annotation: Any, context: Context) -> Any:
    """Try the members that fit as they are, then the others in order.

    With one real member (``X | None``) its own error is raised; else the one that got furthest.
    """
    members = [_bare(member) for member in typing.get_args(annotation)]
    errors = []
    for member in sorted(members, key=lambda m: not _fits(value, m)):
        try:
            return convert(value, member, context)
        except WellposedError as error:
            if member is not type(None):
                errors.append(error)
    telling = [e for e in errors if not isinstance(e, ParameterError) or e.where != context.where]
    if len(errors) == 1 or telling:
        raise (telling or errors)[0]
    raise context.error(type_name(annotation), value)


def _fits(value: object, member: object) -> bool:
    if member in SCALARS or not isinstance(member, type):
        return type(value) is member
    try:
        return isinstance(value, member)
    except TypeError:  # a Protocol that cannot be checked at run time
        return False


def _literal(value: Any, options: tuple[Any, ...], context: Context) -> Any:
    for option in options:
        if type(option) is type(value) and option == value:
            return option
    names = [option for option in options if isinstance(option, str)]
    hint = suggestion(value, names) if isinstance(value, str) else ""
    listed = ", ".join(repr(option) for option in options)
    raise context.error(f"one of {listed}", value, f".{hint}" if hint else "")


def _enum(value: Any, class_: type[enum.Enum], context: Context) -> Any:
    for member in class_:
        if value is member or (type(value) is type(member.value) and value == member.value):
            return member
    listed = ", ".join(repr(member.value) for member in class_)
    raise context.error(f"one of {listed}", value)


def _elements(value: Any, annotation: Any, element: Any, context: Context) -> list[Any]:
    if not isinstance(value, list | tuple | set | frozenset):
        raise context.error(f"a list ({type_name(annotation)})", value)
    return [convert(v, element, context.at(f"[{i}]")) for i, v in enumerate(value)]


def _tuple(value: Any, annotation: Any, arguments: tuple[Any, ...], context: Context) -> Any:
    if not arguments and annotation is not tuple:
        arguments = ()  # tuple[()] has no elements; a bare tuple takes any
    elif not arguments or (len(arguments) == 2 and arguments[1] is Ellipsis):
        element = arguments[0] if arguments else Any
        return tuple(_elements(value, annotation, element, context))
    if not isinstance(value, list | tuple) or len(value) != len(arguments):
        raise context.error(f"a list of {len(arguments)} ({type_name(annotation)})", value)
    pairs = zip(value, arguments, strict=True)
    return tuple(convert(v, a, context.at(f"[{i}]")) for i, (v, a) in enumerate(pairs))


def _mapping(
    value: Any, annotation: Any, arguments: tuple[Any, ...], context: Context
) -> dict[Any, Any]:
    if not isinstance(value, collections.abc.Mapping):
        raise context.error(f"a mapping ({type_name(annotation)})", value)
    key_type, value_type = arguments
    found = {}
    for key, entry in value.items():
        inside = context.at(str(key))
        found[convert(key, key_type, inside)] = convert(entry, value_type, inside)
    return found


_SEQUENCES: Final[dict[Any, Callable[[list[Any]], Any]]] = {
    list: list,
    set: set,
    frozenset: frozenset,
    collections.abc.Sequence: tuple,
    collections.abc.Iterable: tuple,
    collections.abc.Collection: tuple,
    collections.abc.Set: frozenset,
}
_MAPPINGS: Final = (dict, collections.abc.Mapping, collections.abc.MutableMapping)
