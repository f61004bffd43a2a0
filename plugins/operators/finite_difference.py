"""`FiniteDifference`: the discrete gradient of a picture."""

from __future__ import annotations

import math

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import Equivariance, ForwardOperator, Space, param

from .checks import field_dtype, picture_space

__all__ = ["FiniteDifference"]


@attrs.frozen(eq=False, kw_only=True)
class FiniteDifference(ForwardOperator):
    """Forward differences along rows and columns: the discrete gradient.

        y[0, c, i, j] = x[c, i + 1, j] - x[c, i, j],   y[1, c, i, j] = x[c, i, j + 1] - x[c, i, j]

    Beyond the border, the difference is zero (the last of each axis: Neumann), or taken to the
    opposite side (circular).

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, 2, C, H, W)`.
    Units: picture units per pixel.
    Raises: ParameterError, ShapeError.
    Cost: two passes over the picture. The norm is known: `sqrt(8)` at most.
    Source: Chambolle, 2004, An algorithm for total variation minimization and applications,
    J. Math. Imaging Vision 20, section 2; the norm: the largest eigenvalues of the Laplacians of a
    ring, `4 sin^2(pi floor(n/2) / n)`, and of a path, `4 sin^2(pi (n - 1) / (2 n))`.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    boundary: str = param(
        "zero",
        doc="the difference across the border: zero, or to the opposite side",
        choices=("zero", "circular"),
    )
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
        """`(2, C, H, W)`: along rows, then along columns."""
        return Space((2, *self._space.shape), self.dtype)

    def equivariance(self) -> Equivariance | None:
        """Commutes with every shift, when circular."""
        return Equivariance() if self.boundary == "circular" else None

    @classmethod
    def image_space_for(cls, y_space: Space, **params: object) -> Space:
        """Return `(C, H, W)` for a gradient `(2, C, H, W)`."""
        return Space(y_space.shape[1:], y_space.dtype)

    def _apply(self, x: Tensor) -> Tensor:
        if self.boundary == "circular":
            return torch.stack((x.roll(-1, -2) - x, x.roll(-1, -1) - x), -4)
        rows = F.pad(x[..., 1:, :] - x[..., :-1, :], (0, 0, 0, 1))
        columns = F.pad(x[..., 1:] - x[..., :-1], (0, 1))
        return torch.stack((rows, columns), -4)

    def _adjoint(self, y: Tensor) -> Tensor:
        rows, columns = y.unbind(-4)
        if self.boundary == "circular":
            return (rows.roll(1, -2) - rows) + (columns.roll(1, -1) - columns)
        rows, columns = rows[..., :-1, :], columns[..., :-1]
        down = F.pad(rows, (0, 0, 1, 0)) - F.pad(rows, (0, 0, 0, 1))
        return down + (F.pad(columns, (1, 0)) - F.pad(columns, (0, 1)))

    def _norm_bound(self) -> Tensor:
        _, height, width = self._space.shape
        squared = self._largest(height) + self._largest(width)
        # Rounding must not put the bound below the truth.
        bound = math.sqrt(squared) * (1 + 4 * torch.finfo(self.dtype).eps)
        return torch.zeros((), dtype=self.dtype).abs().new_tensor(bound)

    def _largest(self, n: int) -> float:
        angle = math.pi * (n // 2) / n if self.boundary == "circular" else math.pi * (n - 1) / n / 2
        return 4 * math.sin(angle) ** 2
