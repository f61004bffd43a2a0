"""ISTA: proximal gradient descent."""

from __future__ import annotations

import attrs
from torch import Tensor
from wellposed import (
    IterativeSolver,
    Needs,
    Problem,
    ProximalPrior,
    param,
    real_number,
    whole_number,
)

from .steps import TV_PRIOR, Point, lipschitz, spread

__all__ = ["Ista"]


@attrs.frozen(eq=False, kw_only=True)
class Ista(IterativeSolver[Point]):
    """A gradient step on the data term, then the prior's proximal map.

        x <- prox_{step R}(x - step A^H (A x - y)),    step = relaxation / |A|^2

    `fista` does the same in far fewer steps; this one descends steadily.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one step size per sample.
    Cost: one forward, one adjoint and one proximal map per step; the norm of A once.
    Source: Daubechies, Defrise and De Mol, 2004, An iterative thresholding algorithm for linear
    inverse problems with a sparsity constraint, CPAM 57(11), the thresholded Landweber iteration.
    """

    needs = Needs(priors=(ProximalPrior,))
    default_prior = TV_PRIOR

    max_steps: int = param(200, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-5, doc="Relative change of the picture to stop at.", check=real_number(least=0)
    )
    relaxation: float = param(
        1.0, doc="Step in units of 1 / |A|^2.", check=real_number(above=0, below=2)
    )

    def init(self, problem: Problem) -> Point:
        """Start at the initial estimate, with one step size per sample."""
        return Point(x=problem.start(), step=self.relaxation / lipschitz(problem))

    def step(self, problem: Problem, state: Point) -> Point:
        """One gradient step and one proximal map."""
        assert isinstance(problem.prior, ProximalPrior)
        length = spread(state.step, problem.image_space)
        moved = state.x - length * problem.data_grad(state.x)
        return Point(x=problem.prior.prox(moved, state.step), step=state.step)

    def estimate(self, problem: Problem, state: Point) -> Tensor:
        """Return the iterate."""
        return state.x
