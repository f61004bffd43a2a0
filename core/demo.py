"""`wellposed demo`: bundled pictures degraded, restored, compared, and shown on one page.

The cases lie in `demo.yaml`; whatever a problem file can say can be a case.
"""

from __future__ import annotations

import importlib.resources
import math
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import wellposed.registry as reg
from rich.console import Console
from rich.table import Table
from rich.text import Text
from torch import Tensor

from .config import problem_from
from .errors import ImageFileError, ParameterError, WellposedError
from .files import check_place
from .metrics import psnr, ssim
from .operator import ForwardOperator
from .progress import SolveProgress, solve_progress
from .report import Entry, Panel, call_text, facts_of, hung, literal, write_report
from .samples import sample
from .solution import Solution, Status

__all__ = ["Case", "load_cases", "run_case", "run_demo"]

_QUICK_SIZE: Final = 96
_TITLE: Final = "wellposed: demonstration"
_INTRO: Final = (
    "Each picture was degraded by the operator named, and restored from nothing but that "
    "measurement. PSNR and SSIM compare with the true picture; the baseline is the operator's "
    "own first estimate (interpolation, zero filling, back-projection), or the measurement itself "
    "where that is nearer to the truth.",
    "Photograph: portrait of Eileen Collins, NASA, public domain. The head section is the "
    "Shepp-Logan phantom.",
)


@attrs.frozen(eq=False, kw_only=True)
class Case:
    """One demonstration: a problem, and the sample picture to degrade."""

    title: str
    text: str = ""
    sample: str = "astronaut"
    problem: dict[str, Any]

    def truth(self, quick: bool) -> tuple[Tensor, str]:
        """Return the true picture, and the Python text that makes it."""
        if not quick:
            return sample(self.sample), f'wellposed.sample("{self.sample}")'
        if self.sample == "shepp_logan":
            return sample(self.sample, size=_QUICK_SIZE), (
                f'wellposed.sample("{self.sample}", size={_QUICK_SIZE})'
            )
        picture = sample(self.sample)
        top = (picture.shape[-1] - _QUICK_SIZE) // 2 - _QUICK_SIZE // 2  # her face
        side = f"{top}:{top + _QUICK_SIZE}"
        return (
            picture[..., top : top + _QUICK_SIZE, top : top + _QUICK_SIZE],
            f'wellposed.sample("{self.sample}")[..., {side}, {side}]',
        )


@attrs.frozen(eq=False, kw_only=True)
class Outcome:
    """What came of a case: a solution with its comparison, or an error."""

    case: Case
    code: str
    seconds: float = math.nan
    truth: Tensor | None = None
    measurement: Tensor | None = None
    baseline: Tensor | None = None
    solution: Solution | None = None
    scores: dict[str, float] = attrs.field(factory=dict)
    error: str = ""

    @property
    def status(self) -> str:
        """One word for the table."""
        return "failed" if self.solution is None else str(self.solution.status)

    @property
    def failed(self) -> bool:
        """Whether there is no usable picture."""
        return self.solution is None or self.solution.status >= Status.DIVERGED


def load_cases(text_or_path: str | Path | None = None) -> tuple[Case, ...]:
    """Return the cases of a YAML file, or those that ship with the package.

    Raises: ParameterError for entries that are not a case.
    """
    if text_or_path is None:
        text_or_path = importlib.resources.files("wellposed").joinpath("demo.yaml").read_text()
    items = reg.load_yaml(text_or_path).get("cases")
    if not isinstance(items, list) or not all(isinstance(item, dict) for item in items):
        raise ParameterError("expected a list of cases, each a mapping", where="cases")
    cases = []
    for i, item in enumerate(items):
        about = {key: item.pop(key) for key in ("title", "text", "sample") if key in item}
        if "title" not in about:
            raise ParameterError("a case needs a title", where=f"cases[{i}]")
        cases.append(Case(**about, problem=item))
    return tuple(cases)


def run_demo(
    folder: Path,
    *,
    quick: bool = False,
    only: Sequence[str] = (),
    console: Console | None = None,
    cases: Sequence[Case] | None = None,
) -> tuple[Path, int]:
    """Run the cases, print one table, write `index.html`; return its path and how many failed.

    A case that fails is shown with its error, and does not stop the others.
    Raises: ImageFileError when the report cannot be written; ParameterError when nothing is left.
    """
    chosen = [c for c in cases or load_cases() if not only or _matches(c, only)]
    if not chosen:
        raise ParameterError(f"no case of the demo has {' or '.join(map(repr, only))} in its title")
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ImageFileError(f"cannot make the folder {folder}: {error.strerror}.") from error
    target = folder / "index.html"
    check_place(target)
    if target.exists() and _TITLE not in target.read_text("utf-8", "replace"):
        raise ImageFileError(
            f"{target} exists already, and is no report of the demo; name another."
        )
    outcomes = []
    with solve_progress(len(chosen)) as bar:
        for case in chosen:
            bar.begin(case.title)
            outcomes.append(run_case(case, quick=quick, bar=bar))
            bar.end()
    (console or Console()).print(_table(outcomes))
    page = write_report(
        target,
        _TITLE,
        [_entry(o) for o in outcomes],
        intro=_INTRO,
    )
    return page, sum(o.failed for o in outcomes)


