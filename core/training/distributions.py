"""Random parameters of a recipe: what is drawn for each sample of a batch.

    {uniform: [0, 3]}         a number from (0, 3]
    {log_uniform: [0.01, 1]}  a number whose logarithm is uniform
    {integers: [1, 30]}       a whole number, both ends included
    {choice: [2, 3, 4]}       one of the numbers listed
    {missing_pixels: 0.5}     a mask with that fraction of the pixels missing
    {hole: {size: {integers: [1, 30]}, window: [16, 16, 32, 32]}}   a mask with a square hole
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

__all__ = ["Distribution", "Draws", "draws_for", "is_random", "realise"]


@attrs.frozen(eq=False, kw_only=True)
class Draws:
    """The random numbers of one step: drawn for the whole batch, and handed out by rank.

    `numbers` is the same generator on every rank and device; `fields`, for masks and noise, lies
    on the device, where it gives the same numbers on every rank.
    """

    numbers: np.random.Generator
    fields: torch.Generator
    batch: int
    own: slice
    device: torch.device
    size: tuple[int, int] = (1, 1)

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


class Numbers(Distribution):
    """A distribution of numbers, one for each sample."""

    @abstractmethod
    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return `count` independent numbers."""

    def draw(self, draws: Draws) -> Tensor:
        """Return one number for each sample, `(b,)`, on the CPU: kernels are computed there."""
        return torch.from_numpy(self.sample(draws.numbers, draws.batch))[draws.own]


@attrs.frozen
class Constant(Numbers):
    """The same number always; where a distribution is expected."""

    value: float

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return the number, `count` times."""
        return np.full(count, self.value)


@attrs.frozen
class Uniform(Numbers):
    """Uniform in `(low, high]`: the lower end, often a width of 0, is approached, not reached."""

    low: float
    high: float

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return `high - (high - low) u` with u in [0, 1)."""
        return self.high - (self.high - self.low) * rng.random(count)


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


@attrs.frozen
class Integers(Numbers):
    """Whole numbers from `low` to `high`, both included."""

    low: int
    high: int

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return whole numbers."""
        return rng.integers(self.low, self.high + 1, count)


@attrs.frozen
class Choice(Numbers):
    """One of several values, with equal probability; numbers, unless drawn per step."""

    values: tuple[Any, ...]

    def sample(self, rng: np.random.Generator, count: int) -> np.ndarray:
        """Return values at random places of the list."""
        return np.asarray(self.values)[rng.integers(len(self.values), size=count)]


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
        fractions = torch.from_numpy(self.fraction.sample(draws.numbers, draws.batch))
        missing = (fractions.clamp(0, 1) * pixels).round().long().to(draws.device)
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


@attrs.frozen
class Hole(Distribution):
    """A mask with a square hole, placed uniformly inside a window (top, left, height, width)."""

    size: Numbers
    window: tuple[int, int, int, int] | None = None

    def draw(self, draws: Draws) -> Tensor:
        """Return one mask for each sample, `(b, 1, H, W)`."""
        height, width = draws.size
        top, left, tall, wide = self.window or (0, 0, height, width)
        if top + tall > height or left + wide > width:
            raise ParameterError(
                f"the window {list(self.window or ())} of a hole does not lie inside a picture "
                f"of {height} x {width} pixels. It is [top, left, height, width]."
            )
        side = self.size.sample(draws.numbers, draws.batch).round().astype(np.int64)
        if side.min() < 0 or side.max() > min(tall, wide):
            raise ParameterError(
                f"a hole of {int(side.max())} pixels does not fit a window of {tall} x {wide}. "
                "Give smaller holes, a larger window or larger crops."
            )
        tops = top + np.floor(draws.numbers.random(draws.batch) * (tall - side + 1))
        lefts = left + np.floor(draws.numbers.random(draws.batch) * (wide - side + 1))
        rows = _inside(height, tops, side)
        columns = _inside(width, lefts, side)
        hole = rows[:, None, :, None] & columns[:, None, None, :]
        return draws.here((~hole).float())


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


def realise(tree: Any, draws: Draws) -> Any:
    """Return parsed data with every distribution replaced by what it drew."""
    if isinstance(tree, Distribution):
        return tree.draw(draws)
    if isinstance(tree, Mapping):
        return {key: realise(value, draws) for key, value in tree.items()}
    return [realise(item, draws) for item in tree] if isinstance(tree, list) else tree
