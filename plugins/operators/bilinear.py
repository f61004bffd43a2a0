"""Bilinear operators: convolution of a kernel with a picture, and the pointwise product."""

from __future__ import annotations

from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import BilinearOperator, ForwardOperator, Space, derived, param, tensor_param
from wellposed.errors import ParameterError, ShapeError

from .blur import Blur
from .checks import field_dtype, picture_space, whole
from .convolution import place

__all__ = ["CircularConvolution", "KernelConvolution", "Multiplication", "Product"]


def _two_sides(instance: object, attribute: Any, value: object) -> None:
    if len(Space(value).shape) != 2:  # type: ignore[arg-type]  # refuses what is no shape
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects (kh, kw); got {value}."
        )


@attrs.frozen(eq=False, kw_only=True)
class CircularConvolution(BilinearOperator):
    """Circular convolution, linear in the kernel w and in the picture x.

        y[c, i, j] = sum_{a, b} w[c, a, b] x[c, i + kh // 2 - a, j + kw // 2 - b]    (indices wrap)

    Shapes: w `(*batch, 1, kh, kw)`, or `(*batch, C, kh, kw)` with `per_channel`;
    x and y `(*batch, C, H, W)`. Kernels larger than the picture wrap around.
    Cost: three FFTs of the picture.
    Source: Asim, Shamshad and Ahmed, 2018, Blind image deconvolution using deep generative
    priors, equation (1).
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    kernel_shape: tuple[int, int] = param(
        (25, 25), doc="size (kh, kw) of w", unit="pixels", check=_two_sides
    )
    per_channel: bool = param(False, doc="one kernel for each channel")
    dtype: torch.dtype = param(torch.float32, doc="dtype of w, x and y", check=field_dtype)
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        return picture_space(self)

    @property
    def w_space(self) -> Space:
        """Kernels."""
        return Space((self.in_shape[0] if self.per_channel else 1, *self.kernel_shape), self.dtype)

    @property
    def x_space(self) -> Space:
        """Pictures."""
        return self._space

    @property
    def out_space(self) -> Space:
        """Pictures."""
        return self.x_space

    def _apply(self, w: Tensor, x: Tensor) -> Tensor:
        size = self.in_shape[1:]
        return _inverse(_fft(_lay(w, size)) * _fft(x), size, real=not self.dtype.is_complex)

    def at_w(self, w: Tensor) -> Blur:
        """Return the blur with kernel w, `(*w_space.shape)` or `(B, *w_space.shape)`."""
        kernel = _one_per_sample(w, self.w_space, "w", self.name)
        return Blur(in_shape=self.in_shape, kernel=kernel, boundary="circular")

    def at_x(self, x: Tensor) -> KernelConvolution:
        """Return the operator on kernels, for x `(*x_space.shape)` or `(B, *x_space.shape)`."""
        _one_per_sample(x, self.x_space, "x", self.name)
        return KernelConvolution(
            picture=x, kernel_shape=self.kernel_shape, per_channel=self.per_channel
        )


@attrs.frozen(eq=False, kw_only=True)
class KernelConvolution(ForwardOperator):
    """Circular convolution of kernels with a fixed picture: linear in the kernel.

    Shapes: w `(*batch, 1|C, kh, kw)` -> y `(*batch, C, H, W)`; picture `(C, H, W)` or
    `(B, C, H, W)`.
    Cost: two FFTs of the picture per call; the picture's own is remembered.
    """

    picture: Tensor = tensor_param(doc="the fixed picture, (C, H, W) or one per sample")
    kernel_shape: tuple[int, int] = param(
        doc="size (kh, kw) of the kernels", unit="pixels", check=_two_sides
    )
    per_channel: bool = param(False, doc="one kernel for each channel")

    def __attrs_post_init__(self) -> None:
        if self.picture.ndim not in (3, 4):
            raise ShapeError(
                "KernelConvolution.picture expects (C, H, W) or (B, C, H, W); "
                f"got {tuple(self.picture.shape)}."
            )

    @property
    def in_space(self) -> Space:
        """Kernels."""
        channels = self.picture.shape[-3] if self.per_channel else 1
        return Space((channels, *self.kernel_shape), self.picture.dtype)

    @property
    def out_space(self) -> Space:
        """Pictures."""
        return Space(tuple(self.picture.shape[-3:]), self.picture.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one picture per sample."""
        return tuple(self.picture.shape[:-3])

    @property
    def _spectrum(self) -> Tensor:
        return derived(self, "spectrum", lambda: _fft(self.picture), self.picture)

    def _apply(self, x: Tensor) -> Tensor:
        size = (self.picture.shape[-2], self.picture.shape[-1])
        product = _fft(_lay(x, size)) * self._spectrum
        return _inverse(product, size, real=not x.is_complex())

    def _adjoint(self, y: Tensor) -> Tensor:
        size = (self.picture.shape[-2], self.picture.shape[-1])
        product = self._spectrum.conj() * _fft(y)
        if not self.per_channel:
            product = product.sum(-3, keepdim=True)
        laid = _inverse(product, size, real=not y.is_complex())
        for dim, taps in zip((-2, -1), self.kernel_shape, strict=True):
            at = torch.arange(taps, device=y.device) - taps // 2
            laid = laid.index_select(dim, at.remainder(size[dim]))
        return laid


