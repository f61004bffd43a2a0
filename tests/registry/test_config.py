"""YAML in and out: YAML 1.2 scalars, safety, bounds, exact round trips."""

from __future__ import annotations

import math
import re
import time

import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st
from wellposed.registry import ParameterError, config, dump_yaml, load_yaml, parse_value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 1e-3),
        ("1E3", 1000.0),
        ("-.5", -0.5),
        ("5.", 5.0),
        ("010", 10),
        ("+7", 7),
        ("0x1F", 31),
        ("0o17", 15),
        ("0b1", "0b1"),
        ("1_000", "1_000"),
        ("1:30", "1:30"),
        ("on", "on"),
        ("off", "off"),
        ("yes", "yes"),
        ("No", "No"),
        ("y", "y"),
        ("true", True),
        ("False", False),
        ("tRue", "tRue"),
        ("null", None),
        ("~", None),
        ("", None),
        ("nuLL", "nuLL"),
        ("'1'", "1"),
        ('"true"', "true"),
        ("!!str 12", "12"),
        ("2024-01-01", "2024-01-01"),
        ("=", "="),
        (".inf", math.inf),
        ("-.INF", -math.inf),
        ("inf", "inf"),
        ("[1, [2, x]]", [1, [2, "x"]]),
        ("{a: {b: 1}}", {"a": {"b": 1}}),
        ("{<<: {a: 1}}", {"<<": {"a": 1}}),
        ("[&x [1], *x]", [[1], [1]]),
        ("| \n a\n b\n", "a\nb\n"),
        ("é", "é"),
    ],
)
def test_scalars_follow_yaml_1_2(text, value):
    result = parse_value(text)
    assert result == value
    assert type(result) is type(value)


def test_nan_is_read():
    assert math.isnan(parse_value(".nan"))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "a: !!python/object/apply:os.system [ls]",
            "line 1: the tag 'tag:yaml.org,2002:python/object",
        ),
        ("a: 1\nb: !!python/name:os.system", "line 2: the tag "),
        ("a: !mine {b: 1}", "line 1: the tag '!mine' is not allowed: only plain data is read"),
        ("a: !!binary aGk=", "line 1: the tag "),
        ("a: !!set {b}", "line 1: the tag "),
        ("a: !!float 3", "line 1: the tag "),
        ("a: 1\nb: 2\na: 3", "line 3: the key 'a' appears twice"),
        ("a: {b: 1, 'b': 2}", "line 1: the key 'b' appears twice"),
        ("1: 2", "line 1: a key must be text; got 1 (int): put it in quotes"),
        ("true: 2", "line 1: a key must be text; got True"),
        ("[a]: 2", "line 1: a key must be text; got a list of 1"),
        ("? {a: b}\n: 2", "line 1: a key must be text; got a dict of 1"),
        ("a: [1, 2", "line 1: not valid YAML: "),
        ("a: b: c", "line 1: not valid YAML: mapping values are not allowed here"),
        ("a: *nobody", "line 1: not valid YAML: found undefined alias"),
        ("a: &x [*x]", "line 1: lists and mappings are nested too deeply, or contain themselves"),
        ("a: 1\n---\nb: 2", "line 2: not valid YAML: but found another document"),
        ("%YAML 9.9\n---\na: 1", "line 1: not valid YAML: found incompatible YAML document"),
        ("a: 1\nb: \x07", "line 2: the character #x0007 is not allowed in YAML"),
        ('a: "\\UFFFFFFFF"', "not valid YAML: "),
        ("a: 1e999", "line 1: the number 1e999 is too large; infinity is written .inf"),
        ("a: " + "9" * 5000, "line 1: the number has too many digits"),
        ("a: " + "[" * 150 + "]" * 150, "line 1: lists and mappings are nested too deeply"),
        ("a: " + "[" * 5000, "lists and mappings are nested too deeply"),
        ("[1, 2]", "expected a mapping at the top; got a list of 2"),
        ("- a\n- b", "expected a mapping at the top; got a list of 2"),
        ("", "expected a mapping at the top; got nothing"),
        ("# only a comment", "expected a mapping at the top; got nothing"),
        ("'text'", "expected a mapping at the top; got 'text'"),
        ("a: " + "x" * 2**20, "the text is longer than 1048576 characters"),
    ],
)
def test_refused(text, message):
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}"):
        load_yaml(text)


def test_billion_laughs_end_early():
    lines = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [*a{i - 1}, *a{i - 1}]" for i in range(1, 60)]
    started = time.perf_counter()
    with pytest.raises(ParameterError, match="more than 100000 entries, aliases included"):
        load_yaml("\n".join(lines))
    assert time.perf_counter() - started < 5


def test_files(tmp_path, monkeypatch):
    file = tmp_path / "recipe.yaml"
    file.write_bytes(b"\xef\xbb\xbfa: 1\nb: {c: 1e-3}\n")
    expected = {"a": 1, "b": {"c": 1e-3}}
    assert load_yaml(file) == load_yaml(str(file)) == expected
    monkeypatch.chdir(tmp_path)
    assert load_yaml("recipe.yaml") == expected
    file.write_bytes(b"a: 1\na: 2\n")
    with pytest.raises(ParameterError, match=r"recipe\.yaml, line 2: the key 'a' appears twice"):
        load_yaml(file)


