"""From names and parameters to objects, with the path in every error."""

from __future__ import annotations

import re
from typing import Annotated, Any

import attrs
import pytest
from wellposed.registry import (
    AmbiguousName,
    BrokenPluginError,
    ParameterError,
    Registry,
    UnknownComponent,
    build,
    building,
    check_missing,
    conversion,
    param,
    register_component_type,
    structure_params,
)


class Prior:
    pass


@attrs.frozen(kw_only=True)
class Noisy(Prior):
    sigma: float = param(0.1, doc="noise level", check=attrs.validators.gt(0))
    inner: Prior | None = param(None, doc="another prior")


@attrs.frozen(kw_only=True)
class Fista:
    step: float = param(doc="step length")
    prior: Prior = param(doc="regulariser")
    steps: int = param(10, doc="iterations")
    mode: str = param("plain", doc="mode", choices=("plain", "fast"))
    size: tuple[int, int] | None = param(None, doc="size")
    more: tuple[Prior, ...] = param((), doc="more priors")
    anything: Any = param(None, doc="anything")
    label: str | None = param(None, doc="label")
    bound: float = param(1.0, doc="bound", nonfinite=True)
    secret: int = param(0, doc="", hidden=True)


class ShapeTrouble(ParameterError):
    pass


class Fussy:
    def __init__(self, how: str = "", top: int = 1):
        if how == "value":
            raise ValueError("it is too large")
        if how == "type":
            raise TypeError
        if how == "shape":
            raise ShapeTrouble("wrong shape")
        if how == "other":
            raise OSError("disk")
        if top == 0:
            raise ValueError("'top' must be positive")


@pytest.fixture
def registry(manifest, spec, importable, monkeypatch):
    monkeypatch.setattr(conversion, "_COMPONENTS", {})
    register_component_type(Prior, "prior")
    here = __name__
    ours = [
        spec("solver", "fista", f"{here}:Fista"),
        spec("solver", "fussy", f"{here}:Fussy"),
        spec("prior", "noisy", f"{here}:Noisy"),
        spec("prior", "lost", "no_such_module:Prior", extras=["bm3d"]),
    ]
    twin = spec("prior", "twin", f"{here}:Noisy")
    return Registry(
        [
            ("wellposed", manifest(*ours)),
            ("acme", manifest(twin, name="a")),
            ("bolt", manifest(twin, name="b")),
        ]
    )


def fista(registry, **params):
    return build(registry, "solver", "fista", path="solver", params=params)


def test_by_name_by_mapping_and_by_object(registry):
    noisy = build(registry, "prior", "noisy", path="prior")
    assert noisy == Noisy()
    given = {"name": "noisy", "params": {"sigma": "1e-3"}}
    assert build(registry, "prior", given, path="prior") == Noisy(sigma=1e-3)
    assert build(registry, "prior", {"name": "noisy", "params": None}, path="") == noisy
    assert build(registry, "prior", {"name": "acme/twin"}, path="") == noisy
    assert build(registry, "prior", noisy, path="prior") is noisy


def test_separate_parameters_win_over_those_of_the_mapping(registry):
    given = {"name": "noisy", "params": {"sigma": 1, "inner": "noisy"}}
    built = build(registry, "prior", given, path="prior", params={"sigma": 2})
    assert built == Noisy(sigma=2.0, inner=Noisy())


def test_nested_components(registry):
    built = fista(
        registry,
        step=1,
        prior={"name": "noisy", "params": {"inner": "noisy"}},
        more=["noisy", Noisy(sigma=3.0)],
    )
    assert built.prior == Noisy(inner=Noisy())
    assert built.more == (Noisy(), Noisy(sigma=3.0))


NESTED = {"name": "noisy", "params": {"inner": {"name": "noisy", "params": {"sigma": "x"}}}}


