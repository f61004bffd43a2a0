"""Shared by all tests: hypothesis profiles, and a dense operator that knows nothing of images."""

from __future__ import annotations

import os

import attrs
import pytest
import torch
from hypothesis import HealthCheck, settings
from torch import Tensor
from wellposed import ForwardOperator, Space, tensor_param

settings.register_profile(
    "ci", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.register_profile("dev", deadline=None)
settings.load_profile("ci" if os.environ.get("CI") else "dev")


@attrs.frozen(eq=False, kw_only=True)
class Dense(ForwardOperator):
    """A matrix `(rows, columns)`, or one per sample `(B, rows, columns)`, on pictures (1, 1, n)."""

    matrix: Tensor = tensor_param(doc="the matrix")

    @property
    def in_space(self) -> Space:
        return Space((1, 1, self.matrix.shape[-1]), self.matrix.dtype)

    @property
    def out_space(self) -> Space:
        return Space((1, 1, self.matrix.shape[-2]), self.matrix.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.matrix.shape[:-2])

    def _apply(self, x: Tensor) -> Tensor:
        return (self.matrix @ x.squeeze(-2).mT).mT.unsqueeze(-2)

    def _adjoint(self, y: Tensor) -> Tensor:
        return (self.matrix.mH @ y.squeeze(-2).mT).mT.unsqueeze(-2)


@pytest.fixture(scope="session")
def dense():
    """Return a function that makes a dense operator with a seeded random matrix."""

    def make(rows=5, columns=4, *, batch=(), dtype=torch.float64, seed=0, matrix=None):
        if matrix is None:
            generator = torch.Generator().manual_seed(seed)
            matrix = torch.randn(*batch, rows, columns, dtype=dtype, generator=generator)
        return Dense(matrix=matrix)

    return make
