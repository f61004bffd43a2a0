"""Which way of computing a convolution is the cheapest: a cost model with measured constants.

The time of a call, and of an adjoint, is modelled as a sum over the features below, with constants
in nanoseconds that `python -m benchmarks calibrate` measures and prints; paste them here. They
need not be right for a machine, only in proportion.
"""

from __future__ import annotations

import math

from .geometry import Geometry

__all__ = ["COSTS", "bands_for", "cheapest", "features", "form_of"]

_BLOCK = 16

# (device, direction, form): (per call, per pixel, per multiplication or transform step)
COSTS = {
    # Two cores of an AMD EPYC, torch 2.13, quiet: the best method in 91 % of 640 cells, within
    # 25 % of it in 97 %.
    ("cpu", "adjoint", "direct, batched"): (1.285e05, 1.282, 0.01897),
    ("cpu", "adjoint", "direct, grouped"): (1.873e05, 1.323, 0.009911),
    ("cpu", "adjoint", "fft"): (7.181e04, 2.638, 0.004972),
    ("cpu", "adjoint", "fft, paired"): (7.385e04, 0.8532, 0.05965),
    ("cpu", "adjoint", "separable"): (2.82e04, 0.08875, 0.01244),
    ("cpu", "forward", "direct, batched"): (9.838e04, 0.6054, 0.08086),
    ("cpu", "forward", "direct, grouped"): (1.519e05, 1.056, 0.008251),
    ("cpu", "forward", "fft"): (1.059e05, 1.699, 0.08402),
    ("cpu", "forward", "fft, paired"): (1.267e05, 0, 0.1482),
    ("cpu", "forward", "separable"): (3.659e04, 0.2707, 0.01229),
    # Estimated from bandwidth and launch counts, not measured: see benchmarks/GPU.md.
    ("cuda", "adjoint", "direct, batched"): (6e04, 0.01, 0.0005),
    ("cuda", "adjoint", "direct, grouped"): (6e04, 0.01, 0.00025),
    ("cuda", "adjoint", "fft"): (7.5e04, 0.01, 0.00025),
    ("cuda", "adjoint", "fft, paired"): (7.5e04, 0.01, 0.00025),
    ("cuda", "adjoint", "separable"): (2e04, 0.0025, 0.000025),
    ("cuda", "forward", "direct, batched"): (6e04, 0.01, 0.0005),
    ("cuda", "forward", "direct, grouped"): (6e04, 0.01, 0.00025),
    ("cuda", "forward", "fft"): (7.5e04, 0.01, 0.00025),
    ("cuda", "forward", "fft, paired"): (7.5e04, 0.01, 0.00025),
    ("cuda", "forward", "separable"): (2e04, 0.0025, 0.000025),
}


def cheapest(
    g: Geometry,
    batch: int,
    *,
    adjoint: bool,
    separable: bool,
    shared: bool,
    real: bool,
    on_cuda: bool,
) -> str:
    """Return the cheapest method for `batch` pictures."""
    device, direction = "cuda" if on_cuda else "cpu", "adjoint" if adjoint else "forward"
    methods = ("direct", "separable", "fft") if separable else ("direct", "fft")

    best, least = "", math.inf
    for method in methods:
        form = form_of(method, g, adjoint=adjoint, shared=shared, real=real)
        costs, known = COSTS[device, direction, form], features(form, g, batch)
        total = costs[0] * known[0] + costs[1] * known[1] + costs[2] * known[2]
        if total < least:
            best, least = method, total
    return best


def bands_for(groups: int, rows: int) -> int:
    """Return in how many bands to cut pictures of so many rows, to fill a block of groups.

    CPUs compute grouped convolutions in blocks of 16 groups, full or not.
    """
    return max(min(_BLOCK // groups, rows // _BLOCK), 1)


def form_of(method: str, g: Geometry, *, adjoint: bool, shared: bool, real: bool) -> str:
    """Return which code a method runs: they differ in speed per step."""
    if method == "direct":
        batched = shared and g.stride > (1 if adjoint else 2)
        return "direct, batched" if batched else "direct, grouped"
    if method == "fft":
        return "fft, paired" if real and g.stride % 2 == 0 else "fft"
    return method


def features(form: str, g: Geometry, batch: int) -> tuple[float, float, float]:
    """Return what the time of a form depends on."""
    pictures: float = batch * g.in_space.shape[0]
    rows, columns = g.rows, g.columns
    if form.startswith("direct"):
        if form == "direct, grouped":
            bands = bands_for(batch * g.in_space.shape[0], rows.count)
            pictures = -(-pictures * bands // _BLOCK) * _BLOCK / bands
        steps = rows.count * columns.count * rows.taps * columns.taps
        return 1, pictures * rows.reach * columns.reach, pictures * steps
    if form == "separable":
        first = columns.count * rows.size * columns.size
        return (
            1,
            pictures * rows.size * columns.size,
            pictures * (first + columns.count * rows.count * rows.size),
        )
    height, width = rows.size, columns.size
    if not g.periodic:
        height, width = rows.fft_count * g.stride, columns.fft_count * g.stride
    pixels = pictures * height * width
    return 1, pixels, pixels * math.log2(height * width / g.stride**2 + 1)
