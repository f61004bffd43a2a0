"""The components of the plugin: a convolution and dropout, and one gradient step around it."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor, nn
from wellposed import DirectSolver, Problem, param
from wellposed.network import Network, NetworkSpec


class Tiny(Network):
    def __init__(self, channels, width, dropout):
        super().__init__(channels=channels)
        self.first = nn.Conv2d(channels, width, 3, padding=1)
        self.last = nn.Conv2d(width, channels, 3, padding=1)
        self.dropout = nn.Dropout(dropout)

    def initialise(self, generator):
        for tensor in self.parameters():
            tensor.normal_(0, 0.1, generator=generator)

    def _forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.dropout(torch.relu(self.first(x))))


@attrs.frozen(eq=False, kw_only=True)
class ToyNetwork(NetworkSpec):
    channels: int = param(3, doc="of the picture")
    width: int = param(4, doc="of the hidden layer")
    dropout: float = param(0.0, doc="share of features dropped")

    def _module(self):
        return Tiny(self.channels, self.width, self.dropout)


@attrs.frozen(eq=False, kw_only=True)
class ToySolver(DirectSolver):
    width: int = param(4, doc="of the network")
    step: float = param(0.5, doc="of the gradient step")
    network: nn.Module | None = param(None, doc="the trained network", hidden=True)

    def for_training(self, *, seed: int) -> ToySolver:
        return attrs.evolve(self, network=ToyNetwork(width=self.width).build(seed=seed))

    def _reconstruct(self, problem: Problem) -> Tensor:
        x = self.network(problem.start())
        op = problem.linear
        return x - self.step * op._adjoint(op._apply(x) - problem.measurement)
