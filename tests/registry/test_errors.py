"""The exception family: fields, paths, pickling, suggestions."""

from __future__ import annotations

import copy
import pickle

import pytest
from wellposed.registry.errors import (
    AmbiguousName,
    BrokenPluginError,
    ParameterError,
    UnknownComponent,
    WellposedError,
    close_names,
    join_path,
    located,
    suggestion,
)

ERRORS = [
    WellposedError("text", where="a.b"),
    ParameterError("text", where="a.b", name="b", choices=["c", "d"]),
    UnknownComponent(
        "text", where="a", kind="prior", name="tw", suggestions=["tv"], available=["tv", "l1"]
    ),
    AmbiguousName("text", kind="prior", name="tv", candidates=["x/tv", "y/tv"]),
    BrokenPluginError("text", where="a", plugin="acme", target="m:C", install="pip install x"),
]


@pytest.mark.parametrize("error", ERRORS, ids=lambda e: type(e).__name__)
@pytest.mark.parametrize(
    "clone", [copy.copy, copy.deepcopy, lambda e: pickle.loads(pickle.dumps(e))]
)
def test_errors_survive_pickling_with_their_fields(error, clone):
    twin = clone(error)
    assert type(twin) is type(error)
    assert str(twin) == str(error)
    for name in ("message", "where", "name", "kind", "choices", "candidates", "install", "target"):
        assert getattr(twin, name, None) == getattr(error, name, None)


@pytest.mark.parametrize(
    ("class_", "base"),
    [
        (ParameterError, ValueError),
        (UnknownComponent, LookupError),
        (AmbiguousName, LookupError),
        (BrokenPluginError, ImportError),
    ],
)
def test_errors_are_also_of_the_builtin_type_that_users_catch(class_, base):
    assert issubclass(class_, WellposedError)
    assert issubclass(class_, base)
    assert str(class_("just text")) == "just text"  # no quotes added, as KeyError would


@pytest.mark.parametrize(
    ("head", "tail", "joined"),
    [
        ("", "", ""),
        ("a", "", "a"),
        ("", "b", "b"),
        ("a", "b", "a.b"),
        ("a", "[0]", "a[0]"),
        ("", "[0]", "[0]"),
    ],
)
def test_join_path(head, tail, joined):
    assert join_path(head, tail) == joined


def test_located_extends_the_path_and_keeps_type_and_cause():
    with pytest.raises(UnknownComponent, match=r"^solver\.params\.prior: text$") as caught:
        with located("solver"), located("params"):
            raise UnknownComponent("text", where="prior") from KeyError("cause")
    assert isinstance(caught.value.__cause__, KeyError)


def test_located_leaves_other_errors_alone():
    with pytest.raises(KeyError), located("solver"):
        raise KeyError("x")


def test_suggestions():
    assert suggestion("strided_blurr", ["strided_blur", "tv"]) == " Did you mean 'strided_blur'?"
    assert suggestion("max_step", ["step", "steps"]) == " Did you mean 'step' or 'steps'?"
    assert suggestion("BLUR", ["blur"]) == " Did you mean 'blur'?"
    assert suggestion("zzz", ["blur"]) == ""
    assert close_names("x", []) == ()
