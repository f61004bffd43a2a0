"""How a check runs: drawn trials, a bounded number of them, and a failure worth reading."""

from __future__ import annotations

import contextlib
import sys
import time
import traceback
import warnings
import zlib
from abc import ABC
from collections.abc import Callable, Hashable, Iterator
from pathlib import Path
from typing import Any, ClassVar, Generic, NoReturn, TypeVar

import attrs
import hypothesis
import torch
from hypothesis import HealthCheck, Phase, settings
from hypothesis import strategies as st
from torch import Tensor, nn
from wellposed.registry import Registry, default_registry

from ..errors import NotConvergedWarning, ParameterError
from ..moves import move
from ..space import Space
from .corners import distinct
from .strategies import seeds

__all__ = ["CheckFailure", "CheckResult", "Kit", "Trial", "body_of", "check", "fail"]

Subject = TypeVar("Subject")
K = TypeVar("K", bound="Kit[Any]")
M = TypeVar("M", bound="Tensor | nn.Module")

# A failing example is made smaller only where an attempt is cheap.
_SHRINK_ABOVE = 3
_POOL, _POOL_RUN = 400, 10
_NOT_THEIRS = {*sys.stdlib_module_names, "wellposed", "torch", "numpy", "scipy", "attr", "attrs"}
_NOT_THEIRS |= {"hypothesis", "pytest", "_pytest", "pluggy"}


class CheckFailure(AssertionError):
    """A component breaks a rule; the message says which, by how much, and what it looks like."""


def fail(message: str) -> NoReturn:
    """Raise CheckFailure."""
    raise CheckFailure(message)


@attrs.frozen(kw_only=True)
class CheckResult:
    """Outcome of one check; `message` is empty when it passed."""

    name: str
    passed: bool
    message: str = ""
    seconds: float = 0.0


@attrs.frozen(eq=False)
class Trial(Generic[Subject]):
    """One drawn instance, with a batch shape that it accepts and a seed for all random numbers.

    All numbers are drawn on the CPU. On another device they are moved there once and kept, so that
    a second call with them copies nothing.
    """

    subject: Subject
    batch: tuple[int, ...] = ()
    seed: int = 0
    device: str = "cpu"
    _kept: dict[Hashable, Any] = attrs.field(factory=dict, init=False, repr=False)

    def to(self, device: str) -> Trial[Subject]:
        """Return the same trial on a device."""
        return attrs.evolve(self, subject=move(self.subject, device=device), device=device)

    def placed(self, key: Hashable, make: Callable[[], M]) -> M:
        """Return what `make()` gives, on the trial's device; but on the CPU made anew each time."""
        if self.device == "cpu":
            return make()
        if key not in self._kept:
            self._kept[key] = make().to(self.device)
        kept: M = self._kept[key]
        return kept

    def generator(self, index: int = 0) -> torch.Generator:
        """Return a fresh generator; another `index` gives independent numbers."""
        return torch.Generator().manual_seed(1000 * self.seed + index)

    def randn(self, space: Space, index: int = 0, batch: tuple[int, ...] | None = None) -> Tensor:
        """Return standard normal values on `space`, with the trial's batch unless told."""
        lead = self.batch if batch is None else batch
        return self.placed(
            ("randn", space, index, lead),
            lambda: space.randn(lead, generator=self.generator(index)),
        )

    def rand(self, space: Space, index: int = 0, batch: tuple[int, ...] | None = None) -> Tensor:
        """Return a picture with values in [0, 1] (in the unit square, when complex)."""
        lead = self.batch if batch is None else batch
        return self.placed(
            ("rand", space, index, lead),
            lambda: torch.rand(
                (*lead, *space.shape), dtype=space.dtype, generator=self.generator(index)
            ),
        )

    def steps(self, scale: float = 1.0, dtype: torch.dtype = torch.float64) -> Tensor:
        """Return one positive value per sample, of the batch shape, a factor of 10 apart."""

        def drawn() -> Tensor:
            exponents = torch.rand(self.batch, generator=self.generator(99), dtype=torch.float64)
            return (scale * 10 ** (exponents - 0.5)).to(dtype)

        return self.placed(("steps", scale, dtype), drawn)


