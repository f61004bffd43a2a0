"""`InverseNet`: a network that inverts, and one that cleans up after it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, ClassVar, Self

import attrs
import torch
from torch import Tensor
from wellposed import (
    DirectSolver,
    Identity,
    Network,
    NetworkSpec,
    NetworkView,
    Problem,
    Reconstruction,
    param,
    short,
    whole_number,
)
from wellposed.errors import IncompatibleError, ParameterError
from wellposed.training import trained_solver

__all__ = ["InverseNet"]

_MEASUREMENT = "measurement"  # the condition of a denoising network that is given what came first


def _network(instance: object, attribute: Any, value: object) -> None:
    if value is not None and not isinstance(value, Network):
        raise ParameterError(
            f"InverseNet.{attribute.name} expects a wellposed.Network, as its spec's build() gives "
            f"one; got {type(value).__name__}."
        )


@attrs.frozen(eq=False, kw_only=True)
class InverseNet(DirectSolver):
    """Restore by two networks: one inverts the operator, the other cleans up what it leaves.

        z = f(y),    x = g(z)    or g(z, y)

    In each of the two any registered network will do. f is given the measurement, or the
    operator's initial estimate, which is bicubic interpolation for a smaller one; g is given z,
    and f's picture as its condition `measurement`, if it has one of that name. The operator enters
    nowhere else: y may be of any, but the networks know the one that they were trained for.

    In training f learns from the loss of z alone and g from that of x (algorithm 1), so that the
    sum of the two losses has the gradients of both; g learns from a z that gets better all the
    time ("annealing"). With `end_to_end`, f learns from the loss of x too. In algorithm 1 g's
    gradient may be meant to come after f's update; here both are of the same weights.

    Without `inverting` and `denoising`, or `weights`, the installed weights are searched for
    some that were trained for an operator like this one.

    Shapes: y `(*batch, *out_space.shape)` -> x `(*batch, C, H, W)`, of any size: see
    `NetworkView` for tiles and colour. extras: z, of x's shape.
    Units: pictures in [0, 1].
    Raises: IncompatibleError, with the command that trains weights, for an operator that no
    weights were trained for; WeightsError; ParameterError for halves of another kind.
    Cost: that of the two networks, once.
    Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks,
    section 3 and algorithm 1.
    """

    homogeneous: ClassVar[bool] = False
    takes_conditions: ClassVar[bool] = True

    inversion: NetworkSpec | None = param(
        None, doc="The network f to train; left out, that of the weights."
    )
    denoiser: NetworkSpec | None = param(
        None, doc="The network g to train; left out, that of the weights."
    )
    inverting: Network | None = param(
        None,
        doc="f itself: used as it is, whatever it was trained for.",
        check=_network,
        repr=short,
    )
    denoising: Network | None = param(None, doc="g itself, likewise.", check=_network, repr=short)
    weights: str | None = param(
        None,
        doc="Path of a weights file, or the name of installed ones; left out, those that suit the "
        "operator.",
    )
    feed: str | None = param(
        None,
        doc="What f is given, the measurement or the operator's initial estimate. Left out, as it "
        "was trained; a new network takes the measurement if it enlarges.",
        choices=("estimate", "measurement"),
    )
    tile: int | None = param(
        None,
        doc="Side of the overlapping tiles in which larger pictures are restored; left out, "
        "pictures are restored whole, which takes the more memory.",
        unit="pixels",
        check=attrs.validators.optional(whole_number(32)),
    )
    end_to_end: bool = param(
        False, doc="Whether f also learns from the loss of x, as it does not in the paper."
    )

    def for_training(self, *, seed: int) -> Self:
        """Return the solver with two new networks, their weights drawn from `seed`.

        Raises: IncompatibleError without both.
        """
        if self.inversion is None or self.denoiser is None:
            raise IncompatibleError(
                "inversenet needs two networks to train; give inversion: {name: inversenet_unet} "
                "and denoiser: {name: inversenet_dae}, or others.",
                where="inversion" if self.inversion is None else "denoiser",
            )
        return attrs.evolve(
            self,
            inverting=self.inversion.build(seed=seed),
            denoising=self.denoiser.build(seed=seed + 1),
        )

    def _reconstruct(self, problem: Problem) -> Reconstruction:
        if (self.inverting is None) != (self.denoising is None):
            raise IncompatibleError(
                "inversenet needs both networks; got one of inverting and denoising.",
                where="denoising" if self.denoising is None else "inverting",
            )
        if self.inverting is not None:
            return self._restored(problem)
        ready = self._loaded(problem)
        return attrs.evolve(ready._restored(problem), solver=ready)

    def _restored(self, problem: Problem) -> Reconstruction:
        f, g = self.inverting, self.denoising
        assert f is not None and g is not None
        mine, others = _shared(problem.conditions, f, g)
        first = NetworkView.of(
            f, problem.linear, problem.measurement, feed=self.feed, tile=self.tile, conditions=mine
        )
        z = first.picture(first.output()).to(problem.linear.in_space.dtype)  # from bf16
        if _MEASUREMENT in g.conditions and _MEASUREMENT not in others:
            with torch.autocast(z.device.type, enabled=False):
                others[_MEASUREMENT] = problem.linear.initial_estimate(problem.measurement)
        second = NetworkView.of(
            g,
            Identity(problem.linear.in_space),
            z.detach() if f.training and not self.end_to_end else z,
            tile=self.tile,
            conditions=others,
        )
        return Reconstruction(image=second.picture(second.output()), extras={"z": z})

    def _loaded(self, problem: Problem) -> Self:
        """Return this solver with trained weights, and the feed that they were trained with."""
        told = self.inversion or self.denoiser
        solver, path = trained_solver("inversenet", problem, self.weights, network=told)
        found: Any = solver
        if not isinstance(found, InverseNet):
            raise IncompatibleError(
                f"{path} belongs to {found.name}, not to inversenet. Take that solver.",
                where="weights",
            )
        return attrs.evolve(
            self,
            inverting=found.inverting,
            denoising=found.denoising,
            weights=str(path),
            feed=self.feed or found.feed,
        )


def _shared(
    conditions: Mapping[str, Tensor], first: Network, second: Network
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """Return the conditions of each network; what none takes, the second will refuse."""
    mine = {name: value for name, value in conditions.items() if name in first.conditions}
    others = {
        name: value
        for name, value in conditions.items()
        if name in second.conditions or name not in mine
    }
    return mine, others
