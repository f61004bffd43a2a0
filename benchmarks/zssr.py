"""Zero-shot super-resolution of one picture by its number of steps, beside what needs no learning.

    python -m benchmarks zssr [--steps 100 300 1000 3000] [--start tikhonov]

scikit-image's astronaut, 512 x 512, is blurred by a Gaussian of 11 x 11 taps, variances 4 and 1.2,
the longer axis 0.6 rad below the horizontal, whose centre lies in the middle of the 2 x 2 pixels
that a measured one stands for; reflected at the frame, reduced by 2, and rounded to 8 bits.
`--transpose` exchanges the kernel's rows and columns: so turned is the kernel on which the authors'
code was measured (33.07 dB). PSNR of the luminance (BT.601), pictures clipped to [0, 1], a border
of 10 pixels cut off. Each row is a solve of its own, with the ensemble at its end.
"""

from __future__ import annotations

import argparse
import math
import time
from collections.abc import Sequence
from typing import Any

import attrs
import torch
from skimage import data
from torch import Tensor
from wellposed import Problem, Solver, Space, luminance, psnr
from wellposed.edge import build_operator, build_solver
from wellposed.errors import WellposedError

_TAPS, _CENTRE = 11, 5.5
_VARIANCES = (4.0, 1.2)
_ANGLE = 0.6
_BORDER = 10


def main(argv: list[str]) -> None:
    """Run `python -m benchmarks zssr`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks zssr",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--steps", type=int, nargs="+", default=[100, 300, 1000, 3000])
    parser.add_argument(
        "--start",
        nargs="*",
        default=["tikhonov"],
        help="solvers to start from, with the cosine schedule; none given: interpolation only",
    )
    parser.add_argument("--transpose", action="store_true", help="the kernel")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpu-time", action="store_true", help="for a busy machine: one thread")
    options = parser.parse_args(argv)
    if min(options.steps) < 1:
        parser.error("--steps: expected 1 or more")
    try:
        rows = _rows(options.steps, options.start)
    except WellposedError as error:
        parser.error(f"--start: {error}")
    if options.cpu_time:
        torch.set_num_threads(1)
    clock = time.process_time if options.cpu_time else time.perf_counter
    truth, problem = case(transpose=options.transpose, seed=options.seed)
    print(f"{torch.get_num_threads()} threads, seed {options.seed}")
    print("| solver | steps | PSNR, dB | s | status |\n|---|---|---|---|---|")
    for label, solver in rows:
        begun = clock()
        found = solver.solve(problem)
        spent = clock() - begun
        shown = f"{int(found.steps)} | {quality(found.image, truth):.2f} | {spent:.1f}"
        print(f"| {label} | {shown} | {found.status} |", flush=True)


def _rows(steps: Sequence[int], starts: Sequence[str]) -> list[tuple[str, Solver]]:
    """Return each solver with its label; all are built before the first is run."""
    rows = [(name, build_solver(name)) for name in ("interpolation", "tikhonov")]
    rows += [("zssr", build_solver("zssr", {"max_steps": each})) for each in steps]
    for start in starts:
        settings = {"start": start, "schedule": "cosine"}
        label = f'zssr, start="{start}", schedule="cosine"'
        rows += [(label, build_solver("zssr", {"max_steps": n, **settings})) for n in steps]
    return rows


def case(*, transpose: bool = False, seed: int = 0) -> tuple[Tensor, Problem]:
    """Return the picture and the problem of finding it again, in float32."""
    x = torch.from_numpy(data.astronaut()).movedim(-1, 0).double() / 255
    plain: Any = build_operator(
        "strided_blur",
        {"stride": 2, "boundary": "symmetric", "offset": 0},
        x_space=Space(tuple(x.shape)),
    )
    # An operator's kernel is that of a convolution; this one is that of a correlation.
    flipped = (_gaussian().mT if transpose else _gaussian()).flip(-2, -1)
    exact = attrs.evolve(plain, kernel=flipped[None, None])
    y = (exact(x) * 255).round().clamp(0, 255) / 255
    operator = exact.to(dtype=torch.float32)
    return x.float(), Problem(operator=operator, measurement=y.float(), seed=seed)


def quality(x: Tensor, truth: Tensor) -> float:
    """Return the PSNR of the luminance, away from the frame."""
    return float(psnr(luminance(x.clamp(0, 1)), luminance(truth), border=_BORDER))


def _gaussian() -> Tensor:
    """Return the kernel `(taps, taps)`, in the order of correlation, of sum 1."""
    at = torch.arange(_TAPS, dtype=torch.float64) - _CENTRE
    down, right = at[:, None], at
    along = right * math.cos(_ANGLE) + down * math.sin(_ANGLE)
    across = down * math.cos(_ANGLE) - right * math.sin(_ANGLE)
    kernel = torch.exp(-(along**2 / _VARIANCES[0] + across**2 / _VARIANCES[1]) / 2)
    return kernel / kernel.sum()
