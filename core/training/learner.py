"""What is trained: a learned solver, or a network by itself, as one `nn.Module`."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping
from typing import Any, Protocol, cast, runtime_checkable

import attrs
import torch
import wellposed.registry as reg
from torch import Tensor, nn
from wellposed.registry.errors import suggestion

from ..edge import build_prior, build_solver
from ..errors import IncompatibleError, ParameterError
from ..moves import fields_of
from ..network import Network, NetworkSpec
from ..network_view import NetworkView
from ..noise import Noise
from ..operator import ForwardOperator
from ..problem import Problem
from ..solver import DirectSolver, Solver
from .recipe import Recipe
from .restored import Restored

__all__ = ["Learner", "TrainablePrior", "TrainableSolver", "build_learner"]


@runtime_checkable
class TrainableSolver(Protocol):
    """A solver that makes its own fresh networks.

    One that simply has an `nn.Module` in a field needs no such method: that module is trained.
    """

    def for_training(self, *, seed: int) -> Solver:
        """Return the solver with untrained networks, `nn.Module`s in its fields."""


@runtime_checkable
class TrainablePrior(Protocol):
    """A generative prior that makes its own fresh networks, and says what they are trained on."""

    def for_training(self, *, seed: int) -> TrainablePrior:
        """Return the prior with untrained networks, `nn.Module`s in its fields."""

    def reconstructed(self, x: Tensor, *, sampling: bool) -> Restored:
        """Return what it makes of pictures x, with a code drawn around each, or the likeliest.

        The parts are what a recipe's loss may use besides, by name, such as a divergence `(b,)`.
        A generator that draws new pictures, of which none belongs to one of x, has an attribute
        `paired`, False.
        """


class Learner(nn.Module, ABC):
    """Restores the measurements of a batch, with gradients to its parameters."""

    @abstractmethod
    def forward(
        self,
        y: Tensor,
        operator: ForwardOperator | None,
        noise: Noise | None = None,
        conditions: Mapping[str, Tensor] | None = None,
    ) -> Restored:
        """Return pictures `(b, C, H, W)`, and others of that shape that were found on the way."""

    def conditions(self) -> Collection[str] | None:
        """Return the names of the conditions that it takes; None: it cannot tell."""
        return None

    @abstractmethod
    def weights(self) -> nn.Module:
        """Return the module whose state is what a weights file holds."""

    def each(self) -> Mapping[str, nn.Module]:
        """Return the networks one by one, as gradients are clipped, by name."""
        return {"network": self.weights()}


class ComponentLearner(Learner):
    """A component of which every network in a field is trained."""

    networks: nn.ModuleDict

    def weights(self) -> nn.Module:
        """Return the network, or all of them under the names of their fields."""
        only = list(self.networks.values())
        return only[0] if len(only) == 1 else self.networks

    def each(self) -> Mapping[str, nn.Module]:
        """Return the networks by the names of their fields."""
        return dict(self.networks.items())


class SolverLearner(ComponentLearner):
    """A solver of which every network in a field is trained."""

    def __init__(self, solver: Solver) -> None:
        """Register the networks, which stay the very objects that the solver uses."""
        super().__init__()
        self.solver = solver
        self.networks = _modules_of(solver)
        if not any(p.requires_grad for p in self.networks.parameters()):
            raise IncompatibleError(
                f"{solver.name} has no network with parameters to train. A learned solver has an "
                "nn.Module in a field, or a method for_training(seed=).",
                where="solver",
            )

    def forward(
        self,
        y: Tensor,
        operator: ForwardOperator | None,
        noise: Noise | None = None,
        conditions: Mapping[str, Tensor] | None = None,
    ) -> Restored:
        """Return what the solver finds; the tensors in its `extras` are its parts."""
        assert operator is not None
        problem = Problem(
            operator=operator, measurement=y, noise=noise, conditions=conditions or {}
        )
        if isinstance(self.solver, DirectSolver):
            found = self.solver._reconstruct(problem)
            if isinstance(found, Tensor):
                return Restored(found, {})
        else:
            found = self.solver._solve(problem, None)
        parts = {key: value for key, value in found.extras.items() if isinstance(value, Tensor)}
        return Restored(found.image, parts)

    def conditions(self) -> Collection[str] | None:
        """Return those of its networks, if the solver passes any on."""
        if not self.solver.takes_conditions:
            return ()
        networks = list(self.networks.values())
        if not all(isinstance(network, Network) for network in networks):
            return None
        return [name for network in networks for name in cast(Network, network).conditions]

    def solver_to(self, device: torch.device) -> None:
        """Move the tensors in the solver's fields; its networks have moved in place, and stay."""
        moved = self.solver.to(device=device)
        self.solver = attrs.evolve(moved, **dict(self.networks.items()))  # type: ignore[misc]


