"""Sums, multiples, compositions and stacks of operators: small frozen nodes, flattened."""

from __future__ import annotations

import functools
import math
import operator as _operator
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from . import prox
from .bilinear import BilinearOperator, ComposedBilinear
from .errors import DtypeError, ParameterError, ShapeError
from .nonlinear import ComposedNonlinear, NonlinearOperator
from .operator import Equivariance, ForwardOperator
from .space import Space

__all__ = ["Composed", "Identity", "Scaled", "Stack", "Sum", "add", "compose", "scale", "stack"]


def compose(outer: ForwardOperator, inner: object) -> object:
    """Return `outer @ inner`, flattened, with identities dropped.

    Raises: ShapeError or DtypeError when the spaces do not meet, ShapeError when both have
    per-sample parameters for batches of different size.
    """
    if isinstance(inner, (BilinearOperator, NonlinearOperator)):
        _same_space(outer.in_space, inner.out_space, f"{outer.name} @ {inner.name}")
        node = ComposedBilinear if isinstance(inner, BilinearOperator) else ComposedNonlinear
        return node(outer, inner)  # type: ignore[arg-type]
    if not isinstance(inner, ForwardOperator):
        return NotImplemented
    _same_space(outer.in_space, inner.out_space, f"{outer.name} @ {inner.name}")
    factors = [f for f in (*_factors(outer), *_factors(inner)) if not isinstance(f, Identity)]
    if not factors:
        return inner
    _common_batch(factors)
    return factors[0] if len(factors) == 1 else Composed(tuple(factors))


def add(a: ForwardOperator, b: object) -> ForwardOperator:
    """Return `a + b`, flattened. Raises: ShapeError, DtypeError when the spaces differ."""
    if not isinstance(b, ForwardOperator):
        return NotImplemented  # type: ignore[no-any-return]
    text = f"{a.name} + {b.name}"
    _same_space(a.in_space, b.in_space, text)
    _same_space(a.out_space, b.out_space, text)
    terms = (*(a.terms if isinstance(a, Sum) else (a,)), *(b.terms if isinstance(b, Sum) else (b,)))
    _common_batch(terms)
    return Sum(terms)


def scale(factor: float, op: ForwardOperator) -> ForwardOperator:
    """Return `factor * op` for a real number. Raises: ParameterError for one not finite."""
    if isinstance(factor, bool) or not isinstance(factor, (int, float)):
        return NotImplemented  # type: ignore[no-any-return]
    if not math.isfinite(factor):
        raise ParameterError(f"an operator can be multiplied by a finite number only; got {factor}")
    if isinstance(op, Scaled):
        return Scaled(float(factor) * op.factor, op.op)
    return Scaled(float(factor), op)


def stack(ops: Sequence[ForwardOperator]) -> ForwardOperator:
    """Return the operator `x -> (A_1 x, A_2 x, ...)`, along a new first event axis.

    Shapes: x `(*batch, *in)` -> `(*batch, n, *out)`.
    Raises: ParameterError for none, ShapeError or DtypeError when their spaces differ.
    """
    if not ops:
        raise ParameterError("stack() expects at least one operator; got none.")
    for op in ops[1:]:
        _same_space(ops[0].in_space, op.in_space, f"stack([{ops[0].name}, {op.name}])")
        _same_space(ops[0].out_space, op.out_space, f"stack([{ops[0].name}, {op.name}])")
    _common_batch(ops)
    return Stack(tuple(ops))


@attrs.frozen(eq=False)
class Identity(ForwardOperator):
    """The identity on a space."""

    space: Space

    @property
    def in_space(self) -> Space:
        """The space."""
        return self.space

    @property
    def out_space(self) -> Space:
        """The space."""
        return self.space

    def row_gram(self) -> float:
        """One."""
        return 1.0

    def column_gram(self) -> float:
        """One."""
        return 1.0

    def equivariance(self) -> Equivariance:
        """Commutes with every shift."""
        return Equivariance()

    def _apply(self, x: Tensor) -> Tensor:
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        return y


