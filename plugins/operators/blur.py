"""`Blur` and `MotionBlur`: convolution at full resolution."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, Self

import attrs
import torch
from torch import Tensor
from wellposed import Space, param, tensor_param

from .boundary import BOUNDARIES
from .convolution import Convolution
from .geometry import METHODS, Geometry, geometry, named_kernel, smallest_picture

__all__ = ["Blur", "MotionBlur"]


def _default_kernel(op: FullBlur) -> Tensor:
    return named_kernel(None, op.default_kernel(), stride=1, dtype=torch.float32)


@attrs.frozen(eq=False, kw_only=True)
class FullBlur(Convolution):
    """Convolution of every channel with a kernel, the default of which is a class's own."""

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    kernel: Tensor = tensor_param(
        default=attrs.Factory(_default_kernel, takes_self=True),
        doc="point spread function (1|B, 1|C, kh, kw), or a kernel's name. Its dtype is the "
        "operator's",
    )
    boundary: str = param("reflect", doc="the picture beyond its frame", choices=BOUNDARIES)
    method: str = param(
        "auto", doc="how to compute: same numbers, other cost; auto: cheapest", choices=METHODS
    )
    plan: Geometry = attrs.field(init=False, repr=False)

    @plan.default
    def _make_plan(self) -> Geometry:
        return geometry(
            self.kernel,
            self.in_shape,
            stride=1,
            offset=0,
            boundary=self.boundary,
            who=type(self).__name__,
        )

    @classmethod
    @abstractmethod
    def default_kernel(cls) -> str | Mapping[str, Any]:
        """Return the kernel that is meant when none is given: a name, or {name:, params:}."""

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the space of y itself (with 'valid': larger by the kernel)."""
        return smallest_picture(
            y_space,
            named_kernel(params.get("kernel"), cls.default_kernel(), stride=1, dtype=y_space.dtype),
            stride=1,
            offset=0,
            valid=params.get("boundary") == "valid",
            who=cls.__name__,
        )

    @classmethod
    def for_image(cls, space: Space, **params: Any) -> Self:
        """Build the operator for pictures of `space`; the kernel may be a name."""
        params["kernel"] = named_kernel(
            params.get("kernel"), cls.default_kernel(), stride=1, dtype=space.dtype
        )
        params.setdefault("in_shape", space.shape)
        return cls(**params)


@attrs.frozen(eq=False, kw_only=True)
class Blur(FullBlur):
    """Convolution of every channel with a kernel.

        y[c, i, j] = sum_{a, b} k[c, a, b] x[c, i + kh // 2 - a, j + kw // 2 - b]

    The kernel is flipped (convolution) and centred on its index `n // 2`.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape; kernel `(1|B, 1|C, kh, kw)`, of any
    size, by default a Gaussian of width 1.6. With the boundary 'valid', y holds only the pixels
    whose taps all lie inside the picture, `(*batch, C, H - kh + 1, W - kw + 1)`: a crop of what
    every other boundary gives.
    Units: the kernel is used as given; one that sums to 1 keeps brightness.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: the cheapest of direct convolution, two passes and two FFTs, by a cost model.
    Source: Oppenheim and Schafer, Discrete-Time Signal Processing, chapters 2 and 8.
    """

    @classmethod
    def default_kernel(cls) -> Mapping[str, Any]:
        """Return a Gaussian of width 1.6."""
        return {"name": "gaussian", "params": {"width": 1.6}}


@attrs.frozen(eq=False, kw_only=True)
class MotionBlur(FullBlur):
    """A blur whose kernel is, by default, the path of a moving camera, 9 x 9 pixels wide.

    In everything else it is `Blur`; a straight path is the kernel `motion`.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape; kernel `(1|B, 1|C, kh, kw)`, by default
    that of `inversenet_motion`.
    Units, Raises, Cost: as `Blur`.
    Source: Fan et al., 2017, InverseNet: solving inverse problems with splitting networks, section
    4.1 and figure 11.
    """

    @classmethod
    def default_kernel(cls) -> str:
        """Return the 9 x 9 kernel of InverseNet's experiments."""
        return "inversenet_motion"
