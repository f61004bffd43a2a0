"""Pictures in and out: files, Pillow pictures and NumPy arrays to tensors, and back to files.

Inside wellposed a picture is a float tensor `(C, H, W)` in [0, 1]; 8 and 16 bits, transparency,
orientation and colour profiles exist only here.
"""

from __future__ import annotations

import os
import warnings
from pathlib import Path
from typing import Any, Final

import attrs
import numpy as np
import torch
from torch import Tensor

from .errors import DtypeError, ImageFileError, ParameterError, ShapeError
from .files import write_bytes
from .rasters import Raster, check_size, decode, from_pil, load_npy

__all__ = [
    "LEAST",
    "MOST",
    "SUFFIXES",
    "Picture",
    "check_like",
    "check_target",
    "read",
    "to_tensor",
    "write",
]

# What each format holds: bits per value, and whether transparency.
_BITS: Final[dict[str, tuple[int, ...]]] = {
    ".png": (8, 16),
    ".jpg": (8,),
    ".jpeg": (8,),
    ".tif": (8, 16, 32),
    ".tiff": (8, 16, 32),
    ".webp": (8,),
    ".bmp": (8,),
    ".npy": (),
}
_OPAQUE: Final = (".jpg", ".jpeg", ".bmp")
SUFFIXES: Final = tuple(_BITS)
"""The suffixes of the formats that are written."""
LEAST, MOST = -0.5, 1.5
"""Values beyond are no ringing at an edge: they were never meant to be a picture in [0, 1]."""
_LOST: Final = 0.5  # the share of such values from which on a picture is not what was meant


@attrs.frozen(eq=False, kw_only=True)
class Picture:
    """A picture file in memory: its values, and what must go with them into a restored copy.

    Shapes: tensor (C, H, W), alpha (1, H, W), both upright, whatever the file's orientation.
    Units: tensor and alpha in [0, 1]; `bits` per value in the file (32: floats).
    """

    tensor: Tensor = attrs.field(repr=lambda t: str(tuple(t.shape)))
    alpha: Tensor | None = attrs.field(default=None, repr=lambda t: str(t is not None))
    bits: int = 8
    mode: str = ""
    exif: bytes | None = attrs.field(default=None, repr=False)
    icc: bytes | None = attrs.field(default=None, repr=False)


def read(path: str | os.PathLike[str]) -> Picture:
    """Read a picture file: PNG and TIFF of 8 or 16 bits (TIFF also floats), JPEG, WebP, BMP.

    EXIF orientation is applied, transparency is set apart, palettes become RGB, CMYK becomes RGB
    without its profile. Of an animation, the first frame is read. Floats pass as they are.
    Raises: ImageFileError, naming the file, when it is missing, not a picture, damaged, cut off,
    empty, or has more than 2^28 values (checked in the header), or NaN or Inf among them.
    """
    path = Path(path)
    raster = decode(path)
    tensor = _scaled(raster.pixels, raster.top)
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ImageFileError(f"{path} holds NaN or Inf at {bad} of {tensor.numel()} values.")
    return _picture(raster, tensor)


def to_tensor(obj: Any) -> Tensor:
    """Return a picture given as a path, a Pillow picture or a NumPy array as a tensor (C, H, W).

    Arrays are (H, W) or (H, W, C). Whole numbers of 8 and 16 bits are divided by 255 and 65535,
    bools become 0 and 1; floats pass without rescaling, float64 as float64, everything else as
    float32. Complex arrays, of MRI for instance, are (H, W) or (C, H, W). A path that ends in
    `.npy` holds a measurement as it is, in the order of tensors: (H, W) or (*batch, C, H, W).

    Raises: ImageFileError for a file; ShapeError, DtypeError, ParameterError for an array, also
    for one of 1 or 3 rows and more than 4 channels, which is a (C, H, W) in the wrong order.
    """
    if isinstance(obj, (str, os.PathLike)):
        path = Path(obj)
        if path.suffix.lower() == ".npy":
            return _from_array(load_npy(path), str(path), channels_last=False)
        return read(path).tensor
    if isinstance(obj, np.ma.MaskedArray) and np.ma.is_masked(obj):
        raise ParameterError(
            f"the array masks {int(np.ma.getmaskarray(obj).sum())} of {obj.size} values. Give "
            "obj.filled(0) and op='mask' with mask=~numpy.ma.getmaskarray(obj)."
        )
    if isinstance(obj, np.ndarray):
        plain = np.asarray(obj)  # numpy.matrix stays two-dimensional in every indexing
        return _from_array(plain, "the array", channels_last=plain.dtype.kind != "c")
    if _is_pil(obj):
        raster = from_pil(obj, "the picture")
        return _finite(_scaled(raster.pixels, raster.top), "the picture")
    raise ParameterError(
        "a picture is a path, a Pillow picture, a NumPy array or a float tensor; "
        f"got {type(obj).__name__}."
    )


