"""Sheets of pictures, and the paper's figure 4, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs
import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont
from torch import Tensor

__all__ = ["Differences", "draw_annealing", "draw_sheet"]

_GAP: Final = 8
_LINE: Final = 16
_TILE: Final = 128
_FACES: Final = 4  # of a strip of error pictures, two by two
_BINS: Final = 64
_REACH: Final = 0.5  # differences are shown from -0.5, black, to 0.5, white
_INK: Final = (30, 60, 120)


@attrs.frozen(eq=False, kw_only=True)
class Differences:
    """What figure 4 shows of one iteration: `z - x̂` and `z - x` of some pictures."""

    iteration: int
    change: Tensor
    error: Tensor


def draw_sheet(columns: Mapping[str, Tensor], out: Path) -> None:
    """Write a sheet: a row for each picture, a column for each `(B, 3, H, W)` under its name."""
    rows = min(x.shape[0] for x in columns.values())
    step = _TILE + _GAP
    sheet = _page(len(columns) * step + _GAP, rows * step + _LINE + _GAP)
    for i, (name, pictures) in enumerate(columns.items()):
        left = _GAP + i * step
        _write(sheet, (left, _GAP // 2), name)
        for j in range(rows):
            tile = _picture(pictures[j]).resize((_TILE, _TILE), Image.Resampling.NEAREST)
            sheet.paste(tile, (left, _LINE + _GAP + j * step))
    sheet.save(out, optimize=True)


def draw_annealing(found: Sequence[Differences], out: Path) -> None:
    """Write figure 4: for each iteration the error pictures, and their histograms below them.

    Differences from -0.5 to 0.5 are shown, zero in grey; what lies beyond counts at the ends.
    """
    side = _TILE
    step, height = side + _GAP, side + _TILE // 2 + 4 * _LINE
    sheet = _page(len(found) * step + _GAP, 2 * height + _LINE + _GAP)
    for i, one in enumerate(found):
        left = _GAP + i * step
        _write(sheet, (left, _GAP // 2), f"iteration {one.iteration}")
        for j, (name, values) in enumerate((("z - x^", one.change), ("z - x", one.error))):
            top = _LINE + _GAP + j * height
            sheet.paste(_errors(values, side), (left, top))
            sheet.paste(_histogram(values, side, _TILE // 2), (left, top + side + _GAP // 2))
            under = top + side + _TILE // 2 + _GAP
            _write(sheet, (left, under), f"{name}: mean {float(values.mean()):+.4f}")
            _write(sheet, (left, under + _LINE), f"variance {float(values.var()):.5f}")
    sheet.save(out, optimize=True)


def _errors(values: Tensor, side: int) -> Image.Image:
    """Return four error pictures, zero in grey, two by two."""
    chosen = values[:_FACES].cpu() / (2 * _REACH) + 0.5
    blank = torch.full((_FACES - len(chosen), *chosen.shape[1:]), 0.5)
    a, b, c, d = torch.cat([chosen, blank])
    grid = torch.cat([torch.cat([a, b], 2), torch.cat([c, d], 2)], 1)
    return _picture(grid).resize((side, side), Image.Resampling.NEAREST)


def _histogram(values: Tensor, width: int, height: int) -> Image.Image:
    """Return the distribution of values as bars, zero in the middle."""
    counts = torch.histc(values.float().cpu().clamp(-_REACH, _REACH), _BINS, -_REACH, _REACH)
    shares = counts / counts.max().clamp_min(1)
    chart = Image.new("RGB", (width, height), "white")
    draw = ImageDraw.Draw(chart)
    for i, share in enumerate(shares.tolist()):
        left, right = i * width // _BINS, (i + 1) * width // _BINS - 1
        top = height - 1 - round(share * (height - 1))
        draw.rectangle((left, top, max(right, left), height - 1), fill=_INK)
    draw.line((width // 2, 0, width // 2, height), fill=(200, 80, 40))
    return chart


def _picture(x: Tensor) -> Image.Image:
    values = (x.detach().float().cpu().clamp(0, 1) * 255).round().to(torch.uint8)
    return Image.fromarray(np.ascontiguousarray(values.permute(1, 2, 0).numpy()))


def _page(width: int, height: int) -> Image.Image:
    return Image.new("RGB", (width, height), "white")


def _write(page: Image.Image, at: tuple[int, int], text: str) -> None:
    ImageDraw.Draw(page).text(at, text, fill="black", font=ImageFont.load_default(11))
