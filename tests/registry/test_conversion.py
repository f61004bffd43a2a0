"""Conversion by annotation: containers, unions, literals, registered types, components."""

from __future__ import annotations

import collections
import collections.abc as abc
import dataclasses
import enum
import pickle
import re
import typing
from typing import Annotated, Any, Final, Literal, NewType, Optional, Protocol, TypeVar

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wellposed.registry import (
    BrokenPluginError,
    ParameterError,
    UnknownComponent,
    conversion,
    register_component_type,
    register_type,
)
from wellposed.registry.conversion import Context, component_bases, component_kind, convert
from wellposed.registry.errors import located
from wellposed.registry.params import Unresolved


class Prior:
    pass


class Smooth(Prior):
    pass


class Grid:
    """Stands for a tensor."""

    def __init__(self, rows):
        self.rows = rows


class Colour(enum.Enum):
    RED = "red"
    TWO = 2


@attrs.frozen
class Settings:
    size: int = 1


@dataclasses.dataclass
class Window:
    size: int = 1


class Level(enum.IntEnum):
    LOW = 1
    HIGH = 2


class Mode(str, enum.Enum):  # noqa: UP042
    SLOW = "slow"


class Named(typing.NamedTuple):
    size: int


class Sized(Protocol):
    def size(self) -> int: ...


Steps = NewType("Steps", int)
Bound = TypeVar("Bound", bound=float)
Free = TypeVar("Free")


def read_grid(value):
    if value == "worse":
        raise ParameterError("no grid")
    if value == "own":
        raise ParameterError("no grid", where="inside")
    if value == "text":
        raise UnknownComponent("expects a grid")
    return Grid([list(row) for row in value])


@pytest.fixture(autouse=True)
def extensions(monkeypatch):
    monkeypatch.setattr(conversion, "_TYPES", dict(conversion._TYPES))
    monkeypatch.setattr(conversion, "_COMPONENTS", dict(conversion._COMPONENTS))
    register_type(Grid, read_grid)
    register_component_type(Prior, "prior")


def build(kind, value):
    if value == "unknown":
        raise UnknownComponent(f"no {kind} named")
    if not isinstance(value, str):
        raise ParameterError("expected a prior")
    return Smooth() if value == "smooth" else Prior()


def record(class_, mapping):
    for key in mapping:
        if key != "size":
            raise ParameterError(f"no {key}", where=key)
    return class_(**mapping)


