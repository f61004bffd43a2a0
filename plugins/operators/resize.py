"""`Resize`: resampling to any size."""

from __future__ import annotations

import math
from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, derived, param
from wellposed.errors import ParameterError, ShapeError

from .checks import field_dtype, picture_space, real_dtype
from .resize_weights import METHODS, resize_matrix

__all__ = ["Resize"]


def _factor(instance: object, attribute: Any, value: object) -> None:
    if value is None:
        return
    values = value if isinstance(value, tuple) else (value, value)
    if len(values) != 2 or not all(
        isinstance(v, (int, float)) and not isinstance(v, bool) and 0 < v < math.inf for v in values
    ):
        raise ParameterError(
            f"Resize.scale expects one positive factor, or one for rows and one for columns; "
            f"got {value!r}."
        )


def _size(instance: object, attribute: Any, value: object) -> None:
    if value is None:
        return
    pair = isinstance(value, tuple) and len(value) == 2
    if not pair or any(isinstance(n, bool) or not isinstance(n, int) or n < 1 for n in value):  # type: ignore[attr-defined]
        raise ParameterError(
            f"Resize.size expects (height, width) in whole pixels, 1 or more; got {value!r}."
        )


@attrs.frozen(eq=False, kw_only=True)
class Resize(ForwardOperator):
    """Resampling by any factor, up or down, antialiased: MATLAB's imresize.

        y[c, i, j] = sum_{m, n} R[i, m] S[j, n] x[c, m, n]

    Output i is centred on input `(i + 1/2) / scale - 1/2`; when shrinking, the kernel is stretched
    by `1 / scale`; weights sum to 1; beyond the frame the picture is mirrored (symmetric).

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, C, ceil(scale H), ceil(scale W))`, or `size`,
    whose factors are then `size / (H, W)`.
    Raises: ShapeError, ParameterError.
    Cost: two dense matrix products, `2 C h W (H + w)` multiplications and additions. `data_prox`
    is closed, by the singular vectors of R and S.
    Source: Keys, 1981, Cubic convolution interpolation for digital image processing, IEEE TASSP
    29(6), equation (15) (a = -1/2), stretched and normalised as MATLAB's imresize. One departure:
    `ceil` forgives rounding, so that 0.1 of 30 pixels are 3.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    scale: float | tuple[float, float] | None = param(
        None,
        doc="factor, or one each for rows and columns; default 1/2 without a size",
        check=_factor,
    )
    size: tuple[int, int] | None = param(
        None, doc="height and width of y, instead of a factor", unit="pixels", check=_size
    )
    method: str = param("bicubic", doc="interpolation kernel", choices=METHODS)
    antialias: bool | None = param(
        None, doc="stretch the kernel when shrinking; default: unless the method is nearest"
    )
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _spaces: tuple[Space, Space] = attrs.field(init=False, repr=False)

    @_spaces.default
    def _make_spaces(self) -> tuple[Space, Space]:
        space = picture_space(self)
        if self.size is not None and self.scale is not None:
            raise ParameterError("Resize expects a scale or a size; got both.")
        channels, *sides = space.shape
        if self.size is not None:
            return space, Space((channels, *self.size), self.dtype)
        sizes = [_ceil(s * n) for s, n in zip(_pair(self.scale), sides, strict=True)]
        return space, Space((channels, *sizes), self.dtype)

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._spaces[0]

    @property
    def out_space(self) -> Space:
        """Resampled pictures."""
        return self._spaces[1]

    @property
    def has_closed_prox(self) -> bool:
        """True."""
        return True

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the picture of `1 / scale` times the size.

        Raises: ShapeError when only a `size` is given, which any picture could have.
        """
        if y_space.ndim != 3:
            raise ShapeError(f"Resize gives pictures (C, H, W); got {y_space.shape}.")
        if params.get("size") is not None:
            raise ShapeError(
                "Resize to a size says nothing about the picture's own; give in_shape=(C, H, W), "
                "or a scale."
            )
        _factor(None, None, params.get("scale"))  # before it is divided by
        channels, *sides = y_space.shape
        pairs = zip(_pair(params.get("scale")), sides, strict=True)
        return Space((channels, *[_whole_inverse(s, n) for s, n in pairs]), y_space.dtype)

    def _apply(self, x: Tensor) -> Tensor:
        rows, columns = self._matrices(x.device)
        return rows @ x @ columns.mT

    def _adjoint(self, y: Tensor) -> Tensor:
        rows, columns = self._matrices(y.device)
        return rows.mT @ y @ columns

    def _initial_estimate(self, y: Tensor) -> Tensor:
        """Return y resampled back bicubically: for a picture, better than the scaled adjoint."""
        rows, columns = self._back(y.device)
        return rows @ y @ columns.mT

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        # A = U S V^T per axis: v + V tau S / (1 + tau S^2) U^T (y - A v). By the eigenvectors of
        # A A^H alone, what no picture gives (when enlarging) would come back times tau eps.
        (p, row, back), (q, column, across) = self._singular(v.device)
        residual = p.mT @ (y - self._apply(v)) @ q
        values = (row[:, None] * column).to(residual.real.dtype)
        residual = residual * (tau * values / (1 + tau * values.square()))
        return v + back @ residual @ across.mT

    def _norm_bound(self) -> Tensor:
        # The smaller Gram matrix alone: singular vectors of a large picture take many seconds.
        grams = (m @ m.mT if len(m) < m.shape[1] else m.mT @ m for m in self._exact())
        row, column = (torch.linalg.eigvalsh(gram)[-1].sqrt() for gram in grams)
        bound: Tensor = (row * column).to(real_dtype(self.dtype))
        return bound * (1 + 8 * torch.finfo(bound.dtype).eps)

    def _matrices(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return R and S, of the dtype of the picture."""

        def compute() -> tuple[Tensor, Tensor]:
            rows, columns = (m.to(device=device, dtype=self.dtype) for m in self._exact())
            return rows, columns

        return derived(self, f"matrices {device}", compute)

    def _back(self, device: torch.device) -> tuple[Tensor, Tensor]:
        """Return the matrices that resample rows and columns of y to the size of the picture."""

        def compute() -> tuple[Tensor, Tensor]:
            sides, sizes = self.in_space.shape[1:], self.out_space.shape[1:]
            rows, columns = (
                torch.from_numpy(resize_matrix(n, side, 1 / scale, "bicubic", True))
                for n, side, scale in zip(sizes, sides, self._scales(), strict=True)
            )
            return rows.to(device, self.dtype), columns.to(device, self.dtype)

        return derived(self, f"back {device}", compute)

    def _scales(self) -> tuple[float, float]:
        if self.size is None:
            return _pair(self.scale)
        sides, sizes = self.in_space.shape[1:], self.out_space.shape[1:]
        return sizes[0] / sides[0], sizes[1] / sides[1]

    def _exact(self) -> tuple[Tensor, Tensor]:
        sides, sizes = self.in_space.shape[1:], self.out_space.shape[1:]
        scales = self._scales()
        antialias = self.method != "nearest" if self.antialias is None else self.antialias
        rows, columns = (
            torch.from_numpy(resize_matrix(n, new, scale, self.method, antialias))
            for n, new, scale in zip(sides, sizes, scales, strict=True)
        )
        return rows, columns

    def _singular(self, device: torch.device) -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
        """Return the singular vectors (and values, in float64) of R and S: `U, s, V`."""

        def factors(matrix: Tensor) -> tuple[Tensor, Tensor, Tensor]:
            u, values, vh = torch.linalg.svd(matrix, full_matrices=False)
            u, v = (m.to(device=device, dtype=self.dtype) for m in (u, vh.mT))
            return u, values.to(device), v

        def compute() -> tuple[tuple[Tensor, Tensor, Tensor], ...]:
            rows, columns = self._exact()
            first = factors(rows)
            return first, first if torch.equal(rows, columns) else factors(columns)

        return derived(self, f"singular {device}", compute)


def _pair(scale: float | tuple[float, float] | None) -> tuple[float, float]:
    if scale is None:
        return 0.5, 0.5
    return scale if isinstance(scale, tuple) else (scale, scale)


def _ceil(value: float) -> int:
    return max(math.ceil(value * (1 - 1e-12)), 1)


def _whole_inverse(scale: float, size: int) -> int:
    """Return the number of pixels of which `scale` times are `size`."""
    near = [round(size / scale), math.floor(size / scale)]
    return next((n for n in near if n > 0 and _ceil(scale * n) == size), max(near[0], 1))
