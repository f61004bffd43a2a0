"""Small problems for the conformance kit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed import Problem
from wellposed.registry import build, default_registry
from wellposed.testing import SolverCase

from .blind import BlindStrided
from .cross_scale import CrossScale
from .kernel_gan import KernelGan

__all__ = ["cross_scale", "kernelgan"]

Draw = st.DrawFn


def _blur(shape: tuple[int, int, int], stride: int) -> Any:
    registry = default_registry()
    named: Any = build(registry, "kernel", "gaussian", path="kernel")
    kernel = named.tensor(stride=stride, dtype=torch.float64)
    cls: Any = registry.load("operator", "strided_blur")
    return cls(in_shape=shape, stride=stride, kernel=kernel, boundary="circular")


def _case(draw: Draw, solver: BlindStrided, least: int) -> SolverCase:
    stride = draw(st.sampled_from([2, 2, 4]))
    height, width = (draw(st.integers(least, least + 5)) for _ in range(2))
    op = _blur((draw(st.sampled_from([1, 3])), stride * height, stride * width), stride)
    batch = draw(st.sampled_from([(), (1,), (2,)]))
    stream = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    x = op.in_space.randn(batch, generator=stream).sigmoid()
    return SolverCase(solver=solver, problem=Problem(operator=op, measurement=op(x)))


def _tikhonov() -> Any:
    params = {"name": "tikhonov", "params": {"weight": 0.01}}
    return build(default_registry(), "solver", params, path="nonblind")


@st.composite
def kernelgan(draw: Draw) -> SolverCase:
    """Draw small pictures, and runs of a few steps, which do not yet fall into chaos."""
    solver = KernelGan(
        nonblind=_tikhonov(),
        recipe=draw(st.sampled_from(["clean", "paper"])),
        max_steps=2,
        restarts=draw(st.integers(1, 2)),
        layers=(7, 3, 1),
        crop=26,
    )
    return _case(draw, solver, 30)


@st.composite
def cross_scale(draw: Draw) -> SolverCase:
    """Draw pictures that two sizes of windows fit into."""
    return _case(draw, CrossScale(nonblind=_tikhonov()), 64)
