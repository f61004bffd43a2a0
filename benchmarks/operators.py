"""Blur and strided blur against torch, SciPy and deepinv: `python -m benchmarks operators`.

Circular boundaries, float32, a random kernel that is not separable. All contenders of a cell take
turns in one process; times are medians. `torch` is the fastest of the simplest forms (see
`_simple.py`), `floor` the time to read the input and write the output once at the copy bandwidth
measured in the same run, `error` the largest difference from the same job in double precision.
"""

from __future__ import annotations

import argparse
import csv
import itertools
import platform
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed.plugins.operators.blur import Blur
from wellposed.plugins.operators.strided_blur import StridedBlur

from . import _deepinv, _simple
from ._timing import interleaved

JOBS = ("forward", "adjoint", "data_prox", "forward+backward")
_TAU = 0.7


@attrs.frozen
class Cell:
    """One line of the table."""

    batch: int
    size: int
    side: int
    stride: int
    job: str

    @property
    def label(self) -> str:
        """Shape, kernel and stride, as printed."""
        return f"{self.batch}x3x{self.size} k{self.side} s{self.stride}"


@attrs.frozen
class Outcome:
    """Times in milliseconds and errors by contender."""

    times: dict[str, float]
    errors: dict[str, float]
    floor: float
    peak: float | None

    def best(self, family: str) -> tuple[str, float] | None:
        """Return the fastest contender of a family, and its time."""
        found = {n: t for n, t in self.times.items() if n.startswith(f"{family}: ")}
        return min(found.items(), key=lambda item: item[1]) if found else None


def main(argv: list[str]) -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks operators", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one kernel, two strides, less time")
    parser.add_argument("--seconds", type=float, default=None, help="per contender and cell")
    parser.add_argument("--csv", type=Path, help="also write every contender to this file")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--kernels", type=int, nargs="+", help="sides (default: 9 25 65)")
    parser.add_argument("--strides", type=int, nargs="+", help="default: 1 2 4")
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine: one thread")
    options = parser.parse_args(argv)
    if options.cpu_time:
        torch.set_num_threads(1)
    sides, strides = ((25,), (1, 4)) if options.quick else ((9, 25, 65), (1, 2, 4))
    sides, strides = options.kernels or sides, options.strides or strides
    seconds = options.seconds or (0.1 if options.quick else 0.5)
    physics, version = _deepinv.load()
    bandwidth = _copy_bandwidth(options.device)
    _print_head(options.device, bandwidth, version if physics else f"not imported ({version})")
    found: dict[Cell, Outcome] = {}
    for (batch, size), side, stride in itertools.product(((1, 512), (8, 256)), sides, strides):
        timing = {"seconds": seconds, "cpu_time": options.cpu_time}
        for cell, outcome in _measure(
            batch, size, side, stride, physics, bandwidth, timing, options.device
        ):
            found[cell] = outcome
            _print_row(cell, outcome)
    _print_summary(found)
    if options.csv:
        _write_csv(options.csv, found)
    return 0


def _measure(
    batch: int,
    size: int,
    side: int,
    stride: int,
    physics: object,
    bandwidth: float,
    timing: dict[str, Any],
    device: str,
) -> list[tuple[Cell, Outcome]]:
    generator = torch.Generator().manual_seed(0)
    kernel = torch.rand(1, 1, side, side, generator=generator)
    kernel = (kernel / kernel.sum()).to(device)
    x = torch.rand(batch, 3, size, size, generator=generator).to(device)
    op = _operator(kernel, (3, size, size), stride)
    y = op(x) + 0.01
    forms = _contenders(op, x, y, kernel, stride, physics)
    expected = _simple.reference(x, y, x, kernel, stride, _TAU)
    moved = 4 * (x.numel() + y.numel())
    outcomes = []
    for job in JOBS:
        runs = forms[job]
        errors = {name: _simple.error(run(), expected[job]) for name, run in runs.items()}
        peak = _peak_memory(runs["wellposed"]) if device != "cpu" else None
        traffic = {"data_prox": moved + 4 * x.numel(), "forward+backward": 2 * moved}
        floor = traffic.get(job, moved) / bandwidth * 1e3
        outcome = Outcome(interleaved(runs, **timing), errors, floor, peak)
        outcomes.append((Cell(batch, size, side, stride, job), outcome))
    return outcomes


