"""How checks run: results, limits, messages, and components that break the rules of classes."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from types import SimpleNamespace

import attrs
import pytest
import torch
from hypothesis import strategies as st
from torch import Tensor
from wellposed import Space, param, tensor_param
from wellposed.errors import ParameterError, UnknownComponent
from wellposed.registry import ComponentSpec, Example, Registry, hookimpl
from wellposed.testing import (
    CheckFailure,
    CheckResult,
    NoiseKit,
    OperatorKit,
    PriorKit,
    check_names,
    kit_for,
    run_checks,
)
from wellposed.testing import broken as broken_module
from wellposed.testing.broken import FaultyBlur, faulty_blurs
from wellposed.testing.broken_others import FaultyNoise
from wellposed.testing.engine import strict_warnings
from wellposed.testing.measure import assert_close, place_of
from wellposed.testing.noise_kit import _is_silent


def manifest(*, fault="none", examples=True, **changes):
    """Return a plugin that declares the faulty blur."""
    spec = {
        "kind": "operator",
        "name": "blur_of_acme",
        "target": "wellposed.testing.broken:FaultyBlur",
        "summary": "A blur",
        "source": "Nowhere",
    } | changes

    @hookimpl
    def wellposed_components():
        yield ComponentSpec(**spec)

    @hookimpl
    def wellposed_examples():
        if examples:
            target = f"wellposed.testing.broken:{fault}"
            yield Example(kind=spec["kind"], name=spec["name"], target=target)

    return SimpleNamespace(
        __name__="acme",
        wellposed_components=wellposed_components,
        wellposed_examples=wellposed_examples,
    )


@pytest.fixture
def registry(monkeypatch):
    """Return a function that makes a registry whose one operator has one fault."""

    def make(fault="none"):
        monkeypatch.setattr(broken_module, "cases", lambda: faulty_blurs(fault), raising=False)
        return Registry([("acme", manifest(fault="cases"))])

    return make


def test_every_check_of_a_correct_component_gives_a_result(registry):
    results = run_checks("operator", "blur_of_acme", registry(), max_examples=2)
    assert [r.name for r in results] == list(check_names("operator"))
    assert [r.message for r in results if not r.passed] == []
    assert all(isinstance(r, CheckResult) and r.seconds >= 0 for r in results)


def test_a_failure_is_a_result_with_its_message_and_the_example(registry):
    results = {
        r.name: r
        for r in run_checks("operator", "blur_of_acme", registry("scaled adjoint"), max_examples=3)
    }
    bad = results["test_dot_test_in_float64"]
    assert not bad.passed and "Hint: scaled" in bad.message and "FaultyBlur(in_shape" in bad.message
    assert results["test_survives_yaml"].passed and results["test_repr_is_short"].passed


def test_what_was_found_is_found_again(registry):
    messages = []
    for _ in range(2):
        kit = kit_for("operator", "blur_of_acme", registry("leaks across the batch"), 5)
        with pytest.raises(CheckFailure) as caught:
            kit.test_batch_equals_loop()
        messages.append((str(caught.value), caught.value.__notes__))
    assert messages[0] == messages[1]


def test_a_component_without_examples_is_one_failure():
    found = run_checks("operator", "blur_of_acme", Registry([("acme", manifest(examples=False))]))
    assert [r.name for r in found] == ["has_examples"] and not found[0].passed
    assert "operator 'blur_of_acme' has no example" in found[0].message


def test_unknown_kinds_and_names_are_errors():
    with pytest.raises(ParameterError, match=r"no checks for the kind 'recipe'; expected one of"):
        run_checks("recipe", "anything")
    with pytest.raises(ParameterError, match="no checks for the kind 'cake'"):
        check_names("cake")
    with pytest.raises(UnknownComponent, match="no operator named 'blurr'"):
        run_checks("operator", "blurr")


def test_a_kit_needs_a_component_or_examples():
    class Empty(OperatorKit):
        pass

    with pytest.raises(ParameterError, match=r"Empty expects `component = \(kind, name\)`"):
        Empty().test_is_linear()

    class Wrong(OperatorKit):
        examples = 3

    with pytest.raises(ParameterError, match="a hypothesis strategy or a non-empty list; got int"):
        Wrong().test_is_linear()


def test_examples_may_be_a_list():
    kernel = torch.ones(1, 1, 1, 2, dtype=torch.float64)

    class Listed(OperatorKit):
        examples = (FaultyBlur(in_shape=(1, 2, 3), kernel=kernel),)

    Listed().test_is_linear()
    with pytest.raises(CheckFailure, match="no picture is square, one-wide"):
        Listed().test_examples_reach_hard_sizes()


def test_time_is_bounded_and_a_late_failure_is_still_found():
    kit = kit_for("operator", "identity", max_examples=50)
    type(kit).max_seconds = 0.05
    seen = []

    def slow(value):
        seen.append(value)
        time.sleep(0.03)

    kit._given(st.integers(), slow, 50, "slow")
    assert len(seen) < 10

    def fails(value):
        time.sleep(0.03)
        raise CheckFailure("always")

    with pytest.raises(CheckFailure, match="always"):
        kit._given(st.integers(), fails, 50, "fails")


def test_the_same_draws_come_again():
    draws = []
    for _ in range(2):
        seen = []
        kit_for("operator", "identity")._given(st.integers(), seen.append, 20, "label")
        draws.append(seen)
    assert draws[0] == draws[1]


def test_dropped_numbers_are_errors_inside_checks():
    complex_ = torch.ones(2, dtype=torch.complex64)
    for _ in range(2):  # torch itself tells only once
        with pytest.raises(UserWarning, match="Casting complex"), strict_warnings():
            complex_.to(torch.float32)
    assert not torch.is_warn_always_enabled()


def test_a_skipped_check_is_no_failure():
    class Skips(OperatorKit):
        examples = faulty_blurs()

        def test_is_linear(self):
            pytest.skip("its author knows better")

    from wellposed.testing.engine import timed

    found = timed("test_is_linear", Skips().test_is_linear)
    assert found.passed and "knows better" in found.message


def test_missing_hypothesis_is_said_clearly():
    code = (
        "import sys; sys.modules['hypothesis'] = None\n"
        "try:\n    import wellposed.testing\n"
        "except ModuleNotFoundError as error:\n    print(error.name, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("hypothesis wellposed.testing needs hypothesis")
    assert 'pip install "wellposed[testing]"' in done.stdout


def test_using_wellposed_needs_no_test_tools():
    code = (
        "import wellposed, wellposed.api, sys; print({'hypothesis', 'pytest'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


# ---- classes that break the rules ----------------------------------------------------------


@attrs.frozen(eq=False, kw_only=True)
class Careless(FaultyNoise):
    cut: int = param(2, doc="a whole number that is not checked")
    table: Tensor = attrs.field(factory=lambda: torch.zeros(2))


class LooseKit(NoiseKit):
    examples = (Careless(),)


def test_rules_of_classes_are_checked():
    kit = LooseKit()
    with pytest.raises(CheckFailure, match="inherits fields from the concrete class FaultyNoise"):
        kit.test_is_final()
    with pytest.raises(CheckFailure, match="no text for table"):
        type(
            "K", (NoiseKit,), {"examples": (DocumentedButCareless(),)}
        )().test_fields_are_documented()
    with pytest.raises(CheckFailure, match="Careless has no docstring"):
        kit.test_fields_are_documented()
    with pytest.raises(CheckFailure, match=r"accepted cut=2\.5; expected a ParameterError"):
        kit.test_refuses_fractions_for_integers()
    with pytest.raises(CheckFailure, match="repr shows the contents of a tensor"):
        kit.test_repr_is_short()
    assert not _is_silent(Careless())


@attrs.frozen(eq=False, kw_only=True)
class DocumentedButCareless(FaultyNoise):
    """A noise with a field that says nothing."""

    table: Tensor = attrs.field(factory=lambda: torch.zeros(2))


@attrs.define
class Mutable:
    """A class that can be changed."""

    level: float = 1.0

    def value(self):
        return self.level


@attrs.frozen
class ByValue:
    """A class that compares its tensors."""

    kernel: Tensor = tensor_param(doc="numbers")


@pytest.mark.parametrize(
    ("thing", "words"),
    [
        (Mutable(), r"Mutable\.level can be assigned to; use @attrs\.frozen"),
        (ByValue(kernel=torch.ones(2)), "ByValue compares by value, which tensors cannot"),
        (SimpleNamespace(), "SimpleNamespace is no attrs class"),
    ],
)
def test_classes_must_be_frozen_and_compare_by_identity(thing, words):
    kit = type("K", (NoiseKit,), {"trials": lambda self: st.just(SimpleNamespace(subject=thing))})()
    with pytest.raises(CheckFailure, match=words):
        kit.test_is_a_frozen_attrs_class()


def test_a_prior_example_must_be_a_case():
    kit = type("K", (PriorKit,), {"examples": (FaultyNoise(),)})()
    with pytest.raises(CheckFailure, match="an example of a prior is a PriorCase; got FaultyNoise"):
        kit.test_has_a_capability()


# ---- measuring -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("at", "words"),
    [
        ((slice(None), -1), "last row"),
        ((slice(None), 0), "first row"),
        ((slice(None), slice(None), -1), "last column"),
        ((slice(None), [0, -1]), "first and last rows"),
    ],
)
def test_the_place_of_an_error_is_told(at, words):
    error = torch.zeros(2, 6, 7)
    error[at] = 1
    assert f"the error sits in the {words}" in place_of(error, Space((2, 6, 7)))


def test_errors_all_around_are_the_border():
    error = torch.ones(1, 6, 6)
    error[:, 1:-1, 1:-1] = 0
    assert "sits in the border" in place_of(error, Space((1, 6, 6)))
    assert place_of(torch.eye(6)[None], Space((1, 6, 6))).endswith("column 0 of (1, 6, 6).")


def test_nan_is_never_close():
    space = Space((1, 1, 2), torch.float64)
    with pytest.raises(CheckFailure, match="up to inf relative"):
        assert_close(torch.full((1, 1, 2), torch.nan).double(), space.zeros(), space, what="x")
    with pytest.raises(CheckFailure, match=r"x returned NoneType; expected a torch.Tensor"):
        assert_close(None, space.zeros(), space, what="x")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_close(space.zeros(), space.zeros(), space, what="x")


# ---- messages that lead to the fault -----------------------------------------------------------


def test_an_unexpected_error_is_told_with_its_place():
    from wellposed.testing.engine import timed

    def fault():
        return torch.zeros(2).reshape(3)

    def check():
        fault()

    found = timed("test_something", check)
    assert "RuntimeError: shape '[3]' is invalid" in found.message
    assert found.message.endswith("in fault)") and "(test_engine.py, line " in found.message


def test_what_a_kind_is_about_comes_first():
    names = check_names("operator")
    assert names.index("test_dot_test_in_float64") < names.index("test_data_prox_is_optimal")
    assert names.index("test_data_prox_is_optimal") < names.index("test_pickles_and_copies")


def test_the_missing_example_is_named_as_it_is_declared():
    registry = Registry([("acme", manifest(examples=False))])
    found = run_checks("operator", "acme/blur_of_acme", registry)
    assert "Example('operator', 'blur_of_acme', 'package.module:function')" in found[0].message
