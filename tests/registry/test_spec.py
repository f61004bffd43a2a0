"""What a spec accepts, and the names of kinds."""

from __future__ import annotations

import pickle
import re

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st
from wellposed.registry import KINDS, ComponentSpec, Example, ParameterError, PluginInfo
from wellposed.registry.spec import article, noun

GOOD = {
    "kind": "operator",
    "name": "blur",
    "target": "acme.blur:Blur",
    "summary": "A blur.",
    "source": "",
}


def test_a_spec_holds_strings_and_knows_its_plugin():
    spec = ComponentSpec(**GOOD, tags=["fast"], extras=("fft",))
    assert spec.tags == ("fast",)
    assert (spec.dist, spec.version, spec.seconds, spec.qualified) == ("", "", 0.0, "blur")
    spec = attrs.evolve(spec, plugin=PluginInfo("acme", "1.2", "main", "acme", 0.5))
    assert (spec.dist, spec.version, spec.seconds) == ("acme", "1.2", 0.5)
    assert spec.qualified == "acme/blur"
    assert pickle.loads(pickle.dumps(spec)) == spec


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        (
            "name",
            "Blur",
            "name must be lower case, as in 'strided_blur' ([a-z][a-z0-9_]*); got 'Blur'",
        ),
        ("name", "1blur", "name must be lower case"),
        ("name", "", "name must be lower case"),
        ("name", "blur\n", "name must be lower case"),
        ("name", None, "name must be lower case"),
        ("kind", "an operator", "kind must be lower case"),
        ("target", "acme.blur", "target must be a string of the form 'package.module:Name'"),
        ("target", "acme.blur:", "target must be a string"),
        ("target", "acme..blur:B", "target must be a string"),
        ("target", "acme:B()", "target must be a string"),
        ("target", int, "target must be a string"),
        ("summary", "", "summary must be one line of text; got ''"),
        ("summary", "two\nlines", "summary must be one line of text"),
        ("summary", 3, "summary must be one line of text"),
        ("source", None, "source must be text (the paper and equation, or '')"),
        ("tags", "fast", "tags must be a tuple of words, as in ('fast',); got 'fast'"),
        ("tags", (1,), "tags must be a tuple of words"),
        ("extras", ("",), "extras must be a tuple of words"),
    ],
)
def test_a_spec_refuses(field, value, message):
    with pytest.raises(ParameterError, match=re.escape(f"ComponentSpec: {message}")):
        ComponentSpec(**{**GOOD, field: value})


@pytest.mark.parametrize("field", ["kind", "name", "target"])
def test_an_example_refuses_the_same(field):
    with pytest.raises(ParameterError, match=f"Example: {field} must be"):
        Example(**{"kind": "prior", "name": "tv", "target": "a:f", field: "!"})


@given(st.from_regex(r"[a-z][a-z0-9_]*", fullmatch=True))
def test_all_plain_names_are_accepted(name):
    if name.isascii():
        assert ComponentSpec(**{**GOOD, "name": name, "kind": name}).name == name


@given(st.text(max_size=8).filter(lambda s: not re.fullmatch(r"[a-z][a-z0-9_]*", s, re.ASCII)))
def test_all_other_names_are_refused(name):
    with pytest.raises(ParameterError, match="name must be lower case"):
        ComponentSpec(**{**GOOD, "name": name})


def test_kinds_read_well():
    assert [article(kind) for kind in KINDS] == [
        "an operator",
        "a bilinear operator",
        "a kernel",
        "a prior",
        "a solver",
        "a network",
        "a noise model",
        "a condition",
    ]
    assert noun("sampler") == "sampler"
