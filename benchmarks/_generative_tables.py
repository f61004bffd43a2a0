"""Table 1 of the paper: blind deblurring of the authors' own blurred pictures."""

from __future__ import annotations

import argparse
from collections.abc import Iterable, Sequence
from typing import Final

import torch
from torch import Tensor
from wellposed import psnr, ssim
from wellposed.plugins.generative_bilinear import aligned

from . import _generative_methods as methods
from . import _generative_paper as paper
from . import _generative_protocol as protocol
from ._generative_protocol import Restored, Task
from ._generative_reference import Reference, load
from ._generative_weights import Weights
from ._inversenet_figures import draw_sheet

__all__ = ["header", "kernel_error", "line", "pair", "scores", "table_1"]

_COLUMNS: Final = (
    "PSNR, dB",
    "SSIM",
    "PSNR, shifted",
    "SSIM, shifted",
    "kernel error",
    "s a picture",
)
_DARK: Final = 4e-3
_PAPER_ROWS: Final = {
    "CelebA": ("CelebA (Blur A)", "CelebA (Blur size 30)"),
    "SVHN": ("SVHN (Blur B)",),
    "Shoes": (),
}


def table_1(options: argparse.Namespace) -> list[str]:
    """Print table 1 for the pictures that the authors gave out; return notes."""
    given = load(options.reference, options.set, options.count, options.skip).to(options.device)
    weights = Weights(options)
    faces = weights.faces(given.name, given.x)
    kernels = weights.kernels("shake")
    solver, trained = weights.network(given.name, "shake")
    y = given.measurement
    if y is None:
        y = protocol.blurred(given.x, given.kernels, sigma=protocol.SIGMA)
    _introduce(options, given)
    rows = _Rows(given)
    whose = "ours" if given.measurement is None else "authors"
    rows.add("the blurred picture", whose, y, "blurred")
    for label, image in given.restored.items():
        found = Restored(image=image, kernel=given.found.get(label))
        rows.add(label, "authors", found, f"authors' {label}")
    rows.add("nearest in the generator's range", "authors", given.nearest)
    task = Task(
        measurement=y, faces=faces, kernels=kernels, restarts=options.restarts, steps=options.steps
    )
    _generative_rows(rows, task)
    for weight in (0.0, _DARK):
        told = f", dark channel {weight:g}" if weight else ""
        found = methods.blind(task, dark_channel=weight)
        rows.add(f"`blind_deblurring`{told}", "ours", found, "" if weight else "classical")
    restored = None if solver is None else methods.with_network(task, solver)
    rows.add("CNN", f"ours{trained}", restored, "CNN")
    for name in _PAPER_ROWS[given.name]:
        for method, cell in paper.TABLE_1[name].items():
            line(method, f"paper, {name}", [*pair(cell), *["-"] * 4])
    if options.look:
        draw_sheet(rows.pictures, options.look)
        weights.notes.append(f"{options.look}: {', '.join(rows.pictures)}")
    return weights.notes


def _introduce(options: argparse.Namespace, given: Reference) -> None:
    count, _, height, width = given.x.shape
    by = (
        "blurred here by the authors' kernels"
        if given.measurement is None
        else "blurred by the authors"
    )
    since = f"; the first {options.skip} left out" if options.skip else ""
    print(
        f"Table 1. {paper.TITLES['1']}: {count} pictures of {given.name}, {height} x {width} "
        f"pixels, {by}, with noise of 0.01{since}\n"
        "PSNR over R, G and B in [0, 1], restored pictures limited to that; SSIM: wellposed.ssim; "
        "as they are, and after the circular shift that is best for the picture. Kernel error: "
        "|w - truth| / |truth|, both of sum 1, after the shift that is best for the kernel.\n"
        f"Ours: {options.restarts} restarts of {options.steps} steps. Rows of the paper are of "
        "other pictures and other blurs, which it did not give out.\n"
    )
    header(_COLUMNS)


def _generative_rows(rows: _Rows, task: Task) -> None:
    """Add the rows of ours that need a generator of these pictures."""
    near, plain, slack = (
        "nearest in the generator's range",
        "`generative_bilinear`",
        "`generative_bilinear_slack`",
    )
    alone = f"{slack} from random starts"
    known = f"{methods.KNOWN_LABEL} with its kernel"
    if task.faces is None or task.kernels is None:
        for name in (near, plain, slack, alone):
            rows.add(name, "ours", None)
        return
    found = methods.nearest(task.faces, rows.given.x, restarts=task.restarts)
    rows.add(near, "ours", found, "nearest, ours")
    start = methods.generative(task)
    rows.add(plain, "ours", start, "generative")
    rows.add(known, "ours", methods.then_known(task, start))
    found = methods.slack(task)
    rows.add(slack, "ours", found, "with slack")
    rows.add(known, "ours", methods.then_known(task, found), "its kernel, TV")
    rows.add(alone, "ours", methods.slack_alone(task))


class _Rows:
    """The rows of table 1, printed as they come, and their pictures by a short name."""

    def __init__(self, given: Reference) -> None:
        self.given = given
        self.pictures = {"truth": given.x.cpu()}

    def add(
        self, method: str, whose: str, found: Restored | Tensor | None, short: str = ""
    ) -> None:
        """Print a row, of `-` where there is nothing, and keep its pictures."""
        if isinstance(found, Tensor):
            found = Restored(image=found)
        if found is None:
            line(method, whose, ["-"] * len(_COLUMNS))
            return
        line(method, whose, _cells(found, self.given))
        if short:
            self.pictures[short] = found.image.cpu()


def _cells(found: Restored, given: Reference) -> list[str]:
    image = found.image.clamp(0, 1)
    moved = aligned(image, given.x, scale=False).image
    error, seconds = "-", "-"
    if found.kernel is not None:
        error = f"{float(kernel_error(found.kernel, given.kernels).mean()):.3f}"
    if found.seconds is not None:
        seconds = f"{found.seconds:.3g}"
    return [*scores(image, given.x), *scores(moved, given.x), error, seconds]


# What the tables share


def kernel_error(kernel: Tensor, truth: Tensor) -> Tensor:
    """Return the relative error of kernels of sum 1 after the best circular shift; `batch`."""
    moved = aligned(kernel, truth, scale=False).image
    axes = (-3, -2, -1)
    off, size = (torch.linalg.vector_norm(w, dim=axes) for w in (moved - truth, truth))
    error: Tensor = off / size
    return error


def scores(image: Tensor, truth: Tensor) -> tuple[str, str]:
    """Return mean PSNR and mean SSIM of pictures, limited to [0, 1], as tables show them."""
    x = image.clamp(0, 1)
    return pair((float(psnr(x, truth).mean()), float(ssim(x, truth).mean())))


def pair(cell: Sequence[float]) -> tuple[str, str]:
    """Return PSNR and SSIM as tables show them."""
    return f"{cell[0]:.2f}", f"{cell[1]:.3f}"


def header(columns: Sequence[str]) -> None:
    """Print the head of a table."""
    print(f"| method | whose | {' | '.join(columns)} |")
    print(f"|---|---|{'---|' * len(columns)}")


def line(method: str, whose: str, cells: Iterable[str]) -> None:
    """Print a row of a table."""
    print(f"| {method} | {whose} | {' | '.join(cells)} |", flush=True)
