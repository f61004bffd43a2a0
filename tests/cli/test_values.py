"""What is typed on a command line, as plain data."""

from __future__ import annotations

import pytest
from wellposed.cli.values import component, operators, parameters, value_of, with_params
from wellposed.registry import ParameterError

MOTION = {"kernel": {"name": "motion", "params": {"length": 9, "angle": 30.5}}}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("3", 3),
        ("1e-3", 1e-3),
        ("true", True),
        ("on", "on"),
        ("010", 10),
        ("reflect", "reflect"),
        ("[1, 2]", [1, 2]),
        ("{name: motion}", {"name": "motion"}),
        ("", None),
        ("null", None),
        ("a: b: c", "a: b: c"),
        ("@file", "@file"),
        ("C:\\x.npy", "C:\\x.npy"),
    ],
)
def test_values(text, value):
    assert value_of(text) == value
    assert type(value_of(text)) is type(value)


@pytest.mark.parametrize(
    "texts",
    [
        ["kernel={name: motion, params: {length: 9, angle: 30.5}}"],
        ["kernel.name=motion", "kernel.params.length=9", "kernel.params.angle=30.5"],
        ["kernel=motion", "kernel.params.length=9", "kernel.params.angle=30.5"],
        ["kernel.params.length=9", "kernel=motion", "kernel.params.angle=30.5"],
        ["kernel={name: motion}", "kernel.params={length: 9}", "kernel.params.angle=30.5"],
    ],
)
def test_dots_lead_inside(texts):
    assert parameters(texts, "-p") == MOTION


def test_a_value_may_hold_an_equals_sign():
    assert parameters(["a=b=c"], "-p") == {"a": "b=c"}


@pytest.mark.parametrize(
    ("texts", "match"),
    [
        (["length"], r"-p expects key=value, as in -p max_steps=50; got 'length'"),
        (["=3"], "-p expects key=value"),
        (["a..b=3"], "-p expects key=value"),
        (["a=1", "a=2"], "-p a: is given twice"),
        (["a=1", "a.b=2"], r"-p a\.b: a already has the value 1"),
        (["a=[1, 2"], "-p a.*not valid YAML"),
        (["a={b: !!python/name:os.system x}"], "the tag .* is not allowed"),
    ],
)
def test_what_is_refused(texts, match):
    with pytest.raises(ParameterError, match=match):
        parameters(texts, "-p")


def test_components():
    assert component(None) is None
    assert component("tv") == "tv"
    assert component("{name: tv, params: {weight: 0.1}}") == {
        "name": "tv",
        "params": {"weight": 0.1},
    }


def test_one_operator():
    assert operators(["blur"], []) == "blur"
    assert operators(["blur"], ["kernel=motion"]) == {
        "name": "blur",
        "params": {"kernel": "motion"},
    }
    inline = "{name: blur, params: {boundary: zero}}"
    assert operators([inline], ["kernel=box"])["params"] == {"boundary": "zero", "kernel": "box"}


def test_several_operators():
    found = operators(["mask", "blur"], ["blur.kernel=motion", "0.missing=0.5"])
    assert found == [
        {"name": "mask", "params": {"missing": 0.5}},
        {"name": "blur", "params": {"kernel": "motion"}},
    ]
    twice = operators(["blur", "blur"], ["1.kernel=box"])
    assert twice == ["blur", {"name": "blur", "params": {"kernel": "box"}}]
    for texts in (["kernel=box"], ["blur=3"], ["resize.x=3"]):
        with pytest.raises(ParameterError, match=r"must start with one of their names \(mask\. or"):
            operators(["mask", "blur"], texts)
    with pytest.raises(ParameterError, match="with several operators, -p blur must start with"):
        operators(["blur", "blur"], ["blur.kernel=box"])


def test_adding_parameters():
    assert with_params("tv", {}, "prior") == "tv"
    assert with_params({"name": "tv", "params": None}, {"a": 1}, "prior")["params"] == {"a": 1}
    with pytest.raises(ParameterError, match=r"prior: parameters \(a\) but no name"):
        with_params(None, {"a": 1}, "prior")
    with pytest.raises(ParameterError, match="go with one component; got a list, in which each"):
        with_params(["blur"], {"a": 1}, "op")


def test_a_list_of_operators_as_yaml():
    assert operators(["[random_mask, {name: blur}]"], []) == ["random_mask", {"name": "blur"}]
    with pytest.raises(ParameterError, match="go with one component; got a list"):
        operators(["[random_mask, blur]"], ["missing=0.5"])
    with pytest.raises(ParameterError, match="--op is one list of operators, or given once"):
        operators(["[random_mask, blur]", "blur"], [])
