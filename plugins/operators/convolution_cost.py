"""Which way of computing a convolution is the cheapest: a cost model with measured constants.

The time of a call, and of an adjoint, is modelled as a sum over the features below, with constants
in nanoseconds that `python -m benchmarks calibrate` measures and prints; paste them here. They
need not be right for a machine, only in proportion.
"""

from __future__ import annotations

import math

import torch

from .blocks import CHANNELS, adjoint_blocks, forward_blocks
from .geometry import Geometry

__all__ = ["COSTS", "bands_for", "cheapest", "features", "form_of"]

# (device, direction, form): (per call, per pixel, per multiplication or transform step)
COSTS = {
    # Two cores of an AMD EPYC, torch 2.13, quiet: the best method in 93 % of 896 cells, within
    # 25 % of it in 97 %.
    ("cpu", "adjoint", "direct, shared"): (1.327e05, 1.086, 0.006503),
    ("cpu", "adjoint", "direct, grouped"): (1.501e05, 1.496, 0.01946),
    ("cpu", "adjoint", "fft"): (8.171e04, 1.529, 0.103),
    ("cpu", "adjoint", "fft, paired"): (9.14e04, 0.1874, 0.1354),
    ("cpu", "adjoint", "separable"): (4.212e04, 0.1083, 0.01373),
    ("cpu", "forward", "direct, shared"): (1.159e05, 0.6053, 0.006577),
    ("cpu", "forward", "direct, grouped"): (1.54e05, 0.9043, 0.01564),
    ("cpu", "forward", "fft"): (9.933e04, 1.975, 0.08001),
    ("cpu", "forward", "fft, paired"): (1.316e05, 0, 0.1585),
    ("cpu", "forward", "separable"): (3.889e04, 0.1965, 0.01343),
    # Estimated from bandwidth and launch counts, not measured: see benchmarks/GPU.md.
    ("cuda", "adjoint", "direct, shared"): (6e04, 0.01, 0.0005),
    ("cuda", "adjoint", "direct, grouped"): (6e04, 0.01, 0.00025),
    ("cuda", "adjoint", "fft"): (7.5e04, 0.01, 0.00025),
    ("cuda", "adjoint", "fft, paired"): (7.5e04, 0.01, 0.00025),
    ("cuda", "adjoint", "separable"): (2e04, 0.0025, 0.000025),
    ("cuda", "forward", "direct, shared"): (6e04, 0.01, 0.0005),
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
    dtype: torch.dtype,
    learned: bool,
    on_cuda: bool,
) -> str:
    """Return the cheapest method for `batch` pictures; for training, if the kernel is learned."""
    device, direction = "cuda" if on_cuda else "cpu", "adjoint" if adjoint else "forward"
    methods = ("direct", "separable", "fft") if separable else ("direct", "fft")

    best, least = "", math.inf
    for method in methods:
        form = form_of(method, g, shared=shared, real=not dtype.is_complex)
        costs, known = COSTS[device, direction, form], features(form, g, batch, adjoint=adjoint)
        slower = 1 if on_cuda or method != "direct" else _burden(dtype, learned=learned)
        total = costs[0] * known[0] + costs[1] * known[1] + slower * costs[2] * known[2]
        if total < least:
            best, least = method, total
    return best


def _burden(dtype: torch.dtype, *, learned: bool) -> int:
    """Return how many times as long CPUs take over a product of a direct convolution.

    As in real single precision with a fixed kernel, and relative to FFTs; on two cores of an AMD
    EPYC, for 3 to 25 taps and strides 1 to 4.
    """
    burden = 1
    if dtype in (torch.float64, torch.complex128):  # by a matrix product of all windows
        burden *= 15
    if dtype.is_complex:  # by three real ones
        burden *= 4
    if learned:  # the gradient of the kernel
        burden *= 7
    return burden


def bands_for(groups: int, rows: int) -> int:
    """Return in how many bands to cut pictures of so many rows, to fill a block of groups.

    CPUs compute grouped convolutions in blocks of 16 groups, full or not.
    """
    return max(min(CHANNELS // groups, rows // CHANNELS), 1)


def form_of(method: str, g: Geometry, *, shared: bool, real: bool) -> str:
    """Return which code a method runs: they differ in speed per step."""
    if method == "direct":
        return "direct, shared" if shared else "direct, grouped"
    if method == "fft":
        return "fft, paired" if real and g.stride % 2 == 0 else "fft"
    return method


def features(form: str, g: Geometry, batch: int, *, adjoint: bool) -> tuple[float, float, float]:
    """Return what the time of a form depends on."""
    pictures: float = batch * g.in_space.shape[0]
    rows, columns = g.rows, g.columns
    if form == "direct, shared":
        steps = _steps(g, adjoint=adjoint)
        return 1, pictures * rows.size * columns.size, pictures * steps
    if form == "direct, grouped":
        bands = bands_for(batch * g.in_space.shape[0], rows.count)
        pictures = -(-pictures * bands // CHANNELS) * CHANNELS / bands
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


def _steps(g: Geometry, *, adjoint: bool) -> int:
    """Return the multiplications for a picture in blocks, whose channels fill whole registers."""
    rows, columns = adjoint_blocks(g) if adjoint else forward_blocks(g)
    channels = -(-rows.size * columns.size // CHANNELS) * CHANNELS
    return channels * rows.number * rows.window * columns.number * columns.window
