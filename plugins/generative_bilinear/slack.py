"""`GenerativeBilinearSlack`: the picture may leave the range of its generator."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor
from wellposed import (
    BilinearOperator,
    ForwardOperator,
    GenerativePrior,
    Needs,
    Problem,
    Solver,
    param,
    real_number,
    whole_number,
)
from wellposed.errors import IncompatibleError

from . import fields
from .bilinear import GenerativeBilinear
from .descent import Block, LatentDescent
from .parts import (
    bilinear_of,
    image_block,
    named,
    normalised,
    operator_at,
    parameter_block,
    squared_residual,
)
from .updates import UPDATES

__all__ = ["GenerativeBilinearSlack"]

_MEAN, _DEVIATION = 0.5, 0.01


@attrs.frozen(eq=False, kw_only=True)
class GenerativeBilinearSlack(LatentDescent):
    """As `generative_bilinear`, with a free picture x that is kept near the generator's.

        argmin_{h, m, x}  generated_weight |y - A(w, C(m))|^2 + picture_weight |y - A(w, x)|^2
                          + distance_weight mean (x - C(m))^2 + tv_weight TV(x),    w = B(h)

    What the generator cannot make, the range error, bounds `generative_bilinear`; x has no such
    bound, and TV (the sum of the absolute differences to the next pixel below and to the right)
    keeps the noise out of it. The restart with the smallest `|y - A(w, x)|^2` wins. The sums of
    squares are those over pixels and channels, the authors' means over the frequencies of an
    unnormalised DFT. There are no penalties of the codes.

    `first`: a `generative_bilinear` whose best restart is where this one begins, once for each
    picture, with x = C(m). The penalties of that one lead from a random start to the right codes,
    of which the free picture loses sight; from there on they would only hold it back. On 32 of the
    authors' faces: 24.3 dB from random starts after 500 steps, 28.2 dB after 400 from there. No
    callback sees its steps, and neither `steps` nor the history counts them.

    Shapes, ambiguities, starts and extras: as for `generative_bilinear`; extras also hold
    `generated`, the winner's C(m). x starts from N(0.5, 0.01^2), and is not clipped.
    Raises: IncompatibleError when a generator does not fit the operator or `first`, or for an
    initial picture.
    Cost: that of `generative_bilinear`, with twice the work for the operator; and that of `first`.
    Source: the algorithm 2 of later versions of Asim, Shamshad and Ahmed, 2018, Blind image
    deconvolution using deep generative priors, with the constants of the authors' code. They
    clip x before they choose among restarts; here it is as it is.
    """

    needs: ClassVar[Needs] = Needs(operators=(BilinearOperator,), priors=(GenerativePrior,))
    homogeneous: ClassVar[bool] = False

    parameter_prior: GenerativePrior = fields.parameter_prior()
    first: Solver | None = param(
        None,
        doc="A `generative_bilinear` from whose best restart to begin; left out, at random.",
        check=attrs.validators.optional(attrs.validators.instance_of(GenerativeBilinear)),
        repr=named,
    )
    restarts: int = param(
        10,
        doc="Random starts; the best one wins. With `first` there is one.",
        check=whole_number(1),
    )
    halve_every: int | None = fields.halve_every()
    max_steps: int = param(10_000, doc="Number of steps.", check=whole_number(1))
    tolerance: float = fields.tolerance()
    step_size: float = fields.step_size(0.005)
    decay: float | None = fields.decay(None)
    update: str = param("adam", doc="How codes and picture move.", choices=UPDATES)
    generated_weight: float = param(
        1.0,
        doc="Weight of the generator's squared residual.",
        check=real_number(least=0),
        repr=False,
    )
    picture_weight: float = param(
        0.5,
        doc="Weight of the free picture's squared residual.",
        check=real_number(least=0),
        repr=False,
    )
    distance_weight: float = param(
        100.0,
        doc="Weight of the mean squared distance of both.",
        check=real_number(least=0),
        repr=False,
    )
    tv_weight: float = param(
        0.001,
        doc="Weight of the free picture's total variation.",
        check=real_number(least=0),
        repr=False,
    )

    def _blocks(self, problem: Problem) -> Sequence[Block]:
        return (
            parameter_block(self.name, self.parameter_prior, problem),
            image_block(self.name, problem),
            Block(
                name="picture",
                shape=problem.image_space.shape,
                decode=_itself,
                mean=_MEAN,
                deviation=_DEVIATION,
            ),
        )

    def _starts(self, problem: Problem, points: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.first is None:
            return points
        found = self.first.solve(problem).extras
        codes = [_of_best(found["latents"][name], found["best"]) for name in ("parameter", "image")]
        mine, theirs = (tuple(z.shape[len(problem.batch) + 1 :]) for z in (points[0], codes[0]))
        if mine != theirs:
            raise IncompatibleError(
                f"{self.name} has codes h of shape {mine}, its `first` {theirs}. Give both the "
                "same parameter_prior.",
                where="first",
            )
        with torch.no_grad():
            own, its = (p.decode(codes[0]) for p in (self.parameter_prior, _parameters(self.first)))
            if not torch.allclose(own, its, rtol=1e-3, atol=0, equal_nan=True):
                raise IncompatibleError(
                    f"to {self.name} the codes of its `first` stand for other parameters w. Give "
                    "both the same parameter_prior.",
                    where="first",
                )
            return (*codes, self._blocks(problem)[1].decode(codes[1]))

    def _energy(self, problem: Problem, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        w, made, x = parts
        both = squared_residual(problem, bilinear_of(problem)(w, torch.stack((made, x))))
        energy = (
            self.generated_weight * both[0]
            + self.picture_weight * both[1]
            + self.distance_weight * (x - made).square().mean((-3, -2, -1))
            + self.tv_weight * _total_variation(x)
        )
        return energy, both[1]

    def _operator(self, problem: Problem, shown: Sequence[Tensor]) -> ForwardOperator:
        return operator_at(problem, shown[0])

    def _extras(self, shown: Sequence[Tensor]) -> Mapping[str, Any]:
        return {
            "parameter": shown[0],
            "parameter_normalised": normalised(shown[0]),
            "generated": shown[1],
        }


def _itself(x: Tensor) -> Tensor:
    return x


def _total_variation(x: Tensor) -> Tensor:
    down, right = x.diff(dim=-2).abs(), x.diff(dim=-1).abs()
    return down.sum((-3, -2, -1)) + right.sum((-3, -2, -1))


def _parameters(solver: Solver) -> GenerativePrior:
    assert isinstance(solver, GenerativeBilinear)  # as the field's check says
    return solver.parameter_prior


def _of_best(codes: Tensor, best: Tensor) -> Tensor:
    """Return `(*batch, 1, ...)` of codes `(*batch, restarts, ...)`."""
    at = best.ndim
    index = best.reshape(*best.shape, *(1,) * (codes.ndim - at))
    return torch.take_along_dim(codes, index, at)