@attrs.frozen(eq=False)
class Scaled(ForwardOperator):
    """A real multiple of an operator."""

    factor: float
    op: ForwardOperator

    @property
    def in_space(self) -> Space:
        """That of the operator."""
        return self.op.in_space

    @property
    def out_space(self) -> Space:
        """That of the operator."""
        return self.op.out_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """That of the operator."""
        return self.op.batch_shape

    def row_gram(self) -> Tensor | float | None:
        """Times the square of the factor."""
        known = self.op.row_gram()
        return None if known is None else known * self.factor**2

    def column_gram(self) -> float | None:
        """Times the square of the factor."""
        known = self.op.column_gram()
        return None if known is None else known * self.factor**2

    def equivariance(self) -> Equivariance | None:
        """That of the operator."""
        return self.op.equivariance()

    def _apply(self, x: Tensor) -> Tensor:
        return self.factor * self.op._apply(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.factor * self.op._adjoint(y)

    def _gram(self, x: Tensor) -> Tensor:
        return self.factor**2 * self.op._gram(x)

    def _norm_bound(self) -> Tensor:
        return abs(self.factor) * self.op.norm_bound()

    @property
    def has_closed_prox(self) -> bool:
        """That of the operator."""
        return self.factor == 0 or self.op.has_closed_prox

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        if self.factor == 0:
            return v
        # |c A x - y|^2 = c^2 |A x - y / c|^2
        return self.op._data_prox(v, y / self.factor, tau * self.factor**2, rtol, max_steps)


@attrs.frozen(eq=False)
class Composed(ForwardOperator):
    """A product of operators; the last one is applied first."""

    factors: tuple[ForwardOperator, ...]

    @property
    def in_space(self) -> Space:
        """That of the last factor."""
        return self.factors[-1].in_space

    @property
    def out_space(self) -> Space:
        """That of the first factor."""
        return self.factors[0].out_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The one that the factors share."""
        return _common_batch(self.factors)

    @property
    def name(self) -> str:
        """The factors' names."""
        return " @ ".join(f.name for f in self.factors)

    def row_gram(self) -> Tensor | float | None:
        """Of the first factor, when the rest is a multiple of a co-isometry."""
        inner = self._rest.row_gram()
        first = self.factors[0].row_gram()
        return first * inner if isinstance(inner, float) and first is not None else None

    def column_gram(self) -> float | None:
        """The product, when every factor has one."""
        known = [f.column_gram() for f in self.factors]
        return None if None in known else math.prod(k for k in known if k is not None)

    def equivariance(self) -> Equivariance | None:
        """Strides multiply."""
        known = [f.equivariance() for f in self.factors]
        if any(k is None for k in known):
            return None
        return Equivariance(
            stride=math.prod(k.stride for k in known if k),
            channelwise=all(k.channelwise for k in known if k),
        )

    def _apply(self, x: Tensor) -> Tensor:
        for factor in reversed(self.factors):
            x = factor._apply(x)
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        for factor in self.factors:
            y = factor._adjoint(y)
        return y

    def _gram(self, x: Tensor) -> Tensor:
        x = self._rest._apply(x)
        return self._rest._adjoint(self.factors[0]._gram(x))

    @property
    def _rest(self) -> ForwardOperator:
        rest = self.factors[1:]
        return rest[0] if len(rest) == 1 else Composed(rest)

    @property
    def _all_but_last(self) -> ForwardOperator:
        first = self.factors[:-1]
        return first[0] if len(first) == 1 else Composed(first)

    @property
    def has_closed_prox(self) -> bool:
        """Whether one survives; see `_data_prox`."""
        if prox.is_closed(self):
            return True
        if self.factors[0].column_gram():
            return self._rest.has_closed_prox
        return bool(_unitary_scale(self.factors[-1])) and self._all_but_last.has_closed_prox

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        if prox.is_closed(self):
            return prox.data_prox(self, v, y, tau, rtol=rtol, max_steps=max_steps)
        outer, inner = self.factors[0], self.factors[-1]
        c = outer.column_gram()
        if c:  # |A B x - y|^2 = c |B x - A^H y / c|^2 + constant
            rest = self._rest
            return rest._data_prox(v, outer._adjoint(y) / c, tau * c, rtol, max_steps)
        c = _unitary_scale(inner)
        if c:  # with z = B x, |x - v|^2 = |z - B v|^2 / c
            step = _with_axes(tau, inner.in_space.ndim, inner.out_space.ndim) * c
            z = self._all_but_last._data_prox(inner._apply(v), y, step, rtol, max_steps)
            return inner._adjoint(z) / c
        return prox.data_prox(self, v, y, tau, rtol=rtol, max_steps=max_steps)

    def _initial_estimate(self, y: Tensor) -> Tensor:
        for factor in self.factors:
            y = factor._initial_estimate(y)
        return y


@attrs.frozen(eq=False)
class Sum(ForwardOperator):
    """A sum of operators between the same spaces."""

    terms: tuple[ForwardOperator, ...]

    @property
    def in_space(self) -> Space:
        """The common one."""
        return self.terms[0].in_space

    @property
    def out_space(self) -> Space:
        """The common one."""
        return self.terms[0].out_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The one that the terms share."""
        return _common_batch(self.terms)

    @property
    def name(self) -> str:
        """The terms' names."""
        return "(" + " + ".join(t.name for t in self.terms) + ")"

    def equivariance(self) -> Equivariance | None:
        """That of the terms when their strides agree."""
        known = [t.equivariance() for t in self.terms]
        strides = {k.stride if k else None for k in known}
        if None in strides or len(strides) != 1:
            return None
        return Equivariance(
            stride=strides.pop() or 1, channelwise=all(k.channelwise for k in known if k)
        )

    def _apply(self, x: Tensor) -> Tensor:
        return functools.reduce(_operator.add, (t._apply(x) for t in self.terms))

    def _adjoint(self, y: Tensor) -> Tensor:
        return functools.reduce(_operator.add, (t._adjoint(y) for t in self.terms))


@attrs.frozen(eq=False)
class Stack(ForwardOperator):
    """Several measurements of one picture, along a new first event axis."""

    ops: tuple[ForwardOperator, ...]

    @property
    def in_space(self) -> Space:
        """The common one."""
        return self.ops[0].in_space

    @property
    def out_space(self) -> Space:
        """`(n, *out)`."""
        one = self.ops[0].out_space
        return Space((len(self.ops), *one.shape), one.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The one that the operators share."""
        return _common_batch(self.ops)

    @property
    def name(self) -> str:
        """The operators' names."""
        return "stack([" + ", ".join(op.name for op in self.ops) + "])"

    def column_gram(self) -> float | None:
        """The sum, when every operator has one."""
        known = [op.column_gram() for op in self.ops]
        return None if None in known else math.fsum(k for k in known if k is not None)

    def equivariance(self) -> Equivariance | None:
        """That of the operators when none has a stride."""
        known = [op.equivariance() for op in self.ops]
        if any(k is None or k.stride != 1 for k in known):
            return None
        return Equivariance(channelwise=all(k.channelwise for k in known if k))

    def _apply(self, x: Tensor) -> Tensor:
        return torch.stack([op._apply(x) for op in self.ops], self._axis)

    def _adjoint(self, y: Tensor) -> Tensor:
        parts = y.unbind(self._axis)
        backs = (op._adjoint(part) for op, part in zip(self.ops, parts, strict=True))
        return functools.reduce(_operator.add, backs)

    def _gram(self, x: Tensor) -> Tensor:
        return functools.reduce(_operator.add, (op._gram(x) for op in self.ops))

    @property
    def _axis(self) -> int:
        return -1 - self.ops[0].out_space.ndim


def _factors(op: ForwardOperator) -> tuple[ForwardOperator, ...]:
    return op.factors if isinstance(op, Composed) else (op,)


def _unitary_scale(op: ForwardOperator) -> float | None:
    """Return c when A^H A = A A^H = c I."""
    column, row = op.column_gram(), op.row_gram()
    return column if column is not None and row == column else None


def _with_axes(tau: Tensor, old: int, new: int) -> Tensor:
    """Replace `old` trailing axes of size 1 by `new` ones."""
    return tau if tau.ndim == 0 else tau.reshape(*tau.shape[: tau.ndim - old], *(1,) * new)


def _common_batch(ops: Sequence[ForwardOperator]) -> tuple[int, ...]:
    shapes = {op.batch_shape for op in ops} - {()}
    if len(shapes) > 1:
        listed = ", ".join(f"{op.name} {op.batch_shape}" for op in ops)
        raise ShapeError(f"operators with per-sample parameters need one batch; got {listed}.")
    return shapes.pop() if shapes else ()


def _same_space(a: Space, b: Space, text: str) -> None:
    if a.shape != b.shape:
        raise ShapeError(
            f"cannot form {text}: the shapes {a.shape} and {b.shape} do not meet. "
            "Build both operators for one picture size."
        )
    if a.dtype != b.dtype:
        raise DtypeError(
            f"cannot form {text}: the dtypes {a.dtype} and {b.dtype} do not meet. "
            "Convert one of them with op.to(dtype=...)."
        )
