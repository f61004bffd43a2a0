"""Networks that learn what an interpolated picture lacks: a head on low-resolution features."""

from __future__ import annotations

from abc import abstractmethod

import attrs
import torch
from torch import Tensor
from wellposed import ConvolutionHead, NetworkSpec, SplitNetwork, param, whole_number

from .layers import BicubicUpscaling, MaskFeatures, initialise

__all__ = ["Enlarging", "Residual"]


@attrs.frozen(eq=False, kw_only=True)
class Enlarging(NetworkSpec):
    """What all these networks are told: the two pictures, and the layer that enlarges."""

    scale: int = param(
        2, doc="how much larger the picture is than the measurement", check=whole_number(1)
    )
    channels: int = param(1, doc="channels of a picture", check=whole_number(1))
    mask_channels: int = param(
        0, doc="channels of the mask that SFT layers read; 0: no such layers", check=whole_number(0)
    )
    upscaling: str = param(
        "transposed", doc="kind of the last layer", choices=("transposed", "shuffle")
    )
    head_kernel: int | None = param(
        None,
        doc="side of the last layer's kernel; None: 3, or if transposed 9 (in IDN 17)",
        unit="pixels",
        check=whole_number(1),
    )


class Residual(SplitNetwork):
    """`x = h(g(y)) + bicubic(y)`: the trunk g works at the size of y, the head h enlarges.

    At scale 1 the head is a convolution, and y itself is added. Subclasses write `_trunk`.
    """

    def __init__(
        self, spec: Enlarging, *, width: int, transposed_kernel: int = 9, slope: float = 0.0
    ) -> None:
        """Make the head, the skip and what SFT layers share.

        width: channels of z. transposed_kernel: side of the last kernel, if it is transposed and
        the spec leaves it open. slope: of the last activation.
        """
        masked = {"mask": spec.mask_channels} if spec.mask_channels else {}
        super().__init__(channels=spec.channels, scale=spec.scale, conditions=masked)
        transposed = spec.scale > 1 and spec.upscaling == "transposed"
        self.tail = ConvolutionHead(
            width,
            spec.channels,
            kernel=spec.head_kernel or (transposed_kernel if transposed else 3),
            scale=spec.scale,
            upscaling=spec.upscaling,
            slope=slope,
        )
        if spec.scale > 1:
            self.skip = BicubicUpscaling(spec.scale)
        if spec.mask_channels:
            self.mask_features = MaskFeatures(spec.mask_channels)

    def initialise(self, generator: torch.Generator) -> None:
        """Draw the weights."""
        initialise(self, generator)

    @abstractmethod
    def _trunk(self, y: Tensor, masked: Tensor | None) -> Tensor:
        """Return z for a picture, and for the features of the mask where there is one."""

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        return self._trunk(y, self.mask_features(conditions["mask"]) if conditions else None)

    def _base(self, y: Tensor) -> Tensor:
        return self.skip(y) if self.scale > 1 else y

    def _head(self, z: Tensor) -> Tensor:
        return self.tail(z)  # type: ignore[no-any-return]

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        return self.tail.adjoint(z, v)
