"""Random parameters of a recipe: what is drawn for each sample of a batch.

    {uniform: [0, 3]}         a number from (0, 3]
    {log_uniform: [0.01, 1]}  a number whose logarithm is uniform
    {integers: [1, 30]}       a whole number, both ends included
    {choice: [2, 3, 4]}       one of the numbers listed
    {missing_pixels: 0.5}     a mask with that fraction of the pixels missing
    {hole: {size: {integers: [1, 30]}, window: [16, 16, 32, 32]}}   a mask with a square hole
    {hole: {size: {integers: [1, 30]}, shift: 10}}   its middle at most 10 pixels from the middle
    {per_step: {choice: [2, 3, 4]}}   one value for the whole batch, of any type

Numbers become tensors `(B,)`, masks `(B, 1, H, W)`. Arguments of masks may be random themselves.
"""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from ..errors import ParameterError

__all__ = [
    "Distribution",
    "Draws",
    "LevelDraw",
    "Numbers",
    "draws_for",
    "is_random",
    "numbers_in",
    "realise",
]


@attrs.frozen(eq=False, kw_only=True)
class LevelDraw:
    """What one distribution gives the whole batch, decided beforehand, and the level of each."""

    distribution: Numbers
    values: np.ndarray
    index: np.ndarray


@attrs.frozen(eq=False, kw_only=True)
class Draws:
    """The random numbers of one step: drawn for the whole batch, and handed out by rank.

    `numbers` is the same generator on every rank and device; `fields`, for masks and noise, lies
    on the device, where it gives the same numbers on every rank. `level`: see `levels.Levels`.
    """

    numbers: np.random.Generator
    fields: torch.Generator
    batch: int
    own: slice
    device: torch.device
    size: tuple[int, int] = (1, 1)
    level: LevelDraw | None = None

    def sample(self, numbers: Numbers) -> np.ndarray:
        """Return one number for each sample of the whole batch."""
        if self.level is not None and numbers is self.level.distribution:
            return self.level.values
        return numbers.sample(self.numbers, self.batch)

    def here(self, values: Tensor) -> Tensor:
        """Return the samples of this rank, on the device."""
        return values[self.own].to(self.device)


def draws_for(
    seed: int,
    step: int,
    *,
    stream: int,
    batch: int,
    own: slice | None = None,
    device: torch.device | str = "cpu",
) -> Draws:
    """Return the random numbers that belong to a step, whatever was drawn before.

    `stream` keeps uses apart: crops, operators and noise, validation.
    """
    numbers = np.random.Generator(np.random.Philox(key=[seed, 4 * step + stream]))
    place = torch.device(device)
    fields = torch.Generator(place).manual_seed(int(numbers.integers(2**63)))
    own = slice(0, batch) if own is None else own
    return Draws(numbers=numbers, fields=fields, batch=batch, own=own, device=place)


class Distribution(ABC):
    """Something that is drawn anew for each step."""

    @abstractmethod
    def draw(self, draws: Draws) -> Any:
        """Return what the samples of this rank get."""

    def numbers(self) -> Mapping[str, Numbers]:
        """Return the distributions of numbers in it, one number per sample, by their path."""
        return {}


class Numbers(Distribution):
    """A distribution of numbers, one for each sample."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return `count` independent numbers."""

    @abstractmethod
    def within(self, low: float, high: float) -> Numbers | None:
        """Return the distribution of those numbers v that have `low <= v < high`; None: none."""

    @abstractmethod
    def edges(self, count: int) -> np.ndarray:
        """Return the `count + 1` ends of as many intervals that share its range equally."""

    def draw(self, draws: Draws) -> Tensor:
        """Return one number for each sample, `(b,)`, on the CPU: kernels are computed there."""
        return torch.from_numpy(draws.sample(self))[draws.own]

    def numbers(self) -> Mapping[str, Numbers]:
        """Return itself."""
        return {"": self}


