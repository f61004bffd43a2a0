"""Every hook is documented, declared and relayed."""

from __future__ import annotations

import inspect
import types

from wellposed.registry import Registry, hookimpl, hookspecs
from wellposed.registry.discovery import HOOKS


def test_the_hooks_are_these():
    assert set(HOOKS) == {
        "wellposed_components",
        "wellposed_examples",
        "wellposed_solve_started",
        "wellposed_iteration",
        "wellposed_solve_finished",
    }


def test_every_hook_has_a_docstring():
    for name in HOOKS:
        assert len(inspect.getdoc(getattr(hookspecs, name))) > 40


def test_declaring_hooks_default_to_nothing_and_observers_return_nothing():
    assert hookspecs.wellposed_components() == hookspecs.wellposed_examples() == ()
    assert hookspecs.wellposed_solve_started(1, 2) is None
    assert hookspecs.wellposed_iteration(1) is hookspecs.wellposed_solve_finished(1) is None


def test_observers_hear_every_event():
    heard = []
    plugin = types.ModuleType("observer")

    @hookimpl
    def wellposed_solve_started(problem, solver):
        heard.append((problem, solver))

    @hookimpl
    def wellposed_iteration(event):
        heard.append(event)

    @hookimpl
    def wellposed_solve_finished(solution):
        heard.append(solution)

    vars(plugin).update(
        wellposed_solve_started=wellposed_solve_started,
        wellposed_iteration=wellposed_iteration,
        wellposed_solve_finished=wellposed_solve_finished,
    )
    registry = Registry([("acme", plugin)])
    assert registry.broken == ()
    registry.hook.wellposed_solve_started(problem=1, solver=2)
    registry.hook.wellposed_iteration(event=3)
    registry.hook.wellposed_solve_finished(solution=4)
    assert heard == [(1, 2), 3, 4]
