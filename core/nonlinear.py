"""`NonlinearOperator` and its linearization at a point."""

from __future__ import annotations

from abc import abstractmethod

import attrs
import torch
from torch import Tensor

from .component import Component
from .operator import ForwardOperator
from .space import Space

__all__ = ["ComposedNonlinear", "Jacobian", "NonlinearOperator"]


class NonlinearOperator(Component):
    """A differentiable map from one space to another; an author writes the spaces and `_apply`."""

    @property
    @abstractmethod
    def in_space(self) -> Space:
        """Space of the picture."""

    @property
    @abstractmethod
    def out_space(self) -> Space:
        """Space of the measurement."""

    @abstractmethod
    def _apply(self, x: Tensor) -> Tensor:
        """Return the measurement of a checked picture; samples must not influence each other."""

    def __call__(self, x: Tensor) -> Tensor:
        """Return F(x). Shapes: `(*batch, *in)` -> `(*batch, *out)`.

        Raises: ShapeError, DtypeError.
        """
        self.in_space.check(x, who=self.name, name="x")
        return self._apply(x)

    def linearize(self, x: Tensor) -> ForwardOperator:
        """Return the derivative at x as a linear operator; x `(*in)` or one point per sample.

        The default goes through `torch.func`; authors may return a faster one.
        """
        self.in_space.check(x, who=self.name, name="x")
        return Jacobian(function=self, point=x)


@attrs.frozen(eq=False)
class ComposedNonlinear(NonlinearOperator):
    """A linear operator after a nonlinear one."""

    outer: ForwardOperator
    inner: NonlinearOperator

    @property
    def in_space(self) -> Space:
        """That of the nonlinear operator."""
        return self.inner.in_space

    @property
    def out_space(self) -> Space:
        """That of the linear operator."""
        return self.outer.out_space

    @property
    def name(self) -> str:
        """Both names."""
        return f"{self.outer.name} @ {self.inner.name}"

    def _apply(self, x: Tensor) -> Tensor:
        return self.outer(self.inner._apply(x))

    def linearize(self, x: Tensor) -> ForwardOperator:
        """The chain rule."""
        return self.outer @ self.inner.linearize(x)


@attrs.frozen(eq=False, kw_only=True)
class Jacobian(ForwardOperator):
    """The derivative of a nonlinear operator at a point, by forward and reverse mode.

    Cost: about two evaluations of the function for a call, three for an adjoint.
    """

    function: NonlinearOperator
    point: Tensor = attrs.field(repr=lambda t: str(tuple(t.shape)))

    @property
    def in_space(self) -> Space:
        """That of the function."""
        return self.function.in_space

    @property
    def out_space(self) -> Space:
        """That of the function."""
        return self.function.out_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """One derivative per point."""
        return self.in_space.batch_of(self.point)

    def _apply(self, x: Tensor) -> Tensor:
        # Forward mode writes into its inputs, so they must not share memory along the batch.
        point, x = self.point.expand_as(x).contiguous(), x.contiguous()
        result: Tensor = torch.func.jvp(self.function._apply, (point,), (x,))[1]
        return result

    def _adjoint(self, y: Tensor) -> Tensor:
        lead = self.out_space.batch_of(y)
        point = self.point.expand(*lead, *self.in_space.shape)
        result: Tensor = torch.func.vjp(self.function._apply, point)[1](y)[0]
        return result
