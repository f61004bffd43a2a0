"""Reading TIFF pages of 8, 16 and 32 bits and floats, with any number of channels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO, Final

import numpy as np

from .errors import ImageFileError
from .rasters import Raster, check_size, upright

__all__ = ["decode_tiff"]

_ORIENTATION: Final = 274
_ICC: Final = 34675
_WHITE, _BLACK, _RGB, _PALETTE, _INK, _YCBCR = 0, 1, 2, 3, 5, 6
_JPEG: Final = 7
_ASSOCIATED, _UNASSOCIATED = 1, 2


def decode_tiff(file: BinaryIO, path: Path) -> Raster:
    """Read the picture of a TIFF file that holds one.

    Pages that are marked as a smaller version of the picture are left alone.
    Raises: ImageFileError for stacks of pages, and for colour models without a plain meaning.
    """
    import tifffile

    with tifffile.TiffFile(file) as tif:
        pages = tif.series[0].pages if tif.series else []
        if len(pages) != 1:
            raise ImageFileError(
                f"{path} holds {len(pages)} pages of one kind; expected one picture. Split it, or "
                "save the stack as .npy in the order (C, H, W)."
            )
        page: Any = pages[0]
        rest: list[Any] = list(tif.pages[1:])
        others = sum(not p.is_reduced for p in rest)  # a preview is no further picture
        if others:
            raise ImageFileError(
                f"{path} holds {1 + others} pages of several kinds; expected one picture. Split it."
            )
        check_size(page.shape, path)
        _check_whole(page, file, path)
        return _raster(page, np.asarray(page.asarray()), path)


def _check_whole(page: Any, file: BinaryIO, path: Path) -> None:
    """Refuse a file that ends before its pixels do: tifffile would fill up with zeros."""
    end = file.seek(0, 2)
    pairs = zip(page.dataoffsets, page.databytecounts, strict=True)
    if not page.dataoffsets or any(offset + count > end for offset, count in pairs):
        raise ImageFileError(f"{path} is cut off: pixels are missing. Get a whole copy of it.")


def _raster(page: Any, array: np.ndarray, path: Path) -> Raster:
    axes = page.axes.replace("S", "C")
    if axes not in ("YX", "YXC", "CYX"):
        raise ImageFileError(
            f"{path} has the axes {page.axes}; expected a picture with rows, columns and channels."
        )
    array = array[..., None] if axes == "YX" else array
    array = np.moveaxis(array, 0, -1) if axes == "CYX" else array
    top, bits = _range(array.dtype, int(page.bitspersample), path)
    array, alpha = _split(array, page, top)
    model, jpeg = int(page.photometric), int(page.compression) == _JPEG
    icc = page.tags.valueof(_ICC)
    if model == _WHITE:
        array = top - array if top == 1 else (np.asarray(top, array.dtype) - array)
    elif model == _PALETTE:
        # Some programs write 8-bit colours times 257, some times 256: the upper byte is right.
        array, top = (page.colormap >> 8).T[array[..., 0]], 255.0
    elif model == _INK and array.shape[-1] == 4:
        ink = array.astype(np.float64) / top
        array, icc = (1 - ink[..., :3]) * (1 - ink[..., 3:]) * top, None
    elif model not in (_BLACK, _RGB) and not (model == _YCBCR and jpeg):
        raise ImageFileError(
            f"{path} has the colour model {page.photometric}, which is not read; "
            "convert it to RGB first."
        )
    orientation = page.tags.valueof(_ORIENTATION, 1)
    return Raster(
        pixels=upright(array, orientation),
        alpha=None if alpha is None else upright(alpha, orientation),
        top=top,
        bits=bits,
        mode=f"TIFF {page.photometric.name} {array.dtype}",
        icc=icc if isinstance(icc, bytes) else None,
    )


def _range(dtype: np.dtype[Any], depth: int, path: Path) -> tuple[float, int]:
    """Return the value that stands for 1, and the number of bits to write again."""
    if dtype.kind in "fb":
        return 1.0, 32 if dtype.kind == "f" else 8
    if dtype.kind != "u" or depth > 32:
        raise ImageFileError(
            f"{path} holds {dtype} values, whose range is not known; "
            "save it as unsigned 8 or 16 bits, or as floats in [0, 1]."
        )
    return float(2**depth - 1), min(8 * dtype.itemsize, 16)


def _split(array: np.ndarray, page: Any, top: float) -> tuple[np.ndarray, np.ndarray | None]:
    """Take the transparency away from the colours; other extra channels are channels."""
    extra = tuple(int(e) for e in page.extrasamples)
    if not extra or extra[-1] not in (_ASSOCIATED, _UNASSOCIATED):
        return array, None
    colours, alpha = array[..., :-1], array[..., -1]
    if extra[-1] == _ASSOCIATED:  # colours were multiplied by alpha
        share = np.where(alpha > 0, alpha, top)[..., None].astype(np.float64)
        colours = np.minimum(colours.astype(np.float64) * top / share, top)
    return colours, alpha
