"""Reading picture files: from bytes that nobody has vouched for to upright NumPy arrays.

The format is taken from the content, never from the suffix. Sizes are checked in the header,
before anything is decoded. Pillow decodes JPEG, WebP, BMP and 8-bit PNG; imagecodecs decodes
16-bit PNG, which Pillow cuts to 8 bits in colour; tifffile decodes TIFF.
"""

from __future__ import annotations

import math
import struct
import warnings
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

import attrs
import numpy as np

from .errors import ImageFileError, WellposedError

if TYPE_CHECKING:
    from PIL import Image

__all__ = ["MAX_VALUES", "Raster", "check_size", "decode", "from_pil", "load_npy", "upright"]

MAX_VALUES: Final = 2**28
"""The largest picture that is read: 1 GiB in float32, and a solver holds ten such tensors."""

_MAGIC: Final = (
    (b"\x89PNG\r\n\x1a\n", "PNG"),
    (b"\xff\xd8\xff", "JPEG"),
    (b"BM", "BMP"),
    (b"II*\0", "TIFF"),
    (b"MM\0*", "TIFF"),
    (b"II+\0", "TIFF"),
    (b"MM\0+", "TIFF"),
)
_ORIENTATION: Final = 0x0112
_EXIF_IFD: Final = 0x8769
_STORED_SIZE: Final = (0xA002, 0xA003)  # the width and height that EXIF repeats
# Modes that Pillow converts without a choice to make; the others are read as they are.
_CONVERTED: Final = {
    "1": "L",
    "PA": "RGBA",
    "La": "LA",
    "RGBa": "RGBA",
    "RGBX": "RGB",
    "CMYK": "RGB",
    "YCbCr": "RGB",
    "HSV": "RGB",
}


@attrs.frozen(eq=False, kw_only=True)
class Raster:
    """A decoded picture, upright, with its transparency apart.

    Shapes: pixels (H, W, C), alpha (H, W); `top` is the value that stands for 1.
    """

    pixels: np.ndarray
    alpha: np.ndarray | None = None
    top: float
    bits: int
    mode: str
    exif: bytes | None = None
    icc: bytes | None = None


def decode(path: Path) -> Raster:
    """Read a picture file of any supported format.

    Raises: ImageFileError, naming the file, for whatever is not a whole picture of a sensible size.
    """
    if not path.is_file():
        if path.is_dir():
            what = f"{path} is a folder, not a picture; name the files in it: {path / '*'}."
        elif path.exists():
            what = f"{path} is not a regular file."
        else:
            what = f"there is no file {path}."
        raise ImageFileError(what)
    try:
        with path.open("rb") as file, warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow warns of oddities in metadata that we drop
            return _decoded(file, path)
    except WellposedError:
        raise
    except MemoryError as error:
        raise ImageFileError(f"{path}: there is not enough memory to decode it.") from error
    except Exception as error:  # decoders raise anything at all on damaged files
        reason = str(error).strip() or type(error).__name__
        raise ImageFileError(
            f"{path} is damaged or cut off, and cannot be decoded: {reason.rstrip('.')}. "
            "Get a whole copy of it."
        ) from error


def check_size(shape: tuple[int, ...], what: object) -> None:
    """Refuse pictures without pixels, and those too large to work with.

    Raises: ImageFileError.
    """
    size = " x ".join(str(n) for n in shape)
    if 0 in shape:
        raise ImageFileError(f"{what} has no pixels: its size is {size}.")
    if math.prod(shape) > MAX_VALUES:
        raise ImageFileError(
            f"{what} has {size} values, more than the {MAX_VALUES} (2^28) that are read at once. "
            "Cut it into tiles."
        )


def load_npy(path: Path) -> np.ndarray:
    """Read an array from a .npy file; its size is checked in the header, and nothing is unpickled.

    Raises: ImageFileError.
    """
    try:
        mapped: Any = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, SyntaxError, TypeError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        raise ImageFileError(f"cannot read {path} as .npy: {reason}") from error
    if not isinstance(mapped, np.ndarray):
        mapped.close()
        raise ImageFileError(f"{path} holds several arrays (.npz); save one with numpy.save.")
    check_size(mapped.shape, path)
    return np.array(mapped)


def from_pil(picture: Image.Image, what: object) -> Raster:
    """Return a Pillow picture as a raster: upright, palette and transparency resolved.

    Raises: ImageFileError when it has no pixels, too many, or a mode without a meaning here.
    """
    check_size((*picture.size[::-1], len(picture.getbands())), what)
    exif = picture.getexif()
    orientation = exif.get(_ORIENTATION, 1)
    mode = picture.mode
    icc = None if mode == "CMYK" else picture.info.get("icc_profile")  # it describes inks
    array = np.asarray(_plain_mode(picture))
    alpha, top, bits = None, 255.0, 8
    if array.dtype.kind == "f":
        top, bits = 1.0, 32
    elif array.dtype.itemsize > 1:
        top, bits = 65535.0, 16
        if array.min() < 0 or array.max() > top:
            raise ImageFileError(
                f"{what} holds whole numbers outside 0..65535 (mode {mode}); their range is not "
                "known. Divide by their maximum and give a float array."
            )
    array = array[..., None] if array.ndim == 2 else array
    if array.shape[-1] in (2, 4):
        array, alpha = array[..., :-1], array[..., -1]
    return Raster(
        pixels=upright(array, orientation),
        alpha=None if alpha is None else upright(alpha, orientation),
        top=top,
        bits=bits,
        mode=mode,
        exif=_exif_bytes(exif),
        icc=icc,
    )


