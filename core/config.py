"""A whole restoration as a YAML file: what to undo, with which solver, prior and noise.

    op: {name: blur, params: {kernel: {name: motion, params: {length: 9, angle: 30}}}}
    solver: {name: admm, params: {max_steps: 50}}
    prior: tv
    conditions: {edges: edges.png}
    seed: 0

`op` may be a list, the composition of its items (the first is applied last).
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import wellposed.registry as reg
from torch import Tensor
from wellposed.registry.config import MOST_BYTES, MOST_NODES
from wellposed.registry.errors import located, suggestion

from .algebra import Composed
from .api import Pipeline, check_seed, pipeline, simulate
from .edge import check_kind, load_operator, register_types
from .errors import ParameterError
from .files import write_bytes
from .solver import Callback

if TYPE_CHECKING:
    from .solution import Solution

__all__ = ["ProblemConfig", "load_problem", "problem_from", "save_problem"]

_COMPONENTS: Final = ("op", "solver", "prior", "noise")
_KEYS: Final = (*_COMPONENTS, "conditions", "device", "seed")
_REQUIRED: Final = ("op", "solver")
# An operator gets these from the measurement; a file may fix them, but need not.
_SIZED: Final = ("in_shape", "dtype")


@attrs.frozen(eq=False, kw_only=True)
class ProblemConfig:
    """What `wellposed.solve` is given besides the measurement; components by name or as objects."""

    op: Any
    solver: Any
    prior: Any = None
    noise: Any = None
    conditions: Mapping[str, Any] | None = None
    device: str = "auto"
    seed: int | None = None

    def pipeline(self) -> Pipeline:
        """Return the restoration, prepared once and callable on many measurements."""
        return pipeline(
            op=self.op,
            solver=self.solver,
            prior=self.prior,
            noise=self.noise,
            device=self.device,
            seed=self.seed,
        )

    def solve(self, measurement: Any = None, *, callback: Callback | None = None) -> Solution:
        """Restore a measurement (without one, a degraded sample); see `wellposed.solve`."""
        pipe = self.pipeline()
        if measurement is None:
            return pipe.demonstrate(conditions=self.conditions, callback=callback)
        return pipe(measurement, conditions=self.conditions, callback=callback)

    def simulate(self, picture: Any) -> Tensor:
        """Return the measurement of a picture; see `wellposed.simulate`."""
        return simulate(picture, op=self.op, noise=self.noise, device=self.device, seed=self.seed)

    def as_data(self) -> dict[str, Any]:
        """Return plain data, which `problem_from` reads back; objects with all their parameters.

        Raises: ParameterError, with the path, for an object that no plugin declares, or a
        condition that is no file.
        """
        register_types()
        data = {key: _plain(getattr(self, key), key) for key in _COMPONENTS}
        _check_conditions(self.conditions)
        data |= {"conditions": self.conditions, "device": self.device, "seed": self.seed}
        return {key: value for key, value in data.items() if value is not None}


def load_problem(source: str | os.PathLike[str]) -> ProblemConfig:
    """Read a problem from a YAML file, or from YAML text, and check it.

    Raises: ParameterError, UnknownComponent and their kin, whose text starts with the path of the
    offending entry, as in `solver.params.step`; nothing but plain data is ever constructed.
    """
    return problem_from(reg.load_yaml(source))


def problem_from(data: Mapping[str, Any], *, solver_needed: bool = True) -> ProblemConfig:
    """Return the problem that plain data describes, with every name and parameter checked.

    Raises: as `load_problem`. `solver_needed=False` is for problems that are only simulated.
    """
    register_types()
    for key in data:
        if key not in _KEYS:
            raise ParameterError(
                f"a problem has no entry {key!r}.{suggestion(key, _KEYS)} "
                f"Entries: {', '.join(_KEYS)}",
                where=key,
                name=key,
                choices=_KEYS,
            )
    required = _REQUIRED if solver_needed else ("op",)
    missing = [key for key in required if data.get(key) is None]
    if missing:
        raise ParameterError(
            f"a problem needs {' and '.join(repr(m) for m in missing)}; "
            f"got {', '.join(data) or 'nothing'}."
        )
    given = {key: value for key, value in data.items() if value is not None}
    _check_operators(given["op"])
    for kind in ("solver", "prior", "noise"):
        if kind in given:
            check_kind(kind, given[kind])
            reg.build(None, kind, given[kind], path=kind)
    _check_conditions(given.get("conditions"))
    _check_device(given.get("device", "auto"))
    check_seed(given.get("seed"))
    return ProblemConfig(**{"solver": None, **given})


def save_problem(path: str | os.PathLike[str], problem: ProblemConfig) -> Path:
    """Write a problem as YAML, so that `load_problem` gives one with equal outputs.

    Operators given as objects are written with their picture size.
    Raises: ParameterError for what cannot be written; ImageFileError for an unwritable file.
    """
    data = problem.as_data()
    text = reg.dump_yaml(data) if _entries(data) <= MOST_NODES else ""
    if not text or len(text) > MOST_BYTES:
        raise ParameterError(
            f"this problem is larger than a YAML file may be ({MOST_NODES} entries, {MOST_BYTES} "
            "bytes). Keep its tensors in .npy files, and name them: {npy: file}."
        )
    return write_bytes(Path(path), text.encode())


def _check_operators(given: Any) -> None:
    if isinstance(given, list):
        if not given:
            raise ParameterError(
                "expected an operator or a list of them; got an empty list", where="op"
            )
        for i, item in enumerate(given):
            _check_operator(item, f"op[{i}]")
    else:
        _check_operator(given, "op")


def _check_operator(given: Any, path: str) -> None:
    """Check name and parameters; the rest can be checked once a picture's size is known."""
    if not isinstance(given, (str, Mapping)):
        raise ParameterError(
            "expected the name of an operator or a mapping of 'name' and 'params'; "
            f"got {type(given).__name__}",
            where=path,
        )
    name = given if isinstance(given, str) else given.get("name")
    extra = () if isinstance(given, str) else tuple(k for k in given if k not in ("name", "params"))
    if extra or not isinstance(name, str):
        raise ParameterError(
            f"an operator is a mapping of 'name' and 'params'; got {', '.join(map(str, given))}."
            f"{suggestion(str(extra[0]), ('name', 'params')) if extra else ''} Its parameters "
            "belong under 'params'",
            where=path,
        )
    with located(path):
        cls = load_operator(name)
    params = {} if isinstance(given, str) else given.get("params") or {}
    inside = f"{path}.params"
    typed = reg.structure_params(cls, params, path=inside, name=name)
    reg.check_missing(cls, {**dict.fromkeys(_SIZED), **typed}, inside, name=name)


