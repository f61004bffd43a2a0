"""Masks: pixels weighted, or missing, at random or in a square hole."""

from __future__ import annotations

from abc import abstractmethod

import attrs
import numpy as np
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, derived, param, tensor_param
from wellposed.errors import DtypeError, ParameterError, ShapeError

from .checks import above, batch_of, field_dtype, picture_space, real_dtype, whole
from .filling import fill

__all__ = ["HoleMask", "Mask", "RandomMask"]


class _Masking(ForwardOperator):
    """What every mask shares: `y = m x`, pixel by pixel."""

    _space: Space

    @abstractmethod
    def _mask_on(self, device: torch.device | None) -> Tensor:
        """Return the real mask, which broadcasts against x, on a device (None: where it lies)."""

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._space

    @property
    def out_space(self) -> Space:
        """The same; missing pixels are zero."""
        return self._space

    def row_gram(self) -> Tensor:
        """Return the squared mask."""
        return self._mask_on(None).square()

    def _apply(self, x: Tensor) -> Tensor:
        return x * self._mask_on(x.device)

    def _adjoint(self, y: Tensor) -> Tensor:
        return y * self._mask_on(y.device)

    def _gram(self, x: Tensor) -> Tensor:
        return x * self._mask_on(x.device).square()

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        mask = self._mask_on(v.device)
        return v + tau * mask * (y - mask * v) / (1 + tau * mask.square())

    def _initial_estimate(self, y: Tensor) -> Tensor:
        return fill(y, self._mask_on(y.device))


def _default_dtype(op: Mask) -> torch.dtype:
    mask = op.mask
    real = isinstance(mask, Tensor) and mask.is_floating_point()
    return mask.dtype if real else torch.float32


@attrs.frozen(eq=False, kw_only=True)
class Mask(_Masking):
    """Pixelwise multiplication with a real mask: inpainting, dead pixels, shading.

        y[c, i, j] = m[c, i, j] x[c, i, j]

    The mask holds any real numbers; 1 keeps a pixel, 0 loses it. `initial_estimate` fills what is
    missing smoothly from around it.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape; mask `(H, W)`, `(1|C, H, W)` or
    `(1|B, 1|C, H, W)`, the last with one mask per sample.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: one pass. `data_prox` is closed: `(v + tau m y) / (1 + tau m^2)`.
    Source: the definition; Parikh and Boyd, 2014, Proximal algorithms, section 6.1.1.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    mask: Tensor = tensor_param(
        doc="weight of each pixel (H, W), (1|C, H, W) or (1|B, 1|C, H, W), real or bool"
    )
    dtype: torch.dtype = param(
        attrs.Factory(_default_dtype, takes_self=True),
        doc="dtype of the picture, real or complex; default: that of a real mask, else float32",
        check=field_dtype,
    )
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        space = picture_space(self)
        mask, (channels, height, width) = self.mask, space.shape
        fits = 2 <= mask.ndim <= 4 and tuple(mask.shape[-2:]) == (height, width)
        if not fits or (mask.ndim > 2 and mask.shape[-3] not in (1, channels)):
            raise ShapeError(
                f"Mask.mask expects (H, W), (1|C, H, W) or (1|B, 1|C, H, W) for pictures "
                f"{space.shape}; got {tuple(mask.shape)}."
            )
        wanted = real_dtype(self.dtype)
        if mask.dtype not in (wanted, torch.bool):
            raise DtypeError(
                f"Mask.mask expects {wanted} or bool for pictures of {self.dtype}; "
                f"got {mask.dtype}. Convert it, or give dtype=."
            )
        return space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one mask per sample."""
        return batch_of(self.mask, 3)

    def _mask_on(self, device: torch.device | None) -> Tensor:
        mask = self.mask[0] if self.mask.ndim == 4 and not self.batch_shape else self.mask
        return mask if mask.is_floating_point() else mask.to(real_dtype(self.dtype))


def _in_picture(instance: HoleMask, attribute: object, value: object) -> None:
    size = instance.in_shape
    if isinstance(value, int) and len(size) == 3 and value > min(size[1:]):
        raise ParameterError(
            f"HoleMask.size expects a hole no larger than the picture {tuple(size)}; got {value}."
        )


