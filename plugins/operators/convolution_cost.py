"""Which way of computing a convolution is the cheapest: a cost model with measured constants.

The time of one call and one adjoint is modelled as a sum over the features below, with constants
in nanoseconds that `python -m benchmarks calibrate` measures and prints; paste them here. They
need not be right for a machine, only in proportion.
"""

from __future__ import annotations

import math

from .geometry import Geometry

__all__ = ["COSTS", "cheapest", "features", "form_of"]

# (device, form): (per call, per pixel, per multiplication or transform step)
COSTS: dict[tuple[str, str], tuple[float, float, float]] = {}


def cheapest(
    g: Geometry, batch: int, *, separable: bool, shared: bool, real: bool, on_cuda: bool
) -> str:
    """Return the cheapest method for `batch` pictures."""
    device = "cuda" if on_cuda else "cpu"
    methods = ("direct", "separable", "fft") if separable else ("direct", "fft")

    def nanoseconds(method: str) -> float:
        costs = COSTS[device, form_of(method, g, shared=shared, real=real)]
        return sum(c * f for c, f in zip(costs, features(method, g, batch), strict=True))

    return min(methods, key=nanoseconds)


def form_of(method: str, g: Geometry, *, shared: bool, real: bool) -> str:
    """Return which code a method runs: they differ in speed per step."""
    if method == "direct":
        return "direct, batched" if shared and g.stride > 2 else "direct, grouped"
    if method == "fft":
        return "fft, paired" if real and g.stride % 2 == 0 else "fft"
    return method


def features(method: str, g: Geometry, batch: int) -> tuple[float, float, float]:
    """Return what the time of a method depends on."""
    pictures = batch * g.in_space.shape[0]
    rows, columns = g.rows, g.columns
    if method == "direct":
        outputs = rows.count * columns.count
        return (
            1,
            pictures * rows.reach * columns.reach,
            pictures * outputs * rows.taps * columns.taps,
        )
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
