"""How a problem is split: quadratic terms for a linear solve, the rest behind proximal maps.

    minimise  [1/2 |A x - y|^2]  +  sum_i f_i(K_i x)

Each block i has its own copy `z_i` of `K_i x` and a scaled multiplier `u_i`. The data term is left
in the linear solve where that is closed or has to be iterated anyway, and becomes a block of its
own (K = I, f = data_prox) where only its proximal map is closed.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable

import torch
from torch import Tensor
from wellposed import (
    AnalysisPrior,
    ForwardOperator,
    Identity,
    Problem,
    ProximalPrior,
    solve_normal,
)

from .steps import spread

__all__ = ["Block", "Prox", "Splitting", "in_fourier", "split"]

Prox = Callable[[Tensor, Tensor], Tensor]


@dataclasses.dataclass(frozen=True, eq=False)
class Block:
    """One term f(K x): the operator, and `prox(v, tau)` of f with tau of shape `batch`."""

    operator: ForwardOperator
    prox: Prox


# No attrs class: the loop looks into those, and would choose between two operators per sample.
@dataclasses.dataclass(frozen=True, eq=False)
class Splitting:
    """The blocks of a problem; `quadratic` says that the data term stays in the linear solve."""

    problem: Problem
    blocks: tuple[Block, ...]
    quadratic: bool
    closed: bool
    rtol: float
    back: Tensor  # A^H y

    @property
    def operators(self) -> tuple[ForwardOperator, ...]:
        """Return every K_i."""
        return tuple(block.operator for block in self.blocks)

    def forward(self, x: Tensor) -> tuple[Tensor, ...]:
        """Return every K_i x."""
        return tuple(block.operator._apply(x) for block in self.blocks)

    def prox(self, points: tuple[Tensor, ...], tau: Tensor) -> tuple[Tensor, ...]:
        """Return the proximal map of every f_i, with step tau of shape `batch`."""
        return tuple(b.prox(v, tau) for b, v in zip(self.blocks, points, strict=True))

    def solve(self, points: tuple[Tensor, ...], rho: Tensor, x0: Tensor) -> Tensor:
        """Return `argmin_x [1/2 |A x - y|^2] + rho/2 sum_i |K_i x - points_i|^2`.

        Iterates from `x0` where there is no closed form.
        """
        op, y = self.problem.linear, self.problem.measurement
        if self.quadratic and self.closed and isinstance(self.blocks[0].operator, Identity):
            return op.data_prox(points[0], y, 1 / rho)
        rhs = torch.zeros_like(x0)
        for block, point in zip(self.blocks, points, strict=True):
            rhs = rhs + block.operator._adjoint(point)
        if not self.quadratic:
            return solve_normal(
                [(1.0, block.operator) for block in self.blocks], rhs, x0=x0, rtol=self.rtol
            )
        # Divided by rho, so that the right-hand side keeps its size when the weight changes.
        tau = spread(1 / rho, op.in_space)
        rhs = rhs + tau * self.back
        rest = [(1.0, block.operator) for block in self.blocks]
        return solve_normal([(tau, op), *rest], rhs, x0=x0, rtol=self.rtol)


def split(problem: Problem, *, rtol: float) -> Splitting:
    """Choose the cheapest splitting of a problem with a proximal or analysis prior.

    A prior that is both is taken by its analysis side, whose proximal map is the simpler one.
    """
    op, prior, space = problem.linear, problem.prior, problem.image_space
    y = problem.measurement
    back = op._adjoint(y)
    if not isinstance(prior, AnalysisPrior):
        assert isinstance(prior, ProximalPrior)
        blocks = (Block(Identity(space), prior.prox),)
        return Splitting(problem, blocks, True, op.has_closed_prox, rtol, back)
    analysis = prior.analysis(space)
    regulariser = Block(analysis, prior.analysis_prox)
    if not op.has_closed_prox or (in_fourier(op) and in_fourier(analysis)):
        return Splitting(problem, (regulariser,), True, False, rtol, back)
    data = Block(Identity(space), lambda v, tau: op.data_prox(v, y, tau))
    return Splitting(problem, (data, regulariser), False, False, rtol, back)


def in_fourier(op: ForwardOperator) -> bool:
    """Whether `A^H A` is diagonal in the Fourier domain of each channel."""
    known = op.equivariance()
    return known is not None and known.stride == 1 and known.channelwise and op.in_space.ndim == 3