class NetworkLearner(Learner):
    """A network that is given the operator's initial estimate, or the measurement itself.

    A `Network` sees them in its own range, with its conditions: see `NetworkView`.
    """

    def __init__(self, network: nn.Module, feed: str) -> None:
        """Keep the network."""
        super().__init__()
        self.network = network
        self.feed = feed

    def forward(
        self,
        y: Tensor,
        operator: ForwardOperator | None,
        noise: Noise | None = None,
        conditions: Mapping[str, Tensor] | None = None,
    ) -> Restored:
        """Return the network's picture, which has no parts."""
        return Restored(self._picture(y, operator, conditions or {}), {})

    def _picture(
        self, y: Tensor, operator: ForwardOperator | None, conditions: Mapping[str, Tensor]
    ) -> Tensor:
        network = self.network
        if not isinstance(network, Network):
            return cast(Tensor, network(self._seen(y, operator)))
        if operator is None:  # pairs: y lies in the range of pictures, as far as anyone knows
            return network.to_picture(network(network.from_picture(y)))
        view = NetworkView.of(network, operator, y, feed=self.feed, conditions=conditions)
        return view.picture(view.output())

    def conditions(self) -> Collection[str] | None:
        """Return the network's."""
        return tuple(self.network.conditions) if isinstance(self.network, Network) else ()

    def weights(self) -> nn.Module:
        """Return the network."""
        return self.network

    def _seen(self, y: Tensor, operator: ForwardOperator | None) -> Tensor:
        """Return what a module is given of which nothing is known."""
        if self.feed == "measurement" or operator is None:
            return y
        return operator.initial_estimate(y)


class PriorLearner(ComponentLearner):
    """A generative prior of which every network in a field is trained."""

    def __init__(self, prior: TrainablePrior) -> None:
        """Register the networks, which stay the very objects that the prior uses."""
        super().__init__()
        self.prior = prior
        self.networks = _modules_of(prior)

    def forward(
        self,
        y: Tensor,
        operator: ForwardOperator | None = None,
        noise: Noise | None = None,
        conditions: Mapping[str, Tensor] | None = None,
    ) -> Restored:
        """Return what the prior makes of the pictures y."""
        return self.prior.reconstructed(y, sampling=self.training)


def build_learner(recipe: Recipe) -> Learner:
    """Return the learner of a recipe, its weights drawn from the seed.

    Raises: ParameterError, UnknownComponent and their kin, with the path of the entry.
    """
    torch.default_generator.manual_seed(recipe.seed)  # networks are made on the CPU
    learner = _learner(recipe)
    known = learner.conditions()
    for name in recipe.conditions or ():
        if known is not None and name not in known:
            raise ParameterError(
                f"what is trained takes no condition {name!r}.{suggestion(name, tuple(known))} "
                f"It takes: {', '.join(known) or 'none'}",
                where=f"conditions.{name}",
            )
    return learner


def _learner(recipe: Recipe) -> Learner:
    if recipe.network is not None:
        return NetworkLearner(_network(recipe.network, recipe.seed), recipe.feed)
    if recipe.prior is not None:
        prior: Any = build_prior(recipe.prior)
        if not isinstance(prior, TrainablePrior):
            raise IncompatibleError(
                f"{prior.name} has nothing to train. A generative prior that has, has the methods "
                "for_training(seed=) and reconstructed(x, sampling=).",
                where="prior",
            )
        if not getattr(prior, "paired", True) and any(t.on == "picture" for t in recipe.loss):
            raise ParameterError(
                f"{type(prior).__name__} draws new pictures, of which none belongs to one of the "
                "data. Set loss: [] and adversarial: {weight: 1.0}",
                where="loss",
            )
        return PriorLearner(prior.for_training(seed=recipe.seed))
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


def _modules_of(component: Any) -> nn.ModuleDict:
    """Return the networks in a component's fields, by name."""
    values = {field.name: getattr(component, field.name) for field in fields_of(component)}
    return nn.ModuleDict({k: v for k, v in values.items() if isinstance(v, nn.Module)})