def test_files_that_cannot_be_read(tmp_path):
    with pytest.raises(ParameterError, match=r"^there is no file '.*nothing.yaml'$"):
        load_yaml(tmp_path / "nothing.yaml")
    with pytest.raises(
        ParameterError, match=r"^there is no file 'blur'; nor is this text a YAML map"
    ):
        load_yaml("blur")
    with pytest.raises(ParameterError, match="cannot be read: "):
        load_yaml(tmp_path)
    with pytest.raises(ParameterError, match="cannot be read: "):
        load_yaml("a\0b")
    file = tmp_path / "latin.yaml"
    file.write_bytes(b"a: 1\nb: \xe9\n")
    with pytest.raises(ParameterError, match=r"latin.yaml, line 2: the file is not UTF-8 text"):
        load_yaml(file)
    file.write_bytes(b"#" * (2**20 + 1))
    with pytest.raises(ParameterError, match=r"latin\.yaml: the file is larger than 1048576 bytes"):
        load_yaml(file)
    file.write_bytes(b"")
    with pytest.raises(
        ParameterError, match=r"latin\.yaml: expected a mapping at the top; got nothing"
    ):
        load_yaml(file)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        ([1], "expected a mapping at the top; got a list of 1"),
        ({1: 2}, "keys must be text; got 1"),
        ({"a": [{None: 2}]}, "a[0]: keys must be text; got None"),
        (
            {"a": [object()]},
            "a[0]: only plain data can be written; got an object of type object: unstr",
        ),
        ({"a": {1, 2}}, "a: only plain data can be written; got a set of 2"),
    ],
)
def test_what_cannot_be_written(data, message):
    with pytest.raises(ParameterError, match=f"^{re.escape(message)}"):
        dump_yaml(data)


def test_data_that_contains_itself():
    data = {"a": []}
    data["a"].append(data)
    with pytest.raises(ParameterError, match="nested too deeply, or contains itself"):
        dump_yaml(data)


def test_the_written_text_is_readable():
    shared = [3, 64, 64]
    data = {"op": {"name": "blur", "params": {"shape": shared, "again": shared, "z": (1.0,)}}}
    assert dump_yaml(data) == (
        "op:\n  name: blur\n  params:\n    shape: [3, 64, 64]\n"
        "    again: [3, 64, 64]\n    z: [1.0]\n"
    )
    assert dump_yaml({}) == "{}\n"


SCALARS = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False)
    | st.text(max_size=12)
    | st.from_regex(r"[-+.0-9eExo_:~#<= ]{1,8}", fullmatch=True)
    | st.sampled_from(
        "on off yes no true null ~ 1e-3 010 0o7 1_0 .inf <<  - ? : &a *a ! % @".split()
    )
)
KEYS = st.text(max_size=8) | st.sampled_from(["on", "1", "null", "a: b", "1e-3", "=", "<<"])
DATA = st.dictionaries(
    KEYS,
    st.recursive(
        SCALARS, lambda inner: st.lists(inner) | st.dictionaries(KEYS, inner), max_leaves=8
    ),
    max_size=4,
)


@given(DATA)
def test_round_trip_is_exact(data):
    assert same(load_yaml(dump_yaml(data)), data)


@given(DATA)
def test_other_readers_see_the_same_text(data):
    strings = {key: value for key, value in data.items() if isinstance(value, str)}
    assert yaml.safe_load(dump_yaml(strings)) == strings


def same(one, other):
    if type(one) is not type(other):
        return False
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return list(one) == list(other) and all(same(one[k], other[k]) for k in one)
    return one == other


@pytest.mark.parametrize(
    "value", [1e-300, 5e-324, 1.7976931348623157e308, 0.1, -0.0, 1e16, 123456.0]
)
def test_extreme_floats(value):
    result = load_yaml(dump_yaml({"x": value}))["x"]
    assert result == value
    assert math.copysign(1, result) == math.copysign(1, value)


def test_nonfinite_floats_and_tuples():
    result = load_yaml(dump_yaml({"x": (math.inf, -math.inf, math.nan)}))["x"]
    assert result[:2] == [math.inf, -math.inf]
    assert math.isnan(result[2])


@given(st.text(max_size=30))
def test_any_text_is_read_or_refused(text):
    try:
        parse_value(text)
    except ParameterError as error:
        assert str(error)


@pytest.mark.parametrize(
    ("text", "is_file"),
    [
        ("recipe.yaml", True),
        (r"C:\recipe.yaml", True),
        ("dir/recipe\n", True),
        ("a: 1", False),
        ("a:", False),
        ("{}", False),
        ("a\nb", False),
        ("", False),
    ],
)
def test_a_string_is_a_file_name_only_if_it_is_no_mapping(text, is_file):
    assert config._is_file_name(text) is is_file
