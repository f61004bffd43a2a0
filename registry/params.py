"""Parameters of a component: `param` declares one, `schema_of` lists those of a class."""

from __future__ import annotations

import dataclasses
import inspect
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import attrs
from wellposed.registry.errors import BrokenPluginError, ParameterError, suggestion

REQUIRED: Final = attrs.NOTHING


@attrs.frozen
class _Computed:
    """Stands for a default that is computed when the object is built."""

    def __repr__(self) -> str:
        return "<computed>"


COMPUTED: Final = _Computed()


@attrs.frozen
class Unresolved:
    """An annotation that names something which cannot be found."""

    text: str


@attrs.frozen
class Parameter:
    """One parameter of a component, for help texts, tables and forms."""

    name: str
    type: str
    default: object
    required: bool
    doc: str = ""
    unit: str = ""
    choices: tuple[object, ...] = ()


@attrs.frozen(eq=False)
class Field:
    """A parameter together with the type that its values are converted to."""

    parameter: Parameter
    annotation: Any
    nonfinite: bool = False

    @property
    def name(self) -> str:
        """Return the name under which the constructor takes it."""
        return self.parameter.name


@attrs.frozen
class _OneOf:
    """Validator of ``choices``; a class, so that it pickles and prints."""

    choices: tuple[object, ...]

    def __call__(self, _: object, attribute: attrs.Attribute[Any], value: object) -> None:
        if any(type(value) is type(choice) and value == choice for choice in self.choices):
            return
        names = [str(choice) for choice in self.choices]
        hint = suggestion(value, names) if isinstance(value, str) else ""
        options = ", ".join(repr(choice) for choice in self.choices)
        got = repr(value) if isinstance(value, str | int | float | None) else type(value).__name__
        raise ParameterError(
            f"expected one of {options}; got {got}.{hint}",
            where=attribute.alias or attribute.name,
            name=attribute.name,
            choices=names,
        )


def param(
    default: Any = REQUIRED,
    *,
    doc: str,
    unit: str = "",
    check: Callable[..., Any] | Sequence[Callable[..., Any]] | None = None,
    choices: Sequence[object] | None = None,
    converter: Callable[[Any], Any] | None = None,
    factory: Callable[[], Any] | None = None,
    repr: bool | Callable[[Any], str] = True,
    hidden: bool = False,
    nonfinite: bool = False,
    metadata: Mapping[str, object] | None = None,
    **options: Any,
) -> Any:
    """Declare a documented field of an attrs class: the only text about it, shown wherever it is.

    ``check`` is one or more attrs validators (``attrs.validators.gt(0)``); ``choices`` lists the
    allowed values (None is allowed too where it is the default). A configuration may give what the
    ``converter`` accepts if its argument is annotated, else the type of the field. ``hidden``
    fields are neither shown nor accepted from a configuration; ``nonfinite`` allows NaN and
    infinity. Other keywords go to ``attrs.field``.
    """
    if not doc.strip() and not hidden:
        raise ParameterError("param() needs a text: doc='what it means and how to choose it'")
    validators = [] if check is None else [check] if callable(check) else list(check)
    if choices is not None:
        choices = tuple(choices)
        allowed = (*choices, None) if default is None else choices
        validators.insert(0, _OneOf(allowed))
    details = {
        **(metadata or {}),
        "doc": doc,
        "unit": unit,
        "choices": choices or (),
        "hidden": hidden,
        "nonfinite": nonfinite,
    }
    if factory is not None:
        options["factory"] = factory
    return attrs.field(
        default=default,
        validator=validators or None,
        converter=converter,
        repr=repr,
        metadata=details,
        **options,
    )


def schema_of(class_: type) -> tuple[Parameter, ...]:
    """Return the parameters of a class, in the order of its fields.

    attrs classes give their fields; other classes (networks) the arguments of their constructor.
    """
    return tuple(field.parameter for field in fields_of(class_))


def fields_of(class_: type) -> tuple[Field, ...]:
    """Return the parameters of a class with their resolved types."""
    if attrs.has(class_):
        hints = _hints(class_)
        shown = (a for a in attrs.fields(class_) if a.init and not a.metadata.get("hidden"))
        return tuple(_attrs_field(a, hints.get(a.name, a.type or Any)) for a in shown)
    return _signature_fields(class_)


