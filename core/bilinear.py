"""`BilinearOperator`: linear in a parameter w and in a picture x, each with the other fixed."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, Self

import attrs
import torch
from torch import Tensor

from .component import Component, params_for
from .errors import DeviceError, ShapeError
from .space import Space

if TYPE_CHECKING:
    from .operator import ForwardOperator

__all__ = ["BilinearOperator", "ComposedBilinear"]


class BilinearOperator(Component):
    """A map `(w, x) -> y` that is linear in each argument: convolution, pointwise product.

    An author writes the three spaces, `_apply`, and `at_w` and `at_x`, the linear operators that
    remain when one argument is fixed. `A @ bilinear` composes any operator after it.
    """

    @property
    @abstractmethod
    def w_space(self) -> Space:
        """Space of the parameter w (a kernel, a modulation)."""

    @property
    @abstractmethod
    def x_space(self) -> Space:
        """Space of the picture x."""

    @property
    @abstractmethod
    def out_space(self) -> Space:
        """Space of the measurement."""

    @abstractmethod
    def _apply(self, w: Tensor, x: Tensor) -> Tensor:
        """Return the measurement of a checked pair."""

    @abstractmethod
    def at_w(self, w: Tensor) -> ForwardOperator:
        """Return the operator `x -> B(w, x)`; w `(*w_space.shape)`, or one per sample."""

    @abstractmethod
    def at_x(self, x: Tensor) -> ForwardOperator:
        """Return the operator `w -> B(w, x)`; x `(*x_space.shape)`, or one per sample."""

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the space of pictures for measurements of `y_space`: by default the same."""
        return y_space

    @classmethod
    def for_image(cls, space: Space, **params: Any) -> Self:
        """Build the operator for pictures of `space`; see `ForwardOperator.for_image`."""
        return cls(**params_for(cls, space, params))

    def __call__(self, w: Tensor, x: Tensor) -> Tensor:
        """Return B(w, x). Batches of w and x broadcast.

        Raises: ShapeError, DtypeError, DeviceError.
        """
        self.w_space.check(w, who=self.name, name="w")
        self.x_space.check(x, who=self.name, name="x")
        if w.device != x.device:
            raise DeviceError(
                f"{self.name} got w on {w.device} and x on {x.device}. Move one of them: "
                "w.to(device)."
            )
        batches = self.w_space.batch_of(w), self.x_space.batch_of(x)
        axes = zip(*map(reversed, batches), strict=False)
        if any(a != b and 1 not in (a, b) for a, b in axes):
            raise ShapeError(
                f"{self.name} expects batches of w and x that broadcast; got {batches[0]} and "
                f"{batches[1]}."
            )
        if not (w.numel() and x.numel()):  # libraries refuse empty batches
            batch = torch.broadcast_shapes(*batches)
            return (w.sum() * x.sum()).expand(*batch, *self.out_space.shape)
        return self._apply(w, x)


@attrs.frozen(eq=False)
class ComposedBilinear(BilinearOperator):
    """A linear operator after a bilinear one: `A(B(w, x))`."""

    outer: ForwardOperator
    inner: BilinearOperator

    @property
    def w_space(self) -> Space:
        """That of the bilinear operator."""
        return self.inner.w_space

    @property
    def x_space(self) -> Space:
        """That of the bilinear operator."""
        return self.inner.x_space

    @property
    def out_space(self) -> Space:
        """That of the linear operator."""
        return self.outer.out_space

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.outer.name} @ {self.inner.name}"

    def _apply(self, w: Tensor, x: Tensor) -> Tensor:
        return self.outer(self.inner._apply(w, x))

    def at_w(self, w: Tensor) -> ForwardOperator:
        """The composition of the linear operators."""
        return self.outer @ self.inner.at_w(w)

    def at_x(self, x: Tensor) -> ForwardOperator:
        """The composition of the linear operators."""
        return self.outer @ self.inner.at_x(x)
