"""Means over the steps between two lines of a log, and over all processes; clipped gradients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["RunningMean", "average_gradients", "clip_gradients"]


class RunningMean:
    """The mean of a number since the last reset; added up on the device, without waiting for it.

    All processes must ask for it, or for its state, together.
    """

    def __init__(self, fabric: Fabric) -> None:
        """Start with nothing."""
        self._fabric = fabric
        self._total = torch.zeros((), dtype=torch.float64, device=fabric.device)
        self._count = 0

    def add(self, value: Tensor) -> None:
        """Add the number of one step."""
        self._total += value.detach()
        self._count += 1

    @property
    def empty(self) -> bool:
        """Whether nothing was added since the last reset."""
        return self._count == 0

    def value(self) -> Tensor:
        """Return the mean."""
        mean = self._total / max(self._count, 1)
        return cast(Tensor, self._fabric.all_reduce(mean, reduce_op="mean"))

    def reset(self) -> None:
        """Forget the steps so far."""
        self._total.zero_()
        self._count = 0

    def state(self) -> dict[str, Any]:
        """Return what a checkpoint holds."""
        total = self._total if self._fabric.world_size == 1 else self.value() * self._count
        return {"total": float(total), "count": self._count}

    def load(self, state: Mapping[str, Any]) -> None:
        """Go on from a checkpoint."""
        self._total.fill_(state["total"])
        self._count = state["count"]


def average_gradients(fabric: Fabric, parameters: Iterable[nn.Parameter]) -> None:
    """Replace gradients by their means over the processes, in one message.

    For the few parameters that are not the learner's, which Fabric takes care of.
    """
    gradients = [p.grad for p in parameters if p.grad is not None]
    if fabric.world_size == 1 or not gradients:
        return
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    mean = cast(Tensor, fabric.all_reduce(flat, reduce_op="mean"))
    for gradient, part in zip(gradients, mean.split([g.numel() for g in gradients]), strict=True):
        gradient.copy_(part.view_as(gradient))


def clip_gradients(networks: Iterable[nn.Module], largest: float) -> Tensor:
    """Scale the gradient of each network to a 2-norm of `largest` at most.

    Returns the 2-norm of all of them together before that.
    """
    reached = [n for n in networks if any(p.grad is not None for p in n.parameters())]
    norms = [nn.utils.clip_grad_norm_(network.parameters(), largest) for network in reached]
    return (torch.stack(norms) if norms else torch.zeros(1)).square().sum().sqrt()