@attrs.frozen
class Constant(Numbers):
    """The same number always; where a distribution is expected."""

    value: float

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return the number, `count` times."""
        return np.full(count, self.value)

    def within(self, low: float, high: float) -> Numbers | None:
        """Return itself, or nothing."""
        return self if low <= self.value < high else None

    def edges(self, count: int) -> np.ndarray:
        """Return the number, again and again."""
        return np.full(count + 1, self.value)

    def numbers(self) -> Mapping[str, Numbers]:
        """Return nothing: it has no range."""
        return {}


@attrs.frozen
class Uniform(Numbers):
    """Uniform in `(low, high]`: the lower end, often a width of 0, is approached, not reached."""

    low: float
    high: float

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return `high - (high - low) u` with u in [0, 1)."""
        return self.high - (self.high - self.low) * rng.random(count)

    def within(self, low: float, high: float) -> Numbers | None:
        """Return the uniform distribution on what the two intervals share."""
        low, high = max(low, self.low), min(high, self.high)
        return Uniform(low, high) if low < high else None

    def edges(self, count: int) -> np.ndarray:
        """Return equal steps."""
        return np.linspace(self.low, self.high, count + 1)


@attrs.frozen
class LogUniform(Numbers):
    """Uniform in the logarithm, in `(low, high]`."""

    low: float
    high: float

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return the exponential of uniform numbers."""
        logs = Uniform(math.log(self.low), math.log(self.high)).sample(rng, count)
        values: np.ndarray = np.exp(logs)
        return values

    def within(self, low: float, high: float) -> Numbers | None:
        """Return the log-uniform distribution on what the two intervals share."""
        low, high = max(low, self.low), min(high, self.high)
        return LogUniform(low, high) if low < high else None

    def edges(self, count: int) -> np.ndarray:
        """Return equal ratios."""
        return np.geomspace(self.low, self.high, count + 1)


@attrs.frozen
class Integers(Numbers):
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return whole numbers."""
        return rng.integers(self.low, self.high + 1, count)

    def within(self, low: float, high: float) -> Numbers | None:
        """Return the whole numbers that lie there."""
        first, last = max(low, self.low), min(high, self.high + 1)
        first, last = math.ceil(first), math.ceil(last) - 1
        return Integers(first, last) if first <= last else None

    def edges(self, count: int) -> np.ndarray:
        """Return steps of equally many whole numbers, as far as that goes."""
        return np.linspace(self.low, self.high + 1, count + 1)


