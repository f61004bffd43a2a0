"""Losses: between pictures when the truth is known, between measurements when it is not.

Three formulations, by what is known: pairs (x, y), simulated pairs (x, A), and measurements alone
(y, A); each is a mean over samples, so that it does not depend on the size of the batch.

What a solver finds on the way to its picture may have losses of its own, by its name:

    loss: [{norm: l2}, {norm: l2, of: z}]

The likelihood of the measurement may join the loss on the picture:

    loss: [{norm: l2}, {norm: l2, on: measurement, weight: 0.5}]

Source: Guo et al., 2021, Deep likelihood network for image restoration with multiple degradation
levels, section III-B ("naive likelihood"): L_rec + lambda L, with the sums
L_rec = sum |f(y) - x|^2 / (w h N) over N samples of c channels (equation 6) and
L = sum |A f(y) - y|^2 / (2 sigma^2). Divided by c, which leaves the minimum where it is, this is
the loss above with

    weight = lambda n N / (2 sigma^2 c),   n: values of one measurement

which is lambda w h N / (2 sigma^2) for masks. Read literally, with sigma = 1, 64 x 64 pixels and
batches of N = 100, it is 204800 lambda, and lambda = 100 would leave nothing of L_rec; but their
table I shows no effect of it, and a good one of 1e4. So sigma, or what L is divided by, must have
been another, which the paper does not say. What can be said without it: at weight 1 an error of
the measurement counts as much as one of the picture; choose around that.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal

import attrs
import torch
from torch import Tensor
from wellposed.registry import param

from ..errors import ParameterError
from ..operator import ForwardOperator
from .restored import PICTURE, Restored

__all__ = ["LossTerm", "loss_terms", "needs", "sample_losses", "total_loss"]


@attrs.frozen(kw_only=True)
class LossTerm:
    """One weighted term, the mean over all values e of `f(x) - x`, or of `A f(y) - y`.

        l1: |e|      l2: |e|^2      charbonnier: sqrt(|e|^2 + epsilon^2)

    or, with `on: itself`, over what is found, such as the divergence of an autoencoder.

    Source: Charbonnier et al., 1994, Two deterministic half-quadratic regularization algorithms
    for computed imaging, ICIP.
    """

    norm: Literal["l1", "l2", "charbonnier"] = param("l1", doc="how an error counts")
    on: Literal["picture", "measurement", "itself"] = param(
        "picture",
        doc="picture: f(y) against the truth x; measurement: A f(y) against y, without any truth; "
        "itself: what is found, against nothing",
    )
    of: str | None = param(
        None, doc="a part that the solver finds on the way, by name, such as z of inversenet; "
        "default: the picture",
    )  # fmt: skip
    weight: float = param(1.0, doc="factor of this term", check=attrs.validators.gt(0))
    epsilon: float = param(
        1e-3, doc="where charbonnier turns from l2 to l1", unit="picture units",
        check=attrs.validators.gt(0),
    )  # fmt: skip

    def __call__(self, error: Tensor) -> Tensor:
        """Return the weighted mean of the errors, in float32 at least."""
        return self.weight * self._values(error).mean()

    def each(self, error: Tensor) -> Tensor:
        """Return the weighted mean of each sample, `(b, ...)` -> `(b,)`."""
        return self.weight * self._values(error).reshape(len(error), -1).mean(1)

    def _values(self, error: Tensor) -> Tensor:
        error = (
            error if error.is_complex() else error.to(torch.promote_types(error.dtype, torch.float))
        )
        if self.norm == "l1":
            return error.abs()
        if self.norm == "l2":
            return error.abs().square()
        return (error.abs().square() + self.epsilon**2).sqrt()


def loss_terms(given: Any) -> Any:
    """Return what a recipe says of its loss as a list of mappings: a name alone is a norm."""
    items = given if isinstance(given, list | tuple) else [given]
    return [{"norm": item} if isinstance(item, str) else item for item in items]


def total_loss(
    terms: Sequence[LossTerm],
    restored: Restored,
    *,
    truth: Tensor | None,
    measurement: Tensor,
    operator: ForwardOperator | None,
) -> Tensor:
    """Return the sum of the terms, 0 for none.

    Raises: ParameterError when a term needs a truth or an operator that there is not.
    """
    if not terms:
        return restored.picture.new_zeros((), dtype=torch.float32)
    errors = _errors(terms, restored, truth, measurement, operator)
    return torch.stack([term(error) for term, error in errors]).sum()


def sample_losses(
    terms: Sequence[LossTerm],
    restored: Restored,
    *,
    truth: Tensor | None,
    measurement: Tensor,
    operator: ForwardOperator | None,
) -> Tensor:
    """Return the sum of the terms for each sample, `(b,)`; its mean is `total_loss`.

    Raises: as `total_loss`.
    """
    errors = _errors(terms, restored, truth, measurement, operator)
    return torch.stack([term.each(error) for term, error in errors]).sum(0)


def _errors(
    terms: Sequence[LossTerm],
    restored: Restored,
    truth: Tensor | None,
    measurement: Tensor,
    operator: ForwardOperator | None,
) -> Iterator[tuple[LossTerm, Tensor]]:
    for term in terms:
        found = restored.of(term.of or PICTURE)
        if term.on == "itself":
            yield term, found
        elif term.on == "picture":
            if truth is None:
                raise ParameterError(
                    "a loss on the picture needs the truth, which measurements alone do not give; "
                    "set on: measurement",
                    where="loss",
                )
            if truth.shape != found.shape:
                raise ParameterError(
                    f"the solver returns pictures {tuple(found.shape[1:])}, the truth has "
                    f"{tuple(truth.shape[1:])}. Take a network for this size, or the other feed: "
                    "`measurement` instead of `estimate`, or the reverse",
                    where="loss",
                )
            yield term, found - truth
        else:
            if operator is None:
                raise ParameterError("a loss on the measurement needs an operator", where="loss")
            yield term, operator(found.to(operator.in_space.dtype)) - measurement


def needs(terms: Sequence[LossTerm]) -> Mapping[str, bool]:
    """Return whether any term is on the picture, and whether any is on the measurement."""
    return {side: any(term.on == side for term in terms) for side in ("picture", "measurement")}
