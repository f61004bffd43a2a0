"""`Binning`: the mean over blocks of pixels."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, param, tensor_param
from wellposed.errors import ParameterError, ShapeError

__all__ = ["Binning"]


def _whole(instance: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ParameterError(f"Binning.factor expects a whole number of at least 1; got {value!r}.")


@attrs.frozen(eq=False, kw_only=True)
class Binning(ForwardOperator):
    """Mean over blocks of pixels, times a gain: what a sensor with binning measures.

        y[c, i, j] = gain / factor^2  sum over p, q < factor of  x[c, factor i + p, factor j + q]

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, C, H / factor, W / factor)`; gain `(B,)` goes with
    x `(*batch, B, C, H, W)`.
    Raises: ParameterError; ShapeError when factor does not divide H and W, or gain has more axes.
    Cost: one pass over the picture. `data_prox` is closed.
    Source: the definition.
    """

    in_shape: tuple[int, ...] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    factor: int = param(2, doc="side of a block", unit="pixels", check=_whole)
    gain: Tensor | None = tensor_param(default=None, doc="one gain per sample, (B,); none is 1")
    dtype: torch.dtype = param(torch.float32, doc="dtype of the picture, real or complex")

    def __attrs_post_init__(self) -> None:
        sides = self.in_shape[1:]
        if len(sides) != 2 or any(side % self.factor for side in sides):
            raise ShapeError(
                f"Binning by {self.factor} expects in_shape (C, H, W) with H and W divisible by "
                f"it; got {self.in_shape}. Crop the picture."
            )
        if self.gain is not None and self.gain.ndim != 1:
            raise ShapeError(
                f"Binning.gain expects one value per sample, (B,); got {tuple(self.gain.shape)}."
            )

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return Space(self.in_shape, self.dtype)

    @property
    def out_space(self) -> Space:
        """Pictures that are `factor` times smaller."""
        c, h, w = self.in_shape
        return Space((c, h // self.factor, w // self.factor), self.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """One gain per sample, if there are any."""
        return () if self.gain is None else tuple(self.gain.shape)

    def row_gram(self) -> Tensor | float:
        """A A^H is diagonal, since blocks do not overlap: that gives `data_prox` a closed form."""
        scale = self._scale
        return scale * scale * self.factor**2

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the space of the picture behind a measurement."""
        factor = params.get("factor", 2)
        c, h, w = y_space.shape
        return Space((c, h * factor, w * factor), y_space.dtype)

    def _apply(self, x: Tensor) -> Tensor:
        f = self.factor
        c, h, w = self.out_space.shape
        return self._scale * x.reshape(*x.shape[:-3], c, h, f, w, f).sum((-3, -1))

    def _adjoint(self, y: Tensor) -> Tensor:
        f = self.factor
        return (self._scale * y).repeat_interleave(f, -2).repeat_interleave(f, -1)

    @property
    def _scale(self) -> Tensor | float:
        """The weight of a pixel, with the axes of a picture."""
        if self.gain is None:
            return 1.0 / self.factor**2
        return self.gain[:, None, None, None] / self.factor**2
