"""Colour pictures for networks of one channel: luminance by the network, the rest interpolated."""

from __future__ import annotations

import dataclasses
from typing import Any, Self, cast

import attrs
import numpy as np
import torch
from torch import Tensor

from .cache import derived
from .errors import IncompatibleError, WellposedError
from .metrics import _LUMA, _LUMA_OFFSET, luminance
from .moves import fields_of, tensors_in
from .operator import ForwardOperator
from .space import Space, real_partner

__all__ = ["ChannelOf", "Luminance", "of_ones", "one_channel", "studio_range"]

_SWING = sum(_LUMA)  # of Y from black to white: 219 / 255


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)  # torch.compile cannot trace attrs'
class Luminance:
    """A problem in colour, as its luminance sees it: `A_1 Y = y_Y` with one channel.

        y_Y = sum_c w_c y_c + 16/255 A_1 1

    for an operator that does the same A_1 to R, G and B, and Y of ITU-R BT.601 (see
    `wellposed.luminance`), in the studio range on which networks for luminance are trained. A
    picture Y becomes one in colour with what the operator's own initial estimate e says of the
    rest: since Cb and Cr stay, R, G and B all change by as much,

        x = e + 255/219 (Y - Y(e)) (1, 1, 1),

    and the luminance of x is Y. With a strided blur, whose estimate is bicubic interpolation, that
    is how super-resolution in colour is done in the literature.

    colour: the operator on RGB; operator: A_1; measured: y; measurement: y_Y.
    Source: Guo et al., 2021, Deep likelihood network, section IV-D.
    """

    colour: ForwardOperator
    operator: ForwardOperator
    measured: Tensor
    measurement: Tensor

    @classmethod
    def of(cls, operator: ForwardOperator, measured: Tensor) -> Self:
        """Return the problem of a measurement. Raises: IncompatibleError, see `one_channel`."""
        one = one_channel(operator)
        red, green, blue = measured.split(1, _channel_axis(operator.out_space))
        y = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
        return cls(
            colour=operator,
            operator=one,
            measured=measured,
            measurement=y + _LUMA_OFFSET * of_ones(one, measured.device),
        )

    def picture(self, y: Tensor) -> Tensor:
        """Return the colour picture of a luminance, `(*batch, 1, H, W)` -> `(*batch, 3, H, W)`."""
        estimate = self.colour.initial_estimate(self.measured)
        return estimate + (y - luminance(estimate)) / _SWING


def studio_range(value_range: tuple[float, float]) -> tuple[float, float]:
    """Return where grey levels 0 and 1 lie for a network whose luminance lies in `value_range`."""
    low, high = value_range
    return low + (high - low) * _LUMA_OFFSET, low + (high - low) * (_LUMA_OFFSET + _SWING)


def of_ones(operator: ForwardOperator, device: torch.device) -> Tensor:
    """Return A 1, without batch axes but those of the parameters; remembered on the operator."""

    def compute() -> Tensor:
        space = operator.in_space
        ones = torch.ones((*operator.batch_shape, *space.shape), dtype=space.dtype, device=device)
        return operator(ones)

    return derived(operator, f"of ones {device}", compute, *tensors_in(operator))


@attrs.frozen(eq=False)
class ChannelOf(ForwardOperator):
    """One channel of an operator that does the same to each, and keeps them apart.

    Cost: that of all channels.
    """

    op: ForwardOperator

    @property
    def in_space(self) -> Space:
        """Pictures of one channel."""
        return _single(self.op.in_space)

    @property
    def out_space(self) -> Space:
        """Measurements of one channel."""
        return _single(self.op.out_space)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """That of the operator."""
        return self.op.batch_shape

    @property
    def name(self) -> str:
        """The operator's own."""
        return self.op.name

    def _apply(self, x: Tensor) -> Tensor:
        return self._first(self.op._apply(_all(x, self.op.in_space)), self.op.out_space)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._first(self.op._adjoint(_all(y, self.op.out_space)), self.op.in_space)

    def _initial_estimate(self, y: Tensor) -> Tensor:
        found = self.op._initial_estimate(_all(y, self.op.out_space))
        return self._first(found, self.op.in_space)

    @staticmethod
    def _first(x: Tensor, space: Space) -> Tensor:
        return x.narrow(_channel_axis(space), 0, 1)


