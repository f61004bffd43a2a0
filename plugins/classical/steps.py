"""What the iterative solvers share: per-sample arithmetic, step sizes, weights on a schedule."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Problem, Space

__all__ = [
    "Point",
    "geometric",
    "lipschitz",
    "norm_of",
    "penalty_unit",
    "ratio",
    "relative",
    "spread",
]

TV_PRIOR = {"name": "tv", "params": {"weight": 0.002}}
"""What the variational solvers take for want of a prior: for pictures with little noise."""


@attrs.frozen(eq=False, kw_only=True)
class Point:
    """State of a solver that remembers its picture and one step size per sample."""

    x: Tensor
    step: Tensor


def spread(value: Tensor, space: Space) -> Tensor:
    """Give one value per sample a trailing axis of size 1 for each event axis of `space`."""
    return value[(...,) + (None,) * space.ndim]


def ratio(a: Tensor, b: Tensor) -> Tensor:
    """Return `a / b`, and 0 where b is 0; b is not negative."""
    return torch.where(b == 0, 0, a / torch.where(b == 0, 1, b))


def relative(space: Space, moved: Tensor, x: Tensor) -> Tensor:
    """Return `|moved| / |x|` for each sample, 0 where nothing moved."""
    size = space.norm(x)
    length = space.norm(moved)
    return torch.where(length == 0, 0, length / torch.where(size == 0, 1, size))


def norm_of(problem: Problem, op: ForwardOperator) -> Tensor:
    """Return the norm bound of an operator for every sample of the problem; shape `batch`."""
    return op.norm_bound().to(problem.measurement.device).expand(problem.batch)


def lipschitz(problem: Problem) -> Tensor:
    """Return the Lipschitz constant `|A|^2` of the data term's gradient; shape `batch`.

    One for an operator that is zero: every step is then as good.
    """
    square = norm_of(problem, problem.linear).square()
    return torch.where(square == 0, 1, square)


def geometric(first: Tensor | float, last: Tensor | float, k: int, steps: int) -> Tensor:
    """Return value k of `steps` values spaced evenly in logarithm; `last` from then on."""
    share = 1.0 if steps <= 1 else min(k / (steps - 1), 1.0)
    a, b = torch.as_tensor(first), torch.as_tensor(last)
    return a ** (1 - share) * b**share


def penalty_unit(problem: Problem, operators: Sequence[ForwardOperator]) -> Tensor:
    """Return the natural unit `|A|^2 / sum_i |K_i|^2` of a penalty on K x; shape `batch`."""
    parts = torch.stack([norm_of(problem, op).square() for op in operators]).sum(0)
    return lipschitz(problem) / torch.where(parts == 0, 1, parts)


def inner_rtol(problem: Problem, tolerance: float) -> float:
    """Return how accurately a step is worth solving: a tenth of what the steps are to reach."""
    least = 1e-12 if torch.finfo(problem.measurement.dtype).eps < 1e-10 else 1e-6
    return min(max(0.1 * tolerance, least), 1e-4)
