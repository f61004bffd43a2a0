"""Landweber's iteration: gradient descent on a smooth objective."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import IterativeSolver, Needs, Problem, SmoothPrior, param, real_number, whole_number

from .steps import Point, lipschitz, spread

__all__ = ["GradientDescent"]


@attrs.frozen(eq=False, kw_only=True)
class GradientDescent(IterativeSolver[Point]):
    """Steps of fixed length down the gradient of the data term and of a smooth prior, if given.

        x <- x - step (A^H (A x - y) + grad R(x)),    step = relaxation / (|A|^2 + Lip(grad R))

    Without a prior it is Landweber's iteration, where stopping early regularises.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`; one step size per sample.
    Cost: one forward and one adjoint per step; the norm of A once.
    Source: Landweber, 1951, An iteration formula for Fredholm integral equations of the first
    kind, American Journal of Mathematics 73(3).
    """

    needs = Needs(priors=(SmoothPrior,), prior_optional=True)

    max_steps: int = param(200, doc="Largest number of steps.", check=whole_number(1))
    tolerance: float = param(
        1e-5, doc="Relative change of the picture to stop at.", check=real_number(least=0)
    )
    relaxation: float = param(
        1.0,
        doc="Step in units of the inverse Lipschitz constant.",
        check=real_number(above=0, below=2),
    )

    def init(self, problem: Problem) -> Point:
        """Start at the initial estimate, with one step size per sample."""
        steepest = lipschitz(problem)
        if isinstance(problem.prior, SmoothPrior):
            steepest = steepest + problem.prior.lipschitz(problem.image_space)
        return Point(x=problem.start(), step=self.relaxation / steepest)

    def step(self, problem: Problem, state: Point) -> Point:
        """One step down the gradient."""
        slope = problem.data_grad(state.x)
        if isinstance(problem.prior, SmoothPrior):
            slope = slope + problem.prior.grad(state.x)
        x = torch.addcmul(state.x, spread(-state.step, problem.image_space), slope)
        return Point(x=x, step=state.step)

    def estimate(self, problem: Problem, state: Point) -> Tensor:
        """Return the iterate."""
        return state.x
