"""The search for the kernel: at each scale in turn, the sharp picture and the kernel."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from torch import Tensor

from .blind_kernel import centred, dirac, fitted, tidied, transfer_of
from .blind_latent import Sparsity, salient, sharpened
from .blind_pyramid import enlarged, levels, shrunk

__all__ = ["Found", "Schedule", "search"]

_DECAY = 1.1
_LEAST_WEIGHT = 1e-4
_EDGES_PER_TAP = 20

Watch = Callable[[Tensor, Tensor, int, int], bool]
"""Called with the change per sample, the kernels, the round's number and the number of rounds."""


@attrs.frozen(kw_only=True)
class Schedule:
    """What each round does; the weights of `sparsity` fall from round to round."""

    rounds: int
    sparsity: Sparsity
    kernel_weight: float
    kernel_steps: int
    cut: float
    island: float

    def sparsity_of(self, number: int) -> Sparsity:
        """Return the weights of a round."""
        first, fall = self.sparsity, _DECAY**number
        return attrs.evolve(
            first,
            gradient=max(first.gradient / fall, min(first.gradient, _LEAST_WEIGHT)),
            dark=max(first.dark / fall, min(first.dark, _LEAST_WEIGHT)),
        )


@attrs.frozen(eq=False, kw_only=True)
class Found:
    """Kernels `(B, 1, kh, kw)`, their relative change in each round, and whether it was stopped."""

    kernel: Tensor
    changes: Tensor
    stopped: bool


def search(y: Tensor, taps: tuple[int, int], schedule: Schedule, watch: Watch) -> Found:
    """Return the kernels, of sum one and centred, that blur sharp pictures to y `(B, 1, H, W)`."""
    scales = levels((y.shape[-2], y.shape[-1]), taps)
    kernel, before, least = dirac(y.new_zeros(len(y), 1, *scales[0].kernel)), scales[0], None
    changes: list[Tensor] = []
    stopped = False
    for level in scales:
        small = y if level.size == tuple(y.shape[-2:]) else shrunk(y, level.size)
        if level is not before:
            kernel = enlarged(kernel, level.kernel, level.scale / before.scale)
            kernel, before = tidied(kernel, cut=0.0, least=0.0), level
        for _ in range(schedule.rounds):
            if stopped:
                break
            old, sparsity = kernel, schedule.sparsity_of(len(changes))
            # Beyond [0, 1] a wide kernel would be paid for by contrast that no picture has.
            x = sharpened(small, transfer_of(old, level.size), sparsity).clamp(0, 1)
            *edges, least = salient(x, _EDGES_PER_TAP * max(level.kernel), least)
            least = least / _DECAY
            kernel = _kernel_of(edges, small, old, schedule)
            changes.append((kernel - old).flatten(1).norm(dim=1) / kernel.flatten(1).norm(dim=1))
            stopped = watch(changes[-1], kernel, len(changes), len(scales) * schedule.rounds)
        kernel = centred(kernel)
    return Found(kernel=kernel, changes=torch.stack(changes, -1), stopped=stopped)


def _kernel_of(edges: list[Tensor], y: Tensor, start: Tensor, schedule: Schedule) -> Tensor:
    kernel = fitted(
        (edges[0], edges[1]),
        y,
        start,
        weight=schedule.kernel_weight,
        steps=schedule.kernel_steps,
    )
    return tidied(kernel, cut=schedule.cut, least=schedule.island)
