"""Networks that learn what an interpolated picture lacks: a head on low-resolution features."""

from __future__ import annotations

from abc import abstractmethod

import torch
from torch import Tensor
from wellposed import ConvolutionHead, SplitNetwork

from .layers import BicubicUpscaling, MaskFeatures, initialise

__all__ = ["Residual"]


class Residual(SplitNetwork):
    """`x = h(g(y)) + bicubic(y)`: the trunk g works at the size of y, the head h enlarges.

    At scale 1 the head is a convolution, and y itself is added. Subclasses write `_trunk`.
    """

    def __init__(
        self,
        *,
        channels: int,
        scale: int,
        mask_channels: int,
        width: int,
        upscaling: str,
        kernel: int,
        slope: float = 0.0,
    ) -> None:
        """Make the head, the skip and what SFT layers share."""
        masked = {"mask": mask_channels} if mask_channels else {}
        super().__init__(channels=channels, scale=scale, conditions=masked)
        self.tail = ConvolutionHead(
            width, channels, kernel=kernel, scale=scale, upscaling=upscaling, slope=slope
        )
        if scale > 1:
            self.skip = BicubicUpscaling(scale)
        if mask_channels:
            self.mask_features = MaskFeatures(mask_channels)

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


def head_kernel(kernel: int | None, upscaling: str, scale: int, transposed: int) -> int:
    """Return the side of the last kernel: the given one, or what suits the layer."""
    if kernel is not None:
        return kernel
    return transposed if scale > 1 and upscaling == "transposed" else 3
