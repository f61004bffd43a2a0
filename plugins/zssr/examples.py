"""Tiny pictures and a tiny network for the kit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed import Problem
from wellposed.registry import default_registry
from wellposed.testing import SolverCase

from .solver import Zssr

__all__ = ["zssr"]


def _case(
    channels: int,
    sides: tuple[int, int],
    stride: int,
    batch: tuple[int, ...],
    taps: int,
    boundary: str,
    per_sample: bool,
    gradual: bool,
    options: dict[str, Any],
    seed: int,
) -> SolverCase:
    generator = torch.Generator().manual_seed(seed)
    count = batch[-1] if batch and per_sample else 1

    def kernel() -> torch.Tensor:
        drawn = torch.rand(count, 1, taps, taps, dtype=torch.float64, generator=generator)
        return drawn / drawn.sum((-2, -1), keepdim=True)

    operator: Any = default_registry().load("operator", "strided_blur")
    in_shape = (channels, *(stride * n for n in sides))
    op = operator(in_shape=in_shape, stride=stride, kernel=kernel(), boundary=boundary)
    shape = (*batch, *op.out_space.shape)
    y = torch.rand(shape, dtype=torch.float64, generator=generator)
    half = kernel() if gradual and stride == 4 else None
    solver = Zssr(kernel_half=half, max_steps=3, width=4, depth=3, crop=8, tile=11, **options)
    return SolverCase(solver=solver, problem=Problem(operator=op, measurement=y))


def zssr() -> st.SearchStrategy[SolverCase]:
    """Strides 2 to 4, grey to many channels, kernels of even and odd side, with every option."""
    options = st.fixed_dictionaries(
        {
            "noise": st.sampled_from([None, 0.02]),
            "augment": st.booleans(),
            "ensemble": st.booleans(),
        }
    )
    return st.builds(
        _case,
        channels=st.sampled_from([1, 3, 4]),
        sides=st.tuples(st.integers(8, 11), st.integers(8, 11)),
        stride=st.sampled_from([2, 3, 4]),
        batch=st.sampled_from([(), (1,), (3,), (2, 3)]),
        taps=st.integers(1, 5),
        boundary=st.sampled_from(["reflect", "circular", "zero"]),
        per_sample=st.booleans(),
        gradual=st.booleans(),
        options=options,
        seed=st.integers(0, 2**16),
    )