@attrs.frozen
class Choice(Numbers):
    """One of several values, with equal probability; numbers, unless drawn per step."""

    values: tuple[Any, ...]

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return values at random places of the list."""
        return np.asarray(self.values)[rng.integers(len(self.values), size=count)]

    def within(self, low: float, high: float) -> Numbers | None:
        """Return the values that lie there."""
        values = tuple(v for v in self.values if low <= v < high)
        return Choice(values) if values else None

    def edges(self, count: int) -> np.ndarray:
        """Return steps of equally many different values, as far as that goes."""
        values = np.unique(self.values)
        first = [part[0] if len(part) else values[-1] for part in np.array_split(values, count)]
        return np.array([*first, values[-1]])


@attrs.frozen
class PerStep(Distribution):
    """One value for the whole batch, handed on as plain data: a stride, a name."""

    inner: Numbers

    def draw(self, draws: Draws) -> Any:
        """Return the value."""
        if isinstance(self.inner, Choice):
            return self.inner.values[int(draws.numbers.integers(len(self.inner.values)))]
        return self.inner.sample(draws.numbers, 1)[0].item()


@attrs.frozen
class MissingPixels(Distribution):
    """A mask of zeros and ones in which `round(fraction H W)` pixels are missing, anywhere."""

    fraction: Numbers

    def draw(self, draws: Draws) -> Tensor:
        """Return one mask for each sample, `(b, 1, H, W)`."""
        pixels = math.prod(draws.size)
        counts = (draws.sample(self.fraction) * pixels).round()
        if counts.min() < 0 or counts.max() > pixels:
            raise ParameterError(
                "missing_pixels expects fractions from 0 to 1; it drew values from "
                f"{counts.min() / pixels:.3g} to {counts.max() / pixels:.3g}. Divide percentages "
                "by 100."
            )
        missing = torch.from_numpy(counts).long().to(draws.device)
        values = torch.rand(
            (draws.batch, pixels),
            generator=draws.fields,
            device=draws.device,
            dtype=torch.float64,  # in float32 two pixels would now and then share a value
        )
        ranked = values.sort(-1).values
        bounds = ranked.gather(-1, (missing - 1).clamp_min(0)[:, None])
        kept = (values > bounds) | (missing == 0)[:, None]
        return draws.here(kept.float().reshape(draws.batch, 1, *draws.size))

    def numbers(self) -> Mapping[str, Numbers]:
        """Return the fraction."""
        return {f".missing_pixels{path}": one for path, one in self.fraction.numbers().items()}


@attrs.frozen
class Hole(Distribution):
    """A mask with a square hole, placed uniformly inside a window (top, left, height, width).

    With `shift`, the hole's middle lies at most that many pixels, to each side, from the window's.
    """

    size: Numbers
    window: tuple[int, int, int, int] | None = None
    shift: int | None = None

    def draw(self, draws: Draws) -> Tensor:
        """Return one mask for each sample, `(b, 1, H, W)`."""
        height, width = draws.size
        top, left, tall, wide = self.window or (0, 0, height, width)
        if top + tall > height or left + wide > width:
            raise ParameterError(
                f"the window {list(self.window or ())} of a hole does not lie inside a picture "
                f"of {height} x {width} pixels. It is [top, left, height, width]."
            )
        side = draws.sample(self.size).round().astype(np.int64)
        if side.min() < 0 or side.max() > min(tall, wide):
            raise ParameterError(
                f"a hole of {int(side.max())} pixels does not fit a window of {tall} x {wide}. "
                "Give smaller holes, a larger window or larger crops."
            )
        tops = top + self._place(tall - side, draws)
        lefts = left + self._place(wide - side, draws)
        rows = _inside(height, tops, side)
        columns = _inside(width, lefts, side)
        hole = rows[:, None, :, None] & columns[:, None, None, :]
        return draws.here((~hole).float())

    def _place(self, room: np.ndarray, draws: Draws) -> np.ndarray:
        """Return how far from the window's edge the hole begins, given the room it leaves."""
        reach = room if self.shift is None else np.minimum(room, 2 * self.shift)
        drawn = np.floor(draws.numbers.random(draws.batch) * (reach + 1))
        place: np.ndarray = (room - reach) // 2 + drawn
        return place

    def numbers(self) -> Mapping[str, Numbers]:
        """Return the size."""
        return {f".hole.size{path}": one for path, one in self.size.numbers().items()}


def _inside(length: int, first: np.ndarray, side: np.ndarray) -> Tensor:
    at = np.arange(length)
    return torch.from_numpy((at >= first[:, None]) & (at < (first + side)[:, None]))


def is_random(tree: Any) -> bool:
    """Tell whether there is a distribution anywhere in parsed data."""
    if isinstance(tree, Distribution):
        return True
    if isinstance(tree, Mapping):
        return any(map(is_random, tree.values()))
    return isinstance(tree, list) and any(map(is_random, tree))


def numbers_in(tree: Any, path: str) -> dict[str, Numbers]:
    """Return the distributions that give each sample a number, anywhere in parsed data, by path."""
    if isinstance(tree, Distribution):
        return {path + more: one for more, one in tree.numbers().items()}
    if isinstance(tree, Mapping):
        parts = [numbers_in(value, f"{path}.{key}") for key, value in tree.items()]
    else:
        items = tree if isinstance(tree, list) else []
        parts = [numbers_in(item, f"{path}[{i}]") for i, item in enumerate(items)]
    return {where: one for part in parts for where, one in part.items()}


def realise(tree: Any, draws: Draws) -> Any:
    """Return parsed data with every distribution replaced by what it drew."""
    if isinstance(tree, Distribution):
        return tree.draw(draws)
    if isinstance(tree, Mapping):
        return {key: realise(value, draws) for key, value in tree.items()}
    return [realise(item, draws) for item in tree] if isinstance(tree, list) else tree
