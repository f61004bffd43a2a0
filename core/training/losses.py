"""Losses: between pictures when the truth is known, between measurements when it is not.

Three formulations, by what is known: pairs (x, y), simulated pairs (x, A), and measurements alone
(y, A); each is a mean over samples, so that it does not depend on the size of the batch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import attrs
import torch
from torch import Tensor
from wellposed.registry import param

from ..errors import ParameterError
from ..operator import ForwardOperator

__all__ = ["LossTerm", "loss_terms", "needs", "total_loss"]


@attrs.frozen(kw_only=True)
class LossTerm:
    """One weighted term, the mean over all values e of `f(x) - x`, or of `A f(y) - y`.

        l1: |e|      l2: |e|^2      charbonnier: sqrt(|e|^2 + epsilon^2)

    Source: Charbonnier et al., 1994, Two deterministic half-quadratic regularization algorithms
    for computed imaging, ICIP.
    """

    norm: Literal["l1", "l2", "charbonnier"] = param("l1", doc="how an error counts")
    on: Literal["picture", "measurement"] = param(
        "picture",
        doc="picture: f(y) against the truth x; measurement: A f(y) against y, without any truth",
    )
    weight: float = param(1.0, doc="factor of this term", check=attrs.validators.gt(0))
    epsilon: float = param(
        1e-3, doc="where charbonnier turns from l2 to l1", unit="picture units",
        check=attrs.validators.gt(0),
    )  # fmt: skip

    def __call__(self, error: Tensor) -> Tensor:
        """Return the weighted mean of the errors, in float32 at least."""
        error = (
            error if error.is_complex() else error.to(torch.promote_types(error.dtype, torch.float))
        )
        if self.norm == "l1":
            value = error.abs().mean()
        elif self.norm == "l2":
            value = error.abs().square().mean()
        else:
            value = (error.abs().square() + self.epsilon**2).sqrt().mean()
        return self.weight * value


def loss_terms(given: Any) -> Any:
    """Return what a recipe says of its loss as a list of mappings: a name alone is a norm."""
    items = given if isinstance(given, list | tuple) else [given]
    if not items:
        raise ParameterError("expected at least one term, such as l1", where="loss")
    return [{"norm": item} if isinstance(item, str) else item for item in items]


def total_loss(
    terms: Sequence[LossTerm],
    restored: Tensor,
    *,
    truth: Tensor | None,
    measurement: Tensor,
    operator: ForwardOperator | None,
) -> Tensor:
    """Return the sum of the terms.

    Raises: ParameterError when a term needs a truth or an operator that there is not.
    """
    parts = []
    for term in terms:
        if term.on == "picture":
            if truth is None:
                raise ParameterError(
                    "a loss on the picture needs the truth, which measurements alone do not give; "
                    "set on: measurement",
                    where="loss",
                )
            if truth.shape != restored.shape:
                raise ParameterError(
                    f"the solver returns pictures {tuple(restored.shape[1:])}, the truth has "
                    f"{tuple(truth.shape[1:])}. Take a network for this size, or the other feed: "
                    "`measurement` instead of `estimate`, or the reverse",
                    where="loss",
                )
            parts.append(term(restored - truth))
        else:
            if operator is None:
                raise ParameterError("a loss on the measurement needs an operator", where="loss")
            parts.append(term(operator(restored.to(operator.in_space.dtype)) - measurement))
    return torch.stack(parts).sum()


def needs(terms: Sequence[LossTerm]) -> Mapping[str, bool]:
    """Return whether any term is on the picture, and whether any is on the measurement."""
    return {side: any(term.on == side for term in terms) for side in ("picture", "measurement")}
