"""Objects to plain data, and back again."""

from __future__ import annotations

import enum
import pathlib
import pickle

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from wellposed.registry import (
    ParameterError,
    Registry,
    build,
    conversion,
    dump_yaml,
    load_yaml,
    param,
    plain,
    register_component_type,
    register_unstructure,
    unstructure,
)


class Prior:
    pass


class Mode(enum.Enum):
    FAST = "fast"


@attrs.frozen
class Window:
    width: int = 1


@attrs.frozen(kw_only=True)
class Tv(Prior):
    weight: float = param(0.1, doc="weight", nonfinite=True)
    size: tuple[int, ...] = param((1, 2), doc="size")
    window: Window = param(Window(), doc="window")
    inner: Prior | None = param(None, doc="inner prior")
    mode: Mode = param(Mode.FAST, doc="mode")
    where: pathlib.Path | None = param(None, doc="where")
    _own: complex = param(1 + 2j, doc="private, hence with an alias")
    secret: int = param(7, doc="", hidden=True)
    computed: int = attrs.field(default=3, init=False)


class Unregistered(Prior):
    pass


class Blob:
    pass


@pytest.fixture
def registry(manifest, spec, monkeypatch):
    monkeypatch.setattr(conversion, "_COMPONENTS", {})
    monkeypatch.setattr(plain, "_FUNCTIONS", {})
    register_component_type(Prior, "prior")
    return Registry([("acme", manifest(spec("prior", "tv", f"{__name__}:Tv")))])


def test_a_component_is_written_with_all_parameters(registry):
    assert unstructure(Tv(inner=Tv()), registry=registry)["name"] == "tv"
    params = unstructure(Tv(), registry=registry)["params"]
    assert params == {
        "weight": 0.1,
        "size": [1, 2],
        "window": {"width": 1},
        "inner": None,
        "mode": "fast",
        "where": None,
        "own": "1+2j",
    }


def test_a_clashing_name_is_written_in_full(registry, manifest, spec):
    tv = spec("prior", "tv", f"{__name__}:Tv")
    other = spec("prior", "tv", "other:Tv")
    both = Registry([("acme", manifest(tv, name="a")), ("bolt", manifest(other, name="b"))])
    assert unstructure(Tv(), registry=both)["name"] == "acme/tv"


TREES = st.builds(
    Tv,
    weight=st.floats(allow_nan=False),
    size=st.lists(st.integers()).map(tuple),
    window=st.builds(Window, st.integers()),
    where=st.none() | st.just(pathlib.Path("a/b")),
    inner=st.none() | st.builds(Tv, weight=st.floats(0, 1)),
)


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=50)
@given(TREES)
def test_objects_survive_the_round_trip_through_yaml(registry, tree):
    text = dump_yaml({"prior": unstructure(tree, registry=registry)})
    assert build(registry, "prior", load_yaml(text)["prior"], path="prior") == tree


class Real(float):
    pass


@pytest.mark.parametrize(
    ("value", "written"),
    [
        (None, None),
        (True, True),
        (Real(0.5), 0.5),
        ("x", "x"),
        ((1, (2.0, [3])), [1, [2.0, [3]]]),
        ({3, 1, 2}, [1, 2, 3]),
        ({"a": (1,)}, {"a": [1]}),
        (Mode.FAST, "fast"),
        (Window(3), {"width": 3}),
    ],
)
def test_plain_values(registry, value, written):
    result = unstructure(value, registry=registry)
    assert result == written
    assert type(result) is type(written)


def test_numpy_scalars(registry):
    numpy = pytest.importorskip("numpy")
    result = unstructure(
        [numpy.int64(3), numpy.float64(0.5), numpy.float32(0.5)], registry=registry
    )
    assert [type(v) for v in result] == [int, float, float]


def test_other_packages_can_teach_types(registry):
    register_unstructure(Blob, lambda blob: {"blob": (1, Mode.FAST)})

    class Sub(Blob):
        pass

    assert unstructure([Sub()], registry=registry) == [{"blob": [1, "fast"]}]
    register_unstructure(str, lambda text: text)
    assert unstructure("as it is", registry=registry) == "as it is"


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (
            {"a": [Blob()]},
            r"p.a\[0\]: a Blob cannot be written as plain data: no plugin declares it",
        ),
        (Unregistered(), "p: a Unregistered cannot be written as plain data"),
        (Tv(inner=Unregistered()), "p.params.inner: a Unregistered cannot be written"),
        (Window(Blob()), "p.width: a Blob cannot be written"),
        ({1: 2}, "p: keys must be text; got 1"),
    ],
)
def test_what_cannot_be_written(registry, value, text):
    with pytest.raises(ParameterError, match=f"^{text}"):
        unstructure(value, registry=registry, path="p")


def test_components_pickle():
    assert pickle.loads(pickle.dumps(Tv())) == Tv()