def write(
    path: str | os.PathLike[str],
    tensor: Tensor,
    *,
    bits: int | None = None,
    like: Picture | None = None,
) -> Path:
    """Write a picture, with the format taken from the suffix; return its path.

    Values are clipped to [0, 1] and rounded to `bits` (8 or 16; left out: those of `like` where
    the format has them, else 8). A complex picture is written as its magnitude. `like`, the
    picture that this one was made from, hands on its transparency (resized when the sizes differ),
    colour profile and EXIF block. A TIFF with `bits=32` holds float32 without clipping and any
    number of channels; `.npy` holds the tensor as it is.

    Warns: UserWarning when most of the picture lies far outside [0, 1], and is lost by clipping.
    Shapes: tensor (C, H, W), C 1 or 3 except for TIFF and .npy; batch axes of size 1 may lead.
    Raises: ImageFileError when the format cannot hold it or the file cannot be written (nothing
    of it remains then); ShapeError for a batch; ParameterError for bits that the format lacks.
    """
    path = Path(path)
    check_target(path, bits)
    suffix = path.suffix.lower()
    tensor = tensor.detach().cpu()
    if suffix == ".npy":
        from .encoding import npy

        return write_bytes(path, npy(tensor.numpy()))
    tensor = _one_picture(tensor, suffix)
    alpha = None if like is None else _alpha_for(tensor, like, path, suffix)
    depth = _depth(bits, like, suffix, tensor.shape[0])
    if depth < 32:
        _warn_of_clipping(tensor, path)
    from .encoding import encode

    data = encode(
        suffix,
        _quantised(tensor, depth),
        alpha=None if alpha is None else _quantised(alpha, depth),
        icc=None if like is None or tensor.shape[0] != like.tensor.shape[0] else like.icc,
        exif=None if like is None else like.exif,
    )
    return write_bytes(path, data)


def check_target(path: Path, bits: int | None = None) -> None:
    """Check, before the work is done, that the format of a path is one that can be written.

    Raises: ImageFileError for an unknown suffix; ParameterError for bits that the format lacks.
    """
    suffix = path.suffix.lower()
    if suffix not in _BITS:
        raise ImageFileError(
            f"cannot write {path}: {suffix or 'a name without a suffix'} is not a format that is "
            f"written. Take one of {', '.join(SUFFIXES)}."
        )
    possible = _BITS[suffix]
    if bits is None or bits in possible:
        return
    if not possible:
        raise ParameterError(f"{suffix} holds the tensor as it is; leave bits out.")
    raise ParameterError(
        f"{suffix} holds {' or '.join(map(str, possible))} bits per value; got bits={bits}."
        + (" Write .png or .tif." if bits == 16 else "")
    )


def check_like(path: Path, like: Picture) -> None:
    """Check, before the work is done, that the format of a path holds what goes with a picture.

    Raises: ImageFileError for transparency that it cannot hold.
    """
    if like.alpha is None or path.suffix.lower() not in _OPAQUE or bool((like.alpha >= 1).all()):
        return
    raise ImageFileError(
        f"cannot write {path}: the picture is partly transparent, which {path.suffix.lower()} "
        "cannot hold. Write .png, .tif or .webp."
    )


def _is_pil(obj: object) -> bool:
    """Tell whether `obj` is a Pillow picture, without importing Pillow for what is not."""
    if not any(base.__module__.startswith("PIL.") for base in type(obj).__mro__):
        return False
    from PIL import Image

    return isinstance(obj, Image.Image)


def _picture(raster: Raster, tensor: Tensor) -> Picture:
    alpha = raster.alpha
    return Picture(
        tensor=tensor,
        alpha=None if alpha is None else _scaled(alpha[..., None], raster.top).float(),
        bits=raster.bits,
        mode=raster.mode,
        exif=raster.exif,
        icc=raster.icc,
    )


def _scaled(pixels: np.ndarray, top: float) -> Tensor:
    """Return (H, W, C) values as a tensor (C, H, W), divided by what stands for 1."""
    # torch has no arithmetic on unsigned 16 and 32 bits, nor we on half precision
    wider = {"u2": "i4", "u4": "f8", "f2": "f4"}
    code = pixels.dtype.str[1:]
    wanted = np.dtype(wider.get(code, code))
    # a copy in any case: the caller may go on to change the array
    values = torch.from_numpy(np.array(np.moveaxis(pixels, -1, 0), dtype=wanted, order="C"))
    if top != 1:
        return (values / top).float()
    return values if values.is_floating_point() or values.is_complex() else values.float()


