"""Declaring parameters, and reading them off a class."""

from __future__ import annotations

import dataclasses
import functools
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal, Optional, Union

import attrs
import pytest
from wellposed.registry import BrokenPluginError, ParameterError, param, schema_of
from wellposed.registry.params import (
    COMPUTED,
    REQUIRED,
    Unresolved,
    fields_of,
    type_name,
    unresolved_error,
)

if TYPE_CHECKING:
    from fractions import Fraction


def as_pair(value: int | tuple[int, int]) -> tuple[int, int]:
    return (value, value) if isinstance(value, int) else value


def unannotated(value):
    return value


@attrs.frozen(kw_only=True)
class Base:
    size: tuple[int, int] = param(doc="rows and columns", unit="pixel", converter=as_pair)


@attrs.frozen(kw_only=True)
class Blur(Base):
    step: float = param(0.5, doc="step length", check=attrs.validators.gt(0))
    mode: str = param("same", doc="border", choices=("same", "valid"))
    way: str | None = param(None, doc="way", choices=["up", "down"])
    level: Literal[1, 2] = param(1, doc="level")
    names: list[str] = param(doc="names", factory=list)
    raw: float = param(1.0, doc="raw", converter=float)
    kept: int = param(1, doc="kept", converter=unannotated)
    secret: int = param(3, doc="", hidden=True)
    plain: int = 4
    _private: int = attrs.field(default=5, metadata={"doc": "a plain attrs field"})
    fixed: int = attrs.field(default=6, init=False)


def parameter(class_, name):
    return next(p for p in schema_of(class_) if p.name == name)


def test_the_schema_lists_what_may_be_given_in_order():
    names = "size step mode way level names raw kept plain private".split()
    assert [p.name for p in schema_of(Blur)] == names


def test_the_schema_holds_everything_a_help_text_needs():
    size = parameter(Blur, "size")
    assert (size.type, size.doc, size.unit) == (
        "int | tuple[int, int]",
        "rows and columns",
        "pixel",
    )
    assert size.required and size.default is REQUIRED
    step = parameter(Blur, "step")
    assert (step.type, step.default, step.required, step.choices) == ("float", 0.5, False, ())
    assert parameter(Blur, "mode").choices == ("same", "valid")
    assert parameter(Blur, "way").choices == ("up", "down")
    assert parameter(Blur, "level").choices == (1, 2)
    assert parameter(Blur, "names").default is COMPUTED
    assert repr(COMPUTED) == "<computed>"
    assert parameter(Blur, "raw").type == "float"
    assert parameter(Blur, "kept").type == "int"
    assert parameter(Blur, "private").doc == "a plain attrs field"


def test_param_makes_an_ordinary_attrs_field():
    blur = Blur(size=3)
    assert (blur.size, blur.mode, blur.names, blur.secret) == ((3, 3), "same", [], 3)
    assert attrs.evolve(blur, way="up").way == "up"
    with pytest.raises(ValueError, match="'step' must be > 0"):
        Blur(size=3, step=-1.0)


@pytest.mark.parametrize(
    ("kw", "text"),
    [
        (
            {"mode": "vaild"},
            "mode: expected one of 'same', 'valid'; got 'vaild'. Did you mean 'valid'",
        ),
        ({"mode": 3}, "mode: expected one of 'same', 'valid'; got 3."),
        ({"mode": [1]}, "mode: expected one of 'same', 'valid'; got list."),
        ({"way": "left"}, "way: expected one of 'up', 'down', None; got 'left'."),
    ],
)
def test_choices_are_checked(kw, text):
    with pytest.raises(ParameterError, match=text) as caught:
        Blur(size=3, **kw)
    assert caught.value.name in kw
    assert len(caught.value.choices) >= 2


def test_choices_distinguish_one_from_true():
    @attrs.frozen
    class Levels:
        level: Any = param(1, doc="level", choices=(1, 2))

    with pytest.raises(ParameterError, match="expected one of 1, 2; got True"):
        Levels(True)


def test_several_checks_and_other_options():
    checks = [attrs.validators.gt(0), attrs.validators.lt(5)]

    @attrs.frozen
    class Two:
        x: int = param(1, doc="x", check=checks, repr=False, metadata={"mine": 1}, alias="ex")

    assert repr(Two(ex=2)).endswith("Two()")
    assert attrs.fields(Two).x.metadata["mine"] == 1
    with pytest.raises(ValueError, match="'x' must be < 5"):
        Two(ex=7)


def test_a_parameter_needs_a_text():
    with pytest.raises(ParameterError, match="needs a text: doc='what it means"):
        param(3, doc=" ")


@dataclasses.dataclass
class Record:
    width: int
    height: Optional[int] = None  # noqa: UP045


class Network:
    def __init__(self, channels: int, depth: Literal["a", "b"] = "a", *args, flag=True, **kw):
        pass


def test_other_classes_give_the_arguments_of_their_constructor():
    shown = [(p.name, p.type, p.required) for p in schema_of(Network)]
    assert shown == [
        ("channels", "int", True),
        ("depth", "'a' | 'b'", False),
        ("flag", "Any", False),
    ]
    assert parameter(Network, "depth").choices == ("a", "b")
    shown = [(p.name, p.type, p.default) for p in schema_of(Record)]
    assert shown == [("width", "int", REQUIRED), ("height", "int | None", None)]
    assert schema_of(dict) == ()


@attrs.frozen
class Unfinished:
    ratio: Fraction
    step: float = 1.0
    typed: Any = attrs.field(default=1, type=None)


def test_an_annotation_that_cannot_be_resolved_spoils_only_itself():
    ratio, step, typed = fields_of(Unfinished)
    assert ratio.annotation == Unresolved("Fraction")
    assert (ratio.parameter.type, step.annotation, typed.annotation) == ("Fraction", float, Any)
    error = unresolved_error(ratio.annotation, "op.ratio")
    assert isinstance(error, BrokenPluginError)
    assert str(error).startswith(
        "op.ratio: the annotation 'Fraction' cannot be resolved; its author"
    )


def test_a_converter_that_says_nothing_leaves_the_type_of_the_field():
    @attrs.frozen
    class Odd:
        a: int = param(1, doc="a", converter=functools.partial(max, 1))
        b: int = param(1, doc="b", converter=attrs.converters.optional(int))
        c: int = param(1, doc="c", converter=functools.partial(unannotated))

    assert [f.annotation for f in fields_of(Odd)] == [int, int, int]


def test_resolved_and_unresolvable_annotations_mix():
    mixed = attrs.make_class("Mixed", {"a": attrs.field(), "b": attrs.field()})
    mixed.__annotations__ = {"a": int, "b": "NoSuchName"}
    assert [f.annotation for f in fields_of(mixed)] == [int, Unresolved("NoSuchName")]


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (int, "int"),
        (None, "None"),
        (Any, "Any"),
        (Path, "Path"),
        (Optional[float], "float | None"),  # noqa: UP045
        (Union[int, str], "int | str"),  # noqa: UP007
        (tuple[int, ...], "tuple[int, ...]"),
        (dict[str, list[float]], "dict[str, list[float]]"),
        (Annotated[int, "positive"], "int"),
        (Literal["a", 1], "'a' | 1"),
        (tuple[Literal["a"], None], "tuple['a', None]"),
        ("Unknown", "Unknown"),
        (Unresolved("X | None"), "X | None"),
    ],
)
def test_types_read_well(annotation, text):
    assert type_name(annotation) == text


def test_a_callable_reads_well():
    from collections.abc import Callable

    assert type_name(Callable[[int], str]) == "Callable[..., str]"
