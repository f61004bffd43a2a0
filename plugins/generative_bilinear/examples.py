"""Small problems with tiny generators for the conformance kit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from torch import nn
from wellposed import BilinearOperator, GenerativePrior, Identity, Problem, Space
from wellposed.registry import default_registry
from wellposed.testing import SolverCase

from .bilinear import GenerativeBilinear
from .projection import GenerativeProjection
from .slack import GenerativeBilinearSlack

__all__ = ["generative_bilinear", "generative_bilinear_slack", "generative_projection"]

Draw = st.DrawFn
F64 = torch.float64


def _prior(network: nn.Module, codes: int, space: Space) -> GenerativePrior:
    adapter: Any = default_registry().load("prior", "generator")
    prior: GenerativePrior = adapter(
        network=network, latent_shape=(codes,), out_shape=space.shape, dtype=F64
    )
    return prior


def _generator(codes: int, space: Space, stream: torch.Generator) -> GenerativePrior:
    """Return two layers with values in [0, 1]."""
    first, second = nn.Linear(codes, 8, dtype=F64), nn.Linear(8, space.numel, dtype=F64)
    for layer in (first, second):
        layer.weight.data.normal_(generator=stream).div_(layer.in_features**0.5)
        layer.bias.data.normal_(0, 0.1, generator=stream)
    shape = nn.Unflatten(1, space.shape)
    return _prior(nn.Sequential(first, nn.Tanh(), second, nn.Sigmoid(), shape), codes, space)


def _operator(draw: Draw, stream: torch.Generator) -> BilinearOperator:
    registry = default_registry()
    side = st.integers(1, 7)
    shape = (draw(st.sampled_from([1, 3])), draw(side), draw(side))
    if draw(st.booleans()):
        kernel = (draw(st.integers(1, 4)), draw(st.integers(1, 4)))
        cls: Any = registry.load("bilinear", "convolution")
        op: BilinearOperator = cls(in_shape=shape, kernel_shape=kernel, dtype=F64)
    else:
        product: Any = registry.load("bilinear", "product")
        op = product(in_shape=shape, per_channel=draw(st.booleans()), dtype=F64)
    if draw(st.booleans()):
        mask: Any = registry.load("operator", "mask")
        seen = (torch.rand(shape, generator=stream, dtype=F64) < 0.7).to(F64)
        masked: BilinearOperator = mask(in_shape=shape, mask=seen) @ op
        return masked
    return op


def _case(draw: Draw, make: Any, **params: Any) -> SolverCase:
    stream = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    op = _operator(draw, stream)
    priors = [_generator(draw(st.integers(1, 3)), s, stream) for s in (op.w_space, op.x_space)]
    batch = draw(st.sampled_from([(), (1,), (3,)]))
    codes = [torch.randn(*batch, *p.latent_shape, generator=stream, dtype=F64) for p in priors]
    with torch.no_grad():
        y = op(*(p.decode(z) for p, z in zip(priors, codes, strict=True)))
    solver = make(
        parameter_prior=priors[0],
        restarts=draw(st.integers(1, 3)),
        update=draw(st.sampled_from(["jacobi", "gauss_seidel", "normalised", "adam"])),
        decay=draw(st.sampled_from([None, 5.0])),
        halve_every=draw(st.sampled_from([None, 2])),
        step_size=0.02,
        max_steps=6,
        **params,
    )
    return SolverCase(solver=solver, problem=Problem(operator=op, measurement=y, prior=priors[1]))


@st.composite
def generative_bilinear(draw: Draw) -> SolverCase:
    """Draw convolutions and products, masked or not, each update and start, restarts at rest."""
    start = draw(st.sampled_from(["normal", "projection"]))
    weight = draw(st.sampled_from([1.0, 10.0]))
    return _case(draw, GenerativeBilinear, start=start, start_steps=3, data_weight=weight)


@st.composite
def generative_bilinear_slack(draw: Draw) -> SolverCase:
    """Draw the same for the free picture."""
    return _case(draw, GenerativeBilinearSlack)


@st.composite
def generative_projection(draw: Draw) -> SolverCase:
    """Draw linear generators with orthonormal columns, whose answer is known."""
    stream = torch.Generator().manual_seed(draw(st.integers(0, 2**20)))
    shape = (draw(st.sampled_from([1, 3])), draw(st.integers(1, 6)), draw(st.integers(1, 6)))
    space = Space(shape, F64)
    codes = draw(st.integers(1, min(4, space.numel)))
    columns, _ = torch.linalg.qr(torch.randn(space.numel, codes, generator=stream, dtype=F64))
    layer = nn.Linear(codes, space.numel, bias=False, dtype=F64)
    layer.weight.data.copy_(columns)
    prior = _prior(nn.Sequential(layer, nn.Unflatten(1, shape)), codes, space)
    y = space.randn(draw(st.sampled_from([(), (1,), (3,)])), generator=stream)
    solver = GenerativeProjection(
        restarts=draw(st.integers(1, 3)),
        halve_every=draw(st.sampled_from([None, 10])),
        max_steps=60,
        step_size=0.5,
    )
    return SolverCase(
        solver=solver,
        problem=Problem(operator=Identity(space), measurement=y, prior=prior),
        expected=(y.flatten(-3) @ columns @ columns.mT).reshape(y.shape),
    )
