"""The text of `wellposed info`: everything about one component."""

from __future__ import annotations

import inspect
from typing import TYPE_CHECKING, Any

from rich.table import Table
from rich.text import Text
from wellposed.registry import ComponentSpec, default_registry, schema_of
from wellposed.registry.spec import noun

from ..errors import WellposedError
from ..operator import ForwardOperator
from ..prior import Prior
from ..solver import Solver
from ..space import Space

if TYPE_CHECKING:
    from rich.console import Console

__all__ = ["describe_component"]

_SIZE = (3, 64, 64)
_CLOSED = {
    "row_gram": "A A^H is diagonal",
    "column_gram": "A^H A is a multiple of the identity",
    "equivariance": "commutes with circular shifts",
    "_data_prox": "has its own data_prox",
}


def describe_component(spec: ComponentSpec, console: Console) -> None:
    """Print kind, summary, source, documentation, parameters, needs and capabilities."""
    class_ = default_registry().load(spec.kind, spec.name if not spec.dist else _name(spec))
    console.print(Text(f"{_name(spec)}", style="bold"), Text(f"({noun(spec.kind)})"), sep=" ")
    console.print(Text(f"{spec.summary}\n"))
    facts = {
        "source": spec.source,
        "from": f"{spec.dist} {spec.version}".strip() + f", {spec.target}",
        "tags": ", ".join(spec.tags),
        "needs": f"pip install '{spec.dist}[{','.join(spec.extras)}]'" if spec.extras else "",
        "note": spec.note,
        **_facts(class_),
    }
    grid = Table.grid(padding=(0, 2))
    for name, value in facts.items():
        if value:
            grid.add_row(Text(name, style="bold"), Text(value))
    console.print(grid)
    _print_parameters(class_, console)
    doc = inspect.getdoc(class_) or ""
    console.print(Text(f"\n{doc}\n"))


def _name(spec: ComponentSpec) -> str:
    return default_registry().reference(spec)


def _print_parameters(class_: type, console: Console) -> None:
    table = Table("parameter", "type", "default", "meaning", title=None, box=None, pad_edge=False)
    for p in schema_of(class_):
        default = "required" if p.required else _shown(p.default)
        unit = f" [{p.unit}]" if p.unit else ""
        stop = "" if f"{p.doc}{unit}".endswith((".", "?", "!")) else "."
        choices = f"{stop} One of {', '.join(map(repr, p.choices))}." if p.choices else ""
        table.add_row(*(Text(t) for t in (p.name, p.type, default, f"{p.doc}{unit}{choices}")))
    console.print()
    if table.row_count:
        console.print(table)
    else:
        console.print("no parameters")


def _shown(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 40 else text[:37] + "..."


def _facts(class_: type) -> dict[str, str]:
    if issubclass(class_, Solver):
        return _solver_facts(class_)
    if issubclass(class_, Prior):
        return {"is a": ", ".join(_capabilities(class_))}
    if issubclass(class_, ForwardOperator):
        return _operator_facts(class_)
    return {}


def _capabilities(class_: type) -> list[str]:
    bases = class_.__mro__
    return [b.__name__ for b in bases if b.__module__ == Prior.__module__ and b is not Prior]


def _solver_facts(class_: type[Solver]) -> dict[str, str]:
    needs = class_.needs
    wanted = " or ".join(t.__name__ for t in needs.operators)
    if needs.operator_check is not None:
        said = (inspect.getdoc(needs.operator_check) or "").strip().splitlines()
        wanted += f"; {said[0]}" if said else "; further conditions are checked"
    prior = " or ".join(t.__name__ for t in needs.priors) or "none"
    if needs.priors:
        prior += " (optional)" if needs.prior_optional else ""
        prior += f"; without one: {_named(class_.default_prior)}" if class_.default_prior else ""
        prior += f". Fitting: {', '.join(_fitting_priors(needs.priors)) or 'none installed'}"
    noise = "Gaussian, or none given" if needs.quadratic else "any"
    return {"needs operator": wanted, "needs prior": prior, "noise": noise}


def _named(given: Any) -> str:
    """Return a component as text: `tv, weight=0.002`."""
    if isinstance(given, str):
        return given
    params = (given.get("params") or {}).items()
    return ", ".join([str(given["name"]), *(f"{key}={value!r}" for key, value in params)])


def _fitting_priors(kinds: tuple[type[Prior], ...]) -> list[str]:
    registry = default_registry()
    names = []
    for spec in registry.specs("prior"):
        try:
            class_ = registry.load("prior", registry.reference(spec))
        except ImportError:
            continue
        if issubclass(class_, kinds):
            names.append(registry.reference(spec))
    return names


def _operator_facts(class_: type[ForwardOperator]) -> dict[str, str]:
    op = _default_instance(class_)
    declared = [
        text + _unless_true(op, name)
        for name, text in _CLOSED.items()
        if getattr(class_, name) is not getattr(ForwardOperator, name)
    ]
    facts = {"structure": "; ".join(declared) or "none declared"}
    if op is None:
        return facts
    sizes = f"{op.in_space.shape} -> {op.out_space.shape}"
    return {
        **facts,
        "for a picture": f"{sizes}, {op.out_space.dtype}".replace("torch.", ""),
        "data_prox": "closed form" if op.has_closed_prox else "conjugate gradients",
    }


def _unless_true(op: ForwardOperator | None, name: str) -> str:
    """Return a remark where a structure is declared that the defaults do not have."""
    if op is None or name == "_data_prox" or getattr(op, name)() is not None:
        return ""
    return " (not by default)"


def _default_instance(class_: Any) -> ForwardOperator | None:
    """Return the operator with all defaults, for an example size; None where that is not enough."""
    try:
        op: ForwardOperator = class_.for_image(Space(_SIZE))
        return op
    except (WellposedError, TypeError, ValueError):
        return None
