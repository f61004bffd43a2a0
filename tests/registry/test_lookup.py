"""Names: own and foreign, ambiguous, unknown, broken; loading on first use."""

from __future__ import annotations

import re
import types

import pytest
from wellposed.registry import (
    AmbiguousName,
    BrokenPluginError,
    Example,
    Registry,
    UnknownComponent,
    default_registry,
    lookup,
)


@pytest.fixture
def registry(manifest, spec):
    """Return a registry with our names, clashes, a broken plugin and an unknown kind."""
    return Registry(
        [
            ("wellposed", manifest(spec(), spec(name="strided_blur"), spec("prior", "tv"))),
            ("acme", manifest(spec("prior", "tv"), spec("prior", "l1"), spec("solver", "go"))),
            ("bolt", manifest(spec("prior", "l1"), spec("sampler", "gibbs"), name="b")),
            ("coil", types.ModuleType("coil_manifest")),
        ]
    )


def test_specs_are_sorted_by_kind_and_name(registry):
    found = [(s.kind, s.qualified) for s in registry.specs()]
    assert found == [
        ("operator", "wellposed/blur"),
        ("operator", "wellposed/strided_blur"),
        ("prior", "acme/l1"),
        ("prior", "bolt/l1"),
        ("prior", "wellposed/tv"),
        ("prior", "acme/tv"),
        ("solver", "acme/go"),
        ("sampler", "bolt/gibbs"),
    ]
    assert [s.name for s in registry.specs("prior")] == ["l1", "l1", "tv", "tv"]
    assert [s.name for s in registry.specs("sampler")] == ["gibbs"]
    assert registry.specs("network") == ()


def test_warnings_stand_in_the_list(registry):
    notes = {s.qualified: s.note for s in registry.specs()}
    assert notes["acme/tv"] == "'tv' alone means wellposed's own: write acme/tv"
    assert notes["acme/l1"] == "'l1' is also declared by bolt: write acme/l1"
    assert notes["bolt/gibbs"] == "needs a newer wellposed"
    assert notes["wellposed/tv"] == notes["acme/go"] == ""


def test_our_names_are_reserved_and_the_others_reachable(registry):
    assert registry.spec("prior", "tv").dist == "wellposed"
    assert registry.spec("prior", "wellposed/tv").dist == "wellposed"
    assert registry.spec("prior", "acme/tv").dist == "acme"
    assert registry.spec("prior", "ACME/tv").dist == "acme"
    assert registry.spec("solver", "go").dist == "acme"


def test_references_lead_back(registry):
    for spec in registry.specs():
        assert registry.spec(spec.kind, registry.reference(spec)) == spec
    assert registry.reference(registry.spec("prior", "acme/l1")) == "acme/l1"
    assert registry.reference(registry.spec("solver", "go")) == "go"


def test_an_ambiguous_name_lists_both(registry):
    text = "2 plugins declare a prior named 'l1': write acme/l1 or bolt/l1"
    with pytest.raises(AmbiguousName, match=f"^{text}$") as caught:
        registry.spec("prior", "l1")
    assert caught.value.candidates == ("acme/l1", "bolt/l1")
    assert (caught.value.kind, caught.value.name) == ("prior", "l1")


@pytest.mark.parametrize(
    ("kind", "name", "text"),
    [
        (
            "operator",
            "strided_blurr",
            "no operator named 'strided_blurr'. Did you mean 'strided_blur'? Operators: blur,"
            " strided_blur (1 plugin failed to load: run `wellposed plugins`)",
        ),
        ("solver", "tv", "'tv' is a prior, not a solver. Solvers: go (1 plugin"),
        (
            "prior",
            "blur",
            "'blur' is an operator, not a prior. Priors: acme/l1, bolt/l1, tv, acme/tv",
        ),
        ("noise", "pink", "no noise model named 'pink'. Noise models: none installed (1 plugin"),
        ("bilinear", "x", "no bilinear operator named 'x'. Bilinear operators: none installed"),
        ("prior", "bolt/tv", "no prior named 'bolt/tv'. Did you mean"),
        ("prior", "", "no prior named ''. Priors:"),
    ],
)
def test_an_unknown_name(registry, kind, name, text):
    with pytest.raises(UnknownComponent, match=f"^{re.escape(text)}") as caught:
        registry.spec(kind, name)
    assert (caught.value.kind, caught.value.name) == (kind, name)


def test_an_unknown_name_without_broken_plugins():
    with pytest.raises(UnknownComponent, match=r"^no prior named 'tv'\. Priors: none installed$"):
        Registry().spec("prior", "tv")


def test_several_broken_plugins_are_counted():
    broken = [("a", types.ModuleType("a")), ("b", types.ModuleType("b"))]
    with pytest.raises(UnknownComponent, match=r"\(2 plugins failed to load: run"):
        Registry(broken).spec("prior", "tv")


@pytest.mark.parametrize("use", ["spec", "load", "examples"])
def test_an_unknown_kind(registry, use):
    text = "no kind of component is called 'solvers'. Did you mean 'solver'? Kinds: operator, "
    with pytest.raises(UnknownComponent, match=re.escape(text)):
        getattr(registry, use)("solvers", "go")
    with pytest.raises(UnknownComponent, match=re.escape(text)):
        registry.specs("solvers")


@pytest.mark.parametrize("name", ["coil/tv2", "coil", "coil_manifest"])
def test_a_component_of_a_broken_plugin_tells_why(registry, name):
    text = f"prior '{name}' is not available: plugin 'coil_manifest' of coil failed to load. it"
    with pytest.raises(BrokenPluginError, match=re.escape(text)) as caught:
        registry.load("prior", name)
    assert caught.value.plugin == "coil"