def _check_conditions(given: object) -> None:
    """Check that conditions are paths; their files are read when there is a measurement."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        raise ParameterError(
            f"expected a mapping such as {{edges: edges.png}}; got {type(given).__name__}",
            where="conditions",
        )
    for name, value in given.items():
        paths = value if isinstance(value, list) else [value]
        if not paths or not all(isinstance(path, str) for path in paths):
            raise ParameterError(
                f"expected a path, or a list of paths; got {type(value).__name__}. A tensor goes "
                "into a file, .npy for instance.",
                where=f"conditions.{name}",
            )


def _check_device(device: object) -> None:
    if not isinstance(device, str):
        raise ParameterError(
            f"expected 'auto', 'cpu' or 'cuda'; got {type(device).__name__}", where="device"
        )


def _plain(given: Any, path: str) -> Any:
    if given is None or isinstance(given, str):
        return given
    if isinstance(given, Mapping):
        return reg.unstructure(dict(given), path=path)
    if isinstance(given, Composed):
        given = given.factors
    if isinstance(given, Sequence):
        return [_plain(item, f"{path}[{i}]") for i, item in enumerate(_flat(given))]
    return reg.unstructure(given, path=path)


def _entries(data: Any) -> int:
    if isinstance(data, dict):
        return 1 + sum(1 + _entries(value) for value in data.values())
    return 1 + sum(map(_entries, data)) if isinstance(data, list) else 1


def _flat(items: Iterable[Any]) -> Iterable[Any]:
    for item in items:
        yield from item.factors if isinstance(item, Composed) else (item,)
