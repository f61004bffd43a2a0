"""`NetworkView`: an inverse problem as a network sees it: its range, its size, its channels."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Self

import torch
from torch import Tensor

from .colour import Luminance, of_ones, studio_range
from .conditions import (
    apart,
    check_conditions,
    check_taken,
    found_condition,
    sized_condition,
    together,
)
from .errors import IncompatibleError, ParameterError, ShapeError
from .network import Network, SplitNetwork
from .operator import ForwardOperator
from .space import real_partner
from .tiling import Tiling

__all__ = ["FEEDS", "NetworkView"]

FEEDS = ("estimate", "measurement")

# Pixels of the tiles that go through a network at once, when nothing is learned.
_MOST_PIXELS = 2**20
_LOW_PRECISION = (torch.bfloat16, torch.float16)


@dataclasses.dataclass(frozen=True, eq=False, kw_only=True)  # torch.compile cannot trace attrs'
class NetworkView:
    """What a network is given for a measurement, and how its pictures compare with it.

    Range. A network for [low, high] sees the picture `v = low + (high - low) x`, of which `y`
    tells `A v = (high - low) y + low A 1`: its `target`. That keeps every linear A, and 0 in a
    network for [-1, 1] is grey.

    Size. A network of any size has the whole picture at once; one of a fixed size has tiles of it,
    blended by a linear map B (see `Tiling`), so that `v = B h(z) + base` and every operator acts
    on the whole picture. The picture may be up to s - 1 pixels smaller than what a network of
    scale s makes of the measurement, or (s - 1) // 2 larger: the last block is not complete.

    Channels. A network of one channel restores the luminance of a colour picture (see
    `Luminance`): `operator`, `target` and v are then of one channel, and `picture` adds the
    colours. A picture of one channel is taken as it is, since it may be a luminance itself; with
    `grey_levels`, it is one of grey levels for a network that was trained on luminance, where
    black is 16/255 and white 235/255 (for VDSR's published weights a difference of 0.4 dB on
    average, 1.1 dB at most, on parts of five photographs). A network of three channels is given a
    grey picture three times, and the mean of its channels is taken.

    seen: what the network takes, in tiles where there are some: the target itself, or the
    operator's initial estimate in the network's range. value_range: that range, [low, high].
    conditions: those that were given, else fields of the operator, or of its parts, by name; in
    the form of `seen`. What the network calls `measured` was measured by the same operator, and is
    treated as the measurement is: its luminance, its range, its estimate. base: what is added to
    the head, as v.
    Shapes: target `(*batch, *operator.out_space.shape)`, v `(*batch, *operator.in_space.shape)`;
    z `(*batch, T, C', h, w)`, where there is no T unless there are several tiles.
    Cost: nothing but the range's arithmetic for a network that fits. A context encoder of the
    paper's width holds a quarter of a megabyte of z for each tile; refining it takes about
    0.8 GB for each megapixel in all.
    """

    network: Network
    operator: ForwardOperator
    target: Tensor
    seen: Tensor
    value_range: tuple[float, float]
    conditions: Mapping[str, Tensor] = dataclasses.field(default_factory=dict)
    tiling: Tiling | None = None
    luminance: Luminance | None = None
    base: Tensor | None = None

    @classmethod
    def of(
        cls,
        network: Network,
        operator: ForwardOperator,
        measurement: Tensor,
        *,
        feed: str | None = None,
        overlap: int | None = None,
        tile: int | None = None,
        grey_levels: bool = False,
        conditions: Mapping[str, Tensor] | None = None,
    ) -> Self:
        """Return the view of one measurement.

        feed: 'measurement' or 'estimate'; None: a network that enlarges takes the measurement,
        any other the estimate. overlap: pixels that neighbouring tiles share; None: see `Tiling`.
        tile: side of the tiles, as the network is given them, in which a network of any size
        gets a picture larger than that; None: the picture whole.
        grey_levels: whether the network was trained on luminance, and pictures of one channel are
        not; no matter for other networks and pictures. conditions: by name, `(*batch, C, H, W)`
        as large as what the network is given, or what is `measured` as large as the measurement;
        fewer batch axes: for all samples.
        Raises: IncompatibleError, or ShapeError for the size, when the network cannot give the
        operator's pictures, or lacks a condition, or takes none of that name; ParameterError;
        DtypeError; DeviceError.
        """
        feed = feed or ("measurement" if network.scale > 1 else "estimate")
        if feed not in FEEDS:
            raise ParameterError(f"feed expects one of {FEEDS}; got {feed!r}.")
        _check(network, operator, feed)
        levels = grey_levels and network.channels == operator.in_space.shape[0] == 1
        given = check_conditions(
            conditions or {}, measurement, operator.out_space.batch_of(measurement)
        )
        check_taken(network, given)
        with torch.autocast(measurement.device.type, enabled=False):
            return cls._of(network, operator, measurement, feed, (tile, overlap), levels, given)

    @classmethod
    def _of(
        cls,
        network: Network,
        operator: ForwardOperator,
        measurement: Tensor,
        feed: str,
        tiles: tuple[int | None, int | None],
        levels: bool,
        given: Mapping[str, Tensor],
    ) -> Self:
        measurement = _without_unseen(operator, measurement)
        luminance, colour = None, operator
        if _is_luminance(network, operator):
            luminance = Luminance.of(operator, measurement)
            operator, measurement = luminance.operator, luminance.measurement
        low, high = studio_range(network.value_range) if levels else network.value_range
        target = _in_range(measurement, operator, (low, high))
        seen = target if feed == "measurement" else _estimate(measurement, operator, (low, high))
        network._check_dtype(seen)
        conditions = {}
        for name in network.conditions:
            value = found_condition(network, name, operator, given)
            if name in network.measured:
                y = apart(network, name, value, colour, seen.shape[:-3])
                y = y if luminance is None else Luminance.of(colour, y).measurement
                into = _in_range if feed == "measurement" else _estimate
                value = together(network, into(y, operator, (low, high)))
            conditions[name] = sized_condition(network, name, value, operator, seen)
        if seen.shape[-3] != network.channels:
            seen = seen.expand(*seen.shape[:-3], network.channels, *seen.shape[-2:])
        tiling = _tiling(network, operator, seen, *tiles)
        if tiling is not None:
            seen = tiling.split(seen)
            conditions = {name: tiling.split(value) for name, value in conditions.items()}
        base = network.base(seen) if isinstance(network, SplitNetwork) else None
        return cls(
            network=network,
            operator=operator,
            target=target,
            seen=seen,
            value_range=(low, high),
            conditions=conditions,
            tiling=tiling,
            luminance=luminance,
            base=None if base is None else _blended(base, tiling, operator),
        )

    # ---- the whole network --------------------------------------------------------------------

    def output(self) -> Tensor:
        """Return the network's v."""
        network = self.network
        if not isinstance(network, SplitNetwork):
            return _blended(self._by_tiles(network), self.tiling, self.operator)

        def both(tiles: Tensor, **conditions: Tensor) -> Tensor:
            return network.head(network.features(tiles, **conditions))

        return self.joined(self._by_tiles(both))

    def picture(self, v: Tensor) -> Tensor:
        """Return the operator's picture, in [0, 1], that v is in the network's range."""
        low, high = self.value_range
        x = v if (low, high) == (0.0, 1.0) else (v - low) / (high - low)
        if self.luminance is None:
            return x
        with torch.autocast(v.device.type, enabled=False):
            return self.luminance.picture(x)

    # ---- cut in two ---------------------------------------------------------------------------

    def features(self) -> Tensor:
        """Return z = g(seen), in no lower precision than the pictures."""
        z = self._by_tiles(self.split.features)
        return z.to(real_partner(self.seen.dtype)) if z.dtype in _LOW_PRECISION else z

    def head(self, z: Tensor) -> Tensor:
        """Return `v = B h(z) + base`, never in bf16."""
        return self.joined(self.tiles(z))

    def head_adjoint(self, z: Tensor, g: Tensor, tiles: Tensor | None = None) -> Tensor:
        """Return `(dv/dz)^T g` for g as v; tiles: `tiles(z)`, if known, which some heads need."""
        pull = self.joined_adjoint(g)
        pull = pull.reshape(*z.shape[:-3], *pull.shape[-3:])
        with torch.autocast(z.device.type, enabled=False):
            return self.split.head_adjoint(z, pull, tiles)

    def data_grad(self, v: Tensor) -> Tensor:
        """Return `A^H (A v - target)`, the gradient of `1/2 |A v - target|^2`, never in bf16."""
        op = self.operator
        with torch.autocast(v.device.type, enabled=False):
            return op._adjoint(op._apply(v.to(op.in_space.dtype)) - self.target)

    def gradient(self, z: Tensor) -> Tensor:
        """Return the gradient of `1/2 |A head(z) - target|^2` in z, with h computed once."""
        tiles = self.tiles(z)
        pull = self.tiles_grad(tiles)
        with torch.autocast(z.device.type, enabled=False):
            return self.split.head_adjoint(z, pull, tiles)

    # ---- the head in two: z -> h(z) sample by sample, tile by tile; h -> v all together ---------

    def tiles(self, z: Tensor) -> Tensor:
        """Return h(z), as the network gives it: before the tiles are blended and the base added.

        z has the batch axes of `seen`, or all of them, tiles included, as one.
        """
        with torch.autocast(z.device.type, enabled=False):
            return self.split.head(z)

    def joined(self, tiles: Tensor) -> Tensor:
        """Return `v = B h + base` for h = `tiles(z)`."""
        tiles = tiles.reshape(*self.seen.shape[:-3], *tiles.shape[-3:])
        v = _blended(tiles, self.tiling, self.operator)
        return v if self.base is None else v + self.base

    def joined_adjoint(self, g: Tensor) -> Tensor:
        """Return `B^T g` for g as v, with the batch axes of `seen`."""
        channels = self.network.out_channels
        if g.shape[-3] != channels:
            g = (g / channels).expand(*g.shape[:-3], channels, *g.shape[-2:])
        return g if self.tiling is None else self.tiling.merge_adjoint(g)

    def tiles_grad(self, tiles: Tensor) -> Tensor:
        """Return the gradient of `1/2 |A v - target|^2` in h = `tiles(z)`, of the shape of h."""
        return self.joined_adjoint(self.data_grad(self.joined(tiles))).reshape(tiles.shape)

    @property
    def split(self) -> SplitNetwork:
        """The network, which has been checked to be cut in two."""
        assert isinstance(self.network, SplitNetwork)
        return self.network

    def _by_tiles(self, function: Callable[..., Tensor]) -> Tensor:
        """Return `function(seen, **conditions)`, a bounded number of tiles at a time.

        Not so where gradients are recorded, which keep everything anyway, nor in training mode,
        where batch normalisation may join the tiles.
        """
        seen, conditions = self.seen, self.conditions
        whole = torch.is_grad_enabled() or self.network.training
        if self.tiling is None or self.tiling.count == 1 or whole:
            return function(seen, **conditions)
        lead = seen.shape[:-3]
        most = max(_MOST_PIXELS // math.prod(seen.shape[-2:]), 1)
        if math.prod(lead) <= most:
            return function(seen, **conditions)
        each = {k: c.expand(*lead, *c.shape[-3:]).flatten(0, -4) for k, c in conditions.items()}
        parts = [
            function(part, **{k: c[i * most : (i + 1) * most] for k, c in each.items()})
            for i, part in enumerate(seen.flatten(0, -4).split(most))
        ]
        together: Tensor = torch.cat(parts).unflatten(0, lead)
        return together


def _blended(tiles: Tensor, tiling: Tiling | None, operator: ForwardOperator) -> Tensor:
    """Return what the network makes as a picture of the operator."""
    v = tiles if tiling is None else tiling.merge(tiles)
    return v if v.shape[-3] == operator.in_space.shape[0] else v.mean(-3, keepdim=True)


def _is_luminance(network: Network, operator: ForwardOperator) -> bool:
    single = network.channels == network.out_channels == 1 and not network.complex_valued
    return single and operator.in_space.shape[0] == 3


def _without_unseen(operator: ForwardOperator, y: Tensor) -> Tensor:
    """Return y with zeros where the operator sees nothing: scratches are as white as they like."""
    gram = operator.row_gram()
    return torch.where(gram > 0, y, 0) if isinstance(gram, Tensor) else y


def _check(network: Network, operator: ForwardOperator, feed: str) -> None:
    """Raise IncompatibleError unless kind, axes, channels and sizes go together."""
    picture, name = operator.in_space, type(network).__name__
    given = operator.out_space if feed == "measurement" else picture
    if len(given.shape) != 3 or len(picture.shape) != 3:
        raise IncompatibleError(
            f"{name} takes pictures (C, H, W); {operator.name} has a {feed} of shape "
            f"{given.shape}. Take feed: estimate."
        )
    kinds = "complex", "real"
    for space, what in ((picture, "pictures"), (given, "measurements")):
        if space.dtype.is_complex != network.complex_valued:
            raise IncompatibleError(
                f"{name} is for {kinds[not network.complex_valued]} pictures, {operator.name} has "
                f"{kinds[not space.dtype.is_complex]} {what}. Take another network, feed: "
                "estimate, or an operator composed with `complexify`."
            )
    makes = network.channels, network.out_channels
    has = given.shape[0], picture.shape[0]
    colours = {makes, has} == {(1, 1), (3, 3)} and not network.complex_valued
    if makes != has and not colours:
        raise IncompatibleError(
            f"{name} makes {makes[1]} channels out of {makes[0]}; {operator.name} has {has[0]} in "
            f"its {feed} and {has[1]} in its pictures. Take a network of as many channels; one "
            "channel and three, colours, also go together."
        )
    s = network.scale
    made = [s * n for n in given.shape[1:]]
    over = [m - n for m, n in zip(made, picture.shape[1:], strict=True)]
    if min(over) < -((s - 1) // 2) or max(over) >= s:
        raise ShapeError(
            f"{name} makes a picture of shape {(makes[1], *made)} out of the {feed} of "
            f"{operator.name}, whose pictures are {picture.shape}. Take a network of another "
            "scale, or the other feed."
        )


def _tiling(
    network: Network,
    operator: ForwardOperator,
    seen: Tensor,
    tile: int | None,
    overlap: int | None,
) -> Tiling | None:
    height, width = operator.in_space.shape[1:]
    return Tiling.of(
        (seen.shape[-2], seen.shape[-1]),
        (height, width),
        scale=network.scale,
        size=network.size,
        overlap=overlap,
        tile=tile,
        multiple=network.multiple,
        device=seen.device,
        dtype=real_partner(seen.dtype),
    )


def _in_range(y: Tensor, operator: ForwardOperator, value_range: tuple[float, float]) -> Tensor:
    """Return what a measurement is of pictures in the network's range."""
    low, high = value_range
    if (low, high) == (0.0, 1.0):
        return y
    return (high - low) * y + low * of_ones(operator, y.device)


def _estimate(y: Tensor, operator: ForwardOperator, value_range: tuple[float, float]) -> Tensor:
    """Return the operator's initial estimate, in the network's range."""
    low, high = value_range
    estimate = operator.initial_estimate(y)
    return estimate if (low, high) == (0.0, 1.0) else low + (high - low) * estimate
