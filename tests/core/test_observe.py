"""Plugins that watch a solve: told of every step, able to stop it, unable to break it."""

import types

import pytest
import torch
from wellposed import Problem, Status, observe
from wellposed.edge import build_solver
from wellposed.registry import Registry, hookimpl


def watching(monkeypatch, **hooks):
    """Install a plugin that implements the given observation hooks."""
    module = types.ModuleType("watcher")
    module.wellposed_components = hookimpl(lambda: ())
    for name, function in hooks.items():
        function.__name__ = name
        setattr(module, name, hookimpl(function))
    registry = Registry([("watcher", module)])
    assert not registry.broken
    monkeypatch.setattr(observe, "default_registry", lambda: registry)


def solve(dense, **params):
    op = dense(6, 4)
    y = op.out_space.randn((2,), generator=torch.Generator().manual_seed(0))
    solver = build_solver("gradient_descent", {"max_steps": 9, "tolerance": 0.0, **params})
    return solver.solve(Problem(operator=op, measurement=y))


def test_every_event_is_told(monkeypatch, dense):
    seen = []
    watching(
        monkeypatch,
        wellposed_solve_started=lambda problem, solver: seen.append(solver.name),
        wellposed_iteration=lambda event: seen.append(event.step),
        wellposed_solve_finished=lambda solution: seen.append(solution.status),
    )
    solution = solve(dense)
    assert seen == [type(build_solver("gradient_descent")).__name__, *range(1, 10), solution.status]


def test_an_observer_can_stop_a_solve(monkeypatch, dense):
    watching(monkeypatch, wellposed_iteration=lambda event: event.step == 4)
    solution = solve(dense)
    assert solution.status is Status.STOPPED and solution.steps.tolist() == [4, 4]


@pytest.mark.parametrize("answer", [lambda event: 1, lambda event: event.active])
def test_an_observer_that_returns_something_else_changes_nothing(monkeypatch, dense, answer):
    watching(monkeypatch, wellposed_iteration=answer)
    assert solve(dense).steps.tolist() == [9, 9]


def test_an_observer_that_fails_changes_nothing(monkeypatch, dense):
    expected = solve(dense)

    def fail(solution):
        raise OSError("the log is full")

    watching(monkeypatch, wellposed_solve_finished=fail)
    with pytest.warns(RuntimeWarning, match=r"wellposed_solve_finished failed.*the log is full"):
        solution = solve(dense)
    assert torch.equal(solution.image, expected.image)
