"""Adam in one call: `torch.optim.Adam` without what it does around each step."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor
from torch.optim.adam import adam

from .recipe import Recipe

__all__ = ["FusedAdam"]

_EPS = 1e-8


@attrs.define(eq=False)
class FusedAdam:
    """Kingma and Ba, 2015, Adam, algorithm 1, by torch's fused kernel."""

    parameters: list[Tensor]
    averages: list[Tensor]
    squares: list[Tensor]
    counts: list[Tensor]
    rate: Tensor
    betas: tuple[float, float]

    @classmethod
    def of(cls, parameters: Sequence[Tensor], recipe: Recipe) -> FusedAdam:
        """Return it at the start."""
        return cls(
            list(parameters),
            [torch.zeros_like(p) for p in parameters],
            [torch.zeros_like(p) for p in parameters],
            [torch.zeros((), dtype=torch.float32, device=p.device) for p in parameters],
            _rate(recipe.learning_rate, parameters[0].device),
            recipe.betas,
        )

    def step(self, gradients: Sequence[Tensor]) -> None:
        """Change the parameters, in place and without waiting for the device."""
        with torch.no_grad():
            adam(
                self.parameters,
                # The kernel reads memory as it lies, whatever the strides.
                [g.contiguous() for g in gradients],
                self.averages,
                self.squares,
                [],
                self.counts,
                fused=True,
                capturable=self.rate.is_cuda,
                amsgrad=False,
                beta1=self.betas[0],
                beta2=self.betas[1],
                lr=self.rate,
                weight_decay=0.0,
                eps=_EPS,
                maximize=False,
            )

    def slow_down(self) -> None:
        """Divide the learning rate by ten."""
        self.rate.div_(10)


def _rate(value: float, device: torch.device) -> Tensor:
    """Return a rate that can change without a new graph; the fused kernel on CUDA wants floats."""
    return torch.tensor(
        value, dtype=torch.float32 if device.type == "cuda" else torch.float64, device=device
    )
