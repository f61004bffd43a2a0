"""Cropping and padding."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, derived, param
from wellposed.errors import ParameterError, ShapeError

from .boundary import BOUNDARIES, extend, fold
from .checks import field_dtype, picture_space

__all__ = ["Crop", "Pad"]

_Margins = tuple[tuple[int, int], tuple[int, int]]


def _margins(value: int | tuple[int, ...]) -> _Margins:
    """Return (top, bottom), (left, right)."""
    if isinstance(value, int):
        return (value, value), (value, value)
    top, bottom, left, right = value
    return (top, bottom), (left, right)


def _margin(instance: object, attribute: Any, value: object) -> None:
    values = value if isinstance(value, tuple) else (value,) * 4
    whole = all(isinstance(n, int) and not isinstance(n, bool) and n >= 0 for n in values)
    if len(values) != 4 or not whole:
        raise ParameterError(
            f"{type(instance).__name__}.margin expects a number of pixels, or four: (top, bottom, "
            f"left, right), none negative; got {value!r}."
        )


def _changed(space: Space, margin: int | tuple[int, ...], sign: int, who: str) -> Space:
    (top, bottom), (left, right) = _margins(margin)
    channels, height, width = space.shape
    shape = (height + sign * (top + bottom), width + sign * (left + right))
    if min(shape) < 1:
        raise ShapeError(
            f"{who}: a margin of {margin} leaves nothing of a picture {space.shape}. "
            "Take a smaller one."
        )
    return Space((channels, *shape), space.dtype)


@attrs.frozen(eq=False, kw_only=True)
class Crop(ForwardOperator):
    """Cutting off a margin: pixels that were never measured, beside the picture.

        y[c, i, j] = x[c, top + i, left + j]

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, C, H - top - bottom, W - left - right)`.
    Raises: ShapeError, ParameterError.
    Cost: none. `data_prox` is closed.
    Source: the definition; for restoration beyond the frame: Almeida and Figueiredo, 2013,
    Deconvolving images with unknown boundaries, IEEE TIP 22(8).
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    margin: int | tuple[int, int, int, int] = param(
        doc="pixels cut off: one number, or (top, bottom, left, right)",
        unit="pixels",
        check=_margin,
    )
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _spaces: tuple[Space, Space] = attrs.field(init=False, repr=False)

    @_spaces.default
    def _make_spaces(self) -> tuple[Space, Space]:
        space = picture_space(self)
        return space, _changed(space, self.margin, -1, "Crop")

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._spaces[0]

    @property
    def out_space(self) -> Space:
        """Smaller pictures."""
        return self._spaces[1]

    def row_gram(self) -> float:
        """One."""
        return 1.0

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the larger picture."""
        return _changed(y_space, params.get("margin", 0), 1, "Crop")

    def _apply(self, x: Tensor) -> Tensor:
        return fold(x, *_margins(self.margin), "zero")

    def _adjoint(self, y: Tensor) -> Tensor:
        return extend(y, *_margins(self.margin), "zero")

    def _initial_estimate(self, y: Tensor) -> Tensor:
        return extend(y, *_margins(self.margin), "replicate")


@attrs.frozen(eq=False, kw_only=True)
class Pad(ForwardOperator):
    """Extension beyond the frame: circular, reflect, symmetric, replicate or zero.

    With the pixels `a b c d` of a row: circular `c d | a b c d | a b`, reflect
    `c b | a b c d | c b`, symmetric `b a | a b c d | d c`, replicate `a a | a b c d | d d`; margins
    wider than the picture wrap or mirror several times.

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, C, H + top + bottom, W + left + right)`.
    Raises: ShapeError, ParameterError.
    Cost: one pass.
    Source: NumPy's `pad`.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    margin: int | tuple[int, int, int, int] = param(
        doc="pixels added: one number, or (top, bottom, left, right)", unit="pixels", check=_margin
    )
    boundary: str = param(
        "reflect",
        doc="what stands beyond the frame",
        choices=tuple(name for name in BOUNDARIES if name != "valid"),
    )
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _spaces: tuple[Space, Space] = attrs.field(init=False, repr=False)

    @_spaces.default
    def _make_spaces(self) -> tuple[Space, Space]:
        space = picture_space(self)
        return space, _changed(space, self.margin, 1, "Pad")

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._spaces[0]

    @property
    def out_space(self) -> Space:
        """Larger pictures."""
        return self._spaces[1]

    def column_gram(self) -> float | None:
        """One, with zeros: no pixel is copied."""
        return 1.0 if self.boundary == "zero" else None

    @property
    def has_closed_prox(self) -> bool:
        """True: A^H A is diagonal, since each value of y is one pixel of x."""
        return True

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the smaller picture."""
        return _changed(y_space, params.get("margin", 0), -1, "Pad")

    def _apply(self, x: Tensor) -> Tensor:
        return extend(x, *_margins(self.margin), self.boundary)

    def _adjoint(self, y: Tensor) -> Tensor:
        return fold(y, *_margins(self.margin), self.boundary)

    def _copies(self, device: torch.device | None) -> Tensor:
        """Return how often each pixel appears in y, the diagonal of A^H A; `(1, H, W)`."""
        ones = torch.ones((1, *self.out_space.shape[1:]), dtype=self.dtype, device=device)
        return fold(ones, *_margins(self.margin), self.boundary).real

    def _gram(self, x: Tensor) -> Tensor:
        return x * derived(self, f"copies {x.device}", lambda: self._copies(x.device))

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        copies = derived(self, f"copies {v.device}", lambda: self._copies(v.device))
        return (v + tau * self._adjoint(y)) / (1 + tau * copies)

    def _norm_bound(self) -> Tensor:
        return self._copies(None).amax().sqrt() * (1 + torch.finfo(self.dtype).eps)

    def _initial_estimate(self, y: Tensor) -> Tensor:
        return fold(y, *_margins(self.margin), "zero")