def test_a_misspelling_is_not_blamed_on_another_plugin_of_the_same_distribution(manifest, spec):
    broken = types.ModuleType("broken_part")
    registry = Registry([("acme", manifest(spec("prior", "tv"))), ("acme", broken)])
    with pytest.raises(UnknownComponent, match=r"no prior named 'acme/tvv'.*\(1 plugin failed"):
        registry.load("prior", "acme/tvv")


def one(manifest, spec, target, **kw):
    return Registry([("acme", manifest(spec("prior", "tv", target, **kw)))])


def test_load_imports_the_class(manifest, spec):
    from fractions import Fraction

    assert one(manifest, spec, "fractions:Fraction").load("prior", "tv") is Fraction


def test_load_reaches_a_nested_class(manifest, spec, importable):
    class Outer:
        class Inner:
            pass

    importable("acme_nested", Outer=Outer)
    assert one(manifest, spec, "acme_nested:Outer.Inner").load("prior", "tv") is Outer.Inner


def test_load_names_the_extra_to_install(manifest, spec):
    registry = one(manifest, spec, "no_such_acme:TV", extras=("bm3d", "fft"))
    text = (
        "prior 'tv' of acme cannot be loaded from 'no_such_acme:TV': ModuleNotFoundError: No module"
        " named 'no_such_acme'. Install what it needs: pip install acme[bm3d,fft]"
    )
    with pytest.raises(BrokenPluginError, match=f"^{re.escape(text)}$") as caught:
        registry.load("prior", "tv")
    assert caught.value.install == "pip install acme[bm3d,fft]"
    assert caught.value.target == "no_such_acme:TV"
    assert isinstance(caught.value.__cause__, ModuleNotFoundError)


@pytest.mark.parametrize(
    ("target", "text"),
    [
        ("fractions:Fractoin", "AttributeError: module 'fractions' has no attribute 'Fractoin'"),
        ("no_such_acme:TV", "No module named 'no_such_acme'$"),
        ("math:pi", "prior 'tv' of acme: 'math:pi' is of type float, not a class"),
    ],
)
def test_load_refuses_what_is_not_there(manifest, spec, target, text):
    with pytest.raises(BrokenPluginError, match=text):
        one(manifest, spec, target).load("prior", "tv")


@pytest.mark.parametrize("code", ["raise SystemExit", "raise ValueError('boom')"])
def test_load_survives_code_that_fails_at_import(manifest, spec, tmp_path, monkeypatch, code):
    (tmp_path / "acme_fails_at_import.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    name = code.split()[1].partition("(")[0]
    with pytest.raises(BrokenPluginError, match=f"{name}.*acme_fails_at_import.py, line 1"):
        one(manifest, spec, "acme_fails_at_import:TV").load("prior", "tv")


def test_load_lets_ctrl_c_through(manifest, spec, tmp_path, monkeypatch):
    (tmp_path / "acme_interrupted.py").write_text("raise KeyboardInterrupt")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        one(manifest, spec, "acme_interrupted:TV").load("prior", "tv")


def test_load_of_an_unknown_kind(registry):
    text = "sampler 'gibbs' of bolt needs a newer wellposed: this one knows no components of kind"
    with pytest.raises(BrokenPluginError, match=text):
        registry.load("sampler", "gibbs")


def test_examples_belong_to_their_component(manifest, spec, importable):
    importable("acme_examples", good=lambda: [1, 2], odd=3)
    examples = [
        Example("prior", "tv", "acme_examples:good"),
        Example("prior", "l1", "acme_examples:odd"),
        Example("prior", "tv", "no_such_acme:f"),
    ]
    acme = manifest(spec("prior", "tv"), spec("prior", "l1"), examples=examples)
    registry = Registry([("acme", acme), ("bolt", manifest(spec("prior", "l1"), name="b"))])
    assert registry.examples("prior", "bolt/l1") == ()
    good, lost = registry.examples("prior", "tv")
    assert registry.load_example(good) == [1, 2]
    assert good.plugin.dist == "acme"
    with pytest.raises(BrokenPluginError, match="example of prior 'tv' of acme cannot be loaded"):
        registry.load_example(lost)
    (odd,) = registry.examples("prior", "acme/l1")
    with pytest.raises(
        BrokenPluginError, match="'acme_examples:odd' is of type int, not a function"
    ):
        registry.load_example(odd)


def test_spec_of_finds_the_component_of_a_class(manifest, spec, importable):
    class TV:
        pass

    class L1:
        pass

    importable("acme_private", TV=TV, L1=L1)
    vars(importable("acme_public"))["TV"] = TV  # re-exported, as packages do
    specs = [spec("prior", "tv", "acme_public:TV"), spec("prior", "l1", "acme_private:L1")]
    registry = Registry([("acme", manifest(*specs))])
    assert registry.spec_of(L1).name == "l1"
    assert registry.spec_of(TV).name == "tv"
    assert registry.spec_of(type("TV", (), {})) is None
    assert registry.spec_of(int) is None


def test_the_repr_is_short(registry):
    assert repr(registry) == "<Registry: 8 components, 3 plugins, 1 broken>"


def test_the_default_registry_is_read_once(monkeypatch):
    monkeypatch.setattr(lookup, "installed_sources", lambda allowed: ((), ()))
    default_registry.cache_clear()
    try:
        assert default_registry() is default_registry()
        assert default_registry().specs() == ()
    finally:
        default_registry.cache_clear()
