"""Plugins are isolated from each other, whatever they do."""

from __future__ import annotations

import importlib.metadata
import itertools
import sys
import types

import pytest
from wellposed.registry import Example, Registry, discovery, hookimpl
from wellposed.registry.discovery import describe, installed_sources, is_ours, normalised


def errors(*plugins):
    """Return the error texts of plugins that must not load, next to one that must."""
    good = types.SimpleNamespace(wellposed_iteration=hookimpl(_wellposed_iteration))
    registry = Registry([("zz_good", good), *plugins])
    assert [p.dist for p in registry.plugins()] == ["zz_good"]
    return [b.error for b in registry.broken]


def _wellposed_iteration(event):
    return None


def declaring(function, name="wellposed_components"):
    function.__name__ = name
    return types.SimpleNamespace(**{name: hookimpl(function)})


def test_a_good_plugin_stamps_its_specs(manifest, spec):
    registry = Registry([("acme", manifest(spec(), name="acme_plugin"))])
    (info,) = registry.plugins()
    assert (info.dist, info.entry_point, info.module) == ("acme", "acme_plugin", "acme_plugin")
    assert info.seconds >= 0
    assert registry.specs()[0].plugin == info


@pytest.mark.parametrize("error", [ValueError("boom"), SystemExit(3), GeneratorExit("boom")])
def test_a_hook_that_raises(error):
    def hook():
        raise error

    (text,) = errors(("acme", declaring(hook)))
    assert text.startswith(f"{type(error).__name__}: {error}")
    assert "registry/test_discovery.py, line" in text


def test_ctrl_c_is_not_swallowed():
    def hook():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Registry([("acme", declaring(hook))])


def test_an_import_that_fails(importable):
    (text,) = errors(("acme", "wellposed_no_such_module"))
    assert text == "ModuleNotFoundError: No module named 'wellposed_no_such_module'"


def test_an_import_that_exits(tmp_path, monkeypatch):
    (tmp_path / "exits_at_import.py").write_text("x = 1\nraise SystemExit\n")
    monkeypatch.syspath_prepend(tmp_path)
    (text,) = errors(("acme", "exits_at_import"))
    assert text.startswith("SystemExit (")
    assert text.endswith("exits_at_import.py, line 2)")


def test_a_manifest_given_by_import_path(importable, manifest, spec, monkeypatch):
    monkeypatch.setitem(sys.modules, "acme_by_path", manifest(spec()))
    assert Registry([("acme", "acme_by_path")]).plugins()[0].entry_point == "acme_by_path"


@pytest.mark.parametrize(
    ("result", "text"),
    [
        (None, "wellposed_components returned NoneType; expected a list of ComponentSpec"),
        (3, "wellposed_components returned int; expected a list of ComponentSpec"),
        (["blur"], "wellposed_components yielded str at position 0; expected only ComponentSpec"),
        ({}.values(), None),
    ],
)
def test_a_hook_that_yields_junk(result, text):
    plugin = ("acme", declaring(lambda: result))
    if text is None:
        assert Registry([plugin]).broken == ()
    else:
        assert errors(plugin) == [text]


def test_a_hook_that_never_ends(spec):
    (text,) = errors(("acme", declaring(lambda: itertools.repeat(spec()))))
    assert text == "wellposed_components yields more than 10000 items"


def test_a_hook_that_fails_half_way(spec):
    def hook():
        yield spec()
        raise RuntimeError("half way")

    plugin = ("acme", declaring(hook))
    assert errors(plugin)[0].startswith("RuntimeError: half way")
    assert Registry([plugin]).specs() == ()


def test_a_hook_that_is_a_wrapper():
    @hookimpl(wrapper=True)
    def wellposed_components():
        return (yield)

    plugin = types.SimpleNamespace(wellposed_components=wellposed_components)
    assert errors(("acme", plugin)) == ["wellposed_components cannot be a wrapper"]


def test_a_hook_with_wrong_arguments():
    (text,) = errors(("acme", declaring(lambda step: None, "wellposed_iteration")))
    assert text.startswith("PluginValidationError: ")
    assert "step" in text


def test_a_misspelt_hook_is_reported_not_ignored():
    (text,) = errors(("acme", declaring(lambda: (), "wellposed_component")))
    assert "no hook named 'wellposed_component'. Did you mean 'wellposed_components'" in text
    assert "optionalhook=True" in text


def test_a_hook_of_a_newer_wellposed_may_be_optional(manifest, spec):
    module = manifest(spec())
    module.wellposed_dreams = hookimpl(optionalhook=True)(lambda: ())
    registry = Registry([("acme", module)])
    assert registry.broken == ()
    assert len(registry.specs()) == 1


def test_a_hook_without_its_mark():
    def wellposed_components():
        return ()

    plugin = types.SimpleNamespace(wellposed_components=wellposed_components)
    (text,) = errors(("acme", plugin))
    assert text == "function 'wellposed_components' is not marked: write @hookimpl above it"


def test_a_manifest_without_hooks():
    (text,) = errors(("acme", types.ModuleType("empty")))
    assert text == "it declares no hook; expected a function wellposed_components"