@pytest.mark.parametrize(
    ("params", "text"),
    [
        (
            {"max_step": 1},
            "solver.params.max_step: fista has no parameter 'max_step'. Did you mean 'step' or"
            " 'steps'? Parameters: step, prior, steps, mode, size, more, anything, label, bound",
        ),
        ({"secret": 1}, "solver.params.secret: fista has no parameter 'secret'. Parameters: step,"),
        ({3: 1}, "solver.params.3: fista has no parameter '3'. Parameters:"),
        ({"steps": 1.5}, "solver.params.steps: expected a whole number; got 1.5 (float)"),
        ({"steps": True}, "solver.params.steps: expected a whole number; got True"),
        ({"size": [1, "x"]}, "solver.params.size[1]: expected a whole number; got 'x'"),
        ({"prior": "noisi"}, "solver.params.prior: no prior named 'noisi'. Did you mean 'noisy'?"),
        ({"prior": NESTED}, "solver.params.prior.params.inner.params.sigma: expected a number"),
        (
            {"more": ["noisy", {"name": "noisy", "params": {"sigma": -1}}]},
            "solver.params.more[1].params.sigma: 'sigma' must be > 0: -1.0",
        ),
        (
            {"prior": {"name": "noisy", "sigma": 1}},
            "solver.params.prior.sigma: a prior is a mapping of 'name' and 'params'; got 'sigma'.",
        ),
        (
            {"prior": {"name": "noisy", "parms": 1}},
            "solver.params.prior.parms: a prior is a mapping of 'name' and 'params'; got 'parms'.",
        ),
        ({"prior": {"name": 3}}, "solver.params.prior.name: expected the name of a prior; got 3"),
        ({"prior": {}}, "solver.params.prior.name: expected the name of a prior; got None"),
        (
            {"prior": {"name": "noisy", "params": [1]}},
            "solver.params.prior.params: expected a mapping of parameters of noisy; got a list",
        ),
        (
            {"prior": 3},
            "solver.params.prior: expected a prior: its name, a mapping of 'name' and 'params', or"
            " an object; got 3 (int)",
        ),
        ({"prior": None}, "solver.params.prior: expected a prior: its name"),
        ({"prior": Noisy}, "solver.params.prior: expected a prior: its name, a mapping of 'name'"),
        ({"prior": "twin"}, "solver.params.prior: 2 plugins declare a prior named 'twin'"),
        ({"prior": "lost"}, "solver.params.prior: prior 'lost' of wellposed cannot be loaded"),
        (
            {"mode": "fats"},
            "solver.params.mode: expected one of 'plain', 'fast'; got 'fats'. Did you",
        ),
        (
            {},
            "solver.params: fista needs 2 more parameters: 'step': float (step length); 'prior': P",
        ),
        ({"step": 1}, "solver.params: fista needs 1 more parameter: 'prior': Prior (regulariser)"),
    ],
)
def test_errors_start_with_the_path(registry, params, text):
    complete = params if not params or "step" in params else {"step": 1, "prior": "noisy", **params}
    errors = (ParameterError, UnknownComponent, AmbiguousName, BrokenPluginError)
    with pytest.raises(errors, match=f"^{re.escape(text)}"):
        fista(registry, **{}) if not complete else build(
            registry, "solver", "fista", path="solver", params=complete
        )


def test_errors_keep_the_name_and_the_choices(registry):
    with pytest.raises(ParameterError, match="max_step") as caught:
        fista(registry, max_step=1)
    assert (caught.value.where, caught.value.name) == ("solver.params.max_step", "max_step")
    assert "step" in caught.value.choices
    with pytest.raises(ParameterError, match="needs 2 more") as caught:
        fista(registry)
    assert caught.value.choices == ("step", "prior")


def test_a_class_instead_of_an_object(registry):
    with pytest.raises(ParameterError, match="got the class Noisy; build it first"):
        build(registry, "prior", Noisy, path="prior")


def test_an_object_of_another_kind(registry):
    with pytest.raises(
        ParameterError, match=r"^prior: expected a prior: .*; got an object of type Fussy"
    ):
        build(registry, "prior", Fussy(), path="prior")
    fussy = Fussy()
    assert build(registry, "solver", fussy, path="solver") is fussy  # no base class is known


def test_parameters_beside_an_object(registry):
    text = r"prior: parameters \(sigma\) go with the name of a prior; got an object: change it with"
    with pytest.raises(ParameterError, match=text):
        build(registry, "prior", Noisy(), path="prior", params={"sigma": 1})


@pytest.mark.parametrize(
    ("params", "class_", "text"),
    [
        ({"how": "value"}, ParameterError, "s.params: fussy cannot be built: it is too large"),
        ({"how": "type"}, ParameterError, "s.params: fussy cannot be built: TypeError"),
        ({"how": "shape"}, ShapeTrouble, "s.params: wrong shape"),
        ({"how": "other"}, OSError, "disk"),
        ({"top": 0}, ParameterError, "s.params.top: 'top' must be positive"),
    ],
)
def test_what_a_constructor_refuses(registry, params, class_, text):
    with pytest.raises(class_, match=f"^{text}$") as caught:
        build(registry, "solver", "fussy", path="s", params=params)
    assert type(caught.value) is class_


def test_structure_params_converts_without_building(registry):
    found = structure_params(Fista, {"step": "1e-3", "size": [3, 4.0]}, path="p")
    assert found == {"step": 1e-3, "size": (3, 4)}
    assert structure_params(Fista, {"bound": ".inf"}, path="p") == {"bound": float("inf")}
    assert structure_params(Fista, {}, path="p") == {}


