"""`identity`: the operator of denoising."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Equivariance, ForwardOperator, Space, param

from .checks import field_dtype, picture_space

__all__ = ["Denoising"]


@attrs.frozen(eq=False, kw_only=True)
class Denoising(ForwardOperator):
    """The identity: the picture itself is measured, and only noise degrades it.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape.
    Raises: ShapeError, ParameterError.
    Cost: none. `data_prox` is closed: `(v + tau y) / (1 + tau)`.
    Source: the definition.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        return picture_space(self)

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._space

    @property
    def out_space(self) -> Space:
        """The same."""
        return self._space

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