def type_name(annotation: object) -> str:
    """Return a type as a reader would write it: ``tuple[int, int] | None``, ``Tensor``."""
    if isinstance(annotation, Unresolved | str):
        return annotation if isinstance(annotation, str) else annotation.text
    if annotation is None or annotation is type(None):
        return "None"
    if annotation is Ellipsis:
        return "..."
    origin, arguments = typing.get_origin(annotation), typing.get_args(annotation)
    if origin is typing.Annotated:
        return type_name(arguments[0])
    if origin in (typing.Union, types.UnionType):
        return " | ".join(type_name(argument) for argument in arguments)
    if origin is typing.Literal:
        return " | ".join(repr(argument) for argument in arguments)
    name = getattr(origin or annotation, "__name__", None) or str(annotation)
    if not arguments:
        return name
    inner = [type_name(a) if not isinstance(a, list) else "..." for a in arguments]
    return f"{name}[{', '.join(inner)}]"


def _attrs_field(attribute: attrs.Attribute[Any], annotation: object) -> Field:
    if attribute.converter is not None:
        annotation = _converter_input(attribute.converter, annotation)
    default = attribute.default
    if isinstance(default, attrs.Factory):  # type: ignore[arg-type]  # a class, typed as a function
        default = COMPUTED
    details = attribute.metadata
    parameter = Parameter(
        name=attribute.alias or attribute.name,
        type=type_name(annotation),
        default=default,
        required=default is REQUIRED,
        doc=details.get("doc", ""),
        unit=details.get("unit", ""),
        choices=tuple(details.get("choices", ())) or _literals(annotation),
    )
    return Field(parameter, annotation, bool(details.get("nonfinite")))


def _signature_fields(class_: type) -> tuple[Field, ...]:
    try:
        arguments = inspect.signature(class_).parameters.values()
    except (ValueError, TypeError):  # some classes written in C have none
        return ()
    constructor = class_.__init__  # type: ignore[misc]  # only read for its annotations
    hints = _hints(class_ if dataclasses.is_dataclass(class_) else constructor)
    fields = []
    for argument in arguments:
        if argument.kind not in (argument.POSITIONAL_OR_KEYWORD, argument.KEYWORD_ONLY):
            continue
        annotation = hints.get(argument.name, Any)
        required = argument.default is argument.empty
        default = REQUIRED if required else argument.default
        parameter = Parameter(
            argument.name, type_name(annotation), default, required, choices=_literals(annotation)
        )
        fields.append(Field(parameter, annotation))
    return tuple(fields)


def _literals(annotation: object) -> tuple[object, ...]:
    """Return the values that a Literal allows, also inside ``Literal[...] | None``."""
    if typing.get_origin(annotation) is typing.Literal:
        return typing.get_args(annotation)
    if typing.get_origin(annotation) in (typing.Union, types.UnionType):
        members = [a for a in typing.get_args(annotation) if a is not type(None)]
        if len(members) == 1:
            return _literals(members[0])
    return ()


def _converter_input(converter: Any, fallback: object) -> Any:
    """Return the annotated type of what a converter takes; if it does not say, the fallback."""
    function = getattr(converter, "converter", converter)  # of an attrs.Converter
    try:
        first = next(iter(inspect.signature(function).parameters))
    except (ValueError, TypeError, StopIteration):
        return fallback
    return _hints(function).get(first, fallback)


def _hints(owner: Any) -> dict[str, Any]:
    """Resolve all annotations; those that cannot be are marked, and the others still work."""
    try:
        return typing.get_type_hints(owner)
    except Exception:
        found: dict[str, Any] = {}
        for part in reversed(inspect.getmro(owner)) if isinstance(owner, type) else (owner,):
            module = sys.modules.get(getattr(part, "__module__", ""))
            names = dict(vars(module)) if module else {}
            for name, annotation in inspect.get_annotations(part).items():
                found[name] = _resolve(annotation, names)
        return found


def _resolve(annotation: object, names: dict[str, Any]) -> Any:
    if not isinstance(annotation, str):
        return annotation
    holder = types.SimpleNamespace(__annotations__={"it": annotation})
    try:
        return typing.get_type_hints(holder, globalns=names)["it"]
    except Exception:
        return Unresolved(annotation)


def unresolved_error(annotation: Unresolved, where: str) -> BrokenPluginError:
    """Return the error for a value whose type is unknown; the author of the class must act."""
    return BrokenPluginError(
        f"the annotation '{annotation.text}' cannot be resolved; its author must import that name"
        " when the module runs, not only under TYPE_CHECKING",
        where=where,
    )
