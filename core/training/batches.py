"""The crops of each step, which depend on the seed and the step alone.

Neither the number of workers or processes nor what came before changes them, hence a run that is
resumed sees the batches that it would have seen.
"""

from __future__ import annotations

from pathlib import Path

import attrs
import numpy as np
import torch
from torch import Tensor

from ..errors import DataError
from .distributions import draws_for
from .drawn import DrawnKernels
from .pool import Cuts, Pool, load_pool
from .recipe import DataRecipe, Recipe
from .sources import Source, open_source

__all__ = ["Batches", "Sample", "open_data"]


@attrs.frozen(eq=False)
class Sample:
    """The pictures, or the measurements, or both, of one step; those of this rank."""

    picture: Tensor | None = None
    measurement: Tensor | None = None


@attrs.frozen(eq=False, kw_only=True)
class Batches:
    """Crops by number of step: `batches[step]` is a `Sample`; workers may fetch them in any order.

    Every picture is seen once before any is seen again (an epoch has as many samples as there are
    pictures), in an order that depends on the seed and the epoch.
    """

    pictures: Pool | None
    measurements: Pool | None = None
    crop: tuple[int, int] | None
    flips: bool = False
    rotations: bool = False
    seed: int
    batch: int
    own: slice
    stream: int = 0

    @property
    def pool(self) -> Pool:
        """The pictures, or the measurements when there are no pictures."""
        pool = self.pictures if self.pictures is not None else self.measurements
        assert pool is not None
        return pool

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape `(C, h, w)` of one crop."""
        return (self.pool.channels, *(self.crop or self.pool.shapes[0][1:]))

    @property
    def measured_shape(self) -> tuple[int, int, int] | None:
        """Shape of one crop of the measurements."""
        if self.measurements is None:
            return None
        if self.pictures is None:
            return self.shape
        if self.crop is None:
            return self.measurements.shapes[0]
        factor = self._factor(0)
        return self.measurements.channels, self.crop[0] // factor, self.crop[1] // factor

    def __getitem__(self, step: int) -> Sample:
        """Return the crops of a step, counted from 0."""
        cuts = self._plan(step).own(self.own)
        first = self.pool.cut(cuts)
        if self.pictures is None:
            return Sample(None, first)
        return Sample(first, None if self.measurements is None else self._partner(cuts))

    def _plan(self, step: int) -> Cuts:
        """Return where the whole batch is cut, and how each crop is turned."""
        rng = draws_for(self.seed, step, stream=self.stream, batch=self.batch).numbers
        entries = self._entries(step)
        height, width = self.shape[1:]
        sides = np.array(self.pool.shapes)[entries, 1:]
        steps = self._grid(entries)
        places = rng.random((2, self.batch))
        none = np.zeros(self.batch, np.int64)
        return Cuts(
            entries=entries,
            tops=steps * (places[0] * ((sides[:, 0] - height) // steps + 1)).astype(np.int64),
            lefts=steps * (places[1] * ((sides[:, 1] - width) // steps + 1)).astype(np.int64),
            turns=rng.integers(4, size=self.batch) if self.rotations else none,
            mirrored=rng.integers(2, size=self.batch) if self.flips else none,
            size=(height, width),
        )

    def _entries(self, step: int) -> np.ndarray:
        count = len(self.pool.shapes)
        numbers = np.arange(step * self.batch, (step + 1) * self.batch)
        epochs = numbers // count
        found = np.empty(self.batch, np.int64)
        for epoch in np.unique(epochs):
            key = [self.seed, 2**62 + 4 * int(epoch) + self.stream]  # apart from those of steps
            order = np.random.Generator(np.random.Philox(key=key)).permutation(count)
            mine = epochs == epoch
            found[mine] = order[numbers[mine] % count]
        return found

    def _factor(self, entry: int) -> int:
        assert self.pictures is not None and self.measurements is not None
        return self.pictures.shapes[entry][1] // self.measurements.shapes[entry][1]

    def _grid(self, entries: np.ndarray) -> np.ndarray:
        """Return on which multiples crops may start, so that a pixel of y begins there too."""
        if self.pictures is None or self.measurements is None or self.crop is None:
            return np.ones(len(entries), np.int64)
        return np.array([self._factor(int(entry)) for entry in entries])

    def _partner(self, cuts: Cuts) -> Tensor:
        assert self.measurements is not None and self.measured_shape is not None
        grid = self._grid(cuts.entries)
        size = self.measured_shape[1:]
        smaller = attrs.evolve(cuts, tops=cuts.tops // grid, lefts=cuts.lefts // grid, size=size)
        return self.measurements.cut(smaller)


def open_data(
    path: Path | None,
    recipe: Recipe,
    *,
    own: slice,
    device: torch.device | str = "cpu",
    most_bytes: int | None = None,
) -> tuple[Batches, Batches | None]:
    """Read the data of a recipe; return the batches to train on and those held out.

    Raises: DataError.
    """
    data = recipe.data
    pools = [
        load_pool(source, its, seed=recipe.seed, device=device, most_bytes=most_bytes)
        for source, its in _sources(path, recipe)
    ]
    trained, held = [p[0] for p in pools], [p[1] for p in pools]
    if data.kind == "pairs":
        _check_pairs(trained, data.sides)
        _check_pairs([p for p in held if p is not None], data.sides)
    alone = data.kind == "measurements"

    def batches(chosen: list[Pool], *, validating: bool) -> Batches:
        return Batches(
            pictures=None if alone else chosen[0],
            measurements=chosen[-1] if data.kind in ("pairs", "measurements") else None,
            crop=data.sides,
            flips=data.flips and not validating,
            rotations=data.rotations and not validating,
            seed=recipe.seed,
            batch=recipe.batch,
            own=own,
            stream=2 if validating else 0,
        )

    some = [p for p in held if p is not None]
    return batches(trained, validating=False), batches(some, validating=True) if some else None


def _sources(path: Path | None, recipe: Recipe) -> list[tuple[Source, DataRecipe]]:
    """Return where pictures, or measurements, or both come from, and how they are cut."""
    data = recipe.data
    if data.kind == "kernels":
        assert data.sides is not None
        drawn = DrawnKernels.of(data.kernel, count=data.count, size=data.sides[0], seed=recipe.seed)
        return [(drawn, attrs.evolve(data, colour="as_is"))]
    if path is None:
        raise DataError(f"{data.kind} come from files: say where they are, --data PATH.")
    if data.kind != "pairs":
        return [(open_source(path), data)]
    # the crops of y are smaller than those of x by a factor that is found later
    loose = data if data.crop is None else attrs.evolve(data, crop=1)
    return [(open_source(path / "x"), data), (open_source(path / "y"), loose)]


def _check_pairs(pools: list[Pool], crop: tuple[int, int] | None) -> None:
    if not pools:
        return
    x, y = pools
    if x.names != y.names:
        odd = sorted(set(x.names) ^ set(y.names))
        raise DataError(
            f"the pictures of x/ and y/ must have equal names; these have no partner: "
            f"{', '.join(odd[:5])}. A picture that was skipped must go from both."
        )
    if crop is None:
        return
    factors = {(a[1] / b[1], a[2] / b[2]) for a, b in zip(x.shapes, y.shapes, strict=True)}
    whole = len(factors) == 1 and all(f == int(f) for f in next(iter(factors)))
    first = next(iter(factors))
    if not whole or first[0] != first[1] or any(side % int(first[0]) for side in crop):
        raise DataError(
            "crops of pairs need pictures x that are 1, 2, 3... times as large as their y, all "
            f"alike, and a crop that is a multiple; got factors {sorted(factors)[:3]} and {crop}."
        )
