"""`Radon`: parallel-beam tomography."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, derived, param
from wellposed.errors import ParameterError, ShapeError

from .checks import field_dtype, picture_space, real_dtype, whole
from .filtered_backprojection import FILTERS, backproject, filtered
from .radon_matrix import Geometry, System, system

__all__ = ["Radon"]

# Above this many weights, the matrix and its transpose take more than 16 GiB in float32.
_MOST_ENTRIES = 2**30


def _angles(instance: object, attribute: Any, value: object) -> None:
    if isinstance(value, int) and not isinstance(value, bool) and value > 0:
        return
    numbers = isinstance(value, tuple) and all(
        isinstance(a, (int, float)) and not isinstance(a, bool) and math.isfinite(a) for a in value
    )
    if not numbers or not value:
        shown = type(value).__name__ if isinstance(value, (tuple, list)) else repr(value)
        raise ParameterError(
            "Radon.angles expects how many angles there are, or a tuple of finite angles in "
            f"degrees; got {shown}."
        )


def _short(angles: object) -> str:
    if not isinstance(angles, tuple) or len(angles) < 5:
        return repr(angles)
    return f"({angles[0]:g}, {angles[1]:g}, ... {angles[-1]:g})"


@attrs.frozen(eq=False, kw_only=True)
class Radon(ForwardOperator):
    """Line integrals of the picture along parallel rays: computed tomography.

        y[c, k, a] = sum_u x_c(row = -t sin a + u cos a, column = t cos a + u sin a)

    with `t = k - detectors // 2`, rows and columns counted from pixel (H // 2, W // 2), u in
    steps of one pixel, and x interpolated linearly between pixels: the same numbers, in the same
    layout, as `skimage.transform.radon`.

    Shapes: x `(*batch, C, H, W)` -> y `(*batch, C, detectors, angles)`.
    Units: angles in degrees; y in picture units times pixels.
    Raises: ShapeError, ParameterError.
    Cost: one sparse product, shared by all pictures of a batch. Angles that quarter turns and
    mirroring map to each other share their weights: with a multiple of four evenly spaced over
    half a turn, a quarter of the `2 H W angles` weights is stored; with angles that have no
    partner, all. The matrix is built once (256 x 256, 180 angles: about a second), kept on disk in
    the user's cache folder (at most 2 GiB in all; WELLPOSED_CACHE names another), and takes, with
    its transpose, 16 bytes of memory per stored weight in float32 (there: 100 MB).
    Source: Kak and Slaney, 1988, Principles of computerized tomographic imaging, chapter 3;
    discretised as scikit-image's `radon`.
    """

    sample: ClassVar[str] = "shepp_logan"

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    angles: int | tuple[float, ...] = param(
        180,
        doc="how many, evenly spaced from 0 to below 180 degrees; or the angles themselves",
        unit="degrees",
        check=_angles,
        repr=_short,
    )
    detectors: int | None = param(
        None, doc="number of detectors; default: all that see the picture", check=whole(1)
    )
    circle: bool = param(
        True,
        doc="the object lies inside the inscribed circle: as many detectors as the shorter side, "
        "a longer side is cropped; else the diagonal",
    )
    dtype: torch.dtype = param(
        torch.float32, doc="dtype of the picture, real or complex", check=field_dtype
    )
    _space: Space = attrs.field(init=False, repr=False)
    _geometry: Geometry = attrs.field(init=False, repr=False)

    @_space.default
    def _make_space(self) -> Space:
        return picture_space(self)

    @_geometry.default
    def _make_geometry(self) -> Geometry:
        n, angles = self.angles, self.angles
        if isinstance(n, int):
            angles = tuple(180 * i / n for i in range(n))
        _, height, width = self._space.shape
        geometry = Geometry(
            height=height,
            width=width,
            angles=tuple(float(a) for a in angles),  # type: ignore[union-attr]
            detectors=1,
            circle=self.circle,
        )
        if geometry.entries > _MOST_ENTRIES:
            raise ParameterError(
                f"Radon would need a matrix of about {geometry.entries} weights for pictures of "
                f"{height} x {width} and {len(geometry.angles)} angles, more than "
                f"{_MOST_ENTRIES}. Take fewer angles or smaller pictures."
            )
        return attrs.evolve(geometry, detectors=self.detectors or geometry.canvas)

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._space

    @property
    def out_space(self) -> Space:
        """Sinograms `(C, detectors, angles)`."""
        return Space((self._space.shape[0], *self._sinogram), self.dtype)

    @property
    def degrees(self) -> tuple[float, ...]:
        """The angles, however they were given."""
        return self._geometry.angles

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the square picture that the detectors just see.

        Raises: ShapeError when y is no sinogram `(C, detectors, angles)`.
        """
        if y_space.ndim != 3:
            raise ShapeError(
                f"Radon measures sinograms (C, detectors, angles); got {y_space.shape}."
            )
        channels, side, _ = y_space.shape
        if not params.get("circle", True):
            side = max(math.floor(side / math.sqrt(2)), 1)
        return Space((channels, side, side), y_space.dtype)

    def fbp(self, y: Tensor, filter: str = "ramp") -> Tensor:
        """Return the filtered back-projection of a sinogram.

            x(i, j) = pi / (2 angles) sum_a q_a(t),   q_a = y_a filtered, interpolated linearly

        which inverts the transform for many angles that cover half a turn evenly. With `circle`,
        it is zero outside the circle. The same as `skimage.transform.iradon`.

        Shapes: y `(*batch, C, detectors, angles)` -> `(*batch, C, H, W)`.
        Raises: ParameterError for an unknown filter; ShapeError, DtypeError.
        Source: Kak and Slaney, 1988, section 3.3, equation (61).
        """
        if filter not in FILTERS:
            raise ParameterError(
                f"Radon.fbp expects a filter among {', '.join(FILTERS)}; got {filter!r}."
            )
        self.check(y, self.out_space, "y")
        return backproject(filtered(y, filter, square=self.circle), self._geometry)

    @property
    def _sinogram(self) -> tuple[int, int]:
        return self._geometry.detectors, len(self._geometry.angles)

    def _system(self, device: torch.device) -> System:
        dtype = real_dtype(self.dtype)
        return derived(self, f"system {device}", lambda: system(self._geometry, dtype, device))

    def _apply(self, x: Tensor) -> Tensor:
        y: Tensor = self._system(x.device).apply(x.flatten(-2)).unflatten(-1, self._sinogram)
        return y

    def _adjoint(self, y: Tensor) -> Tensor:
        flat = self._system(y.device).adjoint(y.flatten(-2))
        x: Tensor = flat.unflatten(-1, self._space.shape[1:])
        return x

    def _initial_estimate(self, y: Tensor) -> Tensor:
        return self.fbp(y)
