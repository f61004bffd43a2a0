"""What is trained: a learned solver, or a network by itself, as one `nn.Module`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import Any, Protocol, cast, runtime_checkable

import attrs
import torch
import wellposed.registry as reg
from torch import Tensor, nn

from ..edge import build_solver
from ..errors import IncompatibleError, ParameterError
from ..moves import fields_of
from ..network import Network, NetworkSpec
from ..noise import Noise
from ..operator import ForwardOperator
from ..parts import parts_of
from ..problem import Problem
from ..solver import DirectSolver, Solver
from .recipe import Recipe

__all__ = ["Learner", "TrainableSolver", "build_learner"]


@runtime_checkable
class TrainableSolver(Protocol):
    """A solver that makes its own fresh networks.

    One that simply has an `nn.Module` in a field needs no such method: that module is trained.
    """

    def for_training(self, *, seed: int) -> Solver:
        """Return the solver with untrained networks, `nn.Module`s in its fields."""


class Learner(nn.Module, ABC):
    """Restores the measurements of a batch, with gradients to its parameters."""

    @abstractmethod
    def forward(
        self, y: Tensor, operator: ForwardOperator | None, noise: Noise | None = None
    ) -> Tensor:
        """Return pictures `(b, C, H, W)`."""

    @abstractmethod
    def weights(self) -> nn.Module:
        """Return the module whose state is what a weights file holds."""


class SolverLearner(Learner):
    """A solver of which every network in a field is trained."""

    def __init__(self, solver: Solver) -> None:
        """Register the networks, which stay the very objects that the solver uses."""
        super().__init__()
        self.solver = solver
        modules = {
            field.name: value
            for field in fields_of(solver)
            if isinstance(value := getattr(solver, field.name), nn.Module)
        }
        if not any(p.requires_grad for m in modules.values() for p in m.parameters()):
            raise IncompatibleError(
                f"{solver.name} has no network with parameters to train. A learned solver has an "
                "nn.Module in a field, or a method for_training(seed=).",
                where="solver",
            )
        self.networks = nn.ModuleDict(modules)

    def forward(
        self, y: Tensor, operator: ForwardOperator | None, noise: Noise | None = None
    ) -> Tensor:
        """Return what the solver finds."""
        assert operator is not None
        problem = Problem(operator=operator, measurement=y, noise=noise)
        if isinstance(self.solver, DirectSolver):
            found = self.solver._reconstruct(problem)
            return found if isinstance(found, Tensor) else found.image
        return self.solver._solve(problem, None).image

    def weights(self) -> nn.Module:
        """Return the network, or all of them under the names of their fields."""
        only = list(self.networks.values())
        return only[0] if len(only) == 1 else self.networks

    def solver_to(self, device: torch.device) -> None:
        """Move the tensors in the solver's fields; its networks have moved in place, and stay."""
        moved = self.solver.to(device=device)
        self.solver = attrs.evolve(moved, **dict(self.networks.items()))  # type: ignore[misc]


class NetworkLearner(Learner):
    """A network that is given the operator's initial estimate, or the measurement itself.

    A network for [-1, 1] takes `2 v - 1` of an estimate v, and `2 y - A 1` of a measurement.
    """

    def __init__(self, network: nn.Module, feed: str) -> None:
        """Keep the network."""
        super().__init__()
        self.network = network
        self.feed = feed

    def forward(
        self, y: Tensor, operator: ForwardOperator | None, noise: Noise | None = None
    ) -> Tensor:
        """Return the network's picture."""
        network = self.network
        v = y
        if self.feed == "estimate":
            assert operator is not None
            v = operator.initial_estimate(y)
        low, high = network.value_range if isinstance(network, Network) else (0.0, 1.0)
        if (low, high) == (0.0, 1.0):
            return cast(Tensor, network(v, **self._conditions(operator, v)))
        ones: Tensor | float = 1.0
        if self.feed == "measurement" and operator is not None:
            ones = operator(torch.ones(operator.in_space.shape, dtype=y.dtype, device=y.device)
                            .expand(*y.shape[:1], *operator.in_space.shape))  # fmt: skip
        seen = (high - low) * v + low * ones
        return cast(Tensor, (network(seen, **self._conditions(operator, v)) - low) / (high - low))

    def weights(self) -> nn.Module:
        """Return the network."""
        return self.network

    def _conditions(self, operator: ForwardOperator | None, v: Tensor) -> dict[str, Tensor]:
        """Return what the network wants beside its picture: fields of the operator, by name."""
        wanted = self.network.conditions if isinstance(self.network, Network) else {}
        found = {}
        for name, channels in wanted.items():
            values = (getattr(part, name, None) for part in parts_of(operator))
            value = next((v for v in values if isinstance(v, Tensor)), None)
            if value is None:
                raise IncompatibleError(
                    f"the network needs {name}, which no operator of the recipe has.",
                    where="network",
                )
            found[name] = value.to(v.dtype).expand(*value.shape[:-3], channels, *v.shape[-2:])
        return found


def build_learner(recipe: Recipe) -> Learner:
    """Return the learner of a recipe, its weights drawn from the seed.

    Raises: ParameterError, UnknownComponent and their kin, with the path of the entry.
    """
    torch.manual_seed(recipe.seed)
    if recipe.network is not None:
        return NetworkLearner(_network(recipe.network, recipe.seed), recipe.feed)
    solver: Any = build_solver(recipe.solver)
    if isinstance(solver, TrainableSolver):
        solver = solver.for_training(seed=recipe.seed)
    return SolverLearner(solver)


def _network(given: Any, seed: int) -> nn.Module:
    built = reg.build(None, "network", given, path="network")
    if isinstance(built, NetworkSpec):
        return built.build(seed=seed)
    if not isinstance(built, nn.Module):
        raise ParameterError(
            f"expected a network; {type(built).__name__} is neither a NetworkSpec nor an nn.Module",
            where="network",
        )
    return built
