"""What the solver uses of `strided_blur`, and which of its instances it can use."""

from __future__ import annotations

from typing import Any, Protocol

import attrs
from torch import Tensor
from wellposed import Space
from wellposed.registry import default_registry

__all__ = ["Downscaling", "evolved", "gain_of", "keeps_brightness", "sized", "what_is_wrong"]


class Downscaling(Protocol):
    """What is used of `strided_blur`, whose class is found by name."""

    kernel: Tensor
    stride: int
    offset: int
    boundary: str
    in_shape: tuple[int, int, int]

    @property
    def in_space(self) -> Space:
        """Space of the picture."""

    def _apply(self, x: Tensor) -> Tensor: ...

    def _initial_estimate(self, y: Tensor) -> Tensor: ...


def sized(op: Downscaling, height: int, width: int) -> Any:
    """Return the operator for pictures of another size."""
    shape = (op.in_shape[0], height, width)
    return attrs.evolve(op, in_shape=shape)  # type: ignore[misc]


def gain_of(kernel: Tensor) -> Tensor:
    """Return the factor on flat pictures, `(1, 1|C, kh, kw)` -> `(1|C, 1, 1)`."""
    return kernel.sum((-2, -1), keepdim=True)[0]


def evolved(op: Downscaling, *, kernel: Tensor, **changes: Any) -> Any:
    """Return the operator with another kernel, scaled to keep brightness."""
    return attrs.evolve(op, kernel=kernel / gain_of(kernel), **changes)  # type: ignore[misc]


def keeps_brightness(kernel: Tensor) -> bool:
    """Return whether positive taps outweigh negative ones clearly, in every kernel."""
    return bool((kernel.sum((-2, -1)) > kernel.abs().sum((-2, -1)) / 2).all())


def what_is_wrong(op: object) -> str | None:
    """Return why a picture cannot be learned from through an operator; None when it can."""
    if not isinstance(op, default_registry().load("operator", "strided_blur")):
        return "it takes a strided_blur with a known kernel."
    known: Any = op
    if known.stride < 2:
        return "a stride of 2 or more is needed, else there is no smaller picture to learn from."
    kernel: Tensor = known.kernel
    if kernel.is_complex():
        return "its kernel is complex; a real one is needed."
    if not keeps_brightness(kernel):
        return "its kernel does not keep brightness, so that it gives no smaller picture."
    return None