def one_channel(op: ForwardOperator) -> ForwardOperator:
    """Return A_1 of an operator that does A_1 to every channel; remembered on the operator.

    The same operator built for one channel, if that can be built and does the same to a random
    picture; otherwise one channel of the whole, at the cost of all of them. Whether the operator
    is such a one is found out by applying it to that picture, once: a linear map that differs
    shows it in almost every picture.
    Raises: IncompatibleError when channels are mixed, or treated differently.
    """
    return derived(op, "one channel", lambda: _one_channel(op), *tensors_in(op))


def _one_channel(op: ForwardOperator) -> ForwardOperator:
    channels = op.in_space.shape[0]
    if op.out_space.shape[_channel_axis(op.out_space)] == channels:
        for candidate in (_rebuilt(op, channels), ChannelOf(op)):
            if isinstance(candidate, ForwardOperator) and _agrees(op, candidate):
                return candidate
    raise IncompatibleError(
        f"{op.name} does not do the same to each of the {channels} channels by itself, so that no "
        "operator on the luminance alone stands for it. Take a network of "
        f"{channels} channels, or an operator with one kernel or mask for all channels."
    )


def _rebuilt(value: Any, channels: int) -> Any:
    """Return an operator, or what is in its fields, for one channel; None if it cannot be."""
    if isinstance(value, Space):
        return _single(value) if value.shape[_channel_axis(value)] == channels else None
    if isinstance(value, (tuple, list)):
        items = [_rebuilt(item, channels) for item in value]
        return None if any(item is None for item in items) else type(value)(items)
    if not isinstance(value, ForwardOperator) or not attrs.has(type(value)):
        return None
    changed: dict[str, Any] = {}
    for field in fields_of(value):
        held = getattr(value, field.name, None)
        if field.name == "in_shape" and isinstance(held, tuple) and held[0] == channels:
            changed["in_shape"] = (1, *held[1:])
        elif field.init and _holds_operators(held):
            changed[field.alias or field.name] = _rebuilt(held, channels)
    if not changed or None in changed.values():
        return None
    try:
        return attrs.evolve(cast(Any, value), **changed)
    except (WellposedError, ValueError, TypeError):
        return None  # it has parameters for each channel, or something else against it


def _holds_operators(value: object) -> bool:
    if isinstance(value, (tuple, list)):
        return bool(value) and all(_holds_operators(item) for item in value)
    return isinstance(value, (ForwardOperator, Space))


def _agrees(op: ForwardOperator, one: ForwardOperator) -> bool:
    """Whether A(p) is A_1 of each channel of p, for every sample's parameters."""
    if one.in_space != _single(op.in_space) or one.out_space != _single(op.out_space):
        return False
    space = op.in_space
    # NumPy's generator: torch's is refused inside torch.func.vmap.
    noise = np.random.default_rng(0).standard_normal(space.shape)
    p = torch.from_numpy(noise).to(device=op.device, dtype=space.dtype)
    p = p.expand(*op.batch_shape, *space.shape)
    with torch.no_grad():
        together = op(p)
        alone = [one(part) for part in p.split(1, -3)]
        got = torch.cat(alone, _channel_axis(op.out_space))
        axes = tuple(range(-op.out_space.ndim, 0))
        limit = torch.finfo(real_partner(got.dtype)).eps ** 0.5 * together.abs().amax(axes)
        # A sample whose parameters are NaN says nothing, and must not spoil the others.
        return not bool(((together - got).abs().amax(axes) > limit).any())


def _single(space: Space) -> Space:
    shape = list(space.shape)
    shape[_channel_axis(space)] = 1
    return Space(tuple(shape), space.dtype)


def _channel_axis(space: Space) -> int:
    """Return the axis of channels: the third from the end, or the first."""
    return -min(space.ndim, 3)


def _all(x: Tensor, space: Space) -> Tensor:
    """Repeat a picture or measurement of one channel in all channels."""
    return x.expand(*x.shape[: x.ndim - space.ndim], *space.shape)