def to(annotation, value, **kw):
    with located("p"):
        return convert(value, annotation, Context(build, record, **kw))


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Any, "1", "1"),
        (object, [1], [1]),
        (type(None), None, None),
        (Optional[int], None, None),  # noqa: UP045
        (int | None, 2.0, 2),
        (float | None, "1e-3", 1e-3),
        (int | float, 2.0, 2.0),
        (int | float, 2, 2),
        (float | int, 2, 2),
        (int | float, "1e-3", 1e-3),
        (int | str, "3", "3"),
        (bool | int, 1, 1),
        (int | bool, True, True),
        (float | Literal["auto"], "auto", "auto"),
        (int | tuple[int, int], [1, 2], (1, 2)),
        (Literal["a", 1], 1, 1),
        (tuple, [1, "a"], (1, "a")),
        (tuple[()], [], ()),
        (tuple[int, ...], [1, 2.0], (1, 2)),
        (tuple[int, float], [1, 2], (1, 2.0)),
        (tuple[tuple[int, int], ...], [[1, 2], (3, 4)], ((1, 2), (3, 4))),
        (list[float], (1, "2"), [1.0, 2.0]),
        (list, (1, 2), [1, 2]),
        (typing.List[int], [1], [1]),  # noqa: UP006
        (typing.Tuple[int, ...], [1], (1,)),  # noqa: UP006
        (set[int], [1, 1], {1}),
        (frozenset[int], [1], frozenset({1})),
        (abc.Sequence[int], [1, 2], (1, 2)),
        (abc.Mapping[str, float], {"a": 1}, {"a": 1.0}),
        (dict, {"a": 1}, {"a": 1}),
        (dict[str, tuple[int, ...]], {"a": [1]}, {"a": (1,)}),
        (abc.Callable[[int], int], len, len),
        (type[int], bool, bool),
        (Colour, "red", Colour.RED),
        (Colour, 2, Colour.TWO),
        (Colour, Colour.RED, Colour.RED),
        (Annotated[int, "x"], 2.0, 2),
        (Final[int], 2.0, 2),
        (Steps, 2.0, 2),
        (Bound, 2, 2.0),
        (Free, "x", "x"),
        (Settings, {"size": 3}, Settings(3)),
        (Settings, Settings(2), Settings(2)),
        (Settings | None, {"size": 3}, Settings(3)),
        (Window, {"size": 3}, Window(3)),
        (Sized, "anything", "anything"),
        (Sized | int, 3, 3),
        (typing.Self, 1, 1),
    ],
)
def test_accepted(annotation, value, expected):
    result = to(annotation, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (type(None), 3, "p: expected NoneType (an object from Python); got 3 (int)"),
        (int | None, "3", "p: expected a whole number; got '3'"),
        (int | float, "fast", "p: expected int | float; got 'fast'"),
        (bool | str, 1, "p: expected bool | str; got 1 (int)"),
        (
            Literal["same", "valid"],
            "vaild",
            "p: expected one of 'same', 'valid'; got 'vaild'. Did you",
        ),
        (Literal[1], True, "p: expected one of 1; got True"),
        (tuple[int, ...], "12", "p: expected a list (tuple[int, ...]); got '12'"),
        (list[int], {"a": 1}, "p: expected a list (list[int]); got a dict of 1"),
        (tuple[int, int], [1], "p: expected a list of 2 (tuple[int, int]); got a list of 1"),
        (tuple[int, int], "12", "p: expected a list of 2 (tuple[int, int]); got '12'"),
        (tuple[int, int], {1, 2}, "p: expected a list of 2 (tuple[int, int]); got a set of 2"),
        (tuple[()], [1], "p: expected a list of 0"),
        (tuple[int, ...], [1, 1.5], "p[1]: expected a whole number; got 1.5"),
        (tuple[tuple[int, int], ...], [[1, 2], [3, "x"]], "p[1][1]: expected a whole number"),
        (list[float], [float("nan")], "p[0]: expected a finite number"),
        (dict[str, int], [1], "p: expected a mapping (dict[str, int]); got a list of 1"),
        (dict[str, int], {"a": "x"}, "p.a: expected a whole number; got 'x'"),
        (dict[str, int], {1: 1}, "p.1: expected text; got 1"),
        (dict[str, list[int]] | None, {"a": [1, "x"]}, "p.a[1]: expected a whole number"),
        (list[int] | str, [1, "x"], "p[1]: expected a whole number; got 'x'"),
        (abc.Callable[[int], int], "len", "p: expected a function, passed from Python; got 'len'"),
        (Colour, "RED", "p: expected one of 'red', 2; got 'RED'"),
        (Colour, 2.0, "p: expected one of 'red', 2; got 2.0"),
        (Settings, 3, "p: expected Settings (a mapping of its parameters); got 3"),
        (Settings | int, {"sise": 3}, "p.sise: no sise"),
        (enum.Enum, 3, "p: expected one of ; got 3"),
        (re.Pattern, "x", "p: expected Pattern (an object from Python); got 'x'"),
        (Prior, 3, "p: expected a prior"),
        (Smooth, "rough", "p: expected a Smooth; Prior is a prior, but not of that type"),
        (tuple[Prior, ...], ["smooth", "unknown"], "p[1]: no prior named"),
        (Prior | int | None, "unknown", "p: no prior named"),
        (Grid, "worse", "p: no grid"),
        (Grid, "own", "p.inside: no grid"),
        (Grid, "text", "p: expects a grid"),
        (Grid, 3, "p: 'int' object is not iterable"),
    ],
)
def test_refused(annotation, value, text):
    with pytest.raises((ParameterError, UnknownComponent), match=f"^{re.escape(text)}"):
        to(annotation, value)


def test_errors_keep_nothing_of_cattrs_and_pickle():
    class Local(Prior):
        pass

    with pytest.raises(ParameterError, match=r"^p\[1\]\.a: expected a prior") as caught:
        to(tuple[dict[str, Local], ...], [{}, {"a": 3}])
    again = pickle.loads(pickle.dumps(caught.value))
    assert str(again) == str(caught.value)
    assert caught.value.__context__ is None or caught.value.__suppress_context__
    assert not getattr(caught.value, "__notes__", ())


