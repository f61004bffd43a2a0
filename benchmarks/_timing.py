"""Interleaved timing: all contenders in turn, many times over, medians."""

from __future__ import annotations

import random
import statistics
import time
from collections.abc import Callable

import torch

__all__ = ["interleaved", "synchronize"]


def synchronize() -> None:
    """Wait for the accelerator, where there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def interleaved(
    contenders: dict[str, Callable[[], object]],
    *,
    seconds: float = 1.0,
    least: int = 5,
    cpu_time: bool = False,
) -> dict[str, float]:
    """Return the median time of each contender in milliseconds.

    The contenders take turns, so that a machine that slows down slows all of them, and in another
    order each time, since a short call pays for what the one before left in caches and memory. Each
    is called twice before the clock starts, then until `seconds` for each are spent. `cpu_time`
    counts the time on the processor instead: fair on a busy machine, with one thread only.
    """
    for run in contenders.values():
        run()
        run()
    order = random.Random(0)
    clock = time.process_time if cpu_time else time.perf_counter
    times: dict[str, list[float]] = {name: [] for name in contenders}
    end = time.perf_counter() + seconds * len(contenders)
    while time.perf_counter() < end or len(next(iter(times.values()))) < least:
        for name, run in order.sample(list(contenders.items()), len(contenders)):
            synchronize()
            start = clock()
            run()
            synchronize()
            times[name].append((clock() - start) * 1e3)
    return {name: statistics.median(values) for name, values in times.items()}
