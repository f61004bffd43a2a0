"""Levels: one range of a recipe's distributions, cut into steps of difficulty.

levels: {parameter: operator.params.mask.hole.size, count: 5, sampling: on_demand}
levels: {parameter: operator.params.mask.missing_pixels, count: 30, weighting: uncertainty}
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Literal

import attrs
import numpy as np
from wellposed.registry import param
from wellposed.registry.errors import suggestion

from ..errors import ParameterError
from .distributions import Draws, LevelDraw, Numbers

__all__ = ["Levels", "LevelsRecipe"]


@attrs.frozen(kw_only=True)
class LevelsRecipe:
    """How one parameter, drawn for each sample, is cut into levels, and what they are used for.

    Level a holds the values v with `edges[a] <= v < edges[a + 1]`, the last one also its upper
    end, as in a histogram. `count` levels share the range equally: in width, in ratio
    (`log_uniform`), or in the number of values (`integers`, `choice`).
    """

    parameter: str | None = param(
        None,
        doc="path of the distribution in the recipe, as in operator.params.mask.hole.size; "
        "default: the only one there is",
    )
    count: int | None = param(
        None, doc="number of levels that share the range equally",
        check=attrs.validators.optional(attrs.validators.ge(2)),
    )  # fmt: skip
    edges: tuple[float, ...] | None = param(
        None, doc="or where the levels begin, and the last ends"
    )
    sampling: Literal["as_drawn", "on_demand"] = param(
        "as_drawn",
        doc="how often each level is trained on. as_drawn: as the distribution has it; on_demand: "
        "the more often, the worse it is restored",
    )
    weighting: Literal["equal", "uncertainty"] = param(
        "equal", doc="how the losses of levels add up. uncertainty: by weights that are learned"
    )
    every: int = param(
        1000, doc="steps after which on_demand measures each level anew",
        check=attrs.validators.ge(1),
    )  # fmt: skip
    samples: int = param(
        64, doc="held-out crops that on_demand measures at each level, rounded to whole batches",
        check=attrs.validators.ge(1),
    )  # fmt: skip

    def __attrs_post_init__(self) -> None:
        if (self.count is None) == (self.edges is None):
            raise ParameterError("levels need either a count or edges: [...], and not both")
        edges = (0, 1, 2) if self.edges is None else self.edges
        if len(edges) < 3 or not all(a < b for a, b in pairwise(edges)):
            raise ParameterError(
                f"expected three numbers or more that increase; got {list(edges)}", where="edges"
            )
        if self.sampling == "as_drawn" and self.weighting == "equal":
            raise ParameterError(
                "levels change nothing yet; set sampling: on_demand, or weighting: uncertainty"
            )


@attrs.frozen(eq=False, kw_only=True)
class Levels:
    """The levels of one distribution: `parts[a]` is the distribution within level a."""

    distribution: Numbers
    edges: np.ndarray
    parts: tuple[Numbers, ...]

    @classmethod
    def of(cls, given: LevelsRecipe, found: Mapping[str, Numbers]) -> Levels:
        """Return the levels of a recipe whose distributions are `found`, by path.

        Raises: ParameterError when they do not fit each other.
        """
        path = _path(given.parameter, found)
        numbers = found[path]
        if given.edges is not None:
            edges, where = np.array(given.edges), "levels.edges"
            beyond = np.nextafter(edges[-1], math.inf)
            if numbers.within(-math.inf, edges[0]) or numbers.within(beyond, math.inf):
                raise ParameterError(
                    f"the levels {_shown(edges)} do not cover {path}: {numbers}", where=where
                )
        else:
            assert given.count is not None
            edges, where = numbers.edges(given.count), "levels.count"
        ends = [*edges[1:-1], math.inf]
        parts = [numbers.within(a, b) for a, b in zip(edges[:-1], ends, strict=True)]
        good = tuple(part for part in parts if part is not None)
        if len(good) < len(parts):
            first = parts.index(None)
            raise ParameterError(
                f"level {first + 1}, from {edges[first]:g} to {edges[first + 1]:g}, has no values "
                f"of {path}: {numbers}. Take fewer levels, or other edges",
                where=where,
            )
        return cls(distribution=numbers, edges=edges, parts=good)

    @property
    def count(self) -> int:
        """The number of levels."""
        return len(self.parts)

    def as_drawn(self, draws: Draws) -> Draws:
        """Return draws in which the parameter is drawn as ever, and the levels are known."""
        values = self.distribution.sample(draws.numbers, draws.batch)
        return self._with(draws, values, np.searchsorted(self.edges[1:-1], values, side="right"))

    def by_share(self, draws: Draws, shares: Sequence[float]) -> Draws:
        """Return draws with `shares[a] batch` samples of level a, rounded up or down at random.

        Systematic sampling: the mean number is exact for any batch, also one smaller than the
        number of levels. Which samples have which level is shuffled.
        """
        ends = np.cumsum(shares)
        places = (draws.numbers.random() + np.arange(draws.batch)) / draws.batch * ends[-1]
        index = np.searchsorted(ends[:-1], places, side="right")
        return self._within(draws, draws.numbers.permutation(index))

    def only(self, draws: Draws, level: int) -> Draws:
        """Return draws of one level."""
        return self._within(draws, np.full(draws.batch, level))

    def _within(self, draws: Draws, index: np.ndarray) -> Draws:
        counts = np.bincount(index, minlength=self.count)
        pairs = zip(self.parts, counts, strict=True)
        found = [part.sample(draws.numbers, int(count)) for part, count in pairs]
        order = np.argsort(index, kind="stable")
        values = np.concatenate(found)[np.argsort(order, kind="stable")]
        return self._with(draws, values, index)

    def _with(self, draws: Draws, values: np.ndarray, index: np.ndarray) -> Draws:
        drawn = LevelDraw(distribution=self.distribution, values=values, index=index)
        return attrs.evolve(draws, level=drawn)


def _path(given: str | None, found: Mapping[str, Numbers]) -> str:
    listed = ", ".join(sorted(found)) or "none"
    if given is None and len(found) == 1:
        (given,) = found
    if given is None:
        raise ParameterError(
            "levels need the path of the parameter that they cut; the recipe draws for each "
            f"sample: {listed}",
            where="levels.parameter",
        )
    if given in found:
        return given
    raise ParameterError(
        f"the recipe draws nothing for each sample at {given!r}.{suggestion(given, list(found))} "
        f"It draws: {listed}",
        where="levels.parameter",
    )


def _shown(edges: np.ndarray) -> str:
    return f"[{', '.join(f'{edge:g}' for edge in edges)}]"
