"""What the solvers of this plugin have in common: their unknowns, and how well those fit."""

from __future__ import annotations

import torch
from torch import Tensor
from wellposed import (
    BilinearOperator,
    ComposedBilinear,
    ForwardOperator,
    GenerativePrior,
    Problem,
    Space,
)
from wellposed.errors import IncompatibleError

from .descent import Block

__all__ = [
    "bilinear_of",
    "image_block",
    "named",
    "normalised",
    "operator_at",
    "parameter_block",
    "squared_residual",
]


def image_block(who: str, problem: Problem, penalty: float = 0.0) -> Block:
    """Return the codes m of the picture.

    Raises: IncompatibleError when the prior makes other pictures, or there is an initial one.
    """
    prior = problem.prior
    assert isinstance(prior, GenerativePrior)  # `needs` has been checked
    if problem.initial is not None:
        raise IncompatibleError(
            f"{who} starts from codes, and no code is known for a picture; got an initial picture. "
            "Leave it out.",
            where="initial",
        )
    _same_space(who, f"the prior {prior.name}", prior, problem.image_space, "pictures")
    return Block(
        name="image",
        shape=prior.latent_shape,
        decode=prior.decode,
        penalty=penalty,
    )


def parameter_block(
    who: str, prior: GenerativePrior, problem: Problem, penalty: float = 0.0
) -> Block:
    """Return the codes h of the operator's parameter w.

    Raises: IncompatibleError when the prior makes other parameters, or there are several batch
    axes for known operators with parameters of their own for each sample.
    """
    bilinear = bilinear_of(problem)
    space, batch = bilinear.w_space, problem.batch
    if isinstance(bilinear, ComposedBilinear) and bilinear.outer.batch_shape and len(batch) > 1:
        raise IncompatibleError(
            f"{who} takes one batch axis where {bilinear.outer.name} has parameters for each "
            f"sample, as what it finds has; got the batch {batch}. Flatten it, and repeat them."
        )
    _same_space(who, f"parameter_prior {prior.name}", prior, space, "parameters w")
    return Block(
        name="parameter",
        shape=prior.latent_shape,
        decode=prior.decode,
        penalty=penalty,
    )


def _same_space(who: str, what: str, prior: GenerativePrior, space: Space, name: str) -> None:
    if prior.out_space != space:
        raise IncompatibleError(
            f"{who} needs a generator of {name} of shape {space.shape} ({space.dtype}), as the "
            f"operator takes them; {what} makes {prior.out_space.shape} "
            f"({prior.out_space.dtype}). Build the operator for these, or take another generator."
        )


def bilinear_of(problem: Problem) -> BilinearOperator:
    """Return the problem's operator, which the solver's needs have been checked to be bilinear."""
    assert isinstance(problem.operator, BilinearOperator)
    return problem.operator


def squared_residual(problem: Problem, predicted: Tensor) -> Tensor:
    """Return `|y - predicted|^2`, summed over one measurement; shape `(..., *batch)`."""
    space, off = problem.operator.out_space, predicted - problem.measurement
    return space.inner(off, off).real


def operator_at(problem: Problem, w: Tensor) -> ForwardOperator:
    """Return the linear operator for `w (*batch, ...)`; several batch axes become one."""
    bilinear = bilinear_of(problem)
    lead = len(problem.batch)
    return bilinear.at_w(w.flatten(0, lead - 1) if lead > 1 else w)


def named(prior: object) -> str:
    """Show a generator in a repr by its name only."""
    return getattr(prior, "name", type(prior).__name__)


def normalised(w: Tensor) -> Tensor:
    """Return w with each channel's sum made one (where it is not zero)."""
    total = w.sum((-2, -1), keepdim=True)
    return w / torch.where(total == 0, 1, total)
