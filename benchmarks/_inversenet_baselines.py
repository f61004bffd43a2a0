"""Classical methods that are told the kernel, at their best: what the networks are measured by.

Each has one number, or two, that the pictures decide: the best of a short grid, by the mean PSNR of
the first ten test pictures themselves. That favours the baseline, which no network enjoys.

With the kernel known and no noise, deblurring stands and falls with what is taken to lie beyond
the frame:

    periodic    the picture goes on as on a torus, which it does not: rings from the frame inwards.
                That is the textbook's filter, and comes near the paper's own figures.
    unknown     nothing is said: a picture larger by the kernel is restored, and its middle taken.
                What one would do with a photograph.
    known       mirrored, as in the measurement. No photograph is so, and no paper says so: what can
                be had at most.
"""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from torch import Tensor
from wellposed import ForwardOperator, Problem, Space
from wellposed.edge import build_operator, build_prior, build_solver
from wellposed.errors import NotConvergedWarning

from ._inversenet_paper import ROBUST, WIENER
from ._inversenet_protocol import OPERATORS, Measured, Score, scores

__all__ = ["BASELINES", "TIKHONOV", "Baseline", "solved", "tuned"]

_TUNED_ON: Final = 10


def _decades(first: int, last: int) -> tuple[float, ...]:
    return tuple(float(f"1e{power}") for power in range(first, last + 1))


@attrs.frozen(kw_only=True)
class Baseline:
    """A solver, maybe with a prior, and the grid of the parameters that are chosen."""

    row: str
    solver: str
    params: Mapping[str, Any] = attrs.field(factory=dict)
    prior: str | None = None
    border: str = "known"
    grid: Mapping[str, Sequence[Any]]

    @property
    def label(self) -> str:
        """Its components, and what it takes for granted."""
        prior = f" with {self.prior}" if self.prior else ""
        return f"`{self.solver}`{prior}, border {self.border}"

    def choices(self) -> Iterator[dict[str, Any]]:
        """Yield each point of the grid."""
        for values in itertools.product(*self.grid.values()):
            yield dict(zip(self.grid, values, strict=True))


_NSR: Final = (*_decades(-6, -2), 0.03, 0.1, 0.3, 1.0)
_LINEAR: Final = {"weight": _decades(-6, -1)}
_TV: Final = {"weight": _decades(-5, -1)}
_HYPER: Final = {"weight": _decades(-6, -1)}
TIKHONOV: Final = Baseline(row="Tikhonov", solver="tikhonov", grid=_LINEAR)
BASELINES: Final = (
    Baseline(
        row=WIENER,
        solver="wiener",
        border="periodic",
        grid={"nsr": _NSR, "spectrum": ("natural", "flat")},
    ),
    Baseline(row=WIENER, solver="tikhonov", border="unknown", grid=_LINEAR),
    Baseline(row=WIENER, solver="tikhonov", border="known", grid=_LINEAR),
    *(
        Baseline(row=ROBUST, solver=solver, params=params, prior=prior, border=border, grid=grid)
        for solver, params, prior, grid in (
            ("admm", {"max_steps": 60}, "tv", _TV),  # 200 steps: 0.1 dB more, on six faces
            ("hqs", {}, "hyper_laplacian", _HYPER),
        )
        for border in ("periodic", "unknown", "known")
    ),
)


def tuned(baseline: Baseline, measured: Sequence[Measured]) -> tuple[dict[str, Any], Score]:
    """Return the best point of the grid, and the figures of all pictures with it."""
    found: list[tuple[float, dict[str, Any]]] = []
    first = [_first(measured[0])]
    for choice in baseline.choices():
        score = _score(baseline, choice, first)
        found.append((score.psnr, choice))
    best = max(found, key=lambda pair: pair[0])[1]
    return best, _score(baseline, best, measured)


def solved(baseline: Baseline, choice: Mapping[str, Any], one: Measured) -> Tensor:
    """Return what a baseline restores."""
    operator = _assumed(baseline.border, one)
    prior = build_prior(baseline.prior, choice) if baseline.prior else None
    own = {} if baseline.prior else choice
    solver = build_solver(baseline.solver, {**baseline.params, **own})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotConvergedWarning)  # a figure counts, not the last digit
        problem = Problem(operator=operator, measurement=one.measurement, prior=prior)
        x: Tensor = solver.solve(problem).image
    top, left = ((a - b) // 2 for a, b in zip(x.shape[-2:], one.truth.shape[-2:], strict=True))
    return x[..., top : top + one.truth.shape[-2], left : left + one.truth.shape[-1]]


def _score(baseline: Baseline, choice: Mapping[str, Any], measured: Sequence[Measured]) -> Score:
    return scores(measured, lambda one: {"x": solved(baseline, choice, one)})["x"]


def _assumed(border: str, one: Measured) -> ForwardOperator:
    """Return the operator of motion deblurring, or whatever else is known to have measured."""
    if border == "known":
        return one.operator
    boundary = {"periodic": "circular", "unknown": "valid"}[border]
    y = one.measurement
    operator = build_operator(
        OPERATORS["motion"], {"boundary": boundary}, y_space=Space(tuple(y.shape[1:]), y.dtype)
    )
    assert isinstance(operator, ForwardOperator)
    return operator.to(device=y.device)


def _first(one: Measured) -> Measured:
    return attrs.evolve(one, truth=one.truth[:_TUNED_ON], measurement=one.measurement[:_TUNED_ON])
