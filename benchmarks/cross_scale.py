"""The one number of `cross_scale` that was fitted: which share of a blur is due to the reduction.

    python -m benchmarks cross_scale --data DIV2KRK --photos PATH ...

Photographs, given as files or folders, are reduced by 2, twice each, by kernels of DIV2KRK drawn
with a seed; those of the pictures in its folder gt, which `kernelgan` measures, are left out. The
reduction is the data set's own: reflected at the frame, cut off to 8 bits. Of each: the trace of
the kernel's covariance over that of what the spectra give, which is the share that would have been
right; and the relative error of the kernel with the share in use, after both centres of mass were
aligned. Below: the share of least squares of the logarithm, with its standard error over the
photographs, since two reductions of one photograph err alike.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from wellposed import Problem, Space
from wellposed.edge import build_operator, build_solver
from wellposed.errors import WellposedError
from wellposed.images import SUFFIXES, read
from wellposed.plugins.kernelgan.cross_scale import _SHARE, _gaussians

from .kernelgan import _error, _true_kernel

Array = NDArray[np.float64]
_STRIDE = 2


@attrs.frozen(eq=False, kw_only=True)
class Row:
    """One reduction; covariance: what the spectra give, before the share is taken of it."""

    photo: Path
    kernel: Array
    covariance: Tensor
    why: str

    @property
    def share(self) -> float:
        """Return which share of the trace is the kernel's own."""
        return float(np.trace(_moments(self.kernel))) / float(self.covariance.trace())

    def error(self, share: float) -> float:
        """Return the relative error of the Gaussian that a share gives."""
        found = _gaussians(self.covariance[None] * share, _STRIDE)[0, 0]
        return _error(found.numpy(), self.kernel)