def _from_array(array: np.ndarray, what: str, *, channels_last: bool) -> Tensor:
    kind, size = array.dtype.kind, array.dtype.itemsize
    if not ((kind in "fc" and size <= 8 * (1 + (kind == "c"))) or kind == "b"):
        if kind != "u" or size > 2:
            raise DtypeError(
                f"{what} has dtype {array.dtype}; expected uint8, uint16, bool, or floats in "
                "[0, 1] (complex for MRI). Divide by the largest possible value first."
            )
    if array.ndim < 2 or 0 in array.shape or (channels_last and array.ndim > 3):
        order = "(H, W) or (H, W, C)" if channels_last else "(H, W) or (*batch, C, H, W)"
        raise ShapeError(
            f"{what} must have shape {order}, no size 0; got {array.shape}. "
            "A batch of pictures is given as a tensor (B, C, H, W)."
        )
    if channels_last and array.ndim == 3 and array.shape[0] in (1, 3) and array.shape[2] > 4:
        raise ShapeError(
            f"{what} must have shape (H, W) or (H, W, C); got {array.shape}, which looks like "
            "(C, H, W). Give it as a tensor, torch.from_numpy(array), or move its first axis to "
            "the end: numpy.moveaxis(array, 0, -1)."
        )
    check_size(array.shape, what)
    if array.ndim == 2:
        array, channels_last = array[..., None], True
    top = {1: 255.0, 2: 65535.0}[size] if kind == "u" else 1.0
    array = np.moveaxis(array, -1, -3) if channels_last else array
    return _finite(_scaled(np.moveaxis(array, 0, -1), top), what)


def _finite(tensor: Tensor, what: str) -> Tensor:
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ParameterError(
            f"{what} holds NaN or Inf at {bad} of {tensor.numel()} values. "
            "Repair them, or mark them as missing with op='mask'."
        )
    return tensor


def _one_picture(tensor: Tensor, suffix: str) -> Tensor:
    shape = tuple(tensor.shape)
    if tensor.ndim < 3 or any(n != 1 for n in shape[:-3]) or 0 in shape:
        raise ShapeError(
            f"one picture (C, H, W) is written at a time; got {shape}. "
            "Write a batch one by one, or save it as .npy."
        )
    tensor = tensor.reshape(shape[-3:])
    tensor = tensor.abs() if tensor.is_complex() else tensor
    if not tensor.is_floating_point():
        raise DtypeError(f"a picture holds floats in [0, 1]; got {tensor.dtype}.")
    if tensor.shape[0] not in (1, 3) and not suffix.startswith(".tif"):
        raise ImageFileError(
            f"{suffix} holds 1 (grey) or 3 (RGB) channels; got {tensor.shape[0]}. "
            "Write .tif or .npy."
        )
    bad = int((~torch.isfinite(tensor)).sum())
    if bad:
        raise ImageFileError(
            f"the picture holds NaN or Inf at {bad} of {tensor.numel()} values; nothing is written."
        )
    return tensor


def _alpha_for(tensor: Tensor, like: Picture, path: Path, suffix: str) -> Tensor | None:
    check_like(path, like)
    return None if suffix in _OPAQUE else _resized(like.alpha, tensor)


def _resized(alpha: Tensor | None, tensor: Tensor) -> Tensor | None:
    if alpha is None or alpha.shape[-2:] == tensor.shape[-2:]:
        return alpha
    size = tuple(tensor.shape[-2:])
    return torch.nn.functional.interpolate(alpha[None], size, mode="bilinear", antialias=True)[0]


def _warn_of_clipping(tensor: Tensor, path: Path) -> None:
    lost = ((tensor < LEAST) | (tensor > MOST)).double().mean()
    if float(lost) > _LOST:
        low, high = float(tensor.min()), float(tensor.max())
        warnings.warn(
            f"{float(lost):.0%} of the values of {path} are lost: the picture goes from {low:.3g} "
            f"to {high:.3g}, and is clipped to [0, 1]. Divide it by its largest possible value, or "
            "write .npy, or .tif with 32 bits, which hold it as it is.",
            stacklevel=3,
        )


def _depth(bits: int | None, like: Picture | None, suffix: str, channels: int) -> int:
    if bits is not None:
        return bits
    if like is not None and like.bits in _BITS[suffix]:
        return like.bits
    return 8 if channels in (1, 3) else 32


def _quantised(tensor: Tensor, depth: int) -> np.ndarray:
    """Return (H, W, C) values as the file holds them, rounded to nearest."""
    values = tensor.movedim(0, -1)
    if depth == 32:
        single: np.ndarray = values.float().contiguous().numpy()
        return single
    top = 2**depth - 1
    whole = values.double().clamp(0, 1).mul(top).round().numpy()
    return whole.astype(np.uint8 if depth == 8 else np.uint16)
