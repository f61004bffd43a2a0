"""Small problems with an unknown kernel, for the conformance kit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed import Problem
from wellposed.registry import default_registry
from wellposed.testing import SolverCase

from .blind_deblurring import BlindDeblurring
from .tikhonov import Tikhonov

__all__ = ["blind_deblurring"]


@st.composite
def blind_deblurring(draw: st.DrawFn) -> SolverCase:
    """Pictures blurred by random kernels, some as large as the picture; a single tap is known."""
    stream = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    height, width = draw(st.integers(1, 14)), draw(st.integers(1, 14))
    convolution: Any = default_registry().load("bilinear", "convolution")
    op = convolution(
        in_shape=(draw(st.sampled_from([1, 2, 3])), height, width),
        kernel_shape=(draw(st.integers(1, min(height, 9))), draw(st.integers(1, min(width, 9)))),
        per_channel=draw(st.booleans()),
        dtype=torch.float64,
    )
    batch = draw(st.sampled_from([(), (1,), (3,), (2, 2)]))
    kernel = op.w_space.randn(batch, generator=stream).exp()
    x = op.x_space.randn(batch, generator=stream).mul(3).sigmoid()
    solver = BlindDeblurring(
        nonblind=Tikhonov(weight=0.01),
        rounds=2,
        dark_channel=draw(st.sampled_from([0.0, 4e-3])),
        patch=draw(st.sampled_from([1, 5, 35])),
        border=draw(st.sampled_from(["circular", "extended"])),
        kernel_steps=5,
    )
    y = op(kernel / kernel.sum((-2, -1), keepdim=True), x)
    expected = None
    if op.kernel_shape == (1, 1) and solver.border == "circular":
        known = op.at_w(torch.ones(op.w_space.shape, dtype=torch.float64))
        expected = Tikhonov(weight=0.01).solve(Problem(operator=known, measurement=y)).image
    problem = Problem(operator=op, measurement=y)
    return SolverCase(solver=solver, problem=problem, expected=expected)
