"""The card beside a weights file: what it holds, how it came about, and how good it is."""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import wellposed.registry as reg

from ..errors import ParameterError, WeightsError

__all__ = ["card_path", "check_hash", "read_card", "read_header"]

FORMAT: Final = 1
_NEEDED: Final = ("format", "sha256", "recipe", "trained_for", "quality", "licence")
_LONGEST_HEADER: Final = 2**24


def card_path(path: str | os.PathLike[str]) -> Path:
    """Return the path of the card of a weights file."""
    return Path(path).with_suffix(".yaml")


def read_card(path: str | os.PathLike[str]) -> dict[str, Any]:
    """Return the card of a weights file. Raises: WeightsError when it is missing or incomplete."""
    card = card_path(path)
    if not card.is_file():
        if not Path(path).is_file():
            raise _missing(path)
        raise WeightsError(
            f"{path} has no card {card.name} beside it, which says what the weights are. Copy it "
            "along with them."
        )
    try:
        data = reg.load_yaml(card)
    except ParameterError as error:
        raise WeightsError(f"the card {card} cannot be read: {error}") from error
    missing = [key for key in _NEEDED if key not in data]
    if missing:
        raise WeightsError(
            f"the card {card} has no {', '.join(missing)}; get a whole copy of the weights."
        )
    if data["format"] != FORMAT:
        raise WeightsError(
            f"the card {card} has format {data['format']!r}, this version reads {FORMAT}. Install "
            "a newer wellposed."
        )
    for key in ("recipe", "trained_for", "quality"):
        if not isinstance(data[key], Mapping):
            raise WeightsError(
                f"the card {card} has {type(data[key]).__name__} under {key!r}, where a mapping "
                "should be; get a whole copy of the weights."
            )
    _check_levels(data["trained_for"].get("levels"), card)
    return data


def _check_levels(levels: object, card: Path) -> None:
    """Check that there are levels `[least, greatest]` of numbers, or none. Raises: WeightsError."""
    ranges = list(levels.values()) if isinstance(levels, Mapping) else [levels]
    if levels is not None and not all(
        isinstance(r, list) and len(r) == 2 and all(type(v) in (int, float) for v in r)
        for r in ranges
    ):
        raise WeightsError(
            f"the card {card} has something else than [least, greatest] under "
            "'trained_for.levels'; get a whole copy of the weights."
        )


def check_hash(path: Path, data: bytes, card: Mapping[str, Any]) -> None:
    """Check that a weights file is the one its card was written for. Raises: WeightsError."""
    found = hashlib.sha256(data).hexdigest()
    if found != card["sha256"]:
        raise WeightsError(
            f"{path} is not what its card says: its sha256 is {found[:16]}..., expected "
            f"{str(card['sha256'])[:16]}... It was altered, or cut off in a download: get it again."
        )


def read_bytes(path: Path) -> bytes:
    """Return the content of a weights file. Raises: WeightsError."""
    try:
        return path.read_bytes()
    except IsADirectoryError:
        raise _missing(path) from None
    except FileNotFoundError:
        raise _missing(path) from None
    except OSError as error:
        raise WeightsError(f"{path} cannot be read: {error.strerror or error}.") from error


def _missing(path: str | os.PathLike[str]) -> WeightsError:
    if Path(path).is_dir():
        return WeightsError(
            f"{path} is a folder; give the weights file in it, such as "
            f"{Path(path) / 'weights.safetensors'}."
        )
    return WeightsError(
        f"there are no weights {path}. `wellposed weights` lists what is installed; "
        "`wellposed train` makes new ones."
    )


def read_header(data: bytes, path: Path) -> dict[str, dict[str, Any]]:
    """Return name, dtype and shape of every tensor of a .safetensors file; needs no torch.

    Raises: WeightsError for what is no such file.
    """
    try:
        (length,) = struct.unpack("<Q", data[:8])
        if length > min(_LONGEST_HEADER, len(data) - 8):
            raise ValueError("its header is longer than the file")
        header = json.loads(data[8 : 8 + length])
        tensors = {key: value for key, value in header.items() if key != "__metadata__"}
        end = max((int(value["data_offsets"][1]) for value in tensors.values()), default=0)
        if 8 + length + end != len(data):
            raise ValueError("its length is not what its header says")
        if not all({"dtype", "shape"} <= set(value) for value in tensors.values()):
            raise ValueError("its header lacks dtypes or shapes")
    except (struct.error, ValueError, AttributeError, KeyError, IndexError, TypeError) as error:
        raise WeightsError(
            f"{path} is no whole .safetensors file ({error}); get it again."
        ) from error
    return tensors
