"""Conditions: pictures that a network needs beside the one it restores, such as edges or frames."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from wellposed.registry.errors import suggestion

from .colour import ChannelOf
from .component import Component
from .errors import DeviceError, DtypeError, IncompatibleError, ParameterError, ShapeError
from .operator import ForwardOperator
from .parts import parts_of
from .space import real_partner

if TYPE_CHECKING:
    from .network import Network
    from .training.distributions import Draws

__all__ = [
    "ConditionMaker",
    "apart",
    "check_conditions",
    "check_taken",
    "found_condition",
    "sized_condition",
    "together",
]


class ConditionMaker(Component):
    """Makes a condition out of true pictures, for training and for measuring quality.

    Where a network is used, its conditions are given: see `Problem`. Where it is trained on
    pictures that are degraded for it, they have to be made of the same pictures.
    """

    @abstractmethod
    def make(self, x: Tensor, *, measure: Callable[[Tensor], Tensor], draws: Draws) -> Tensor:
        """Return the condition that goes with each picture.

        measure: measures other pictures of the shape of x as x was: by the same operators and
        noise models, with noise of its own. draws: the random numbers of the step. What is random
        is drawn for the whole batch, `draws.batch` samples by `draws.numbers`, and handed out by
        `draws.here`, so that it does not depend on the number of processes.
        Shapes: x `(b, C, H, W)` -> `(b, C', h, w)`, as large as the network wants it.
        """


def check_conditions(
    conditions: object, measurement: Tensor, batch: tuple[int, ...]
) -> Mapping[str, Tensor]:
    """Return conditions, their types and batch axes checked; sizes are for the network to check.

    Raises: ParameterError, DtypeError, DeviceError, ShapeError, with the path of the condition.
    """
    if not isinstance(conditions, Mapping):
        raise ParameterError(
            "expected a mapping of names and tensors, such as {'edges': edges}; got "
            f"{type(conditions).__name__}.",
            where="conditions",
        )
    for name, value in conditions.items():
        _check(value, measurement, batch, f"conditions.{name}")
    return conditions


def _check(value: object, y: Tensor, batch: tuple[int, ...], where: str) -> None:
    if not isinstance(value, Tensor):
        raise DtypeError(
            f"expected a torch.Tensor; got {type(value).__name__}. wellposed.solve() takes arrays, "
            "pictures and paths.",
            where=where,
        )
    if value.dtype not in (torch.bool, real_partner(y.dtype)):
        raise DtypeError(
            f"expected {real_partner(y.dtype)}, as the measurement, or bool; got {value.dtype}. "
            "Convert it with .to(); for 8-bit values: edges.float() / 255.",
            where=where,
        )
    if value.device != y.device:
        raise DeviceError(
            f"it lies on {value.device}, the measurement on {y.device}. Move it with .to().",
            where=where,
        )
    if value.ndim < 3 or 0 in value.shape:
        raise ShapeError(
            f"expected the shape (*batch, C, H, W), none of them 0; got {tuple(value.shape)}. For "
            "one channel (H, W): edges[None].",
            where=where,
        )
    lead = tuple(_for_all(value).shape[:-3])
    axes = zip(reversed(lead), reversed(batch), strict=False)
    if len(lead) > len(batch) or any(a not in (1, b) for a, b in axes):
        raise ShapeError(
            f"it is for a batch of {lead}; expected {batch}, as the measurement has, or fewer "
            "axes, for all samples.",
            where=where,
        )


# ---- what a network is given -----------------------------------------------------------------


def check_taken(network: Network, given: Mapping[str, object]) -> None:
    """Raise IncompatibleError for a condition that a network does not take."""
    for name in given:
        if name not in network.conditions:
            known = tuple(network.conditions)
            takes = f"it takes {', '.join(known)}" if known else "it takes none"
            raise IncompatibleError(
                f"{type(network).__name__} has no condition of that name; {takes}."
                f"{suggestion(str(name), known)} Leave it out, or take another network.",
                where=f"conditions.{name}",
            )


def found_condition(
    network: Network, name: str, operator: ForwardOperator, given: Mapping[str, Tensor]
) -> Tensor:
    """Return a condition that was given, or else the operator's field of that name.

    Raises: IncompatibleError when there is neither.
    """
    if name in given:
        return given[name]
    values = (getattr(part, name, None) for part in parts_of(operator))
    value = next((v for v in values if isinstance(v, Tensor)), None)
    if value is None:
        raise IncompatibleError(
            f"{type(network).__name__} needs {name}, which {operator.name} has not. Give it: "
            f"conditions={{{name!r}: ...}}, or --condition {name}=FILE; a recipe says under "
            "`conditions` how it is made."
        )
    # what belongs to an operator in colour is the same for all its channels
    return value[..., :1, :, :] if value.ndim > 2 and isinstance(operator, ChannelOf) else value


def sized_condition(
    network: Network, name: str, value: Tensor, operator: ForwardOperator, seen: Tensor
) -> Tensor:
    """Return a condition with all its channels, in the precision of what is `seen`.

    Raises: IncompatibleError for another size, or number of channels.
    """
    channels, size = network.conditions[name], tuple(seen.shape[-2:])
    own = value.shape[-3] if value.ndim > 2 else 1
    if value.shape[-2:] != size or own not in (1, channels):
        raise IncompatibleError(
            f"{type(network).__name__} needs {name} of shape {(channels, *size)}, as large as "
            f"what it is given for {operator.name}; got {tuple(value.shape)}. Give that, or "
            "take the other feed, or a network without that condition."
        )
    value = _for_all(value).to(device=seen.device, dtype=real_partner(seen.dtype))
    return value.expand(*value.shape[:-3], channels, *size)


def apart(
    network: Network, name: str, value: Tensor, operator: ForwardOperator, batch: tuple[int, ...]
) -> Tensor:
    """Return a condition that holds other measurements with these along a new first axis.

    Shapes: `(*batch, n C, h, w)` -> `(n, *batch, C, h, w)` for measurements `(C, h, w)`.
    Raises: IncompatibleError for another size, or an operator that does not measure such.
    """
    space, count = operator.out_space, network.conditions[name] // network.channels
    good = len(space.shape) == 3 and not space.dtype.is_complex
    if not good or value.shape[-3:] != (count * space.shape[0], *space.shape[1:]):
        raise IncompatibleError(
            f"{type(network).__name__} needs {name}: {count} more real measurements "
            f"(C, h, w) by {operator.name}, one behind the other in their channels. Its own have "
            f"the shape {space.shape}; got {tuple(value.shape)}."
        )
    value = _for_all(value).to(space.dtype)
    value = value.expand(*batch, *value.shape[-3:])
    return value.reshape(*batch, count, *space.shape).movedim(len(batch), 0)


def together(network: Network, seen: Tensor) -> Tensor:
    """Return what `apart` took apart as one condition, each with the network's channels.

    A grey one is repeated, as grey pictures are for a network in colour.
    """
    seen = seen.expand(*seen.shape[:-3], network.channels, *seen.shape[-2:])
    return seen.movedim(0, -4).flatten(-4, -3)


def _for_all(value: Tensor) -> Tensor:
    """Return a condition without leading axes of size 1: what is for all samples needs none."""
    while value.ndim > 3 and value.shape[0] == 1:
        value = value[0]
    return value
