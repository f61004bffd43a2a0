"""`NetworkSolver`: a network that restores by itself."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import attrs
from torch import Tensor, nn
from wellposed import (
    DirectSolver,
    Network,
    NetworkSpec,
    NetworkView,
    Problem,
    Reconstruction,
    param,
    short,
    whole_number,
)
from wellposed.errors import IncompatibleError
from wellposed.training import trained_solver

__all__ = ["NetworkSolver"]


@attrs.frozen(eq=False, kw_only=True)
class NetworkSolver(DirectSolver):
    """Restore by one pass of a trained network: `x = f(y)`.

    The operator is only looked at to choose the weights, and for what `feed` and the network's
    conditions ask of it: nothing makes x fit the measurement. `dlnet` does.

    Shapes: y `(*batch, *out_space.shape)` -> x `(*batch, C, H, W)`, of any size: see
    `NetworkView` for tiles and colour.
    Units: pictures in [0, 1].
    Raises: IncompatibleError, with the command that trains weights, for an operator that no
    weights were trained for; WeightsError.
    Cost: that of the network.
    Source: as the network's.
    """

    homogeneous: ClassVar[bool] = False
    takes_conditions: ClassVar[bool] = True

    network: NetworkSpec | None = param(
        None, doc="The network to train; left out, that of the weights."
    )
    trained: nn.Module | None = param(
        None, doc="The network itself: used as it is, whatever it was trained for.", repr=short
    )
    weights: str | None = param(
        None,
        doc="Path of a weights file, or the name of installed ones; left out, those that suit the "
        "operator.",
    )
    feed: str | None = param(
        None,
        doc="What the network is given, the measurement or the operator's initial estimate. Left "
        "out, as it was trained; a new network takes the measurement if it enlarges.",
        choices=("estimate", "measurement"),
    )
    tile: int | None = param(
        None,
        doc="Side of the overlapping tiles in which larger pictures are restored; left out, "
        "pictures are restored whole, which takes the more memory.",
        unit="pixels",
        check=attrs.validators.optional(whole_number(32)),
    )

    def for_training(self, *, seed: int) -> Self:
        """Return the solver with a new network, its weights drawn from `seed`.

        Raises: IncompatibleError without a network.
        """
        if self.network is None:
            raise IncompatibleError(
                "the solver `network` needs a network to train; give network: {name: vdsr}, or "
                "another.",
                where="network",
            )
        return attrs.evolve(self, trained=self.network.build(seed=seed))

    def _reconstruct(self, problem: Problem) -> Tensor | Reconstruction:
        if self.trained is not None:
            return self._restored(problem)
        ready = self._loaded(problem)
        return Reconstruction(image=ready._restored(problem), solver=ready)

    def _restored(self, problem: Problem) -> Tensor:
        if not isinstance(self.trained, Network):
            raise IncompatibleError(
                f"the solver `network` takes a wellposed.Network; got "
                f"{type(self.trained).__name__}. A plain module restores as the prior "
                "`network_denoiser`, or inside a Network of your own."
            )
        view = NetworkView.of(
            self.trained,
            problem.linear,
            problem.measurement,
            feed=self.feed,
            tile=self.tile,
            conditions=problem.conditions,
        )
        return view.picture(view.output())

    def _loaded(self, problem: Problem) -> Self:
        """Return this solver with trained weights, and the feed that they were trained with."""
        solver, path = trained_solver("network", problem, self.weights, network=self.network)
        found: Any = solver
        if not isinstance(getattr(found, "trained", None), Network):
            raise IncompatibleError(
                f"{path} belongs to {found.name}, which is more than one network. Take that "
                "solver.",
                where="weights",
            )
        return attrs.evolve(
            self, trained=found.trained, weights=str(path), feed=self.feed or found.feed
        )
