"""Operators given by their dense matrix."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, identity_plus, param, tensor_param
from wellposed.errors import ShapeError

from .checks import batch_of, field_dtype

__all__ = ["Matrix", "measurement_space", "unknown_picture"]

# Up to this size, factorising the smaller Gram matrix is cheaper than iterating.
_LARGEST_SYSTEM = 1024


def measurement_space(
    who: str, given: tuple[int, ...] | None, rows: int, dtype: torch.dtype
) -> Space:
    """Return the space of y, `out_shape` or `(rows,)`. Raises: ShapeError."""
    space = Space((rows,) if given is None else given, dtype)
    if space.numel != rows:
        raise ShapeError(
            f"{who}.out_shape expects {rows} values, the rows of the matrix; got {space.shape}."
        )
    return space


def unknown_picture(who: str) -> ShapeError:
    """Return the error of an operator whose measurements do not tell the picture's shape."""
    return ShapeError(
        f"{who} cannot tell the shape of the picture from its measurement; give in_shape=(C, H, W)."
    )


@attrs.frozen(eq=False, kw_only=True)
class Matrix(ForwardOperator):
    """Any dense matrix, applied to the flattened picture: `y = M x`.

    Shapes: x `(*batch, *in_shape)` -> y `(*batch, *out_shape)`, by default `(*batch, m)`; matrix
    `(m, n)`, or `(1|B, m, n)` with one per sample; `n` is the number of values of a picture, in
    the order of `x.flatten()`.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: `2 m n` operations. `data_prox` is closed while m or n is at most 1024 (a Cholesky
    factorisation for each call).
    Source: the definition; Golub and Van Loan, Matrix Computations, section 2.1.4 (the smaller of
    the two systems).
    """

    in_shape: tuple[int, ...] = param(doc="shape of the picture")
    matrix: Tensor = tensor_param(doc="matrix (m, n), or (1|B, m, n), real or complex")
    out_shape: tuple[int, ...] | None = param(None, doc="shape of y; default: (m,)")
    _spaces: tuple[Space, Space] = attrs.field(init=False, repr=False)

    @_spaces.default
    def _make_spaces(self) -> tuple[Space, Space]:
        attrs.validate(self)  # attrs itself does so only after this default
        matrix = self.matrix
        field_dtype(self, attrs.fields(Matrix).matrix, matrix.dtype)
        space = Space(self.in_shape, matrix.dtype)
        if matrix.ndim not in (2, 3) or matrix.shape[-1] != space.numel:
            raise ShapeError(
                f"Matrix.matrix expects (m, n) or (1|B, m, n) with n = {space.numel}, the values "
                f"of a picture {space.shape}; got {tuple(matrix.shape)}."
            )
        return space, measurement_space("Matrix", self.out_shape, matrix.shape[-2], matrix.dtype)

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._spaces[0]

    @property
    def out_space(self) -> Space:
        """Measurements of `out_shape`."""
        return self._spaces[1]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one matrix per sample."""
        return batch_of(self.matrix, 2)

    @property
    def has_closed_prox(self) -> bool:
        """Whether the smaller system can be factorised cheaply."""
        return min(self.matrix.shape[-2:]) <= _LARGEST_SYSTEM

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Raise ShapeError: y does not tell."""
        raise unknown_picture("Matrix")

    def _apply(self, x: Tensor) -> Tensor:
        return self._times(self._one, x, self.in_space, self.out_space)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._times(self._one.mH, y, self.out_space, self.in_space)

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        if not self.has_closed_prox:
            return super()._data_prox(v, y, tau, rtol, max_steps)
        matrix = self._one
        step = tau.flatten(-self.in_space.ndim)[..., None] if tau.ndim else tau
        wide = matrix.shape[-2] <= matrix.shape[-1]
        gram = matrix @ matrix.mH if wide else matrix.mH @ matrix
        # One sample that is not finite must not stop the others.
        factor, failed = torch.linalg.cholesky_ex(identity_plus(step, gram))
        factor = torch.where(failed[..., None, None] == 0, factor, torch.nan)
        residual = (y - self._apply(v)).flatten(-self.out_space.ndim)[..., None]
        if wide:
            update = matrix.mH @ torch.cholesky_solve(residual, factor)
        else:
            update = torch.cholesky_solve(matrix.mH @ residual, factor)
        return v + tau * update.reshape(v.shape)

    @property
    def _one(self) -> Tensor:
        """The matrix, or one per sample; without a batch axis of size 1."""
        return self.matrix if self.batch_shape or self.matrix.ndim == 2 else self.matrix[0]

    @staticmethod
    def _times(matrix: Tensor, x: Tensor, a: Space, b: Space) -> Tensor:
        flat = x.flatten(-a.ndim)
        # One matrix for all samples is one product; one per sample, a batch of them.
        y = flat @ matrix.mT if matrix.ndim == 2 else (matrix @ flat[..., None])[..., 0]
        return y.reshape(*a.batch_of(x), *b.shape)
