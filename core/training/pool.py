"""Pictures ready to be cut into crops: all in one tensor if they fit, else read when needed."""

from __future__ import annotations

import functools
import hashlib
import os
import warnings
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Final

import attrs
import numpy as np
import torch
from torch import Tensor

from ..errors import DataError, ImageFileError, TrainingWarning
from .prepare import fits, floats, prepared, resampled, scaled_shape
from .sources import Source

if TYPE_CHECKING:
    from .recipe import DataRecipe

__all__ = ["Cuts", "DiskPool", "MemoryPool", "Pool", "load_pool"]

_NAMED: Final = 10  # pictures that a warning names
_CACHED: Final = 64  # pictures kept by a pool on disk
_FAR: Final = (-1.0, 2.0)  # what overshoots [0, 1] stays within; what is in other units does not


@attrs.frozen(eq=False, kw_only=True)
class Cuts:
    """Where crops of one size are cut out, and how each is turned: arrays of one length.

    A crop is turned by `turns` times 90 degrees counter-clockwise (squares only), then mirrored.
    """

    entries: np.ndarray
    tops: np.ndarray
    lefts: np.ndarray
    turns: np.ndarray
    mirrored: np.ndarray
    size: tuple[int, int]

    def own(self, part: slice) -> Cuts:
        """Return the cuts of one process."""
        names = ("entries", "tops", "lefts", "turns", "mirrored")
        return attrs.evolve(self, **{name: getattr(self, name)[part] for name in names})

    def pixels(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return row and column of the pixel that goes to each place, `(b, h, w)`."""
        (height, width), count = self.size, len(self.entries)
        i = torch.arange(height, device=device)[None, :, None].expand(count, height, width)
        j = torch.arange(width, device=device)[None, None, :].expand(count, height, width)
        turn, mirror, top, left = (
            torch.from_numpy(values).to(device, non_blocking=True)[:, None, None]
            for values in (self.turns, self.mirrored, self.tops, self.lefts)
        )
        j = torch.where(mirror == 1, width - 1 - j, j)
        swapped = turn % 2 == 1
        rows, columns = torch.where(swapped, j, i), torch.where(swapped, i, j)
        rows = torch.where(turn >= 2, height - 1 - rows, rows)
        columns = torch.where((turn == 1) | (turn == 2), width - 1 - columns, columns)
        return rows + top, columns + left


class Pool(ABC):
    """Pictures of one number of channels, each with the sizes at which it takes part."""

    names: tuple[str, ...]
    shapes: tuple[tuple[int, int, int], ...]

    @abstractmethod
    def picture(self, entry: int) -> Tensor:
        """Return a picture, `(C, H, W)`: floats in [0, 1], or uint8."""

    def cut(self, cuts: Cuts) -> Tensor:
        """Return crops as floats, `(b, C, h, w)`."""
        height, width = cuts.size
        found = []
        columns = (cuts.entries, cuts.tops, cuts.lefts, cuts.turns, cuts.mirrored)
        for entry, top, left, turn, mirror in zip(*(c.tolist() for c in columns), strict=True):
            crop = self.picture(entry)[:, top : top + height, left : left + width]
            crop = torch.rot90(crop, turn, (1, 2)) if turn else crop
            found.append(crop.flip(2) if mirror else crop)
        alike = len({crop.dtype for crop in found}) == 1
        return floats(torch.stack(found if alike else [floats(crop) for crop in found]))

    @property
    def channels(self) -> int:
        """Number of channels of every picture."""
        return self.shapes[0][0]

    def digest(self) -> str:
        """Return a hash of the names and sizes."""
        text = "\n".join(f"{n} {s}" for n, s in zip(self.names, self.shapes, strict=True))
        return hashlib.sha256(text.encode()).hexdigest()


class MemoryPool(Pool):
    """All pictures in one flat tensor, on the device."""

    def __init__(
        self, names: list[str], pictures: list[Tensor], device: torch.device | str = "cpu"
    ) -> None:
        """Pack the pictures; those given as uint8 are kept so."""
        self.names = tuple(names)
        self.shapes = tuple((p.shape[0], p.shape[1], p.shape[2]) for p in pictures)
        whole = all(p.dtype == torch.uint8 for p in pictures)
        flat = [p.reshape(-1) if whole else floats(p).reshape(-1) for p in pictures]
        self.flat = torch.cat(flat).to(device)
        sizes = [0, *(p.numel() for p in pictures)]
        self._offsets = torch.tensor(sizes).cumsum(0)[:-1]
        self._sides = torch.tensor(self.shapes)

    def picture(self, entry: int) -> Tensor:
        """Return a picture."""
        channels, height, width = self.shapes[entry]
        start = int(self._offsets[entry])
        return self.flat[start : start + channels * height * width].view(channels, height, width)

    def cut(self, cuts: Cuts) -> Tensor:
        """Return crops: on a GPU by one indexing, where a loop would launch hundreds of kernels."""
        return self.gather(cuts) if self.flat.is_cuda else super().cut(cuts)

    def gather(self, cuts: Cuts) -> Tensor:
        """Return crops by one indexing, without a loop."""
        device = self.flat.device
        chosen = torch.from_numpy(cuts.entries)
        sides = self._sides[chosen]
        planes = torch.arange(self.channels) * (sides[:, 1] * sides[:, 2])[:, None]
        start = (self._offsets[chosen][:, None] + planes)[..., None, None]
        rows, columns = cuts.pixels(device)
        inside = rows * sides[:, 2, None, None].to(device, non_blocking=True) + columns
        return floats(self.flat[start.to(device, non_blocking=True) + inside[:, None]])


class DiskPool(Pool):
    """Pictures that do not fit: each is read when a crop of it is needed; the last stay."""

    def __init__(
        self,
        source: Source,
        data: DataRecipe,
        entries: list[tuple[int, float]],
        shapes: list[tuple[int, int, int]],
    ) -> None:
        """Keep where the pictures are; `entries` are their numbers and scales."""
        self.source, self.data, self.entries = source, data, entries
        self.names = tuple(f"{source.names[n]}@{s:g}" for n, s in entries)
        self.shapes = tuple(shapes)
        self._cached = functools.lru_cache(_CACHED)(self._load)

    def picture(self, entry: int) -> Tensor:
        """Return a picture, read unless it is one of the last."""
        return self._cached(entry)

    def _load(self, entry: int) -> Tensor:
        number, scale = self.entries[entry]
        return resampled(prepared(self.source.load(number), self.data), scale)

    def __getstate__(self) -> dict[str, object]:
        return {key: value for key, value in vars(self).items() if key != "_cached"}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state)
        self._cached = functools.lru_cache(_CACHED)(self._load)


def load_pool(
    source: Source,
    data: DataRecipe,
    *,
    seed: int = 0,
    device: torch.device | str = "cpu",
    most_bytes: int | None = None,
) -> tuple[Pool, Pool | None]:
    """Read all pictures once; return those to train on, and those held out.

    What cannot be read, or is smaller than a crop, is left out, with a warning that names it.
    Floats far outside [0, 1] are taken, with a warning.
    Raises: DataError when too little remains, or when the pictures differ in a way that a batch
    cannot hold.
    """
    most_bytes = _free_memory() if most_bytes is None else most_bytes
    good, kept, bad = _read_all(source, data, most_bytes)
    considered = len(source.names[: data.first])
    _warn(bad, considered)
    if len(good) <= data.held_out:
        raise DataError(
            f"of {considered} pictures {len(good)} can be used, and {data.held_out} of them "
            "are to be held out: none is left to train on."
            + (f" The first that was skipped: {bad[0]}" if bad else "")
        )
    _check_alike(source, good, data)
    order = np.random.Generator(np.random.Philox(key=[seed, 0])).permutation(len(good))
    held = sorted(order[: data.held_out].tolist())
    trained = sorted(order[data.held_out :].tolist())

    def pool(chosen: list[int], scales: tuple[float, ...]) -> Pool:
        entries = [(i, s) for i in chosen for s in scales if fits(good[i][1], s, data)]
        shapes = [scaled_shape(good[i][1], s) for i, s in entries]
        numbers = [(good[i][0], s) for i, s in entries]
        if kept is None:
            return DiskPool(source, data, numbers, shapes)
        names = [f"{source.names[n]}@{s:g}" for n, s in numbers]
        return MemoryPool(names, [resampled(kept[i], s) for i, s in entries], device)

    return pool(trained, data.scales), pool(held, (1.0,)) if held else None


def _read_all(
    source: Source, data: DataRecipe, most_bytes: int
) -> tuple[list[tuple[int, tuple[int, int, int]]], list[Tensor] | None, list[str]]:
    """Return the numbers and shapes of good pictures, themselves if they fit, and what is wrong."""
    good: list[tuple[int, tuple[int, int, int]]] = []
    kept: list[Tensor] | None = []
    bad: list[str] = []
    far: list[str] = []
    used = 0
    growth = sum(s * s for s in data.scales)
    for number, name in enumerate(source.names[: data.first]):
        try:
            picture = prepared(source.load(number), data)
        except ImageFileError as error:
            text = str(error)
            bad.append(text if name in text else f"{name}: {text}")
            continue
        shape = (picture.shape[0], picture.shape[1], picture.shape[2])
        if not any(fits(shape, s, data) for s in data.scales) or not fits(shape, 1.0, data):
            bad.append(f"{name} ({shape[1]} x {shape[2]} pixels, smaller than a crop)")
            continue
        good.append((number, shape))
        if picture.is_floating_point():
            low, high = (float(v) for v in picture.aminmax())
            if not _FAR[0] <= low <= high <= _FAR[1]:
                far.append(f"{name} ({low:.3g} to {high:.3g})")
        if kept is not None:
            kept.append(picture)
            used += int(picture.numel() * picture.element_size() * growth)
            kept = kept if used <= most_bytes else None
    if far:
        warnings.warn(
            f"pictures are expected to lie in [0, 1]; not so {_named(far)}. Divide them by their "
            "largest possible value, 255 for instance",
            TrainingWarning,
            stacklevel=3,
        )
    return good, kept, bad


def _check_alike(
    source: Source, good: list[tuple[int, tuple[int, int, int]]], data: DataRecipe
) -> None:
    first, shape = good[0]
    for number, other in good:
        if other[0] != shape[0] or (data.sides is None and other != shape):
            what = "channels" if other[0] != shape[0] else "sizes"
            hint = "colour: rgb" if other[0] != shape[0] else "crop: 64, for instance"
            raise DataError(
                f"the pictures have different {what}: {source.names[first]} is {shape}, "
                f"{source.names[number]} is {other}. Set {hint}, under data."
            )
    if data.sides is None and data.rotations and shape[1] != shape[2]:
        raise DataError("pictures are turned by 90 degrees, but are not square. Set a crop.")
    if data.sides is None and data.scales != (1.0,):
        raise DataError("pictures of several scales differ in size, so they need a crop.")


def _warn(bad: list[str], total: int) -> None:
    if bad:
        warnings.warn(
            f"{len(bad)} of {total} pictures are skipped: {_named(bad)}",
            TrainingWarning,
            stacklevel=3,
        )


def _named(what: list[str]) -> str:
    more = f" and {len(what) - _NAMED} more" if len(what) > _NAMED else ""
    return f"{'; '.join(what[:_NAMED])}{more}"


def _free_memory() -> int:
    """Return half of the memory that is free, shared by the processes of this machine."""
    try:
        free = os.sysconf("SC_AVPHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    except (ValueError, OSError, AttributeError):  # not every system says
        free = 2**33
    return free // 2 // max(int(os.environ.get("LOCAL_WORLD_SIZE", "1")), 1)