@attrs.frozen(eq=False, kw_only=True)
class RandomMask(_Masking):
    """Random missing pixels: `y = m x` with a mask of zeros and ones drawn from a seed.

    Exactly `round(missing H W)` pixels are missing, the same in all channels or
    (`per_channel`) others in each.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape. One mask serves every sample; for one
    per sample, give `Mask` a tensor.
    Raises: ShapeError, ParameterError.
    Cost: one pass; the mask is drawn once.
    Source: see `Mask`.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    missing: float = param(
        0.5, doc="fraction of the pixels that are missing", unit="0 to 1", check=above(0, 1)
    )
    per_channel: bool = param(False, doc="draw other pixels in each channel")
    seed: int = param(0, doc="seed of the random draw", check=whole(0))
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        return picture_space(self)

    @property
    def mask(self) -> Tensor:
        """The mask of zeros and ones, `(1|C, H, W)`."""
        return self._mask_on(None)

    def _mask_on(self, device: torch.device | None) -> Tensor:
        return derived(self, f"mask {device}", lambda: self._draw().to(device))

    def _draw(self) -> Tensor:
        channels, height, width = self._space.shape
        shape = (channels if self.per_channel else 1, height * width)
        # NumPy's generator: torch's is refused inside torch.func.vmap.
        order = np.random.default_rng(self.seed).random(shape).argsort(-1)
        # A random permutation: the pixels at its first numbers are missing.
        kept = torch.from_numpy(order >= round(self.missing * height * width))
        result: Tensor = kept.to(real_dtype(self.dtype)).unflatten(-1, (height, width))
        return result


@attrs.frozen(eq=False, kw_only=True)
class HoleMask(_Masking):
    """A square hole: `y = m x` with `m = 0` in `size` x `size` pixels and 1 elsewhere.

    The hole stands at `top`, `left`; along an axis where that is not given, it is centred, or
    drawn from `seed` when there is one.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape.
    Raises: ShapeError, ParameterError.
    Cost: one pass.
    Source: see `Mask`.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    size: int | None = param(
        None,
        doc="side of the hole; default: a quarter of the picture's",
        unit="pixels",
        check=[whole(1), _in_picture],
    )
    top: int | None = param(None, doc="first missing row", unit="pixels", check=whole(0))
    left: int | None = param(None, doc="first missing column", unit="pixels", check=whole(0))
    seed: int | None = param(
        None, doc="draw the place from this seed; default: centred", check=whole(0)
    )
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _space: Space = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        space = picture_space(self)
        side = self._side(space)
        for name, given, length in zip(
            ("top", "left"), (self.top, self.left), space.shape[1:], strict=True
        ):
            if given is not None and given + side > length:
                raise ParameterError(
                    f"HoleMask.{name} expects a hole inside the picture, at most {length - side} "
                    f"for a hole of {side} in {length} pixels; got {given}."
                )
        return space

    @property
    def mask(self) -> Tensor:
        """The mask of zeros and ones, `(1, H, W)`."""
        return self._mask_on(None)

    @property
    def corner(self) -> tuple[int, int]:
        """First missing row and column."""
        rooms = [n - self._side(self._space) for n in self._space.shape[1:]]
        if self.seed is None:
            places = [room // 2 for room in rooms]
        else:
            generator = np.random.default_rng(self.seed)
            places = [int(generator.integers(room + 1)) for room in rooms]
        given = (self.top, self.left)
        top, left = (p if g is None else g for p, g in zip(places, given, strict=True))
        return top, left

    def _side(self, space: Space) -> int:
        return max(min(space.shape[1:]) // 4, 1) if self.size is None else self.size

    def _mask_on(self, device: torch.device | None) -> Tensor:
        return derived(self, f"mask {device}", lambda: self._draw().to(device))

    def _draw(self) -> Tensor:
        _, height, width = self._space.shape
        (top, left), side = self.corner, self._side(self._space)
        mask = torch.ones((1, height, width), dtype=real_dtype(self.dtype))
        mask[:, top : top + side, left : left + side] = 0
        return mask
