"""The picture in a generator's range that is nearest to a measurement, or to another picture."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import attrs
import torch
from torch import Tensor
from wellposed import (
    ForwardOperator,
    GenerativePrior,
    Identity,
    Needs,
    Problem,
    param,
    real_number,
    whole_number,
)

from . import fields
from .descent import Block, LatentDescent
from .parts import image_block, squared_residual

__all__ = ["GenerativeProjection", "project"]


@attrs.frozen(eq=False, kw_only=True)
class GenerativeProjection(LatentDescent):
    """Fit the codes of a generator C to a measurement, by gradient descent from random starts.

        argmin_m  1/2 |y - A C(m)|^2 + penalty / 2 |m|^2,    x = C(m)

    With the identity for A this is the projection onto the range of the generator: `project`. With
    a blur it is the naive deblurring that fails in the paper's figure 2 unless A is known.

    `update`: "gradient"; "normalised", where the gradient of each restart is divided by its root
    mean square (plus 1e-5); "adam". The restart with the smallest `|y - A C(m)|^2` wins.

    Shapes: y `(*batch, *out_space.shape)` -> x `(*batch, C, H, W)`. extras: `losses (*batch,
    restarts)`, infinite where a restart diverged; `best`, the index of the winner; `latents`, of
    all restarts. Each picture has the same starts, whatever else is in the batch.
    Raises: IncompatibleError when the prior makes other pictures than the operator takes, or the
    problem has an initial picture.
    Cost: a forward and a backward pass of the generator for each restart and step.
    Source: Asim, Shamshad and Ahmed, 2018, sections 2.1 and 4.4 (5 restarts, 10,000 steps of size
    0.001); Bora et al., 2017, Compressed sensing using generative models, for a known A. The
    step goes along half the gradient of |.|^2, as the paper's Wirtinger gradients do.
    """

    needs: ClassVar[Needs] = Needs(operators=(ForwardOperator,), priors=(GenerativePrior,))
    homogeneous: ClassVar[bool] = False

    restarts: int = param(5, doc="Random starts; the best one wins.", check=whole_number(1))
    halve_every: int | None = fields.halve_every()
    max_steps: int = param(10_000, doc="Number of steps.", check=whole_number(1))
    tolerance: float = fields.tolerance()
    step_size: float = fields.step_size(1e-3)
    decay: float | None = fields.decay(None)
    update: str = param(
        "gradient", doc="How codes move.", choices=("gradient", "normalised", "adam")
    )
    penalty: float = param(
        0.0, doc="Weight of half the squared norm of the code.", check=real_number(least=0)
    )

    def _blocks(self, problem: Problem) -> Sequence[Block]:
        return (image_block(self.name, problem, self.penalty),)

    def _energy(self, problem: Problem, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        squares = squared_residual(problem, problem.linear(parts[0]))
        return 0.5 * squares, squares

    def _operator(self, problem: Problem, shown: Sequence[Tensor]) -> None:
        return None


def project(
    prior: GenerativePrior,
    x: Tensor,
    *,
    restarts: int = 5,
    max_steps: int = 10_000,
    step_size: float = 1e-3,
    decay: float | None = None,
    update: str = "gradient",
    seed: int | None = None,
) -> Tensor:
    """Return the pictures in the range of a generator that are nearest to given ones.

        nearest = project(prior, pictures)

    The distance `|nearest - x|` is the range error: what no solver with this generator can undo.
    All pictures and restarts run together; no gradient goes through. For the codes, the losses of
    all restarts, or a measurement in place of x, use `GenerativeProjection` itself, whose
    parameters these are. The size of the step goes with that of the picture, since squares are
    summed over its pixels; with "adam" it does not, and some hundred steps of 0.1 will often do.

    Shapes: x `(*batch, C, H, W)` -> the same.
    Raises: ShapeError, DtypeError when x is no picture of the generator's space; ParameterError.
    Source: Asim, Shamshad and Ahmed, 2018, sections 2.1 and 4.4, where the defaults are from.
    """
    solver = GenerativeProjection(
        restarts=restarts, max_steps=max_steps, step_size=step_size, decay=decay, update=update
    )
    operator = Identity(prior.out_space)
    problem = Problem(operator=operator, measurement=x, prior=prior, seed=seed)
    with torch.no_grad():
        return solver.solve(problem).image