def _operator(kernel: Tensor, shape: tuple[int, int, int], stride: int) -> Blur | StridedBlur:
    if stride == 1:
        return Blur(in_shape=shape, kernel=kernel, boundary="circular")
    return StridedBlur(in_shape=shape, kernel=kernel, boundary="circular", stride=stride, offset=0)


def _contenders(
    op: Blur | StridedBlur, x: Tensor, y: Tensor, kernel: Tensor, stride: int, physics: object
) -> dict[str, dict[str, Callable[[], object]]]:
    leaf = x.clone().requires_grad_()
    forms: dict[str, dict[str, Callable[[], object]]] = {
        "forward": {"wellposed": lambda: op(x)},
        "adjoint": {"wellposed": lambda: op.H(y)},
        "data_prox": {"wellposed": lambda: op.data_prox(x, y, _TAU)},
        "forward+backward": {"wellposed": lambda: torch.autograd.grad(op(leaf), leaf, y)[0]},
    }
    others = {"torch": _simple.torch_forms(x, y, x, kernel, stride, _TAU)}
    if not x.is_cuda:
        others["scipy"] = {"forward": _simple.scipy_forms(x, kernel, stride)}
    if physics is not None:
        others["deepinv"] = _deepinv.deepinv_forms(physics, x, y, x, kernel, stride, _TAU)
    for family, jobs in others.items():
        for job, runs in jobs.items():
            forms[job].update({f"{family}: {name}": run for name, run in runs.items()})
    return forms


def _copy_bandwidth(device: str) -> float:
    """Return bytes per second of a copy that no cache holds, reading and writing."""
    source = torch.ones(2**25, device=device)
    target = torch.empty_like(source)
    milliseconds = interleaved({"copy": lambda: target.copy_(source)}, seconds=0.3)["copy"]
    return 2 * 4 * source.numel() / milliseconds * 1e3


def _peak_memory(run: Callable[[], object]) -> float:
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    run()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def _print_head(device: str, bandwidth: float, deepinv: str) -> None:
    where = torch.cuda.get_device_name() if device == "cuda" else platform.processor()
    threads = torch.get_num_threads()
    print(f"torch {torch.__version__} on {device} ({where}), {threads} threads; deepinv {deepinv}")
    print(f"copy bandwidth {bandwidth / 1e9:.1f} GB/s; times in ms, ratios are peer / wellposed\n")
    titles = ["cell", "job", "wellposed", "torch", "ratio", "scipy", "deepinv", "ratio"]
    titles += ["floor share", "error", "MiB"]
    print("| " + " | ".join(titles) + " |")
    print("|" + "---|" * len(titles))


def _print_row(cell: Cell, outcome: Outcome) -> None:
    ours = outcome.times["wellposed"]
    columns = [cell.label, cell.job, f"{ours:.2f}"]
    for family, with_ratio in (("torch", True), ("scipy", False), ("deepinv", True)):
        best = outcome.best(family)
        columns.append(f"{best[1]:.2f} ({best[0].split(': ')[1]})" if best else "")
        if with_ratio:
            columns.append(f"{best[1] / ours:.2f}" if best else "")
    columns.append(f"{outcome.floor / ours:.0%}")
    columns.append(f"{outcome.errors['wellposed']:.0e}")
    columns.append("" if outcome.peak is None else f"{outcome.peak:.1f}")
    print("| " + " | ".join(columns) + " |", flush=True)


def _print_summary(found: dict[Cell, Outcome]) -> None:
    print()
    for family in ("torch", "deepinv"):
        ratios = {}
        for cell, outcome in found.items():
            best = outcome.best(family)
            if best:
                ratios[cell] = best[1] / outcome.times["wellposed"]
        if ratios:
            worst = min(ratios, key=lambda c: ratios[c])
            middle = sorted(ratios.values())[len(ratios) // 2]
            print(
                f"fastest {family} form / wellposed: median {middle:.1f}, "
                f"least {ratios[worst]:.2f} ({worst.label}, {worst.job})"
            )


def _write_csv(path: Path, found: dict[Cell, Outcome]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(["cell", "job", "contender", "ms", "ratio", "error", "floor_ms"])
        for cell, outcome in found.items():
            ours = outcome.times["wellposed"]
            for name, ms in outcome.times.items():
                writer.writerow(
                    [
                        cell.label,
                        cell.job,
                        name,
                        f"{ms:.4f}",
                        f"{ms / ours:.3f}",
                        f"{outcome.errors[name]:.2e}",
                        f"{outcome.floor:.4f}",
                    ]
                )
