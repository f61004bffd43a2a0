"""From objects back to plain data: what `build` and `load_yaml` read, and provenance records."""

from __future__ import annotations

import enum
import numbers
import pathlib
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs
from wellposed.registry.conversion import component_kind
from wellposed.registry.errors import ParameterError, join_path
from wellposed.registry.lookup import Registry, default_registry
from wellposed.registry.scalars import shown

_FUNCTIONS: Final[dict[type, Callable[[Any], object]]] = {}


def register_unstructure(type_: type, function: Callable[[Any], object]) -> None:
    """Let instances of ``type_`` and its subclasses be written as ``function(instance)``.

    The result must be plain data, or made of what `unstructure` can write. Registering again
    replaces the function.
    """
    _FUNCTIONS[type_] = function


def unstructure(instance: object, *, registry: Registry | None = None, path: str = "") -> Any:
    """Return an object as plain data: components as ``{name:, params:}``, tuples as lists.

    All parameters are written, defaults too, so that the record keeps its meaning when a default
    changes. `build` restores the object.

    Raises: ParameterError, with the path, for an object that cannot be written.
    """
    for class_ in type(instance).__mro__:
        if class_ in _FUNCTIONS:
            result = _FUNCTIONS[class_](instance)
            return (
                result if result is instance else unstructure(result, registry=registry, path=path)
            )
    if isinstance(instance, enum.Enum):
        return unstructure(instance.value, registry=registry, path=path)
    if instance is None or isinstance(instance, bool | int | float | str):
        return _scalar(instance)
    if isinstance(instance, Mapping):
        return _entries(instance, registry, path)
    if isinstance(instance, list | tuple):
        return [
            unstructure(element, registry=registry, path=join_path(path, f"[{index}]"))
            for index, element in enumerate(instance)
        ]
    if isinstance(instance, set | frozenset):
        elements = [unstructure(element, registry=registry, path=path) for element in instance]
        return sorted(elements, key=repr)
    if isinstance(instance, pathlib.PurePath | complex):
        return str(instance).strip("()") if isinstance(instance, complex) else str(instance)
    if isinstance(instance, numbers.Real):  # NumPy scalars
        return int(instance) if isinstance(instance, numbers.Integral) else float(instance)
    return _object(instance, registry, path)


def _scalar(value: bool | int | float | str | None) -> object:
    """Return the value without a subclass such as numpy.float64, which YAML would not know."""
    for type_ in (bool, int, float, str):
        if isinstance(value, type_):
            return type_(value)
    return value


def _entries(mapping: Mapping[Any, object], registry: Registry | None, path: str) -> object:
    found = {}
    for key, value in mapping.items():
        if not isinstance(key, str):
            raise ParameterError(f"keys must be text; got {shown(key)}", where=path)
        found[str(key)] = unstructure(value, registry=registry, path=join_path(path, key))
    return found


def _object(instance: object, registry: Registry | None, path: str) -> object:
    registry = registry or default_registry()
    class_ = type(instance)
    spec = registry.spec_of(class_)
    if not attrs.has(class_) or (spec is None and component_kind(class_) is not None):
        raise ParameterError(
            f"a {class_.__name__} cannot be written as plain data: no plugin declares it as an"
            " attrs class; register_unstructure() teaches how",
            where=path,
        )
    inside = join_path(path, "params") if spec else path
    params = {}
    for field in attrs.fields(class_):
        if field.init and not field.metadata.get("hidden"):
            name = field.alias or field.name
            value = getattr(instance, field.name)
            params[name] = unstructure(value, registry=registry, path=join_path(inside, name))
    return {"name": registry.reference(spec), "params": params} if spec else params
