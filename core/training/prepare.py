"""From a picture as it was read to the picture that crops are cut from.

What comes in 256 levels is rounded to 256 levels again, as every tool that writes 8-bit files
would, and is kept in a quarter of the memory. Deeper pictures stay floats.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor

from ..errors import ImageFileError
from ..metrics import luminance

if TYPE_CHECKING:
    from .recipe import DataRecipe

__all__ = ["fits", "floats", "prepared", "resampled", "scaled_shape"]


def prepared(picture: Tensor, data: DataRecipe) -> Tensor:
    """Return a picture in the colours and size of a recipe, as uint8 or floats.

    Raises: ImageFileError when it cannot be.
    """
    levels = (picture * 255).round()
    coarse = bool((levels / 255 == picture).all())
    if data.colour != "as_is":
        if picture.shape[0] not in (1, 3):
            raise ImageFileError(
                f"it has {picture.shape[0]} channels, expected 1 or 3; colour: as_is takes any"
            )
        grey = picture.shape[0] == 1
        if data.colour == "rgb":
            picture = picture.expand(3, -1, -1)
        elif data.colour == "luminance":
            picture = luminance(picture.expand(3, -1, -1) if grey else picture)
        else:
            picture = picture.mean(0, keepdim=True)
    if data.middle is not None:
        picture = _middle(picture, data.middle)
    if data.resize is not None:
        picture = resampled(picture, data.resize / min(picture.shape[1:]))
    return _rounded(picture) if coarse else picture.contiguous()


def _rounded(picture: Tensor) -> Tensor:
    return (picture * 255).round().to(torch.uint8).contiguous()


def _middle(picture: Tensor, size: int | tuple[int, int]) -> Tensor:
    height, width = (size, size) if isinstance(size, int) else size
    if height > picture.shape[1] or width > picture.shape[2]:
        raise ImageFileError(
            f"{picture.shape[1]} x {picture.shape[2]} pixels, smaller than its middle part of "
            f"{height} x {width}"
        )
    top, left = (picture.shape[1] - height) // 2, (picture.shape[2] - width) // 2
    return picture[:, top : top + height, left : left + width]


def resampled(picture: Tensor, scale: float) -> Tensor:
    """Return a picture at another scale, antialiased."""
    if scale == 1:
        return picture
    size = scaled_shape((0, picture.shape[1], picture.shape[2]), scale)[1:]
    if size == tuple(picture.shape[1:]):
        return picture
    wide = floats(picture)[None]
    smaller = F.interpolate(wide, size, mode="bicubic", antialias=True)[0].clamp(0, 1)
    return _rounded(smaller) if picture.dtype == torch.uint8 else smaller


def scaled_shape(shape: tuple[int, int, int], scale: float) -> tuple[int, int, int]:
    """Return the shape of a picture at another scale."""
    return shape[0], max(round(shape[1] * scale), 1), max(round(shape[2] * scale), 1)


def fits(shape: tuple[int, int, int], scale: float, data: DataRecipe) -> bool:
    """Tell whether a crop fits a picture at a scale."""
    sides = data.sides
    height, width = scaled_shape(shape, scale)[1:]
    return sides is None or (height >= sides[0] and width >= sides[1])


def floats(picture: Tensor) -> Tensor:
    """Return a picture as floats in [0, 1]."""
    return picture.float() / 255 if picture.dtype == torch.uint8 else picture
