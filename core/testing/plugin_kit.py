"""`PluginKit`: a distribution is found, cheap to list, complete and cleanly written."""

from __future__ import annotations

import ast
import builtins
import importlib
import inspect
import re
import subprocess
import sys
from types import ModuleType
from typing import ClassVar

from wellposed.registry import KINDS, ComponentSpec, Registry, default_registry

from ..bilinear import BilinearOperator
from ..conditions import ConditionMaker
from ..errors import ParameterError
from ..kernel import Kernel
from ..network import NetworkSpec
from ..noise import Noise
from ..nonlinear import NonlinearOperator
from ..operator import ForwardOperator
from ..prior import Prior
from ..solver import Solver
from .engine import fail

__all__ = ["PluginKit"]

_SECONDS = 0.2
_BASES: dict[str, tuple[type, ...]] = {
    "operator": (ForwardOperator, NonlinearOperator),
    "bilinear": (BilinearOperator,),
    "kernel": (Kernel,),
    "prior": (Prior,),
    "solver": (Solver,),
    "network": (NetworkSpec,),
    "noise": (Noise,),
    "condition": (ConditionMaker,),
}
_NEED_EXAMPLES = tuple(_BASES)
# What an f-string would fill in: {name}, {name.attribute}, {name!r}, {name:.2f}.
_FIELD = re.compile(r"\{[A-Za-z_][\w.]*(\([^{}]*\)|\[[^{}]*\])*(![rsa])?(:[^{}\s,]*)?\}")
_PROBE = """
import sys, time
import wellposed.registry
started = time.perf_counter()
import importlib
importlib.import_module(sys.argv[1])
print(time.perf_counter() - started, "torch" in sys.modules)
"""


