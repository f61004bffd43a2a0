"""The README's picture: what was measured above, what was restored below, from the demo's cases."""

from __future__ import annotations

import argparse
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor
from wellposed.demo import Case, load_cases, run_case

CASES = (
    "Motion deblurring",
    "Super-resolution x4",
    "Inpainting random pixels",
    "MRI, a quarter of the columns",
    "CT, 60 angles",
)
SIZE, GAP = 192, 6


def main(argv: list[str]) -> None:
    """Run `python -m benchmarks readme_picture [OUT]`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks readme_picture")
    parser.add_argument("out", nargs="?", default="docs/demo.png", type=Path)
    out: Path = parser.parse_args(argv).out
    cases = {case.title: case for case in load_cases()}
    columns = [_column(cases[title]) for title in CASES]
    height, width = 2 * SIZE + GAP, len(columns) * (SIZE + GAP) - GAP
    sheet = Image.new("RGB", (width, height), "white")
    for i, (above, below) in enumerate(columns):
        sheet.paste(_tile(above), (i * (SIZE + GAP), 0))
        sheet.paste(_tile(below), (i * (SIZE + GAP), SIZE + GAP))
    sheet.save(out, optimize=True)


def _column(case: Case) -> tuple[Tensor, Tensor]:
    """Return the measurement (the baseline, where that is no picture) and the restored picture."""
    outcome = run_case(case)
    y, baseline, solution = outcome.measurement, outcome.baseline, outcome.solution
    assert y is not None and baseline is not None and solution is not None, outcome.error
    is_picture = not y.is_complex() and y.shape[-1] == y.shape[-2]
    return (y if is_picture else baseline), solution.image


def _tile(picture: Tensor) -> Image.Image:
    values = (picture.abs() if picture.is_complex() else picture).clamp(0, 1)
    array = (values.movedim(-3, -1) * 255).round().to(torch.uint8).numpy()
    array = np.repeat(array, 3, -1) if array.shape[-1] == 1 else array
    method = Image.Resampling.NEAREST if array.shape[0] < SIZE else Image.Resampling.BOX
    return Image.fromarray(array).resize((SIZE, SIZE), method)
