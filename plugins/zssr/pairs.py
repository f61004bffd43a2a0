"""What the network learns from: the measurement itself, and what the operator makes of it."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from typing import Any, Self

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed.errors import ShapeError

from .downscaling import Downscaling, sized
from .orientation import ORIENTATIONS, orient

__all__ = ["Pairs", "Start", "loss_map"]

Start = Callable[[Any, Tensor], Tensor]
"""Makes a first picture of an operator and a measurement; the network corrects it."""

_LUMA = (0.299, 0.587, 0.114)
_WINDOW = 5
# The error is measured on so many pixels squared: it costs as much as one step or two.
_TEST_SIDE = 256


def loss_map(y: Tensor) -> Tensor:
    """Return the weight of each pixel: the gradient's magnitude, averaged over 5 x 5 pixels.

    Its mean is 1; it is zero for a constant picture.
    Shapes: y `(C, H, W)` -> `(1, H, W)`.
    """
    weights = _LUMA if y.shape[0] == 3 else (1 / y.shape[0],) * y.shape[0]
    grey = torch.einsum("c,chw->hw", y.new_tensor(weights), y)
    down, across = torch.gradient(grey)
    size = (down.square() + across.square()).sqrt()[None]
    mean = F.avg_pool2d(size, _WINDOW, stride=1, padding=_WINDOW // 2, count_include_pad=False)
    return mean / mean.mean().where(mean.mean() > 0, 1)


@attrs.frozen(eq=False)
class View:
    """The measurement in one orientation and at one phase of the stride, with its weights."""

    father: Tensor
    weight: Tensor
    op: Downscaling


@attrs.frozen(eq=False, kw_only=True)
class Pairs:
    """Fathers, their sons, and crops of both.

    A view is the measurement without its first rows and columns, fewer than the stride, so that
    the son samples it at other places; `augment` adds its turned and mirrored images. Sons are
    made of whole views, so that a crop's frame is seen as it is in the picture.
    """

    views: tuple[View, ...]
    start: Start
    noise: float
    crop: tuple[int, int]

    @classmethod
    def of(
        cls, y: Tensor, op: Downscaling, *, start: Start, noise: float, crop: int, augment: bool
    ) -> Self:
        """Make the views of a measurement. Raises: ShapeError when it is too small."""
        height, width = y.shape[-2:]
        least = max(4, 2 * op.stride)
        if min(height, width) < least:
            raise ShapeError(
                f"zssr learns from a measurement of {least} x {least} pixels or more for a stride "
                f"of {op.stride}; got {height} x {width}. Take a larger picture, or a solver that "
                "does not learn from it."
            )
        both = torch.cat([y, loss_map(y)])
        views = []
        for orientation in ORIENTATIONS if augment else ORIENTATIONS[:1]:
            turned = orient(both, orientation)
            for down, across in itertools.product(range(op.stride), repeat=2):
                part = turned[:, down:, across:].contiguous()
                views.append(View(part[:-1], part[-1:], sized(op, *part.shape[-2:])))
        # One size for all: turned pictures are as high as others are wide.
        most = min(height, width) - op.stride + 1 if augment else None
        sides = [min(crop, n - op.stride + 1 if most is None else most) for n in (height, width)]
        return cls(views=tuple(views), start=start, noise=noise, crop=(sides[0], sides[1]))

    @property
    def is_learnable(self) -> bool:
        """Whether there is anything to learn: not from a constant."""
        return bool(self.views[0].weight.any())

    def sons(self, generator: torch.Generator) -> list[Tensor]:
        """Return the son of each view, with fresh noise, brought back to the view's size."""
        return [self._son(view, generator) for view in self.views]

    def draw(
        self, sons: Sequence[Tensor], generator: torch.Generator
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return a crop of a son, of its father and of the weights, each `(1, C|1, *crop)`."""
        which = _below(len(sons), generator)
        view = self.views[which]
        sizes = zip(view.father.shape[-2:], self.crop, strict=True)
        at = [_below(n - side + 1, generator) for n, side in sizes]
        son, father, weight = (
            _cut(x, at, self.crop)[None] for x in (sons[which], view.father, view.weight)
        )
        return son, father, weight

    def middle(self, sons: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        """Return the middle of the first son, and of its father."""
        son, father = sons[0], self.views[0].father
        size = [min(n, _TEST_SIDE) for n in father.shape[-2:]]
        first = [(n - m) // 2 for n, m in zip(father.shape[-2:], size, strict=True)]
        return _cut(son, first, size), _cut(father, first, size)

    def _son(self, view: View, generator: torch.Generator) -> Tensor:
        small = view.op._apply(view.father)
        if self.noise:
            small = small + self.noise * torch.randn(
                small.shape, dtype=small.dtype, device=small.device, generator=generator
            )
        return self.start(view.op, small.clamp(0, 1))


def _below(n: int, generator: torch.Generator) -> int:
    return int(torch.randint(n, (), generator=generator))


def _cut(x: Tensor, first: Sequence[int], size: Sequence[int]) -> Tensor:
    return x[..., first[0] : first[0] + size[0], first[1] : first[1] + size[1]]