@attrs.frozen(eq=False, kw_only=True)
class Product(BilinearOperator):
    """Pointwise product `y = w x`: an unknown illumination, sensitivity or modulation.

    Shapes: w `(*batch, C, H, W)`, or `(*batch, 1, H, W)` without `per_channel`;
    x and y `(*batch, C, H, W)`.
    Cost: one pass.
    Source: the definition.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    per_channel: bool = param(False, doc="one weight for each channel")
    dtype: torch.dtype = param(torch.float32, doc="dtype of w, x and y", check=field_dtype)
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        return picture_space(self)

    @property
    def w_space(self) -> Space:
        """Weights."""
        channels, height, width = self.in_shape
        return Space((channels if self.per_channel else 1, height, width), self.dtype)

    @property
    def x_space(self) -> Space:
        """Pictures."""
        return self._space

    @property
    def out_space(self) -> Space:
        """Pictures."""
        return self.x_space

    def _apply(self, w: Tensor, x: Tensor) -> Tensor:
        return w * x

    def at_w(self, w: Tensor) -> Multiplication:
        """Return multiplication by w, `(*w_space.shape)` or `(B, *w_space.shape)`."""
        _one_per_sample(w, self.w_space, "w", self.name)
        return Multiplication(factor=w, channels=self.in_shape[0])

    def at_x(self, x: Tensor) -> Multiplication:
        """Return multiplication by x, as an operator on weights."""
        _one_per_sample(x, self.x_space, "x", self.name)
        return Multiplication(factor=x, channels=self.w_space.shape[0])


@attrs.frozen(eq=False, kw_only=True)
class Multiplication(ForwardOperator):
    """Pointwise multiplication by a fixed factor; one channel is spread over all of the factor's.

    Shapes: x `(*batch, channels, H, W)` -> y `(*batch, C, H, W)`, with C the larger of `channels`
    and the factor's; factor `(C|1, H, W)` or `(B, C|1, H, W)`.
    Cost: one pass.
    """

    factor: Tensor = tensor_param(doc="the factor, (C|1, H, W) or one per sample")
    channels: int = param(doc="channels of the picture that is multiplied", check=whole(1))

    def __attrs_post_init__(self) -> None:
        counts = {self.channels, *self.factor.shape[-3:-2], 1}
        if self.factor.ndim not in (3, 4) or len(counts) > 2:
            raise ShapeError(
                f"Multiplication.factor expects (C|1, H, W) or (B, C|1, H, W) for "
                f"{self.channels} channels, or any C for one; got {tuple(self.factor.shape)}."
            )

    @property
    def in_space(self) -> Space:
        """Pictures of `channels`."""
        return Space((self.channels, *self.factor.shape[-2:]), self.factor.dtype)

    @property
    def out_space(self) -> Space:
        """Pictures."""
        channels = max(self.channels, self.factor.shape[-3])
        return Space((channels, *self.factor.shape[-2:]), self.factor.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one factor per sample."""
        return tuple(self.factor.shape[:-3])

    def row_gram(self) -> Tensor | None:
        """The squared factor, unless a channel was spread."""
        if self.channels != self.out_space.shape[0]:
            return None
        return self.factor.abs().square()

    def _apply(self, x: Tensor) -> Tensor:
        return self.factor * x

    def _adjoint(self, y: Tensor) -> Tensor:
        x = self.factor.conj() * y
        return x if self.channels == x.shape[-3] else x.sum(-3, keepdim=True)


def _one_per_sample(value: Tensor, space: Space, name: str, who: str) -> Tensor:
    """Return a fixed argument with one batch axis. Raises: ShapeError, DtypeError."""
    space.check(value, who=who, name=name)
    if value.ndim > space.ndim + 1:
        raise ShapeError(
            f"{who} fixes {name} of shape {space.shape} or (B, ...) with one batch axis; "
            f"got {tuple(value.shape)}."
        )
    return value if value.ndim > space.ndim else value[None]


def _lay(w: Tensor, size: tuple[int, int]) -> Tensor:
    """Lay kernels on a periodic picture, their centres on the origin."""
    w = place(w, -1, size[1], -(w.shape[-1] // 2))
    return place(w, -2, size[0], -(w.shape[-2] // 2))


def _fft(x: Tensor) -> Tensor:
    result: Tensor = torch.fft.fft2(x) if x.is_complex() else torch.fft.rfft2(x)
    return result


def _inverse(spectrum: Tensor, size: tuple[int, int], *, real: bool) -> Tensor:
    result: Tensor = torch.fft.irfft2(spectrum, s=size) if real else torch.fft.ifft2(spectrum)
    return result