def main(argv: list[str]) -> int:
    """Run `python -m benchmarks cross_scale`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks cross_scale",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="the folder DIV2KRK")
    parser.add_argument("--photos", type=Path, nargs="+", required=True, help="files or folders")
    parser.add_argument("--reductions", type=int, default=2, help="of each photograph")
    parser.add_argument("--seed", type=int, default=0, help="of the draw of kernels")
    options = parser.parse_args(argv)
    kernels = _unused_kernels(options.data)
    if not kernels:
        parser.error("--data: expected the folder DIV2KRK, with gt and gt_k_x2 in it")
    photos = _photographs(options.photos)
    if not photos:
        parser.error("--photos: expected pictures, or folders that hold some")
    if options.reductions < 1:
        parser.error("--reductions: expected 1 or more")
    numbers = np.random.default_rng(options.seed)
    print(f"{len(photos)} photographs, {len(kernels)} kernels, seed {options.seed}")
    print(
        "| photograph | kernel | its widths | share | error of the kernel |\n|---|---|---|---|---|"
    )
    rows = []
    for photo in photos:
        for _ in range(options.reductions):
            name = kernels[numbers.integers(len(kernels))]
            kernel = _true_kernel(options.data, name, _STRIDE)
            try:
                rows.append(_row(photo, kernel))
            except WellposedError as error:
                print(f"| {photo.stem} | {name} | | | {error} |", flush=True)
                continue
            print(f"| {photo.stem} | {name} | {_shown(rows[-1])} |", flush=True)
    return _report(rows)


def _unused_kernels(data: Path) -> list[str]:
    """Return the names of the kernels by which no picture of the benchmark was reduced."""
    used = {path.stem for path in (data / "gt").glob("*.png")}
    stems = sorted(path.name for path in (data / f"gt_k_x{_STRIDE}").glob("kernel_*.mat"))
    names = [stem.removesuffix(".mat").replace("kernel_", "im_") for stem in stems]
    return [name for name in names if name not in used] if used else []


def _photographs(paths: Sequence[Path]) -> list[Path]:
    suffixes = set(SUFFIXES) - {".npy"}
    found = []
    for path in paths:
        inside = sorted(path.iterdir()) if path.is_dir() else [path]
        found += [one for one in inside if one.is_file() and one.suffix.lower() in suffixes]
    return found


def _row(photo: Path, kernel: Array) -> Row:
    y = _reduced(read(photo).tensor, kernel)
    space = Space((len(y), *(_STRIDE * n for n in y.shape[1:])))
    unknown = build_operator("strided_blur", {"stride": _STRIDE}, x_space=space)
    solver: Any = build_solver("cross_scale")
    found = solver.estimate_operator(Problem(operator=unknown, measurement=y))
    return Row(
        photo=photo,
        kernel=kernel,
        covariance=found.extras["covariance"][0] / _SHARE,
        why=found.why.get(0, ""),
    )


def _reduced(photo: Tensor, kernel: Array) -> Tensor:
    """Return a photograph as DIV2KRK would hold it; the kernel is in the order of correlation."""
    x = (photo.double() * 255).round()
    plain: Any = build_operator(
        "strided_blur",
        {"stride": _STRIDE, "boundary": "symmetric", "offset": 0},
        x_space=Space(tuple(x.shape)),
    )
    flipped = torch.from_numpy(kernel[::-1, ::-1].copy())[None, None]
    y: Tensor = attrs.evolve(plain, kernel=flipped)(x)
    return (y.clamp(0, 255).floor() / 255).float()


def _moments(kernel: Array) -> Array:
    """Return the covariance of a kernel, rows first; its negative taps count as none."""
    weight = kernel.clip(0) / kernel.clip(0).sum()
    at = np.indices(kernel.shape).reshape(2, -1)
    return np.cov(at, aweights=weight.ravel(), ddof=0)


def _shown(row: Row) -> str:
    narrow, wide = np.sqrt(np.linalg.eigvalsh(_moments(row.kernel)))
    share = f"not counted: {row.why}" if row.why else f"{row.share:.2f}"
    return f"{wide:.2f}, {narrow:.2f} | {share} | {row.error(_SHARE):.3f}"


def _report(rows: Sequence[Row]) -> int:
    """Print what the rows come to; those that the solver itself doubts say nothing of the share."""
    sure = [row for row in rows if not row.why]
    if not sure:
        print("\nno reduction gave an estimate")
        return 1
    shares = np.array([row.share for row in sure])
    fitted, spread = _least_squares(sure)
    low, middle, high = np.quantile(shares, (0.25, 0.5, 0.75))
    photos = len({row.photo for row in sure})
    print(f"\n{len(sure)} reductions of {photos} photographs; shares:")
    print(f"median {middle:.2f}, quartiles {low:.2f} and {high:.2f}")
    print(f"least squares of the logarithm {fitted:.3f} +- {spread:.3f}; in use {_SHARE}")
    if abs(fitted - _SHARE) > spread:
        print("the share in use lies further from it than its standard error")
    print("\n| share | error of the kernel, mean | median |\n|---|---|---|")
    for label, share in (("in use", _SHARE), ("least squares", fitted), ("all", 1.0)):
        errors = [row.error(share) for row in sure]
        print(f"| {label}, {share:.2f} | {np.mean(errors):.3f} | {np.median(errors):.3f} |")
    return 0


def _least_squares(rows: Sequence[Row]) -> tuple[float, float]:
    """Return the share of least squares of the logarithm, and its standard error."""
    logs: dict[Path, list[float]] = {}
    for row in rows:
        logs.setdefault(row.photo, []).append(math.log(row.share))
    fitted = math.exp(np.mean([log for each in logs.values() for log in each]))
    # Of clusters: the photographs are independent, the reductions of one are not.
    sums = [sum(each) - len(each) * math.log(fitted) for each in logs.values()]
    if len(sums) < 2:
        return fitted, math.nan
    variance = len(sums) / (len(sums) - 1) * np.sum(np.square(sums)) / len(rows) ** 2
    return fitted, fitted * math.sqrt(variance)