def run_case(case: Case, *, quick: bool = False, bar: SolveProgress | None = None) -> Outcome:
    """Degrade, restore and compare; an error becomes part of the outcome."""
    truth, made_by = case.truth(quick)
    code = _code(case, made_by)
    try:
        problem = problem_from(case.problem)
        y = problem.simulate(truth)
        started = time.perf_counter()
        solution = problem.solve(y, callback=bar)
        seconds = time.perf_counter() - started
        return _compared(case, code, truth, y, solution, seconds)
    except WellposedError as error:
        return Outcome(case=case, code=code, error=str(error))


def _compared(
    case: Case, code: str, truth: Tensor, y: Tensor, solution: Solution, seconds: float
) -> Outcome:
    op = solution.operator
    assert isinstance(op, ForwardOperator)
    truth = truth.to(dtype=op.in_space.dtype, device=y.device)
    # The plain picture to beat: the operator's first estimate, or y where that is nearer.
    baseline = op.initial_estimate(y)
    comparable = y.shape == truth.shape and not y.is_complex()
    if comparable and psnr(y, truth) >= psnr(baseline, truth):
        baseline = y
    scores = {}
    for name, picture in (("baseline", baseline), ("result", solution.image)):
        scores[f"{name} PSNR"] = float(psnr(picture, truth))
        scores[f"{name} SSIM"] = float(ssim(picture, truth))
    return Outcome(
        case=case,
        code=code,
        seconds=seconds,
        truth=truth,
        measurement=y,
        baseline=baseline,
        solution=solution,
        scores=scores,
    )


def _code(case: Case, made_by: str) -> str:
    p = {key: value for key, value in case.problem.items() if value is not None}
    names: dict[str, str] = {key: key for key in ("op", "noise") if key in p}
    seed = {"seed": literal(p["seed"])} if "seed" in p else {}
    rest: dict[str, str] = {key: literal(p[key]) for key in ("solver", "prior") if key in p}
    lines = ["import wellposed", ""]
    lines += [f"{name} = {hung(literal(p[name]), len(name) + 3)}" for name in names]
    lines += [
        f"truth = {made_by}",
        f"y = {call_text('wellposed.simulate', 'truth', {**names, **seed})}",
        f"solution = {call_text('wellposed.solve', 'y', {**names, **rest, **seed})}",
        "print(solution.report())",
        'print("PSNR", wellposed.psnr(solution.image, truth))',
    ]
    return "\n".join(lines)


def _matches(case: Case, only: Sequence[str]) -> bool:
    return any(word.casefold() in case.title.casefold() for word in only)


def _named(given: Any) -> str:
    if isinstance(given, list):
        return " @ ".join(_named(item) for item in given)
    name = given.get("name") if isinstance(given, dict) else given
    return str(name)


def _methods(problem: dict[str, Any]) -> str:
    prior = problem.get("prior")
    return _named(problem.get("solver")) + (f" + {_named(prior)}" if prior else "")


def _scores(outcome: Outcome, name: str) -> str:
    if not outcome.scores:
        return "-"
    return f"{outcome.scores[f'{name} PSNR']:.2f} / {outcome.scores[f'{name} SSIM']:.3f}"


def _row(outcome: Outcome) -> dict[str, str]:
    problem = outcome.case.problem
    return {
        "operator": _named(problem.get("op")),
        "solver + prior": _methods(problem),
        "baseline, dB / SSIM": _scores(outcome, "baseline"),
        "restored, dB / SSIM": _scores(outcome, "result"),
        "seconds": "-" if math.isnan(outcome.seconds) else f"{outcome.seconds:.1f}",
    }


def _table(outcomes: Sequence[Outcome]) -> Table:
    table = Table(title="wellposed demo: PSNR in dB / SSIM", title_justify="left")
    table.add_column("problem", no_wrap=True)
    for name in ("operator", "solver + prior"):
        table.add_column(name)
    for name in ("baseline", "restored", "seconds"):
        table.add_column(name, justify="right", no_wrap=True)
    table.add_column("status")
    for outcome in outcomes:
        text = outcome.error or outcome.status
        style = "red" if outcome.failed else "green"
        table.add_row(outcome.case.title, *_row(outcome).values(), Text(text, style=style))
    return table


def _entry(outcome: Outcome) -> Entry:
    case, solution = outcome.case, outcome.solution
    advice = "" if solution is None or not outcome.failed else solution.status.advice
    return Entry(
        title=case.title,
        text=case.text,
        panels=_panels(outcome),
        summary=_row(outcome),
        facts={} if solution is None else facts_of(solution),
        code=outcome.code,
        status=outcome.status,
        error=outcome.error or advice,
    )


def _panels(outcome: Outcome) -> list[Panel]:
    y, baseline, solution = outcome.measurement, outcome.baseline, outcome.solution
    if y is None or baseline is None or solution is None or outcome.truth is None:
        return []
    before, after = _note(outcome, "baseline"), _note(outcome, "result")
    panels = [Panel(label="Restored", picture=solution.image, note=after)]
    panels.append(Panel(label="Truth", picture=outcome.truth))
    if baseline is y:
        return [Panel(label="Measurement (baseline)", picture=y, note=before), *panels]
    still = y.is_complex() or y.shape[-1] * baseline.shape[-2] != y.shape[-2] * baseline.shape[-1]
    return [
        Panel(label="Measurement", picture=y, measured=True, still=still),
        Panel(label="Baseline", picture=baseline, note=before),
        *panels,
    ]


def _note(outcome: Outcome, name: str) -> str:
    psnr_, ssim_ = outcome.scores[f"{name} PSNR"], outcome.scores[f"{name} SSIM"]
    return f"{psnr_:.2f} dB, SSIM {ssim_:.3f}"