def test_structure_params_leaves_out_what_the_caller_supplies():
    text = "p.step: 'step' of Fista is set automatically; leave it out. Parameters: prior,"
    with pytest.raises(ParameterError, match=f"^{re.escape(text)}"):
        structure_params(Fista, {"step": 1}, path="p", omit=("step",))


def test_structure_params_of_a_class_without_parameters():
    class Empty:
        pass

    with pytest.raises(ParameterError, match=r"^x: Empty has no parameter 'x'\. Parameters: none$"):
        structure_params(Empty, {"x": 1}, path="")


def test_check_missing_uses_the_name_it_is_given():
    with pytest.raises(ParameterError, match=r"^p: fista needs 1 more parameter: 'step'"):
        check_missing(Fista, {"prior": None}, "p", name="fista")
    check_missing(Fista, {"prior": None, "step": None}, "p")


@pytest.mark.parametrize(
    ("key", "typed", "value"),
    [
        ("step", "1e-3", 1e-3),
        ("step", "2", 2.0),
        ("steps", "7", 7),
        ("size", "[3, 4]", (3, 4)),
        ("size", "null", None),
        ("size", "", None),
        ("label", "1.0", "1.0"),
        ("label", "on", "on"),
        ("label", "null", None),
        ("label", "'null'", "null"),
        ("label", "a: b: c", "a: b: c"),
        ("label", "*x", "*x"),
        ("mode", "fast", "fast"),
        ("anything", "true", True),
        ("anything", "{a: [1]}", {"a": [1]}),
        ("prior", "noisy", Noisy()),
        ("prior", "{name: noisy, params: {sigma: 1e-2}}", Noisy(sigma=1e-2)),
        ("more", "[noisy]", (Noisy(),)),
    ],
)
def test_values_typed_on_a_command_line(registry, key, typed, value):
    found = structure_params(Fista, {key: typed}, path="p", text=True, registry=registry)
    assert found == {key: value}
    assert type(found[key]) is type(value)


@pytest.mark.parametrize(
    ("key", "typed", "text"),
    [
        ("steps", "1.5", r"p.steps: expected a whole number; got 1.5 \(float\)"),
        ("steps", "seven", "p.steps: expected a whole number; got 'seven'"),
        ("steps", "true", "p.steps: expected a whole number; got True"),
        ("size", "[1, 2", r"p.size: expected a list of 2 \(tuple\[int, int\]\); got '\[1, 2'"),
    ],
)
def test_what_cannot_be_typed(key, typed, text):
    with pytest.raises(ParameterError, match=f"^{text}"):
        structure_params(Fista, {key: typed}, path="p", text=True)


def test_text_is_parsed_only_where_it_was_typed(registry):
    given = {"name": "noisy", "params": {"inner": "noisy"}}
    built = build(registry, "prior", given, path="p", params={"sigma": "0.5"}, text=True)
    assert built == Noisy(sigma=0.5, inner=Noisy())
    with pytest.raises(ParameterError, match="expected a list of 2"):
        structure_params(Fista, {"size": "[1, 2]"}, path="p")


def test_without_a_registry_the_default_one_is_used(registry, monkeypatch):
    monkeypatch.setattr(building, "default_registry", lambda: registry)
    assert build(None, "prior", "noisy", path="") == Noisy()
    assert structure_params(Fista, {"prior": "noisy"}, path="") == {"prior": Noisy()}


@attrs.frozen
class Window:
    width: int
    inner: Prior | None = None


@attrs.frozen
class Framed:
    window: Window


def test_records_inside_parameters(registry):
    given = {"window": {"width": 2.0, "inner": "noisy"}}
    found = structure_params(Framed, given, path="p", registry=registry)
    assert found == {"window": Window(2, Noisy())}
    with pytest.raises(ParameterError, match=r"^p\.window\.widht: Window has no parameter 'widht'"):
        structure_params(Framed, {"window": {"widht": 2}}, path="p")
    with pytest.raises(ParameterError, match=r"^p\.window: Window needs 1 more parameter: 'width'"):
        structure_params(Framed, {"window": {}}, path="p")


@attrs.frozen
class Tree:
    size: Annotated[int, {"not": "hashable"}]
    label: str = ""
    converter: int = 0
    branches: tuple[Tree, ...] = ()


def test_records_that_hold_their_own_kind():
    given = {"branches": [{"size": 1}, {"size": 2, "branches": [{"size": "x"}]}]}
    text = r"^p\.branches\[1\]\.branches\[0\]\.size: expected a whole number; got 'x'$"
    with pytest.raises(ParameterError, match=text):
        structure_params(Tree, given, path="p")
    given["branches"].pop()
    found = structure_params(Tree, {**given, "label": "a", "converter": 3.0}, path="p")
    assert found == {"branches": (Tree(1),), "label": "a", "converter": 3}
