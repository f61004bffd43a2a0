"""SRCNN: three layers that sharpen an interpolated picture."""

from __future__ import annotations

from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import ConvolutionHead, Network, NetworkSpec, SplitNetwork, param, whole_number
from wellposed.errors import ParameterError

from .layers import BicubicUpscaling, initialise

__all__ = ["Srcnn", "SrcnnNetwork"]


def _three_odd(instance: object, attribute: Any, value: tuple[int, ...]) -> None:
    if len(value) != 3 or any(isinstance(k, bool) or k < 1 or k % 2 == 0 for k in value):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects three odd sides such as "
            f"(9, 1, 5); got {value!r}."
        )


def _two(instance: object, attribute: Any, value: tuple[int, ...]) -> None:
    if len(value) != 2 or any(isinstance(n, bool) or n < 1 for n in value):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects two numbers of channels such as "
            f"(64, 32); got {value!r}."
        )


@attrs.frozen(eq=False, kw_only=True)
class Srcnn(NetworkSpec):
    """Super-resolution by three layers: patches, a nonlinear map between them, and their mean.

        x = W_3 relu(W_2 relu(W_1 u)),     u = y, interpolated by `scale`

    Departures: the frame is filled up with zeros, so that the size is kept. `start_std` of the
    paper makes a start so small that training takes off slowly; None: N(0, 2 / fan-in).

    Shapes: `(*batch, channels, H, W)` -> `(*batch, channels, scale H, scale W)`.
    Units: pictures in [0, 1]; the luminance alone, as trained in the paper.
    Cost: 8 thousand parameters, 16 kFLOP for a pixel of x.
    Source: Dong et al., 2014, Learning a deep convolutional network for image super-resolution,
    section 3.
    """

    kernels: tuple[int, int, int] = param(
        (9, 1, 5), doc="sides of the three kernels, odd", unit="pixels", check=_three_odd
    )
    widths: tuple[int, int] = param((64, 32), doc="channels of the two hidden layers", check=_two)
    scale: int = param(
        1, doc="interpolate by this first; 1: it was done before", check=whole_number(1)
    )
    channels: int = param(1, doc="channels of a picture", check=whole_number(1))
    start_std: float | None = param(
        1e-3,
        doc="standard deviation of the weights at the start; None: by fan-in",
        check=attrs.validators.optional(attrs.validators.gt(0)),
    )

    def _module(self) -> Network:
        return SrcnnNetwork(self)


class SrcnnNetwork(SplitNetwork):
    """The layers of an `Srcnn`."""

    def __init__(self, spec: Srcnn) -> None:
        """Make the layers."""
        super().__init__(channels=spec.channels, scale=spec.scale)
        self.start_std = spec.start_std
        (a, b, c), (first, second) = spec.kernels, spec.widths
        if spec.scale > 1:
            self.enlarge = BicubicUpscaling(spec.scale)
        self.patches = nn.Conv2d(spec.channels, first, a, padding=a // 2)
        self.mapping = nn.Conv2d(first, second, b, padding=b // 2)
        self.tail = ConvolutionHead(second, spec.channels, kernel=c)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator, std=self.start_std)

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        u = self.enlarge(y) if self.scale > 1 else y
        return self.mapping(F.relu(self.patches(u)))  # type: ignore[no-any-return]

    def _head(self, z: Tensor) -> Tensor:
        return self.tail(z)  # type: ignore[no-any-return]

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        return self.tail.adjoint(z, v)
