"""Mixing of channels: spectral responses, and the grey picture of a colour one."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import Equivariance, ForwardOperator, Space, identity_plus, param, tensor_param
from wellposed.errors import DtypeError, ShapeError

from .checks import batch_of, field_dtype, picture_space, real_dtype

__all__ = ["ChannelMix", "Grayscale"]

# ITU-R recommendation BT.601, luma of R'G'B'.
_LUMA = (0.299, 0.587, 0.114)


def _default_dtype(op: ChannelMix) -> torch.dtype:
    response = op.response
    return response.dtype if isinstance(response, Tensor) else torch.float32


@attrs.frozen(eq=False, kw_only=True)
class ChannelMix(ForwardOperator):
    """A matrix applied to the channels of every pixel: spectral filters, colour transforms.

        y[o, i, j] = sum_c R[o, c] x[c, i, j]

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, O, H, W)`; response `(O, C)`, or `(1|B, O, C)`.
    Units: those of the response.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: one small matrix product per pixel. `data_prox` is closed: one system of the smaller of
    O and C unknowns for each sample, the same in every pixel.
    Source: the definition; the proximal map: v + tau R^T (I + tau R R^T)^-1 (y - R v).
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    response: Tensor = tensor_param(doc="spectral response (O, C), or (1|B, O, C), real")
    dtype: torch.dtype = param(
        attrs.Factory(_default_dtype, takes_self=True),
        doc="dtype of the picture, real or complex; default: that of the response",
        check=field_dtype,
    )
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        space, response = picture_space(self), self.response
        if response.ndim not in (2, 3) or response.shape[-1] != space.shape[0]:
            raise ShapeError(
                f"ChannelMix.response expects (O, C) or (1|B, O, C) with C = {space.shape[0]}, the "
                f"channels of the picture; got {tuple(response.shape)}."
            )
        if response.dtype != real_dtype(self.dtype):
            raise DtypeError(
                f"ChannelMix.response expects {real_dtype(self.dtype)} for pictures of "
                f"{self.dtype}; got {response.dtype}. Convert it, or give dtype=."
            )
        return space

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._space

    @property
    def out_space(self) -> Space:
        """`(O, H, W)`."""
        return Space((self.response.shape[-2], *self._space.shape[1:]), self.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one response per sample."""
        return batch_of(self.response, 2)

    def equivariance(self) -> Equivariance:
        """Commutes with every shift; mixes channels."""
        return Equivariance(channelwise=False)

    @property
    def has_closed_prox(self) -> bool:
        """True."""
        return True

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return as many channels as the response takes."""
        response = params.get("response")
        channels = response.shape[-1] if isinstance(response, Tensor) else y_space.shape[0]
        return Space((channels, *y_space.shape[1:]), y_space.dtype)

    def _apply(self, x: Tensor) -> Tensor:
        return _mix(self._matrix, x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return _mix(self._matrix.mT, y)

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        matrix = self._matrix
        step = tau.squeeze(-1) if tau.ndim else tau
        # The smaller of the two systems; each is one matrix per sample, shared by all pixels.
        wide = matrix.shape[-2] <= matrix.shape[-1]
        gram = matrix @ matrix.mT if wide else matrix.mT @ matrix
        inverse, _ = torch.linalg.inv_ex(identity_plus(step, gram))
        if wide:
            return v + tau * _mix(matrix.mT, _mix(inverse, y - _mix(matrix, v)))
        return v + tau * _mix(inverse, _mix(matrix.mT, y - _mix(matrix, v)))

    def _norm_bound(self) -> Tensor:
        matrix = self._matrix
        # LAPACK refuses a whole batch for one sample that is not finite.
        finite = torch.isfinite(matrix).all(-1).all(-1)[..., None, None]
        norm: Tensor = torch.linalg.matrix_norm(torch.where(finite, matrix, 0), 2)
        norm = torch.where(finite[..., 0, 0], norm, torch.nan)
        return norm * (1 + 8 * torch.finfo(norm.dtype).eps)

    @property
    def _matrix(self) -> Tensor:
        return (
            self.response[0]
            if self.response.ndim == 3 and not self.batch_shape
            else (self.response)
        )


@attrs.frozen(eq=False, kw_only=True)
class Grayscale(ForwardOperator):
    """The grey picture of a colour one: `y = 0.299 R + 0.587 G + 0.114 B`.

    Shapes: x `(*batch, 3, H, W)` -> y `(*batch, 1, H, W)`.
    Raises: ShapeError, ParameterError.
    Cost: one pass. `data_prox` is closed.
    Source: ITU-R recommendation BT.601, section 2.5.1 (luma).
    """

    in_shape: tuple[int, int, int] = param(doc="shape (3, H, W) of the picture", unit="pixels")
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        space = picture_space(self)
        if space.shape[0] != 3:
            raise ShapeError(
                f"Grayscale.in_shape expects a colour picture (3, H, W); got {space.shape}. "
                "For other channels take channel_mix."
            )
        return space

    @property
    def in_space(self) -> Space:
        """Colour pictures."""
        return self._space

    @property
    def out_space(self) -> Space:
        """Grey pictures `(1, H, W)`."""
        return Space((1, *self._space.shape[1:]), self.dtype)

    def row_gram(self) -> float:
        """Return the sum of the squared weights."""
        return sum(w**2 for w in _LUMA)

    def equivariance(self) -> Equivariance:
        """Commutes with every shift; mixes channels."""
        return Equivariance(channelwise=False)

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return three channels."""
        return Space((3, *y_space.shape[1:]), y_space.dtype)

    def _apply(self, x: Tensor) -> Tensor:
        red, green, blue = x.split(1, -3)
        result: Tensor = _LUMA[0] * red + _LUMA[1] * green + _LUMA[2] * blue
        return result

    def _adjoint(self, y: Tensor) -> Tensor:
        return torch.cat([w * y for w in _LUMA], -3)

    def _initial_estimate(self, y: Tensor) -> Tensor:
        # The weights sum to 1: the grey picture in all channels fits y, and has no tint.
        return y.expand(*y.shape[:-3], 3, *y.shape[-2:]).clone()


def _mix(matrix: Tensor, x: Tensor) -> Tensor:
    """Apply a real matrix, or one per sample, to the channels of `(*, C, H, W)`."""
    flat = matrix.to(x.dtype) @ x.flatten(-2)
    result: Tensor = flat.unflatten(-1, x.shape[-2:])
    return result
