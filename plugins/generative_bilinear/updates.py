"""How codes move along a gradient."""

from __future__ import annotations

from torch import Tensor

__all__ = ["UPDATES", "groups", "moments_for", "moved"]

UPDATES = ("jacobi", "gauss_seidel", "normalised", "adam")
# With these the unknowns take turns, each seeing where the ones before it have just moved to.
_IN_TURN = ("gauss_seidel", "normalised")

_BETAS = (0.9, 0.999)
_ADAM_EPS = 1e-8
_RMS_EPS = 1e-5  # the authors' own


def groups(update: str, count: int) -> list[list[int]]:
    """Return which of `count` unknowns move together, in order."""
    together = list(range(count))
    return [[i] for i in together] if update in _IN_TURN else [together]


def moments_for(update: str, point: Tensor) -> tuple[Tensor, ...]:
    """Return what a method remembers of past gradients, at the start."""
    return (point.new_zeros(point.shape),) * 2 if update == "adam" else ()


def moved(
    update: str,
    point: Tensor,
    grad: Tensor,
    moments: tuple[Tensor, ...],
    *,
    rate: Tensor,
    count: Tensor,
    axes: tuple[int, ...],
) -> tuple[Tensor, tuple[Tensor, ...]]:
    """Return where a code goes, and the moments.

    rate, count: the size and the number of this step (the first is 1), broadcastable to `point`;
    axes: those of one code.
    """
    if update == "adam":
        (b1, b2), (average, square) = _BETAS, moments
        average = b1 * average + (1 - b1) * grad
        square = b2 * square + (1 - b2) * grad.square()
        size = (square / (1 - b2**count)).sqrt() + _ADAM_EPS
        return point - rate * (average / (1 - b1**count)) / size, (average, square)
    if update == "normalised":
        grad = grad / (grad.square().mean(axes, keepdim=True).sqrt() + _RMS_EPS)
    return point - rate * grad, moments
