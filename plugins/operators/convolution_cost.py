"""Which way of computing a convolution is the cheapest: a cost model with measured constants.

The time of one call and one adjoint is modelled as a sum over the features below, with constants
in nanoseconds that `python -m benchmarks calibrate` measures and prints; paste them here. They
need not be right for a machine, only in proportion.
"""

from __future__ import annotations

import math

from .geometry import Geometry

__all__ = ["COSTS", "bands_for", "cheapest", "features", "form_of"]

_BLOCK = 16

# (device, form): (per call, per pixel, per multiplication or transform step)
COSTS = {
    # One core of an AMD EPYC, torch 2.13, `calibrate --cpu-time`: the best method in 92 % of 320
    # cells, and never more than 1.3 times slower than it.
    ("cpu", "direct, batched"): (1.666e05, 4.02, 0.1908),
    ("cpu", "direct, grouped"): (2.146e05, 4.806, 0.0344),
    ("cpu", "fft"): (1.298e05, 6.56, 0.3),
    ("cpu", "fft, paired"): (1.712e05, 5.353, 0.1126),
    ("cpu", "separable"): (4.852e04, 1.398, 0.0435),
    # Estimated from bandwidth and launch counts, not measured: see benchmarks/GPU.md.
    ("cuda", "direct, batched"): (1.2e05, 0.02, 0.001),
    ("cuda", "direct, grouped"): (1.2e05, 0.02, 0.0005),
    ("cuda", "fft"): (1.5e05, 0.02, 0.0005),
    ("cuda", "fft, paired"): (1.5e05, 0.02, 0.0005),
    ("cuda", "separable"): (4e04, 0.005, 0.00005),
}


def cheapest(
    g: Geometry, batch: int, *, separable: bool, shared: bool, real: bool, on_cuda: bool
) -> str:
    """Return the cheapest method for `batch` pictures."""
    device = "cuda" if on_cuda else "cpu"
    methods = ("direct", "separable", "fft") if separable else ("direct", "fft")

    best, least = "", math.inf
    for method in methods:
        costs = COSTS[device, form_of(method, g, shared=shared, real=real)]
        known = features(method, g, batch, shared=shared)
        total = costs[0] * known[0] + costs[1] * known[1] + costs[2] * known[2]
        if total < least:
            best, least = method, total
    return best


def bands_for(groups: int, rows: int) -> int:
    """Return in how many bands to cut pictures of so many rows, to fill a block of groups.

    CPUs compute grouped convolutions in blocks of 16 groups, full or not.
    """
    return max(min(_BLOCK // groups, rows // _BLOCK), 1)


def form_of(method: str, g: Geometry, *, shared: bool, real: bool) -> str:
    """Return which code a method runs: they differ in speed per step."""
    if method == "direct":
        return "direct, batched" if shared and g.stride > 2 else "direct, grouped"
    if method == "fft":
        return "fft, paired" if real and g.stride % 2 == 0 else "fft"
    return method


def features(method: str, g: Geometry, batch: int, *, shared: bool) -> tuple[float, float, float]:
    """Return what the time of a method depends on."""
    pictures: float = batch * g.in_space.shape[0]
    rows, columns = g.rows, g.columns
    if method == "direct":
        if not (shared and g.stride > 2):
            bands = bands_for(batch * g.in_space.shape[0], rows.count)
            pictures = -(-pictures * bands // _BLOCK) * _BLOCK / bands
        steps = rows.count * columns.count * rows.taps * columns.taps
        return 1, pictures * rows.reach * columns.reach, pictures * steps
    if method == "separable":
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
