"""Small exact components for the examples and tests of the solvers: dense, and solved by hand."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import (
    AnalysisPrior,
    Denoiser,
    ForwardOperator,
    ProximalPrior,
    SmoothPrior,
    Space,
    param,
    tensor_param,
)

__all__ = ["BackProjector", "Dense", "Lasso", "Ridge", "Shrinkage"]


@attrs.frozen(eq=False, kw_only=True)
class Dense(ForwardOperator):
    """A matrix `(out, in)` or `(B, out, in)` on flattened pictures."""

    matrix: Tensor = tensor_param(doc="The matrix, (out, in) or (B, out, in).")
    in_shape: tuple[int, ...] = param(doc="Shape of the picture.")

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return Space(self.in_shape, self.matrix.dtype)

    @property
    def out_space(self) -> Space:
        """One channel and one row of measurements."""
        return Space((1, 1, self.matrix.shape[-2]), self.matrix.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """One matrix for all samples, or one for each."""
        return tuple(self.matrix.shape[:-2])

    def _apply(self, x: Tensor) -> Tensor:
        y: Tensor = (self.matrix @ x.flatten(-3).unsqueeze(-1)).squeeze(-1)
        return y[..., None, None, :]

    def _adjoint(self, y: Tensor) -> Tensor:
        flat = (self.matrix.mH @ y.flatten(-3).unsqueeze(-1)).squeeze(-1)
        x: Tensor = flat.unflatten(-1, self.in_shape)
        return x


@attrs.frozen(eq=False, kw_only=True)
class Ridge(SmoothPrior, ProximalPrior):
    """`weight / 2 |x|^2`, whose minimisers are linear algebra."""

    weight: float = param(1.0, doc="Multiplies the functional.")

    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample."""
        size: Tensor = torch.linalg.vector_norm(x, dim=(-3, -2, -1))
        return 0.5 * self.weight * size.square()

    def grad(self, x: Tensor) -> Tensor:
        """Return the gradient of R at x."""
        return self.weight * x

    def lipschitz(self, space: Space) -> float:
        """Return the weight."""
        return self.weight

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return `v / (1 + tau weight)`."""
        return v / (1 + self.weight * _events(tau, 3))


@attrs.frozen(eq=False, kw_only=True)
class Lasso(AnalysisPrior):
    """`weight |M x|_1` (or `weight / 2 |M x|^2`) with a dense M."""

    matrix: Tensor = tensor_param(doc="The matrix M, (rows, pixels).")
    weight: float = param(1.0, doc="Multiplies the functional.")
    square: bool = param(False, doc="Half the square instead of the sum of magnitudes.")

    def analysis(self, space: Space) -> ForwardOperator:
        """Return M."""
        return Dense(matrix=self.matrix, in_shape=space.shape)

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return g(u) for each sample."""
        size = 0.5 * u.abs().square() if self.square else u.abs()
        return self.weight * size.flatten(-3).sum(-1)

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return the proximal map of g."""
        step = self.weight * _events(tau, 3)
        if self.square:
            return u / (1 + step)
        return u.sgn() * (u.abs() - step).clamp_min(0)


@attrs.frozen(eq=False, kw_only=True)
class Shrinkage(Denoiser):
    """`v / (1 + sigma^2)`: the Gaussian denoiser of pictures with unit variance."""

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return the posterior mean."""
        return v / (1 + _events(sigma, 3) ** 2)


def _events(value: Tensor | float, ndim: int) -> Tensor | float:
    return value[(...,) + (None,) * ndim] if isinstance(value, Tensor) else value


@attrs.frozen(eq=False, kw_only=True)
class BackProjector(ForwardOperator):
    """An operator with a filtered back-projection: its adjoint, whatever the filter."""

    op: ForwardOperator

    @property
    def in_space(self) -> Space:
        """That of the operator."""
        return self.op.in_space

    @property
    def out_space(self) -> Space:
        """That of the operator."""
        return self.op.out_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """That of the operator."""
        return self.op.batch_shape

    def fbp(self, y: Tensor, *, filter: str) -> Tensor:
        """Return the adjoint."""
        return self.op._adjoint(y)

    def _apply(self, x: Tensor) -> Tensor:
        return self.op._apply(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.op._adjoint(y)
