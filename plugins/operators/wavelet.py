"""`Wavelet`: orthonormal wavelet coefficients of pictures of any size."""

from __future__ import annotations

import functools
import math

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, param

from .boundary import extend
from .checks import field_dtype, picture_space, whole
from .wavelet_filters import FILTERS

__all__ = ["Wavelet"]

_MOST_LEVELS = 5


@attrs.frozen(eq=False, kw_only=True)
class Wavelet(ForwardOperator):
    """Orthonormal wavelet transform: `W^H W = W W^H = I`, for any picture size.

    One level filters rows and columns with a low-pass h and a band-pass g and keeps every second
    value, `a[i] = sum_k h[k] x[2 i + k - L / 2 + 1]`, d likewise with g, with circular boundaries;
    the next level takes the low-pass part again. The coefficients stand in one picture of the same
    size (Mallat's layout): low-pass first, along each axis. `approximation` is the size of what
    the last level leaves, in the top left corner.

    A side of odd length n is handled without padding, so that the transform stays orthonormal:
    its first n - 1 pixels are transformed, and the last one is rotated against the last low-pass
    value a, `((sqrt(2) a + x) / sqrt(3), (sqrt(2) x - a) / sqrt(3))`, which gives no detail in a
    flat picture at this level. It makes the last low-pass value of a flat picture `sqrt(3/2)` times
    the others, which the next level sees as a small edge. Sides of one pixel are left alone.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape.
    Units: picture units; a flat picture's low-pass values grow by 2 per level.
    Raises: ShapeError, ParameterError.
    Cost: about `4 L` passes over the picture for filters of L taps.
    Source: Mallat, 1989, A theory for multiresolution signal decomposition, IEEE TPAMI 11(7);
    Daubechies, 1992, Ten lectures on wavelets; the rotation at odd sizes is ours.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    wavelet: str = param("db4", doc="filters, by vanishing moments", choices=tuple(FILTERS))
    levels: int | None = param(
        None,
        doc="how often the low-pass part is split; default: while longer than the filter, "
        "at most 5, at least 1",
        check=whole(1),
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
        """Coefficients, in a picture of the same shape."""
        return self._space

    @property
    def depth(self) -> int:
        """The number of levels, also where it was left open."""
        if self.levels is not None:
            return self.levels
        room = min(self._space.shape[1:]) / (len(FILTERS[self.wavelet]) - 1)
        return min(max(math.floor(math.log2(room)), 1), _MOST_LEVELS)

    @property
    def approximation(self) -> tuple[int, int]:
        """Height and width of the low-pass part, in the top left corner."""
        height, width = self._sizes()[-1]
        return height, width

    def row_gram(self) -> float:
        """One."""
        return 1.0

    def column_gram(self) -> float:
        """One."""
        return 1.0

    def _sizes(self) -> list[tuple[int, int]]:
        """Return the size of the picture, and of the low-pass part after each level."""
        height, width = self._space.shape[1:]
        sizes = [(height, width)]
        for _ in range(self.depth):
            if height == width == 1:  # nothing is left to split
                break
            height, width = max(height // 2, 1), max(width // 2, 1)
            sizes.append((height, width))
        return sizes

    def _apply(self, x: Tensor) -> Tensor:
        details = []
        for size in self._sizes()[1:]:
            for dim in (-2, -1):
                x = torch.cat(_split(x, dim, self.wavelet), dim)
            x, rest = _corner(x, size)
            details.append((rest, size))
        for rest, size in reversed(details):
            x = _with_corner(x, rest, size)
        return x

    def _adjoint(self, y: Tensor) -> Tensor:
        sizes = self._sizes()
        parts = []
        for size in sizes[1:]:
            y, rest = _corner(y, size)
            parts.append((rest, size))
        for rest, size in reversed(parts):
            y = _with_corner(y, rest, size)
            for dim in (-1, -2):
                half = max(y.shape[dim] // 2, 1)
                low, high = y.narrow(dim, 0, half), y.narrow(dim, half, y.shape[dim] - half)
                y = _join(low, high, dim, self.wavelet)
        return y


Rest = tuple[Tensor, Tensor]


def _corner(x: Tensor, size: tuple[int, int]) -> tuple[Tensor, Rest]:
    """Cut a picture into its top left corner, what is right of it, and what is below."""
    top = x[..., : size[0], :]
    return top[..., : size[1]], (top[..., size[1] :], x[..., size[0] :, :])


def _with_corner(x: Tensor, rest: Rest, size: tuple[int, int]) -> Tensor:
    return torch.cat((torch.cat((x, rest[0]), -1), rest[1]), -2)


@functools.cache
def _taps(name: str) -> tuple[int, int, tuple[tuple[tuple[float, float], int, int], ...]]:
    """Return the reach before and after, in pairs of pixels, and for each tap: both filters'
    values, the phase of its pixel, and the pair that holds it.
    """
    low = FILTERS[name]
    band = [(-1) ** k * h for k, h in enumerate(reversed(low))]
    places = [k - (len(low) // 2 - 1) for k in range(len(low))]
    taps = tuple(((low[k], band[k]), at % 2, at // 2) for k, at in enumerate(places))
    pairs = [q for _, _, q in taps]
    return -min(pairs), max(pairs), taps


def _split(x: Tensor, dim: int, name: str) -> tuple[Tensor, Tensor]:
    """Return the low-pass and band-pass halves along one axis."""
    size = x.shape[dim]
    half = size // 2
    if half == 0:
        return x, x.narrow(dim, 0, 0)
    before, after, taps = _taps(name)
    rows, columns = ((before, after) if axis == dim else (0, 0) for axis in (-2, -1))
    pairs = x.narrow(dim, 0, 2 * half).unflatten(dim, (half, 2))
    phases = [extend(p, rows, columns, "circular") for p in pairs.unbind(dim if dim == -1 else -2)]
    low, high = (
        _sum_of_taps([(h[band], phases[p], before + q) for h, p, q in taps], dim, half)
        for band in (0, 1)
    )
    if size % 2:
        low, high = _rotate(low, high, x.narrow(dim, size - 1, 1), dim)
    return low, high


def _join(low: Tensor, high: Tensor, dim: int, name: str) -> Tensor:
    """Return the adjoint, and inverse, of `_split`."""
    half = low.shape[dim]
    if high.shape[dim] == 0:
        return low
    last = None
    if high.shape[dim] > half:
        low, high, last = _rotate_back(low, high, dim)
    before, after, taps = _taps(name)
    rows, columns = ((after, before) if axis == dim else (0, 0) for axis in (-2, -1))
    bands = [extend(band, rows, columns, "circular") for band in (low, high)]
    phases = [
        _sum_of_taps(
            [(h[b], bands[b], after - q) for h, p, q in taps if p == phase for b in (0, 1)],
            dim,
            half,
        )
        for phase in (0, 1)
    ]
    x = torch.stack(phases, dim if dim == -1 else -2).flatten(dim - 1, dim)
    return x if last is None else torch.cat((x, last), dim)


def _sum_of_taps(terms: list[tuple[float, Tensor, int]], dim: int, size: int) -> Tensor:
    weight, band, start = terms[0]
    total = weight * band.narrow(dim, start, size)
    for weight, band, start in terms[1:]:
        total = torch.add(total, band.narrow(dim, start, size), alpha=weight)
    return total


def _rotate(low: Tensor, high: Tensor, last: Tensor, dim: int) -> tuple[Tensor, Tensor]:
    half = low.shape[dim]
    a = low.narrow(dim, half - 1, 1)
    kept, detail = (
        (math.sqrt(2) * a + last) / math.sqrt(3),
        (math.sqrt(2) * last - a) / math.sqrt(3),
    )
    return torch.cat((low.narrow(dim, 0, half - 1), kept), dim), torch.cat((high, detail), dim)


def _rotate_back(low: Tensor, high: Tensor, dim: int) -> tuple[Tensor, Tensor, Tensor]:
    half = low.shape[dim]
    kept, detail = low.narrow(dim, half - 1, 1), high.narrow(dim, half, 1)
    a = (math.sqrt(2) * kept - detail) / math.sqrt(3)
    last = (kept + math.sqrt(2) * detail) / math.sqrt(3)
    return torch.cat((low.narrow(dim, 0, half - 1), a), dim), high.narrow(dim, 0, half), last