class PluginKit:
    """Checks of an installed distribution: set `distribution` to its name."""

    distribution: ClassVar[str] = ""
    registry: ClassVar[Registry | None] = None
    unchecked: ClassVar[tuple[str, ...]] = ()
    """Names of components that come without an example, with good reason."""

    def test_is_found_by_its_entry_point(self) -> None:
        """The entry point group `wellposed` lists it, and it loads."""
        registry = self.registry or default_registry()
        for broken in registry.broken:
            if _same(broken.dist, self._name()):
                fail(f"plugin {broken.entry_point!r} of {broken.dist} is broken: {broken.error}")
        if not self._modules():
            known = sorted({plugin.dist for plugin in registry.plugins()})
            fail(
                f"no plugin of a distribution named {self._name()!r} is installed; found "
                f"{', '.join(known)}. It needs an entry point in the group 'wellposed'."
            )

    def test_manifest_is_light(self) -> None:
        """Each manifest is imported in less than 0.2 s, without torch."""
        for module in self._modules():
            times = []
            for _ in range(3):  # a busy machine must not fail a light manifest
                seconds, torch = _probe(module)
                if torch:
                    fail(f"importing the manifest {module} imports torch; move that to its target.")
                times.append(seconds)
                if seconds < _SECONDS:
                    break
            if min(times) >= _SECONDS:
                fail(
                    f"importing the manifest {module} takes {min(times):.2f} s; {_SECONDS} allowed."
                )

    def test_components_are_described(self) -> None:
        """Each has a one-line summary, a source, and a kind that this version knows."""
        silent = [f"{s.kind} {s.name!r}" for s in self._specs() if not s.source.strip()]
        if silent:
            fail(f"{', '.join(silent)} names no source: the paper and equation, or the definition.")
        for spec in self._specs():
            if spec.kind not in KINDS:
                fail(f"{spec.name!r} is of kind {spec.kind!r}; known are {', '.join(KINDS)}.")
            if len(spec.summary) > 100 or spec.summary.endswith("."):
                fail(f"{spec.kind} {spec.name!r}: a summary is a line of <= 100, without a stop.")

    def test_targets_can_be_imported(self) -> None:
        """Each target is a class of its kind."""
        registry = self.registry or default_registry()
        for spec in self._specs():
            cls = registry.load(spec.kind, spec.qualified)
            bases = _BASES.get(spec.kind, (object,))
            if not issubclass(cls, bases):
                wanted = " or ".join(base.__name__ for base in bases)
                fail(f"{spec.kind} {spec.name!r} is {cls.__name__}, which is no {wanted}.")
            if inspect.isabstract(cls):
                left = ", ".join(sorted(cls.__abstractmethods__))  # type: ignore[attr-defined]
                fail(f"{spec.kind} {spec.name!r} is {cls.__name__}, which does not define {left}.")

    def test_components_have_examples(self) -> None:
        """Each component can be checked: it has an example that can be drawn."""
        registry = self.registry or default_registry()
        missing = []
        for spec in self._specs():
            found = registry.examples(spec.kind, spec.qualified)
            if not found and spec.kind in _NEED_EXAMPLES and spec.name not in self.unchecked:
                missing.append(f"{spec.kind} {spec.name}")
            for example in found:
                registry.load_example(example)
        if missing:
            fail(f"no example, hence no check, for: {', '.join(missing)}.")

    def test_docstrings_name_their_source(self) -> None:
        """Each class says by which paper, or which definition, it computes: `Source:`."""
        registry = self.registry or default_registry()
        silent = []
        for spec in self._specs():
            if "Source:" not in (registry.load(spec.kind, spec.qualified).__doc__ or ""):
                silent.append(f"{spec.kind} {spec.name!r}")
        if silent:
            fail(f"{', '.join(silent)}: no 'Source:' in the docstring of the class.")

    def test_error_messages_are_formatted(self) -> None:
        """No raised text shows `{name}` because its f was forgotten."""
        for module in self._code():
            for line, text in _unformatted(ast.parse(inspect.getsource(module))):
                fail(f"{module.__name__}, line {line}: {text!r} looks like an f-string without f.")

    def test_star_imports_shadow_nothing(self) -> None:
        """`from module import *` must not replace `range` or `sum`."""
        for module in self._code():
            names = getattr(module, "__all__", [n for n in vars(module) if n[0] != "_"])
            shadowed = sorted(set(names) & set(dir(builtins)))
            if shadowed:
                fail(f"`from {module.__name__} import *` would replace {', '.join(shadowed)}.")

    def _name(self) -> str:
        if not self.distribution:
            raise ParameterError(
                f"{type(self).__name__} expects `distribution = 'name'`; got none. Set it on the "
                "class, to the name in pyproject.toml."
            )
        return self.distribution

    def _modules(self) -> list[str]:
        registry = self.registry or default_registry()
        found = [p.module for p in registry.plugins() if _same(p.dist, self._name())]
        return [module.partition(":")[0] for module in found]

    def _specs(self) -> list[ComponentSpec]:
        registry = self.registry or default_registry()
        return [spec for spec in registry.specs() if _same(spec.dist, self._name())]

    def _code(self) -> list[ModuleType]:
        """Return the modules that hold the components."""
        names = sorted({spec.target.partition(":")[0] for spec in self._specs()})
        return [importlib.import_module(name) for name in names]


def _same(a: str, b: str) -> bool:
    def plain(name: str) -> str:
        return re.sub(r"[-_.]+", "-", name).lower()

    return plain(a) == plain(b)


def _probe(module: str) -> tuple[float, bool]:
    """Import a module in a fresh interpreter: how long it takes, and whether torch comes along."""
    done = subprocess.run(
        [sys.executable, "-c", _PROBE, module], capture_output=True, text=True, check=False
    )
    if done.returncode:
        fail(f"the manifest {module} cannot be imported: {done.stderr.strip().splitlines()[-1]}")
    seconds, torch = done.stdout.split()
    return float(seconds), torch == "True"


def _unformatted(tree: ast.AST) -> list[tuple[int, str]]:
    """Return the plain strings in `raise` statements that hold a placeholder."""
    found = []
    for statement in ast.walk(tree):
        if not isinstance(statement, ast.Raise):
            continue
        inside = {
            id(part)
            for node in ast.walk(statement)
            if isinstance(node, ast.JoinedStr)
            for part in ast.walk(node)
        }
        formatted = any(
            isinstance(node, ast.Attribute) and node.attr == "format"
            for node in ast.walk(statement)
        )
        for node in ast.walk(statement):
            if not isinstance(node, ast.Constant) or not isinstance(node.value, str):
                continue
            if id(node) not in inside and not formatted and _FIELD.search(node.value):
                found.append((node.lineno, node.value))
    return found
