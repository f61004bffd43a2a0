"""Fourier sampling: magnetic resonance imaging with one coil or several."""

from __future__ import annotations

import math
from typing import Any, ClassVar, Self

import attrs
import torch
from torch import Tensor
from wellposed import Equivariance, ForwardOperator, Space, derived, param, tensor_param
from wellposed.errors import DtypeError, ParameterError, ShapeError

from .checks import above, batch_of, complex_partner, field_dtype, picture_space, real_dtype, whole
from .sampling_patterns import PATTERNS, cartesian_mask

__all__ = ["Complexify", "FourierSampling", "MulticoilFourier", "birdcage_maps"]

_PLANE = (-2, -1)


def centred_fft(x: Tensor) -> Tensor:
    """Return the orthonormal transform, its origin and frequency 0 both at index `n // 2`."""
    shifted = torch.fft.ifftshift(x, _PLANE)
    result: Tensor = torch.fft.fftshift(torch.fft.fft2(shifted, norm="ortho"), _PLANE)
    return result


def centred_ifft(y: Tensor) -> Tensor:
    """Return the inverse, and adjoint, of `centred_fft`."""
    shifted = torch.fft.ifftshift(y, _PLANE)
    result: Tensor = torch.fft.fftshift(torch.fft.ifft2(shifted, norm="ortho"), _PLANE)
    return result


def complex_dtype(instance: object, attribute: Any, value: object) -> None:
    """Validate a complex dtype."""
    field_dtype(instance, attribute, value)
    if value not in (torch.complex64, torch.complex128):
        who = type(instance).__name__
        raise DtypeError(
            f"{who}.{attribute.name} expects complex64 or complex128; got {value!r}. Measure real "
            f"pictures by {who}(...) @ Complexify(...), or op=['fourier_sampling', 'complexify']."
        )


class _Sampling(ForwardOperator):
    """What both share: the mask, given or drawn."""

    in_shape: tuple[int, int, int]
    mask: Tensor | None
    acceleration: float | None
    centre_fraction: float | None
    pattern: str
    seed: int
    dtype: torch.dtype
    _space: Space

    @property
    def in_space(self) -> Space:
        """Complex pictures of `in_shape`."""
        return self._space

    @classmethod
    def for_image(cls, space: Space, **params: Any) -> Self:
        """Build the operator; for a real picture, that of the complex partner of its dtype."""
        return super().for_image(Space(space.shape, complex_partner(space.dtype)), **params)

    def sampled(self, device: torch.device | None = None) -> Tensor:
        """Return the mask, `(H, W)`, `(1, H, W)` or `(B, 1, H, W)`, real."""
        if self.mask is not None:
            mask = _without_one(self.mask)
            return mask if mask.is_floating_point() else mask.to(self._real)
        return derived(self, f"mask {device}", lambda: self._draw().to(device))

    @property
    def _real(self) -> torch.dtype:
        return real_dtype(self.dtype)

    def _draw(self) -> Tensor:
        _, height, width = self._space.shape
        mask = cartesian_mask(
            width,
            acceleration=4.0 if self.acceleration is None else self.acceleration,
            centre_fraction=0.08 if self.centre_fraction is None else self.centre_fraction,
            pattern=self.pattern,
            seed=self.seed,
        )
        return mask.to(self._real).expand(height, width).contiguous()

    def _checked_space(self) -> Space:
        who = type(self).__name__
        space = picture_space(self)
        if self.mask is None:
            return space
        if self.acceleration is not None or self.centre_fraction is not None:
            raise ParameterError(
                f"{who} expects a mask or an acceleration (with a centre fraction); got both."
            )
        shape, plane = tuple(self.mask.shape), space.shape[1:]
        if not 2 <= len(shape) <= 4 or shape[-2:] != plane or shape[-3:-2] not in ((), (1,)):
            raise ShapeError(
                f"{who}.mask expects (H, W), (1, H, W) or (1|B, 1, H, W) for pictures "
                f"{space.shape}; got {shape}."
            )
        if self.mask.dtype not in (torch.bool, self._real):
            raise DtypeError(
                f"{who}.mask expects {self._real} or bool for pictures of {self.dtype}; "
                f"got {self.mask.dtype}."
            )
        return space


