"""Curves over the noise, drawn with Pillow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from PIL import Image, ImageDraw, ImageFont

__all__ = ["draw_curves"]

_WIDTH, _HEIGHT = 640, 400
_LEFT, _TOP, _RIGHT, _BOTTOM = 56, 24, 180, 48  # margins; the names stand to the right
_INKS: Final = ((120, 120, 120), (200, 80, 40), (230, 160, 120), (30, 60, 120), (120, 150, 210))
_STEP: Final = 5  # between the lines of the grid


def draw_curves(
    at: Sequence[float],
    curves: Mapping[str, Sequence[float]],
    out: Path,
    *,
    across: str,
    up: str,
) -> None:
    """Write a chart of curves over the same points, each with its name."""
    page = Image.new("RGB", (_WIDTH, _HEIGHT), "white")
    draw, font = ImageDraw.Draw(page), ImageFont.load_default(11)
    values = [value for curve in curves.values() for value in curve]
    low = _STEP * int(min(values) // _STEP)
    high = _STEP * int(-(-max(values) // _STEP)) or low + _STEP

    def place(x: float, value: float) -> tuple[float, float]:
        right = (x - at[0]) / ((at[-1] - at[0]) or 1)
        above = (value - low) / ((high - low) or 1)
        return (
            _LEFT + right * (_WIDTH - _LEFT - _RIGHT),
            _HEIGHT - _BOTTOM - above * (_HEIGHT - _TOP - _BOTTOM),
        )

    for value in range(low, high + 1, _STEP):
        start, end = place(at[0], value), place(at[-1], value)
        draw.line((start, end), fill=(220, 220, 220))
        draw.text((start[0] - 8, start[1]), f"{value}", fill="black", font=font, anchor="rm")
    for x in at:
        left, foot = place(x, low)
        draw.text((left, foot + 6), f"{x:g}", fill="black", font=font, anchor="mt")
    draw.text((_LEFT, 6), up, fill="black", font=font, anchor="lt")
    middle = (_LEFT + _WIDTH - _RIGHT) / 2
    draw.text((middle, _HEIGHT - 16), across, fill="black", font=font, anchor="mt")
    for i, (name, curve) in enumerate(curves.items()):
        ink = _INKS[i % len(_INKS)]
        points = [place(x, value) for x, value in zip(at, curve, strict=True)]
        draw.line(points, fill=ink, width=2)
        for left, top in points:
            draw.ellipse((left - 3, top - 3, left + 3, top + 3), fill=ink)
        top = _TOP + 18 * i
        draw.line((_WIDTH - _RIGHT + 16, top, _WIDTH - _RIGHT + 36, top), fill=ink, width=3)
        draw.text((_WIDTH - _RIGHT + 42, top), name, fill="black", font=font, anchor="lm")
    page.save(out, optimize=True)
