"""Table 3 of the paper: how much of the error is what the generator cannot make."""

from __future__ import annotations

import argparse
import math

import torch
from torch import Tensor
from wellposed import GenerativePrior

from . import _generative_methods as methods
from . import _generative_paper as paper
from . import _generative_protocol as protocol
from ._generative_protocol import Task
from ._generative_reference import Reference, load
from ._generative_tables import header, line
from ._generative_weights import Weights

__all__ = ["table_3"]

_COLUMNS = (
    "of test pictures",
    "of pictures in the range",
    "of the nearest in the range",
)
_THEIRS = "the authors' blurs"


def table_3(options: argparse.Namespace) -> list[str]:
    """Print table 3 for the pictures that the authors gave out; return notes."""
    given = load(options.reference, options.set, options.count, options.skip).to(options.device)
    weights = Weights(options)
    faces = weights.faces(given.name, given.x)
    _introduce(options, given)
    near = None if faces is None else methods.nearest(faces, given.x, restarts=options.restarts)
    for name, printed in paper.TABLE_3.items():
        if name.startswith(given.name):
            line(name, "paper", [_cell(printed[0]), _cell(printed[1]), "-"])
    if given.from_range is not None:
        cells = (
            _error(given.restored["algorithm 1"], given.x),
            _error(given.from_range, given.nearest),
            _error(given.nearest, given.x),
        )
        line(f"{given.name} ({_THEIRS})", "authors", cells)
    for label, kind in ((_THEIRS, "shake"), ("Blur A", "Blur A"), ("Blur B", "Blur B")):
        kernels = weights.kernels(kind)
        if faces is None or kernels is None or near is None:
            cells = ("-",) * 3
        else:
            w = given.kernels if kind == "shake" else protocol.drawn(kind, len(given.x))
            cells = _measured(options, given.x, near.image, w.to(options.device), faces, kernels)
        line(f"{given.name} ({label})", "ours", cells)
    return weights.notes


def _introduce(options: argparse.Namespace, given: Reference) -> None:
    count, _, height, width = given.x.shape
    print(
        f"Table 3. {paper.TITLES['3']}: {count} pictures of {given.name}, {height} x {width} "
        "pixels, blurred with noise of 0.01, and those nearest to them in the range likewise\n"
        "|x^ - x|_2 over the number of values, on average (what the paper calls the error per "
        "pixel), and as PSNR of the mean square; not aligned, not limited to [0, 1]. Ours: "
        f"{options.restarts} restarts of {options.steps} steps. The paper's pictures are others, "
        "50 of them.\n"
    )
    header(_COLUMNS)


def _measured(
    options: argparse.Namespace,
    x: Tensor,
    near: Tensor,
    w: Tensor,
    faces: GenerativePrior,
    kernels: GenerativePrior,
) -> tuple[str, str, str]:
    """Return the errors of pictures, and of those in the range, found from their measurements."""
    truth = torch.stack([x, near])
    y = torch.stack([protocol.blurred(one, w, sigma=protocol.SIGMA) for one in truth])
    found = [
        methods.generative(
            Task(
                measurement=one,
                faces=faces,
                kernels=kernels,
                restarts=options.restarts,
                steps=options.steps,
            )
        ).image
        for one in y
    ]
    return _error(found[0], x), _error(found[1], near), _error(near, x)


def _error(found: Tensor, truth: Tensor) -> str:
    norm = float(paper.table_3_error(found, truth).mean())
    return f"{norm:.3g} ({_decibels((found - truth).square().mean())})"


def _cell(printed: float) -> str:
    return f"{printed:.3g}"


def _decibels(mean_square: Tensor) -> str:
    return f"{-10 * math.log10(float(mean_square)):.2f} dB" if mean_square > 0 else "exact"
