"""What the toolkit costs: `solver.solve` beside the two networks called one after the other."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import torch
from torch import Tensor
from wellposed import Problem
from wellposed.edge import build_solver
from wellposed.training import load_recipe
from wellposed.training.installed import find_recipe

from . import _inversenet_protocol as protocol
from ._timing import synchronize

__all__ = ["throughput"]

_SHAPES: Final = ((36, 3, 64, 64), (1, 3, 512, 512))
_LEAST: Final = 5


def throughput(recipe: Path | str, device: str, seconds: float, *, cpu_time: bool = False) -> None:
    """Print the speed of `solve` relative to that of the bare networks of a recipe, untrained.

    The bare networks get the measurement as it is, and z: no range, no check, no provenance. Both
    take turns in one process; each ratio is of two neighbours in time, and the median is shown.
    `cpu_time` counts the time on the processor, with one thread: fair on a busy machine.
    """
    solver = _solver(recipe, device)
    if cpu_time:
        torch.set_num_threads(1)
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    print(
        f"Throughput: {name}, {torch.get_num_threads()} threads, float32, motion deblurring; "
        "median time of the bare networks over that of `solve`\n"
    )
    print("| pictures | bare networks, ms | `solve`, ms | relative speed |")
    print("|---|---|---|---|")
    for shape in _SHAPES:
        x = torch.rand(shape, generator=torch.Generator().manual_seed(0))
        operator = protocol.operator_of("motion", shape[1:]).to(device=device)
        y = x.to(device)
        bare, ours = _bare(solver, y), _solving(solver, operator, y)
        a, b, ratio = compared(bare, ours, seconds=seconds, cpu_time=cpu_time)
        print(f"| {shape[0]} of {shape[2]} x {shape[3]} | {a:.2f} | {b:.2f} | {ratio:.1%} |")


def compared(
    first: Callable[[], object],
    second: Callable[[], object],
    *,
    seconds: float,
    cpu_time: bool = False,
) -> tuple[float, float, float]:
    """Return the median times of two jobs in milliseconds, and the median of first / second."""
    clock = time.process_time if cpu_time else time.perf_counter
    times: list[tuple[float, float]] = []

    def timed(job: Callable[[], object]) -> float:
        synchronize()
        start = clock()
        job()
        synchronize()
        return (clock() - start) * 1e3

    for job in (first, second, first, second):
        job()
    end = time.perf_counter() + seconds
    while time.perf_counter() < end or len(times) < _LEAST:
        if len(times) % 2:  # neither always follows the other
            b, a = timed(second), timed(first)
        else:
            a, b = timed(first), timed(second)
        times.append((a, b))
    return (
        statistics.median(a for a, _ in times),
        statistics.median(b for _, b in times),
        statistics.median(a / b for a, b in times),
    )


def _solver(recipe: Path | str, device: str) -> Any:
    """Return the recipe's solver with new networks, laid out as those of weights are."""
    given: Any = build_solver(load_recipe(find_recipe(str(recipe))).solver)
    solver = given.for_training(seed=0)
    for network in (solver.inverting, solver.denoising):
        network.requires_grad_(False).eval()
        network.to(device, memory_format=torch.channels_last)
    return solver


def _bare(solver: Any, y: Tensor) -> Callable[[], object]:
    f, g = solver.inverting, solver.denoising

    def run() -> object:
        with torch.no_grad():
            return g(f(y), **({"measurement": y} if g.conditions else {}))

    return run


def _solving(solver: Any, operator: Any, y: Tensor) -> Callable[[], object]:
    def run() -> object:
        with torch.no_grad():
            return solver.solve(Problem(operator=operator, measurement=y))

    return run
