"""Two-layer generators of the paper's example, relu(B2 relu(B1 h)), and toy problems."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from wellposed import Problem
from wellposed.plugins.operators.bilinear import CircularConvolution
from wellposed.plugins.priors.generator import NetworkGenerator

F64 = torch.float64


@pytest.fixture(scope="session")
def relu_generator():
    """Return a function that makes one with random weights."""

    def make(codes, hidden, shape, seed, dtype=F64):
        stream = torch.Generator().manual_seed(seed)
        sizes = ((hidden, codes), (shape[0] * shape[1] * shape[2], hidden))
        layers = [nn.Linear(n, m, bias=False, dtype=dtype) for m, n in sizes]
        for layer, size in zip(layers, sizes, strict=True):
            values = torch.randn(size, generator=stream, dtype=F64) * (2 / size[1]) ** 0.5
            layer.weight.data = values.to(dtype)
        network = nn.Sequential(layers[0], nn.ReLU(), layers[1], nn.ReLU(), nn.Unflatten(1, shape))
        return NetworkGenerator(
            network=network, latent_shape=(codes,), out_shape=shape, dtype=dtype
        )

    return make


@pytest.fixture(scope="session")
def blurred(relu_generator):
    """Return a function that makes a problem, the kernels' generator, and the truth (w, x)."""

    def make(batch=(4,), shape=(1, 8, 8), kernel=(5, 5), after=None, op=None, seed=3):
        if op is None:
            op = CircularConvolution(in_shape=shape, kernel_shape=kernel, dtype=F64)
        priors = relu_generator(3, 20, op.w_space.shape, 1), relu_generator(4, 40, shape, 2)
        op = op if after is None else after @ op
        stream = torch.Generator().manual_seed(seed)
        codes = [torch.randn(*batch, n, generator=stream, dtype=F64) for n in (3, 4)]
        with torch.no_grad():
            w, x = (p.decode(z) for p, z in zip(priors, codes, strict=True))
            problem = Problem(operator=op, measurement=op(w, x), prior=priors[1])
        return problem, priors[0], (w, x)

    return make