@attrs.frozen(eq=False, kw_only=True)
class FourierSampling(_Sampling):
    """Samples of the Fourier transform: magnetic resonance imaging with one coil.

        y = m F x

    F is the orthonormal two-dimensional transform of each channel, centred: the origin of x and
    frequency 0 of y both stand at index (H // 2, W // 2), as in fastMRI. The mask is given, or
    Cartesian: whole columns of y, one in `acceleration` of them, and a full band at the centre.
    Values that are not measured are zero.

    Shapes: x `(*batch, C, H, W)`, complex -> y of the same shape; mask `(H, W)`, `(1, H, W)` or
    `(1|B, 1, H, W)`, any real weights.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: one FFT. `data_prox` is closed: it averages in the Fourier domain.
    Source: Lustig et al., 2007, Sparse MRI, MRM 58(6), equation (2); masks: Zbontar et al., 2018,
    fastMRI, arXiv:1811.08839, section 5.
    """

    sample: ClassVar[str] = "shepp_logan"

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    mask: Tensor | None = tensor_param(
        default=None,
        doc="weight of each frequency (H, W), (1, H, W) or (1|B, 1, H, W); default: Cartesian",
    )
    acceleration: float | None = param(
        None, doc="one column in so many is measured; default 4", check=above(1)
    )
    centre_fraction: float | None = param(
        None, doc="fraction of the columns in the full band; default 0.08", check=above(0, 1)
    )
    pattern: str = param("random", doc="how columns are chosen", choices=PATTERNS)
    seed: int = param(0, doc="seed of the random draw", check=whole(0))
    dtype: torch.dtype = param(torch.complex64, doc="complex dtype", check=complex_dtype)
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        return self._checked_space()

    @property
    def out_space(self) -> Space:
        """The same as of x."""
        return self._space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one mask per sample."""
        return () if self.mask is None else batch_of(self.mask, 3)

    def row_gram(self) -> Tensor:
        """Return the squared mask."""
        return self.sampled(None).square()

    def _apply(self, x: Tensor) -> Tensor:
        return centred_fft(x) * self.sampled(x.device)

    def _adjoint(self, y: Tensor) -> Tensor:
        return centred_ifft(y * self.sampled(y.device))

    def _gram(self, x: Tensor) -> Tensor:
        return centred_ifft(centred_fft(x) * self.sampled(x.device).square())

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        mask = self.sampled(v.device)
        return centred_ifft((centred_fft(v) + tau * mask * y) / (1 + tau * mask.square()))


def birdcage_maps(coils: int, height: int, width: int, *, radius: float = 2.0) -> Tensor:
    """Return smooth sensitivity maps of coils evenly around the picture, `(K, H, W)`, complex128.

    Each decays as the inverse distance from its coil, and its phase is the direction to the coil,
    turned so that the coil itself is at phase 0; `sum_k |s_k|^2 = 1` in every pixel. `radius` is
    that of the ring of coils, in half widths of the picture.
    Source: Roemer et al., 1990, The NMR phased array, MRM 16(2): fields of distant small coils.
    """
    y = (torch.arange(height, dtype=torch.float64) - height // 2)[:, None] / max(height / 2, 1)
    x = (torch.arange(width, dtype=torch.float64) - width // 2)[None, :] / max(width / 2, 1)
    turn = 2 * math.pi * torch.arange(coils, dtype=torch.float64)[:, None, None] / coils
    dx, dy = x - radius * torch.cos(turn), y - radius * torch.sin(turn)
    phase = torch.atan2(dy, dx) - turn
    maps = torch.polar((dx.square() + dy.square()).rsqrt(), phase)
    result: Tensor = maps / torch.linalg.vector_norm(maps, dim=0)
    return result


@attrs.frozen(eq=False, kw_only=True)
class MulticoilFourier(_Sampling):
    """Samples of the Fourier transform seen through several coils: parallel imaging.

        y_k = m F (s_k x)

    with the sensitivity map s_k of coil k; F and the mask as for `fourier_sampling`.

    Shapes: x `(*batch, 1, H, W)`, complex -> y `(*batch, K, H, W)`; sensitivities `(K, H, W)` or
    `(1|B, K, H, W)`; mask as for `fourier_sampling`.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: one FFT for each coil.
    Source: Pruessmann et al., 1999, SENSE: sensitivity encoding for fast MRI, MRM 42(5),
    equation (2); masks: see `FourierSampling`.
    """

    sample: ClassVar[str] = "shepp_logan"

    in_shape: tuple[int, int, int] = param(doc="shape (1, H, W) of the picture", unit="pixels")
    sensitivities: Tensor | None = tensor_param(
        default=None,
        doc="complex coil maps (K, H, W) or (1|B, K, H, W); default: computed, see `coils`",
    )
    coils: int | None = param(
        None, doc="number of coils of a computed birdcage; default 8", check=whole(1)
    )
    mask: Tensor | None = tensor_param(
        default=None,
        doc="weight of each frequency (H, W), (1, H, W) or (1|B, 1, H, W); default: Cartesian",
    )
    acceleration: float | None = param(
        None, doc="one column in so many is measured; default 4", check=above(1)
    )
    centre_fraction: float | None = param(
        None, doc="fraction of the columns in the full band; default 0.08", check=above(0, 1)
    )
    pattern: str = param("random", doc="how columns are chosen", choices=PATTERNS)
    seed: int = param(0, doc="seed of the random draw", check=whole(0))
    dtype: torch.dtype = param(torch.complex64, doc="complex dtype", check=complex_dtype)
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        space = self._checked_space()
        if space.shape[0] != 1:
            raise ShapeError(
                f"MulticoilFourier.in_shape expects one channel (1, H, W); got {space.shape}."
            )
        maps = self.sensitivities
        if maps is None:
            return space
        if self.coils is not None:
            raise ParameterError(
                "MulticoilFourier expects sensitivities or a number of coils; got both."
            )
        if maps.ndim not in (3, 4) or tuple(maps.shape[-2:]) != space.shape[1:]:
            raise ShapeError(
                "MulticoilFourier.sensitivities expects (K, H, W) or (1|B, K, H, W) for pictures "
                f"{space.shape}; got {tuple(maps.shape)}."
            )
        if maps.dtype != self.dtype:
            raise DtypeError(
                f"MulticoilFourier.sensitivities expects {self.dtype}, the operator's dtype; "
                f"got {maps.dtype}."
            )
        sizes = {*batch_of(maps, 3), *(() if self.mask is None else batch_of(self.mask, 3))}
        if len(sizes) > 1:
            raise ShapeError(
                "MulticoilFourier expects sensitivities and mask of one batch size; "
                f"got {tuple(maps.shape)} and {tuple(self.mask.shape)}."  # type: ignore[union-attr]
            )
        return space

    @property
    def out_space(self) -> Space:
        """`(K, H, W)`."""
        maps = self.sensitivities
        count = (8 if self.coils is None else self.coils) if maps is None else maps.shape[-3]
        return Space((count, *self._space.shape[1:]), self.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for maps or a mask per sample."""
        given = [batch_of(t, 3) for t in (self.sensitivities, self.mask) if t is not None]
        return max(given, default=())

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return one channel. Raises: ShapeError when y has no three axes."""
        if y_space.ndim != 3:
            raise ShapeError(f"MulticoilFourier measures coils (K, H, W); got {y_space.shape}.")
        return Space((1, *y_space.shape[1:]), y_space.dtype)

    def maps(self, device: torch.device | None = None) -> Tensor:
        """Return the sensitivity maps, `(K, H, W)` or `(B, K, H, W)`."""
        if self.sensitivities is not None:
            return _without_one(self.sensitivities)
        count, height, width = self.out_space.shape

        def compute() -> Tensor:
            return birdcage_maps(count, height, width).to(device=device, dtype=self.dtype)

        return derived(self, f"maps {device}", compute)

    def _apply(self, x: Tensor) -> Tensor:
        return centred_fft(x * self.maps(x.device)) * self.sampled(x.device)

    def _adjoint(self, y: Tensor) -> Tensor:
        coils = centred_ifft(y * self.sampled(y.device))
        return (coils * self.maps(y.device).conj()).sum(-3, keepdim=True)


@attrs.frozen(eq=False, kw_only=True)
class Complexify(ForwardOperator):
    """A real picture as a complex one, so that complex operators can measure it.

        y = x + 0i,   adjoint: x = Re y

    `op=["fourier_sampling", "complexify"]` measures real pictures.

    Shapes: x `(*batch, C, H, W)`, real -> y of the same shape, complex.
    Raises: ShapeError, ParameterError.
    Cost: one pass. `data_prox` is closed.
    Source: the definition; linear over the real numbers, so that the adjoint takes real parts.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    dtype: torch.dtype = param(torch.float32, doc="real dtype of the picture", check=field_dtype)
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        space = picture_space(self)
        if self.dtype.is_complex:
            raise DtypeError(f"Complexify.dtype expects float32 or float64; got {self.dtype}.")
        return space

    @property
    def in_space(self) -> Space:
        """Real pictures of `in_shape`."""
        return self._space

    @property
    def out_space(self) -> Space:
        """Complex pictures of the same shape."""
        return Space(self._space.shape, complex_partner(self.dtype))

    def column_gram(self) -> float:
        """One: the real part of a real picture is itself."""
        return 1.0

    def equivariance(self) -> Equivariance:
        """Commutes with every shift."""
        return Equivariance()

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the real space of the same shape."""
        return Space(y_space.shape, real_dtype(y_space.dtype))

    def _apply(self, x: Tensor) -> Tensor:
        return x.to(complex_partner(self.dtype))

    def _adjoint(self, y: Tensor) -> Tensor:
        return y.real


def _without_one(parameter: Tensor) -> Tensor:
    """Drop a batch axis of size 1, so that pictures need none."""
    return parameter[0] if parameter.ndim == 4 and parameter.shape[0] == 1 else parameter
