"""Measure the constants of the convolution cost model: `python -m benchmarks calibrate`.

Prints a table for `plugins/operators/convolution_cost.py`, and how often the model would choose a
method that is more than 25 % slower than the best one.
"""

from __future__ import annotations

import argparse
import functools
import itertools
from collections.abc import Callable, Iterator

import attrs
import numpy as np
import scipy.optimize
import torch
from wellposed.plugins.operators.convolution_cost import features, form_of
from wellposed.plugins.operators.strided_blur import StridedBlur

from ._timing import interleaved

Row = tuple[str, tuple[str, str], tuple[float, ...], float]  # method, form, features, nanoseconds


def main(argv: list[str]) -> int:
    """Measure, fit and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks calibrate", description=__doc__)
    parser.add_argument("--seconds", type=float, default=0.05, help="per contender and cell")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine: one thread")
    options = parser.parse_args(argv)
    if options.cpu_time:
        torch.set_num_threads(1)
    measured = {
        (*cell, direction): rows
        for cell in _cells()
        for direction, rows in _measure(*cell, options).items()
    }
    costs = _fit(list(itertools.chain.from_iterable(measured.values())))
    print("COSTS = {")
    for form, constants in costs.items():
        shown = ", ".join(f"{c:.4g}" for c in constants)
        print(f'    ("{options.device}", "{form[0]}", "{form[1]}"): ({shown}),')
    print("}")
    _report(measured, costs)
    return 0


def _cells() -> Iterator[tuple[tuple[int, int], int, int, str, bool]]:
    shapes = [(1, 16), (1, 48), (1, 64), (1, 160), (1, 256), (4, 128), (1, 512), (8, 256)]
    sides, strides, boundaries = (3, 5, 9, 17, 33), (1, 2, 3, 4), ("circular", "reflect")
    yield from itertools.product(shapes, sides, strides, boundaries, (True,))
    yield from itertools.product(shapes, sides[:4], strides, ("circular",), (False,))


def _measure(
    shape: tuple[int, int],
    side: int,
    stride: int,
    boundary: str,
    shared: bool,
    options: argparse.Namespace,
) -> dict[str, list[Row]]:
    batch, size = shape
    kernels = (1, 1) if shared else (batch, 3)
    line = torch.rand(*kernels, side, 1, device=options.device)
    op = StridedBlur(
        in_shape=(3, size, size), stride=stride, kernel=line * line.mT, boundary=boundary
    )
    x = torch.rand(batch, 3, size, size, device=options.device)
    runs: dict[str, Callable[[], object]] = {}
    for method in ("direct", "separable", "fft"):
        one = attrs.evolve(op, method=method)
        if method == "direct" and batch * 3 * one.out_space.numel * side**2 > 4e9:
            continue
        y = one(x)
        runs[f"forward {method}"] = functools.partial(one, x)
        runs[f"adjoint {method}"] = functools.partial(one.H, y)
    rows: dict[str, list[Row]] = {"forward": [], "adjoint": []}
    for name, milliseconds in interleaved(
        runs, seconds=options.seconds, cpu_time=options.cpu_time
    ).items():
        direction, method = name.split()
        adjoint = direction == "adjoint"
        form = form_of(method, op.plan, shared=shared, real=True)
        known = features(form, op.plan, batch, adjoint=adjoint)
        rows[direction].append((method, (direction, form), known, milliseconds * 1e6))
    return rows


def _fit(rows: list[Row]) -> dict[tuple[str, str], tuple[float, ...]]:
    """Fit each form by non-negative least squares on relative errors."""
    costs = {}
    for form in sorted({row[1] for row in rows}):
        matrix = np.array([row[2] for row in rows if row[1] == form])
        times = np.array([row[3] for row in rows if row[1] == form])
        constants, _ = scipy.optimize.nnls(matrix / times[:, None], np.ones(len(times)))
        costs[form] = tuple(float(c) for c in constants)
    return costs


def _report(
    cells: dict[object, list[Row]], costs: dict[tuple[str, str], tuple[float, ...]]
) -> None:
    loss = {}
    for cell, rows in cells.items():
        modelled = [float(np.dot(costs[row[1]], row[2])) for row in rows]
        chosen = rows[int(np.argmin(modelled))]
        best = min(rows, key=_time)
        loss[cell] = (chosen[3] / best[3], chosen[0], best[0])
    ratios = np.array([value[0] for value in loss.values()])
    print(
        f"{len(cells)} cells; the choice is the best one in {np.mean(ratios == 1):.0%}, "
        f"more than 25 % slower in {np.mean(ratios > 1.25):.0%}; the worst:"
    )
    for cell in sorted(loss, key=lambda c: -loss[c][0])[:8]:
        ratio, chosen, best = loss[cell]
        print(f"  {cell}: {chosen} takes {ratio:.2f}x {best}")


def _time(row: Row) -> float:
    return row[3]