def _decoded(file: BinaryIO, path: Path) -> Raster:
    head = file.read(34)
    file.seek(0)
    kind = next((name for magic, name in _MAGIC if head.startswith(magic)), None)
    if head[:4] == b"RIFF" and head[8:12] == b"WEBP":
        kind = "WEBP"
        check_size(_webp_size(head), path)
    if kind == "PNG":  # Pillow looks for a whole chunk behind the header first
        check_size(_png_size(head), path)
    if kind is None:
        raise ImageFileError(
            f"{path} is {'empty' if not head else 'not a picture that is read here'}: expected "
            "the content of a PNG, JPEG, TIFF, WebP or BMP file (or a .npy array)."
        )
    if kind == "TIFF":
        from .tiff import decode_tiff

        return decode_tiff(file, path)
    picture = _open(file, kind)
    if kind == "PNG" and head[24:25] == b"\x10":
        return _deep_png(file, picture, path)
    return from_pil(picture, path)


def _open(file: BinaryIO, kind: str) -> Image.Image:
    """Read the header. The classes are called directly since `Image.open` has a bound of its own.

    Pillow's bound knows nothing of channels, warns at half its value, and is a global variable.
    """
    from PIL import BmpImagePlugin, JpegImagePlugin, PngImagePlugin, WebPImagePlugin

    opener: Any = {
        "PNG": PngImagePlugin.PngImageFile,
        "JPEG": JpegImagePlugin.JpegImageFile,
        "WEBP": WebPImagePlugin.WebPImageFile,
        "BMP": BmpImagePlugin.BmpImageFile,
    }[kind]
    picture: Image.Image = opener(file)
    return picture


def _deep_png(file: BinaryIO, header: Image.Image, path: Path) -> Raster:
    import imagecodecs
    from PIL import Image

    file.seek(0)
    array = imagecodecs.png_decode(file.read())
    array = array[..., None] if array.ndim == 2 else array
    alpha = array[..., -1] if array.shape[-1] in (2, 4) else None
    exif = Image.Exif()
    if "exif" in header.info:  # header.getexif() would decode the pixels to look behind them
        exif.load(header.info["exif"])
    orientation = exif.get(_ORIENTATION, 1)
    return Raster(
        pixels=upright(array if alpha is None else array[..., :-1], orientation),
        alpha=None if alpha is None else upright(alpha, orientation),
        top=65535.0,
        bits=16,
        mode=header.mode,
        exif=_exif_bytes(exif),
        icc=header.info.get("icc_profile"),
    )


def _plain_mode(picture: Image.Image) -> Image.Image:
    mode = picture.mode
    if mode == "P" or (mode in ("1", "L", "RGB") and "transparency" in picture.info):
        if "transparency" not in picture.info:
            return picture.convert("RGB")
        return picture.convert("LA" if mode in ("1", "L") else "RGBA")
    if mode in _CONVERTED:
        return picture.convert(_CONVERTED[mode])
    if mode in ("L", "LA", "RGB", "RGBA", "I", "F") or mode.startswith("I;16"):
        return picture
    raise ImageFileError(f"a picture of mode {mode} cannot be read; convert it to RGB first.")


def upright(array: np.ndarray, orientation: object) -> np.ndarray:
    """Turn an array as EXIF tag 0x0112 says; values that the standard does not know do nothing."""
    if orientation in (5, 6, 7, 8):
        array = array.swapaxes(0, 1)
    if orientation in (3, 4, 7, 8):
        array = array[::-1]
    if orientation in (2, 3, 6, 7):
        array = array[:, ::-1]
    return array


def _exif_bytes(exif: Image.Exif) -> bytes | None:
    """Return the block without what will no longer be true: orientation and stored size."""
    try:
        exif.pop(_ORIENTATION, None)
        inner = exif.get_ifd(_EXIF_IFD)
        for tag in _STORED_SIZE:
            inner.pop(tag, None)
        return exif.tobytes() if len(exif) else None
    except Exception:  # a damaged block is no reason to refuse the picture
        return None


def _png_size(head: bytes) -> tuple[int, int, int]:
    width, height, _, colour = struct.unpack(">IIBB", head[16:26])
    return height, width, {0: 1, 4: 2, 6: 4}.get(colour, 3)


def _webp_size(head: bytes) -> tuple[int, int, int]:
    """Return the size; Pillow's decoder allocates its canvas of 4 channels as it is opened."""
    if head[12:16] == b"VP8X":
        width, height = head[24:27] + b"\0", head[27:30] + b"\0"
        return struct.unpack("<I", height)[0] + 1, struct.unpack("<I", width)[0] + 1, 4
    if head[12:16] == b"VP8L":
        packed = struct.unpack("<I", head[21:25])[0]
        return (packed >> 14 & 0x3FFF) + 1, (packed & 0x3FFF) + 1, 4
    width, height = struct.unpack("<HH", head[26:30])
    return height & 0x3FFF, width & 0x3FFF, 4
