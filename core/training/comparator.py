"""A comparator: restored pictures shall have the features of the true ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, final

import attrs
import torch
import wellposed.registry as reg
from torch import Tensor
from wellposed.registry import param

from ..errors import ParameterError
from ..network import Network, NetworkSpec
from .averages import RunningMean
from .restored import PICTURE
from .runtime import mixed_precision
from .strategy import Outcome, Strategy

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from .recipe import Recipe

__all__ = ["Comparator", "ComparatorRecipe"]


@attrs.frozen(kw_only=True)
class ComparatorRecipe:
    """The feature loss beside the others, and the trained network whose features they are."""

    network: Any = param(
        doc="the network: a name, or a mapping of name and params, with the path of its weights"
    )
    weight: float = param(1.0, doc="factor of the loss", check=attrs.validators.gt(0))
    of: tuple[str, ...] = param(
        (PICTURE,), doc="what is compared: the picture, and parts of the solver by name"
    )

    def __attrs_post_init__(self) -> None:
        if not isinstance(self.network, str | Mapping):
            raise ParameterError(
                "expected a name, or a mapping of name and params, so that the recipe can be kept; "
                f"got {type(self.network).__name__}",
                where="network",
            )
        if not self.of or len(set(self.of)) < len(self.of):
            raise ParameterError(
                f"expected names, each once, such as [{PICTURE}]; got {list(self.of)}", where="of"
            )


@final
class Comparator(Strategy):
    """Adds the distance of features C, of a network that stays as it is, to those of the truth.

        sum_v mean |C(v) - C(x)|^2,    v: the picture, or each part that `of` names

    Source: Larsen et al., 2016, Autoencoding beyond pixels using a learned similarity metric, ICML;
    Fan et al., 2017, InverseNet, equation (8), where it is a sum over features, not their mean.
    """

    columns = ("comparator",)

    def __init__(
        self,
        recipe: Recipe,
        given: ComparatorRecipe,
        fabric: Fabric,
        shape: tuple[int, int, int],
    ) -> None:
        """Load the network for crops of a shape. Raises: ParameterError, WeightsError."""
        self._recipe, self._given, self._fabric = recipe, given, fabric
        self.network = _network(given, shape[0], recipe.seed).to(fabric.device)
        self._mean = RunningMean(fabric)

    def objective(self, so_far: Tensor, outcome: Outcome) -> Tensor:
        """Add what the comparator says."""
        assert outcome.truth is not None
        with torch.no_grad():
            wanted = self._features(outcome.truth)
        pictures = [outcome.restored.like(name, outcome.truth) for name in self._given.of]
        found = [self._features(picture) for picture in pictures]
        loss = torch.stack([(v - wanted).square().mean() for v in found]).sum()
        self._mean.add(loss)
        return so_far + self._given.weight * loss

    def figures(self) -> Mapping[str, float]:
        """Return the mean loss, unweighted."""
        value = float(self._mean.value())
        self._mean.reset()
        return {"comparator": value}

    def state(self) -> dict[str, Any]:
        """Return the mean so far; the network is not trained."""
        return {"mean": self._mean.state()}

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the mean."""
        self._mean.load(state["mean"])

    def _features(self, x: Tensor) -> Tensor:
        with mixed_precision(self._fabric.device, self._recipe.precision):
            features: Tensor = self.network(self.network.from_picture(x).float())
        return features.float()


def _network(given: ComparatorRecipe, channels: int, seed: int) -> Network:
    built = reg.build(None, "network", given.network, path="comparator.network")
    network = built.build(seed=seed) if isinstance(built, NetworkSpec) else built
    if not isinstance(network, Network):
        raise ParameterError(
            f"expected a network of features, such as squeezenet_features; {type(built).__name__} "
            "is neither a NetworkSpec nor a Network",
            where="comparator.network",
        )
    if network.channels != channels:
        raise ParameterError(
            f"{type(network).__name__} takes pictures of {network.channels} channels, the crops "
            f"have {channels}",
            where="comparator.network",
        )
    return network.requires_grad_(False).eval()
