"""The hooks of wellposed. A plugin implements those it needs, each marked with ``@hookimpl``."""

from __future__ import annotations

from collections.abc import Iterable

from wellposed.registry.spec import ComponentSpec, Example, hookspec


@hookspec
def wellposed_components() -> Iterable[ComponentSpec]:
    """Declare the components of this plugin. Called once per process; must not import torch."""
    return ()


@hookspec
def wellposed_examples() -> Iterable[Example]:
    """Declare example instances of this plugin's components, for the conformance kit."""
    return ()


@hookspec
def wellposed_solve_started(problem: object, solver: object) -> None:
    """Observe that ``solver`` is about to work on ``problem``. The return value is ignored."""


@hookspec
def wellposed_iteration(event: object) -> None:
    """Observe one iteration of an iterative solver. The return value is ignored."""


@hookspec
def wellposed_solve_finished(solution: object) -> None:
    """Observe the finished ``solution``, whatever its status. The return value is ignored."""
