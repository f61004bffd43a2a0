"""What networks of features share: how colours go in, and what becomes of the size."""

from __future__ import annotations

import itertools
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from typing import Final, final

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from wellposed import Network

from .published import read_published

__all__ = ["CAFFE", "TORCHVISION", "Colours", "FeatureNetwork", "Window"]

CAFFE: Final = "caffe"
TORCHVISION: Final = "torchvision"
_BGR_MEAN: Final = (103.939, 116.779, 123.68)
_RGB_MEAN: Final = (0.485, 0.456, 0.406)
_RGB_STD: Final = (0.229, 0.224, 0.225)


@attrs.frozen
class Window:
    """Kernel, stride and padding of a layer; `partial`: a last window may stick out (ceil mode)."""

    kernel: int
    stride: int = 1
    padding: int = 0
    partial: bool = False

    def count(self, side: int) -> int:
        """Return how many windows fit a side."""
        rest = side + 2 * self.padding - self.kernel
        return (-(-rest // self.stride) if self.partial else rest // self.stride) + 1


@final
class Colours(nn.Module):
    """Pictures, R, G, B in [0, 1], as networks trained on ImageNet take them.

        caffe: B, G, R in [0, 255], less (103.939, 116.779, 123.68)
        torchvision: R, G, B less (0.485, 0.456, 0.406), by (0.229, 0.224, 0.225)

    Shapes: `(N, 3, H, W)` -> the same.
    Source: the models of Caffe's and torchvision's authors.
    """

    gain: Tensor
    shift: Tensor

    def __init__(self, kind: str) -> None:
        """Leave the numbers to `reset`."""
        super().__init__()
        self.kind = kind
        for name in ("gain", "shift"):
            self.register_buffer(name, torch.empty(3, 1, 1), persistent=False)

    def reset(self) -> None:
        """Set the numbers."""
        if self.kind == CAFFE:
            self.gain.fill_(255)
            self.shift.copy_(torch.tensor(_BGR_MEAN, dtype=torch.float64).reshape(3, 1, 1))
        else:
            mean, std = (torch.tensor(v, dtype=torch.float64) for v in (_RGB_MEAN, _RGB_STD))
            self.gain.copy_((1 / std).reshape(3, 1, 1))
            self.shift.copy_((mean / std).reshape(3, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        """Return what the network sees."""
        x = x.flip(-3) if self.kind == CAFFE else x
        return x * self.gain - self.shift


class FeatureNetwork(Network):
    """Makes features of a colour picture, whose size follows from the windows of its layers.

    A picture too small for one of the windows is repeated beyond its frame, on all sides, up to
    the least size.

    Authors write `_features`, and `_draw` for a start without weights.
    """

    def __init__(
        self,
        *,
        out_channels: int,
        windows: Sequence[Window],
        colours: str,
        weights: str | None,
    ) -> None:
        super().__init__(channels=3, out_channels=out_channels)
        self.windows, self.weights = tuple(windows), weights
        self.least = next(n for n in itertools.count(1) if self._counts(n)[-1] > 0)
        self.colours = Colours(colours)

    @abstractmethod
    def _features(self, x: Tensor) -> Tensor:
        """Return the features of colours as the layers take them."""

    @abstractmethod
    def _draw(self, generator: torch.Generator) -> None:
        """Draw every parameter."""

    def _published(self, name: str) -> str:
        """Return the name that a parameter has in a file of weights; by default its own."""
        return name

    @final
    def initialise(self, generator: torch.Generator) -> None:
        """Read the weights, or draw them where no file was given."""
        self.colours.reset()
        if self.weights is None:
            self._draw(generator)
            return
        own = {self._published(name): p for name, p in self.named_parameters()}
        shapes: Mapping[str, tuple[int, ...]] = {name: tuple(p.shape) for name, p in own.items()}
        what = type(self).__name__.removesuffix("Network")
        for name, tensor in read_published(self.weights, shapes, what).items():
            own[name].copy_(tensor)

    def out_sides(self, height: int, width: int) -> tuple[int, int]:
        """Return the height and width of the features."""
        rows, columns = (self._counts(max(n, self.least))[-1] for n in (height, width))
        return rows, columns

    def _forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        down, right = (max(self.least - n, 0) for n in x.shape[-2:])
        if down or right:
            frame = (right // 2, right - right // 2, down // 2, down - down // 2)
            x = F.pad(x, frame, mode="replicate")
        return self._features(self.colours(x))

    def _counts(self, side: int) -> list[int]:
        """Return a side after each of the windows: 0 from where one does not fit."""
        counts = [side]
        for window in self.windows:
            counts.append(max(window.count(counts[-1]), 0) if counts[-1] else 0)
        return counts
