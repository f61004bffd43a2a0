"""Table 2 of the paper: noise of 10 to 50 per cent, and what a network makes of it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence

from torch import Tensor
from wellposed import psnr

from . import _generative_methods as methods
from . import _generative_paper as paper
from . import _generative_protocol as protocol
from ._generative_figures import draw_curves
from ._generative_protocol import Restored, Task
from ._generative_reference import load
from ._generative_tables import header, line, pair, scores
from ._generative_weights import Weights

__all__ = ["table_2"]

_ROW = "CelebA (Blur A)"


def table_2(options: argparse.Namespace) -> list[str]:
    """Print table 2 for the authors' faces with blurs of class A; return notes."""
    given = load(options.reference, "CelebA", options.count, options.skip).to(options.device)
    weights = Weights(options)
    faces, kernels = weights.faces("CelebA", given.x), weights.kernels("Blur A")
    solver, told = weights.network("CelebA", "Blur A")
    w = protocol.drawn("Blur A", len(given.x)).to(options.device)
    _introduce(options, len(given.x))
    measured = []
    found: dict[str, list[Restored | None]] = {paper.OURS: [], paper.CNN: []}
    for percent in paper.NOISE:
        sigma = percent / 100
        y = protocol.blurred(given.x, w, sigma=sigma, seed=percent)
        measured.append(y)
        task = Task(
            measurement=y,
            faces=faces,
            kernels=kernels,
            restarts=options.restarts,
            steps=options.steps,
            sigma=sigma,
        )
        able = faces is not None and kernels is not None
        found[paper.OURS].append(methods.generative(task) if able else None)
        found[paper.CNN].append(methods.with_network(task, solver) if solver else None)
    line("the blurred picture", "ours", [_cell(scores(y, given.x)) for y in measured])
    curves = {"blurred": _quality(measured, given.x)}
    for method, label in ((paper.CNN, "CNN"), (paper.OURS, "generative")):
        printed = paper.TABLE_2[_ROW][method]
        line(method, f"paper, {_ROW}", [_cell(pair(cell)) for cell in printed])
        curves[f"{label}, paper"] = [cell[0] for cell in printed]
        mine = [one for one in found[method] if one is not None]
        cells = [_cell(scores(one.image, given.x)) for one in mine]
        line(method, f"ours{told}" if method == paper.CNN else "ours", cells or ["-"] * 5)
        if mine:
            curves[f"{label}, ours"] = _quality([one.image for one in mine], given.x)
    if options.out:
        draw_curves(list(paper.NOISE), curves, options.out, across="noise, %", up="PSNR, dB")
        weights.notes.append(f"figure: {options.out}")
    return weights.notes


def _introduce(options: argparse.Namespace, count: int) -> None:
    print(
        f"Table 2. {paper.TITLES['2']}: {count} faces of CelebA, 64 x 64 pixels, each blurred "
        "circularly by a motion of 10 pixels of its own (class A)\n"
        "PSNR in dB / SSIM over R, G and B in [0, 1], restored pictures limited to that, not "
        "aligned. 10 % is noise of standard deviation 0.1; the measurement is not clipped. Ours: "
        f"{options.restarts} restarts of {options.steps} steps, image_penalty "
        f"{methods.PLAIN['image_penalty']:g} + sigma^2. The paper's faces are others.\n"
    )
    header([f"{percent} %" for percent in paper.NOISE])


def _quality(pictures: Sequence[Tensor], truth: Tensor) -> list[float]:
    return [float(psnr(x.clamp(0, 1), truth).mean()) for x in pictures]


def _cell(shown: tuple[str, str]) -> str:
    return " / ".join(shown)