def test_other_errors_pass_through_unchanged():
    def fail(value):
        raise OSError("disk")

    register_type(Grid, fail)
    with pytest.raises(OSError, match=r"^disk$"):
        to(list[dict[str, Grid]], [{"a": 1}])


@pytest.mark.parametrize(
    ("annotation", "value", "expected"),
    [
        (Level, 2, Level.HIGH),
        (Mode, "slow", Mode.SLOW),
        (list[Mode], ["slow"], [Mode.SLOW]),
        (bytes, b"x", b"x"),
        (collections.deque, collections.deque([1]), collections.deque([1])),
        (abc.Mapping, {1: "a"}, {1: "a"}),
        (Named | None, None, None),
    ],
)
def test_what_cattrs_would_convert_by_calling_the_type(annotation, value, expected):
    result = to(annotation, value)
    assert result == expected
    assert type(result) is type(expected)


@pytest.mark.parametrize(
    ("annotation", "value", "text"),
    [
        (Level, 2.0, "p: expected one of 1, 2; got 2.0"),
        (Level, True, "p: expected one of 1, 2; got True"),
        (Mode, "Slow", "p: expected one of 'slow'; got 'Slow'. Did you mean 'slow'?"),
        (bytes, 3, "p: expected bytes (an object from Python); got 3"),
        (Named, "ab", "p: expected Named (an object from Python); got 'ab'"),
        (collections.deque[int], "12", "p: expected deque (an object from Python); got '12'"),
        (list[list[str]], [["a"], "bc"], "p[1]: expected a list (list[str]); got 'bc'"),
        (dict[int, dict[str, int]], {1: {"b": "x"}}, "p.1.b: expected a whole number"),
    ],
)
def test_what_cattrs_would_accept(annotation, value, text):
    with pytest.raises(ParameterError, match=f"^{re.escape(text)}"):
        to(annotation, value)


def test_nonfinite_reaches_into_containers():
    assert to(tuple[float, ...] | None, ["inf", 1], nonfinite=True) == (float("inf"), 1.0)


def test_registered_types_take_plain_values_and_keep_instances():
    grid = Grid([])
    assert to(Grid, grid) is to(Grid | None, grid) is grid
    assert to(Grid, [[1], [2]]).rows == [[1], [2]]
    assert to(Grid | float, 0.5) == 0.5
    assert to(dict[str, Grid], {"a": [[1]]})["a"].rows == [[1]]


def test_a_registered_generic_alias():
    register_type(list[Grid], lambda value: "special")
    assert to(list[Grid], [1]) == "special"


def test_components_are_built_by_name_or_kept():
    smooth = Smooth()
    assert to(Prior, smooth) is to(Prior | None, smooth) is smooth
    assert type(to(Prior, "smooth")) is type(to(Smooth | None, "smooth")) is Smooth
    assert to(Prior | None, None) is None
    assert [type(p) for p in to(tuple[Prior, ...], ["rough", smooth])] == [Prior, Smooth]


def test_component_types():
    class Special(Smooth):
        pass

    assert component_kind(Special) == "prior"
    register_component_type(Smooth, "kernel")
    assert component_kind(Special) == "kernel"
    assert component_kind(Prior) == "prior"
    assert component_kind(int) is component_kind("int") is None
    assert Smooth in component_bases("kernel") and Prior in component_bases("prior")
    register_component_type(Smooth, "kernel")
    with pytest.raises(
        ParameterError, match="Smooth already stands for the kind 'kernel'; got 'x'"
    ):
        register_component_type(Smooth, "x")


def test_an_unresolved_annotation_is_the_authors_fault():
    with pytest.raises(BrokenPluginError, match=r"^p: the annotation 'Kernel' cannot be resolved"):
        to(Unresolved("Kernel"), 3)


PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 9) | st.floats(-9, 9) | st.text(max_size=3),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner),
    max_leaves=6,
)
ANNOTATIONS = st.sampled_from(
    [
        int,
        float | None,
        tuple[int, ...],
        tuple[int, float] | str,
        dict[str, list[float]],
        Literal["a", 1, True],
        list[dict[str, int | bool]] | None,
    ]
)


@given(ANNOTATIONS, PLAIN)
def test_conversion_fails_cleanly_or_is_idempotent(annotation, value):
    try:
        once = to(annotation, value)
    except ParameterError as error:
        assert error.where.startswith("p")
        return
    twice = to(annotation, once)
    assert twice == once
    assert type(twice) is type(once)