@pytest.mark.parametrize("none", [True, False])
def test_one_manifest_under_two_entry_points(manifest, spec, none):
    module = manifest(spec())
    registry = Registry([("acme", module), ("bolt", None if none else module)])
    assert [p.dist for p in registry.plugins()] == ["acme"]
    (broken,) = registry.broken
    known = None if none else "acme:manifest"
    assert broken.error == f"the same manifest is already loaded as '{known}'; keep one entry point"


def test_a_name_declared_twice(manifest, spec):
    twice = manifest(spec(), spec(target="other.module:Blur"), name="one")
    (text,) = errors(("acme", twice))
    assert text == (
        "it declares operator 'blur' a second time; 'fractions:Fraction' has that name already"
        " (entry point 'one')"
    )


def test_a_name_declared_by_two_entry_points_of_one_distribution(manifest, spec):
    registry = Registry(
        [("Acme", manifest(spec(), name="b")), ("acme", manifest(spec(), name="a"))]
    )
    assert [p.entry_point for p in registry.plugins()] == ["a"]
    assert "(entry point 'a')" in registry.broken[0].error


def test_the_same_name_in_two_kinds_is_fine(manifest, spec):
    assert Registry([("acme", manifest(spec("operator"), spec("prior")))]).broken == ()


def test_an_example_of_nothing(manifest, spec):
    lost = Example("operator", "blurr", "acme:examples")
    (text,) = errors(("acme", manifest(spec(), examples=[lost])))
    assert text == "it has an example of operator 'blurr', which it does not declare"


def test_a_failed_plugin_leaves_no_observer_behind():
    heard = []

    def hook():
        raise ValueError

    plugin = declaring(hook)
    plugin.wellposed_iteration = hookimpl(lambda event: heard.append(event))
    registry = Registry([("acme", plugin)])
    registry.hook.wellposed_iteration(event=1)
    assert heard == []


def test_an_error_that_cannot_be_printed():
    class Nasty(Exception):
        def __str__(self):
            raise RuntimeError

    assert describe(Nasty()) == "Nasty: (its message cannot be printed)"


def test_distribution_names_are_compared_as_indexes_do():
    assert normalised("Acme_Blur.X") == "acme-blur-x"
    assert is_ours("WellPosed")
    assert not is_ours("wellposed-acme")


class FakeDist:
    def __init__(self, name):
        self.name = name
        self.version = "1.0"


class DamagedDist:
    @property
    def name(self):
        raise KeyError("Name")


@pytest.fixture
def entry_points(monkeypatch):
    points = []
    for name, dist in [
        ("main", FakeDist("acme")),
        ("main", FakeDist("Bolt_X")),
        ("blur", FakeDist("wellposed")),
        ("x", DamagedDist()),
        ("y", None),
    ]:
        point = importlib.metadata.EntryPoint(name, f"mod_{name}", "wellposed")
        vars(point).update(dist=dist)
        points.append(point)
    monkeypatch.setattr(discovery.importlib.metadata, "entry_points", lambda group: points)


@pytest.mark.parametrize(
    ("allowed", "dists"),
    [
        ("", ["acme", "Bolt_X", "wellposed", "", ""]),
        (" , ", ["acme", "Bolt_X", "wellposed", "", ""]),
        ("none", ["wellposed"]),
        ("acme", ["acme", "wellposed"]),
        ("bolt-x, x", ["Bolt_X", "wellposed", ""]),
        ("main", ["acme", "Bolt_X", "wellposed"]),
    ],
)
def test_the_environment_limits_plugins_but_never_ours(entry_points, monkeypatch, allowed, dists):
    assert [s.info.dist for s in installed_sources(allowed)[0]] == dists
    monkeypatch.setenv("WELLPOSED_PLUGINS", allowed)
    sources, missing = installed_sources()
    assert [s.info.dist for s in sources] == dists
    assert missing == ()


def test_two_entry_points_of_one_name_are_both_kept(entry_points):
    keys = [s.key for s in installed_sources("")[0]]
    assert keys[:2] == ["acme:main", "Bolt_X:main"]


def test_a_misspelt_plugin_in_the_environment_is_reported(entry_points):
    registry = Registry.installed("akme")
    (missing,) = [b for b in registry.broken if b.dist == "akme"]
    assert "WELLPOSED_PLUGINS names it, but no such distribution" in missing.error


def test_the_order_of_installation_changes_nothing(manifest, spec):
    plugins = [
        ("wellposed", manifest(spec(name="tv"), name="ours")),
        ("acme", manifest(spec(name="tv"), spec(name="l1"), name="a")),
        ("Bolt", manifest(spec(name="l1"), name="b")),
        ("bolt", manifest(spec(name="l1"), name="c")),
        ("coil", types.ModuleType("broken")),
    ]

    def picture(order):
        registry = Registry(order)
        return (
            [(s.qualified, s.note) for s in registry.specs()],
            [p.entry_point for p in registry.plugins()],
            [(b.dist, b.error) for b in registry.broken],
        )

    first = picture(plugins)
    assert all(picture(order) == first for order in itertools.permutations(plugins))
