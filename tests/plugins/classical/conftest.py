"""Small exact problems, shared by the tests of the solvers."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor
from wellposed import Problem
from wellposed.plugins.classical.toys import Dense

Make = Callable[..., Problem]


def dense_problem(
    rows: int = 14,
    shape: tuple[int, int, int] = (1, 4, 3),
    batch: tuple[int, ...] = (3,),
    *,
    seed: int = 0,
    per_sample: bool = True,
    dtype: torch.dtype = torch.float64,
    **rest: object,
) -> Problem:
    """Return a problem with random matrices (one per sample) and a random measurement."""
    generator = torch.Generator().manual_seed(seed)
    columns = shape[0] * shape[1] * shape[2]
    lead = batch[-1:] if per_sample else ()
    matrix = torch.randn(*lead, rows, columns, dtype=dtype, generator=generator)
    y = torch.randn(*batch, 1, 1, rows, dtype=dtype, generator=generator)
    return Problem(operator=Dense(matrix=matrix, in_shape=shape), measurement=y, **rest)


def error(x: Tensor, truth: Tensor) -> float:
    """Return the worst relative error over the samples."""
    size = truth.flatten(-3).norm(dim=-1)
    return float(((x - truth).flatten(-3).norm(dim=-1) / size).max())


@pytest.fixture
def make() -> Make:
    """Return the maker of dense problems."""
    return dense_problem


@pytest.fixture
def worst() -> Callable[[Tensor, Tensor], float]:
    """Return the worst relative error over the samples, as a function."""
    return error
