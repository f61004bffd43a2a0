"""The kit without pytest: `run_checks("operator", "blur")`."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from wellposed.registry import Registry

from ..errors import ParameterError
from .bilinear_kit import BilinearKit
from .condition_kit import ConditionKit
from .engine import CheckResult, timed
from .kernel_kit import KernelKit
from .network_kit import NetworkKit
from .noise_kit import NoiseKit
from .operator_kit import OperatorKit
from .plugin_kit import PluginKit
from .prior_kit import PriorKit
from .solver_kit import SolverKit

__all__ = ["KITS", "check_names", "iter_checks", "kit_for", "run_checks"]

KITS: dict[str, type[Any]] = {
    "operator": OperatorKit,
    "bilinear": BilinearKit,
    "kernel": KernelKit,
    "prior": PriorKit,
    "solver": SolverKit,
    "network": NetworkKit,
    "noise": NoiseKit,
    "condition": ConditionKit,
    "plugin": PluginKit,
}


def kit_for(
    kind: str,
    name: str,
    registry: Registry | None = None,
    max_examples: int | None = None,
    reproducible: bool = True,
) -> Any:
    """Return the kit of a registered component, ready to run; kind "plugin": a distribution.

    Raises: ParameterError for a kind that has no kit.
    """
    if kind not in KITS:
        raise ParameterError(
            f"there are no checks for the kind {kind!r}; expected one of {', '.join(KITS)}."
        )
    changes: dict[str, Any] = {"registry": registry}
    if kind == "plugin":
        changes["distribution"] = name
    else:
        changes |= {"component": (kind, name), "reproducible": reproducible}
        if max_examples is not None:
            changes["max_examples"] = max_examples
    return type(f"{KITS[kind].__name__}_{name}", (KITS[kind],), changes)()


def check_names(kind: str) -> tuple[str, ...]:
    """Return the names of the checks of a kind, in the order in which they run.

    What a kind is about comes first, and what rests on it, or holds for all kinds, after it: the
    first failure is the one to look at first.
    """
    if kind not in KITS:
        raise ParameterError(
            f"there are no checks for the kind {kind!r}; expected one of {', '.join(KITS)}."
        )
    found: dict[str, None] = {}
    for cls in KITS[kind].__mro__:
        found |= dict.fromkeys(name for name in vars(cls) if name.startswith("test_"))
    return tuple(found)


def iter_checks(
    kind: str,
    name: str,
    registry: Registry | None = None,
    max_examples: int | None = None,
    reproducible: bool = True,
) -> Iterator[CheckResult]:
    """Yield the outcome of each check as it is known; see `run_checks`."""
    kit = kit_for(kind, name, registry, max_examples, reproducible)
    if kind != "plugin":
        found = timed("has_examples", kit.instances)
        if not found.passed:  # all others would say the same
            yield found
            return
    for check in check_names(kind):
        yield timed(check, getattr(kit, check))


def run_checks(
    kind: str,
    name: str,
    registry: Registry | None = None,
    max_examples: int | None = None,
    reproducible: bool = True,
) -> list[CheckResult]:
    """Run every check of a registered component, and return what came of each.

    kind, name: as in `wellposed list`; kind "plugin" checks the distribution `name` as a whole.
    max_examples: examples per cheap check (None: the kit's own number). reproducible: draw the
    same examples in every run.
    Raises: ParameterError for a kind without checks, UnknownComponent for a name nobody declares.
    A check that fails, in whatever way, is a result, never an exception.
    """
    if kind != "plugin" and kind in KITS:
        from wellposed.registry import default_registry

        (registry or default_registry()).spec(kind, name)
    return list(iter_checks(kind, name, registry, max_examples, reproducible))
