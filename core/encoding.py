"""From arrays to the bytes of picture files."""

from __future__ import annotations

import io
import struct
import zlib
from typing import Any

import numpy as np

__all__ = ["encode", "npy"]

_AFTER_IHDR = 33  # signature 8, length 4, type 4, data 13, checksum 4
_NO_ALPHA_TIFF, _ALPHA_TIFF = 0, 2


def encode(
    suffix: str,
    pixels: np.ndarray,
    *,
    alpha: np.ndarray | None = None,
    icc: bytes | None = None,
    exif: bytes | None = None,
) -> bytes:
    """Return the content of a picture file.

    Shapes: pixels (H, W, C), alpha (H, W, 1), of uint8, uint16 or float32, as `suffix` can hold.
    TIFF files carry no EXIF block.
    """
    if suffix in (".tif", ".tiff"):
        return _tiff(pixels, alpha, icc)
    full = pixels if alpha is None else np.concatenate([pixels, alpha], -1)
    if full.dtype == np.uint16:
        return _deep_png(full, icc, exif)
    from PIL import Image

    full = full[..., 0] if full.shape[-1] == 1 else full
    formats: dict[str, dict[str, Any]] = {
        ".png": {"format": "PNG"},
        ".jpg": {"format": "JPEG", "quality": 95, "subsampling": 0},
        ".jpeg": {"format": "JPEG", "quality": 95, "subsampling": 0},
        ".webp": {"format": "WEBP", "lossless": True, "exact": True},
        ".bmp": {"format": "BMP"},
    }
    options = formats[suffix]
    if suffix != ".bmp":
        options |= {k: v for k, v in (("icc_profile", icc), ("exif", exif)) if v}
    buffer = io.BytesIO()
    Image.fromarray(np.ascontiguousarray(full)).save(buffer, **options)
    return buffer.getvalue()


def npy(array: np.ndarray) -> bytes:
    """Return the content of a .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, array, allow_pickle=False)
    return buffer.getvalue()


def _deep_png(full: np.ndarray, icc: bytes | None, exif: bytes | None) -> bytes:
    import imagecodecs

    full = full[..., 0] if full.shape[-1] == 1 else full
    data = bytes(imagecodecs.png_encode(np.ascontiguousarray(full)))
    extra = b""
    if icc:
        extra += _chunk(b"iCCP", b"ICC profile\0\0" + zlib.compress(icc))
    if exif:
        extra += _chunk(b"eXIf", exif.removeprefix(b"Exif\0\0"))
    return data[:_AFTER_IHDR] + extra + data[_AFTER_IHDR:]


def _chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def _tiff(pixels: np.ndarray, alpha: np.ndarray | None, icc: bytes | None) -> bytes:
    import tifffile

    channels = pixels.shape[-1]
    colour = channels == 3
    extra = [_NO_ALPHA_TIFF] * (0 if colour else channels - 1)
    if alpha is not None:
        pixels, extra = np.concatenate([pixels, alpha], -1), [*extra, _ALPHA_TIFF]
    one = pixels.shape[-1] == 1
    buffer = io.BytesIO()
    tifffile.imwrite(
        buffer,
        np.ascontiguousarray(pixels[..., 0] if one else pixels),
        photometric="rgb" if colour else "minisblack",
        planarconfig=None if one else "contig",
        extrasamples=extra or None,
        compression="adobe_deflate",
        predictor=True,
        iccprofile=icc,
        metadata=None,
    )
    return buffer.getvalue()