def check(
    *, share: float = 1.0, most: int | None = None, corners: bool = False
) -> Callable[[Callable[[K, Trial[Any]], None]], Callable[[K], None]]:
    """Turn `method(self, trial)` into a check `method(self)` that runs it on drawn trials.

    share: the part of the kit's `max_examples` that it gets; most: a bound, for costly checks;
    corners: look at one instance of each combination of options, too; for cheap checks.
    """

    def decorate(method: Callable[[K, Trial[Any]], None]) -> Callable[[K], None]:
        def run(self: K) -> None:
            count = max(1, round(self.max_examples * share))
            self._run(method, count if most is None else min(count, most))
            if corners:
                self._run_corners(method)

        # functools.wraps would show pytest the argument `trial`, which it takes for a fixture.
        run.__name__, run.__qualname__ = method.__name__, method.__qualname__
        run.__doc__, run.__module__ = method.__doc__, method.__module__
        run.body = method  # type: ignore[attr-defined]
        return run

    return decorate


def body_of(method: Callable[[Any], None]) -> Callable[[Any, Trial[Any]], None]:
    """Return what a check does with one trial, to be run on an instance found otherwise."""
    body: Callable[[Any, Trial[Any]], None] = method.body  # type: ignore[attr-defined]
    return body


class Kit(ABC, Generic[Subject]):
    """Base of all kits: subclass one of them, and name a component or give a strategy.

    component: `(kind, name)` of a registered component, whose examples are used.
    examples: a hypothesis strategy of what an example of this kind yields (see
    `wellposed.testing.cases`), instead of the registered ones.
    max_examples: drawn examples per cheap check; costly checks take fewer.
    max_seconds: no further example is drawn for a check after this time; at least one is.
    reproducible: draw the same examples in every run, whatever the hypothesis profile says.
    """

    kind: ClassVar[str]
    component: ClassVar[tuple[str, str] | None] = None
    examples: ClassVar[Any] = None
    registry: ClassVar[Registry | None] = None
    max_examples: ClassVar[int] = 20
    max_seconds: ClassVar[float] = 10.0
    reproducible: ClassVar[bool] = False

    def instances(self) -> st.SearchStrategy[Subject]:
        """Return the strategy of examples: the class attribute, or those of the component."""
        if self.examples is not None:
            return _as_strategy(self.examples)
        if self.component is None:
            raise ParameterError(
                f"{type(self).__name__} expects `component = (kind, name)` or `examples = "
                "strategy`; got neither. Set one of them on the class."
            )
        kind, name = self.component
        registry = self.registry or default_registry()
        found = registry.examples(kind, name)
        if not found:
            raise CheckFailure(
                f"{kind} {name!r} has no example, so nothing can be checked. Yield an "
                f"Example({kind!r}, {name.rpartition('/')[2]!r}, 'package.module:function') from "
                "wellposed_examples()."
            )
        return st.one_of([_as_strategy(registry.load_example(example)) for example in found])

    def batches(self, subject: Subject) -> list[tuple[int, ...]]:
        """Return batch shapes that go with an instance; kits say which."""
        return [()]

    def trials(self) -> st.SearchStrategy[Trial[Subject]]:
        """Return the strategy of trials: an instance, a batch shape that fits it, and a seed."""

        @st.composite
        def trials(draw: st.DrawFn) -> Trial[Subject]:
            subject = draw(self.instances())
            return Trial(subject, draw(st.sampled_from(self.batches(subject))), draw(seeds()))

        return trials()

    def pool(self) -> list[Subject]:
        """Return many instances, drawn once for all checks that want to see what there is."""
        known = vars(type(self)).get("_pool")
        if known is None:
            known = []
            # In a long run hypothesis mostly varies what it drew before; short ones differ more.
            for run in range(_POOL // _POOL_RUN):
                label = f"pool {run} {self.component}"
                self._given(self.instances(), known.append, _POOL_RUN, label)
            type(self)._pool = known  # type: ignore[attr-defined]
        return list(known)

    def _run_corners(self, method: Callable[[Any, Trial[Any]], None]) -> None:
        started = time.perf_counter()
        for seed, subject in enumerate(distinct(self.pool())):
            if time.perf_counter() - started > self.max_seconds:
                return
            batches = self.batches(subject)
            try:
                with strict_warnings():
                    method(self, Trial(subject, batches[seed % len(batches)], seed))
            except Exception as failure:
                failure.add_note(f"With these options: {subject!r}")
                raise

    def _run(self, method: Callable[[Any, Trial[Any]], None], count: int) -> None:
        def each(trial: Trial[Subject]) -> None:
            with strict_warnings():
                method(self, trial)

        label = f"{method.__name__} {self.component}"
        try:
            self._given(self.trials(), each, count, label)
        except CheckFailure as failure:
            larger = self._on_a_larger_example(each, count, label)
            if larger and larger not in str(failure):
                failure.add_note(f"On a larger example: {larger}")
            raise

    def _on_a_larger_example(
        self, each: Callable[[Trial[Subject]], None], count: int, label: str
    ) -> str:
        """Return the message of the largest picture that fails, since small ones hide where."""
        found = [(0, "")]

        def collect(trial: Trial[Any]) -> None:
            space = getattr(trial.subject, "in_space", None)
            if space is None:
                return
            try:
                each(trial)
            except CheckFailure as failure:
                found.append((space.numel, str(failure)))
            except Exception:  # another fault, which another check will find
                return

        self._given(self.trials(), collect, max(count, 10), f"larger {label}")
        return max(found)[1]

    def _given(
        self, strategy: st.SearchStrategy[Any], body: Callable[[Any], None], count: int, label: str
    ) -> None:
        started, failed = time.perf_counter(), False

        def example(trial: Any) -> None:
            nonlocal failed
            # Once something failed, hypothesis tries smaller examples and must see them fail, too.
            if not failed and time.perf_counter() - started > self.max_seconds:
                return
            try:
                body(trial)
            except Exception:
                failed = True
                raise

        phases = [Phase.explicit, Phase.reuse, Phase.generate]
        if count > _SHRINK_ABOVE:
            phases.append(Phase.shrink)
        rules = settings(
            max_examples=count,
            deadline=None,
            database=None,
            phases=phases,
            report_multiple_bugs=False,
            suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
        )
        test = rules(hypothesis.given(strategy)(example))
        if self.reproducible:
            test = hypothesis.seed(zlib.crc32(label.encode()))(test)
        test()


@contextlib.contextmanager
def strict_warnings() -> Iterator[None]:
    """Make errors of the two warnings that hide wrong results, whatever pytest was told."""
    before = torch.is_warn_always_enabled()
    torch.set_warn_always(True)  # torch tells only once in a process that it drops numbers
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("error", category=NotConvergedWarning)
            warnings.filterwarnings("error", message="Casting complex values to real")
            yield
    finally:
        torch.set_warn_always(before)


def timed(name: str, function: Callable[[], None]) -> CheckResult:
    """Run one check and turn whatever it raises into a result."""
    started = time.perf_counter()
    message = ""
    try:
        function()
    except KeyboardInterrupt:
        raise
    except BaseException as error:  # pytest.skip and hypothesis's own are not all Exceptions
        if type(error).__name__ == "Skipped":
            return CheckResult(name=name, passed=True, message=f"skipped: {error}")
        message = _told(error)
    seconds = time.perf_counter() - started
    return CheckResult(name=name, passed=not message, message=message, seconds=seconds)


def _told(error: BaseException) -> str:
    text = str(error) or "no message"
    if not isinstance(error, CheckFailure):
        text = f"{type(error).__name__}: {text}{_place(error)}"
    notes = [note for note in getattr(error, "__notes__", ()) if "reproduce" not in note]
    return "\n".join([text, *notes])


def _place(error: BaseException) -> str:
    """Return where in the component's own code an error came about, if it passed through there."""
    place = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        module = str(frame.f_globals.get("__name__", ""))
        # hypothesis also makes modules as it goes, whose names begin with its own
        top = module.partition(".")[0].partition("_temporary")[0]
        if module.startswith("wellposed.plugins.") or top not in _NOT_THEIRS:
            code = frame.f_code
            place = f" ({Path(code.co_filename).name}, line {line}, in {code.co_name})"
    return place


def _as_strategy(given: Any) -> st.SearchStrategy[Any]:
    if isinstance(given, st.SearchStrategy):
        return given
    if isinstance(given, (list, tuple)) and given:
        return st.sampled_from(list(given))
    raise ParameterError(
        f"examples are a hypothesis strategy or a non-empty list; got {type(given).__name__}."
    )
