"""`GaussianSensing`: random Gaussian measurements."""

from __future__ import annotations

import math
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, derived, param
from wellposed.errors import ParameterError

from .checks import field_dtype, picture_space, real_dtype, whole
from .matrix import unknown_picture

__all__ = ["GaussianSensing"]

_MOST_ENTRIES = 2**28


@attrs.frozen(eq=False, kw_only=True)
class GaussianSensing(ForwardOperator):
    """Inner products with random pictures: compressed sensing.

        y = M x.flatten(),   M[i, j] ~ N(0, 1 / m), independent, from the seed

    or, `orthonormal`, rows that span the same space and satisfy `M M^T = I`.

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, m)`.
    Units: `|y|` is about `|x|`; orthonormal: about `sqrt(m / n) |x|`.
    Raises: ShapeError, ParameterError.
    Cost: `2 m n` operations and `m n` values of memory. `data_prox` is closed when orthonormal.
    Source: Candes and Wakin, 2008, An introduction to compressive sampling, IEEE SPM 25(2),
    equation (11) and what follows.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    measurements: int | None = param(
        None, doc="their number m; default: a quarter of the picture's values", check=whole(1)
    )
    orthonormal: bool = param(False, doc="make the rows orthonormal")
    seed: int = param(0, doc="seed of the random draw", check=whole(0))
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _spaces: tuple[Space, Space] = attrs.field(init=False, repr=False)

    @_spaces.default
    def _make_spaces(self) -> tuple[Space, Space]:
        space = picture_space(self)
        n = space.numel
        m = max(n // 4, 1) if self.measurements is None else self.measurements
        if self.orthonormal and m > n:
            raise ParameterError(
                f"GaussianSensing expects at most {n} orthonormal measurements, the values of a "
                f"picture {space.shape}; got {m}."
            )
        if m * n > _MOST_ENTRIES:
            raise ParameterError(
                f"GaussianSensing of {m} measurements of a picture {space.shape} would need a "
                f"matrix of {m * n} entries, more than {_MOST_ENTRIES}. Measure smaller pieces of "
                "the picture."
            )
        return space, Space((m,), self.dtype)

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._spaces[0]

    @property
    def out_space(self) -> Space:
        """`(m,)`."""
        return self._spaces[1]

    def row_gram(self) -> float | None:
        """One, when orthonormal."""
        return 1.0 if self.orthonormal else None

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Raise ShapeError: y does not tell."""
        raise unknown_picture("GaussianSensing")

    def _apply(self, x: Tensor) -> Tensor:
        return x.flatten(-self.in_space.ndim) @ self._matrix(x.device).mT

    def _adjoint(self, y: Tensor) -> Tensor:
        result: Tensor = (y @ self._matrix(y.device)).unflatten(-1, self.in_space.shape)
        return result

    def _matrix(self, device: torch.device) -> Tensor:
        def compute() -> Tensor:
            return self._draw().to(device=device, dtype=self.dtype)

        return derived(self, f"matrix {device}", compute)

    def _draw(self) -> Tensor:
        m, n = self.out_space.numel, self.in_space.numel
        # NumPy's generator: torch's is refused inside torch.func.vmap. Single precision draws
        # the same numbers, rounded.
        matrix = np.random.default_rng(self.seed).standard_normal((m, n))
        if self.orthonormal:
            matrix = np.linalg.qr(matrix.T)[0].T
        else:
            matrix /= math.sqrt(m)
        return torch.from_numpy(np.ascontiguousarray(matrix)).to(real_dtype(self.dtype))
