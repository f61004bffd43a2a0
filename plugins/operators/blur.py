"""`Blur`: convolution at full resolution."""

from __future__ import annotations

from typing import Any, Self

import attrs
import torch
from torch import Tensor
from wellposed import Equivariance, ForwardOperator, Space, param, tensor_param
from wellposed.errors import ShapeError

from .boundary import BOUNDARIES
from .convolution import convolve, convolve_adjoint
from .geometry import METHODS, Geometry, geometry, named_kernel

__all__ = ["Blur"]

_DEFAULT_KERNEL = {"name": "gaussian", "params": {"width": 1.6}}


def _default_kernel(op: Blur) -> Tensor:
    return named_kernel(None, _DEFAULT_KERNEL, stride=1, dtype=torch.float32)


@attrs.frozen(eq=False, kw_only=True)
class Blur(ForwardOperator):
    """Convolution of every channel with a kernel.

        y[c, i, j] = sum_{a, b} k[c, a, b] x[c, i + kh // 2 - a, j + kw // 2 - b]

    The kernel is flipped (convolution) and centred on its index `n // 2`.

    Shapes: x `(*batch, C, H, W)` -> y of the same shape; kernel `(1|B, 1|C, kh, kw)`, of any
    size. With the boundary 'valid', y holds only the pixels whose taps all lie inside the picture,
    `(*batch, C, H - kh + 1, W - kw + 1)`: a crop of what every other boundary gives.
    Units: the kernel is used as given; one that sums to 1 keeps brightness.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: the cheapest of direct convolution, two passes and two FFTs, by a cost model.
    Source: Oppenheim and Schafer, Discrete-Time Signal Processing, chapters 2 and 8.
    """

    in_shape: tuple[int, int, int] = param(doc="shape (C, H, W) of the picture", unit="pixels")
    kernel: Tensor = tensor_param(
        default=attrs.Factory(_default_kernel, takes_self=True),
        doc="point spread function (1|B, 1|C, kh, kw), or a kernel's name; default: Gaussian of "
        "width 1.6. Its dtype is the operator's",
    )
    boundary: str = param("reflect", doc="the picture beyond its frame", choices=BOUNDARIES)
    method: str = param("auto", doc="how to compute; 'auto' takes the cheapest", choices=METHODS)
    plan: Geometry = attrs.field(init=False, repr=False)

    @plan.default
    def _make_plan(self) -> Geometry:
        return geometry(
            self.kernel, self.in_shape, stride=1, offset=0, boundary=self.boundary, who="Blur"
        )

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape` and the kernel's dtype."""
        return self.plan.in_space

    @property
    def out_space(self) -> Space:
        """The same, or smaller for the boundary 'valid'."""
        return self.plan.out_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one kernel per sample."""
        return (self.kernel.shape[0],) if self.kernel.shape[0] > 1 else ()

    def equivariance(self) -> Equivariance | None:
        """Commutes with every shift, when circular."""
        return Equivariance() if self.boundary == "circular" else None

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the space of y itself (with 'valid': larger by the kernel)."""
        if y_space.ndim != 3:
            raise ShapeError(f"Blur measures pictures (C, H, W); got {y_space.shape}.")
        if params.get("boundary") != "valid":
            return y_space
        kernel = named_kernel(params.get("kernel"), _DEFAULT_KERNEL, stride=1, dtype=y_space.dtype)
        channels, height, width = y_space.shape
        kh, kw = kernel.shape[-2:]
        return Space((channels, height + kh - 1, width + kw - 1), y_space.dtype)

    @classmethod
    def for_image(cls, space: Space, **params: Any) -> Self:
        """Build the operator for pictures of `space`; the kernel may be a name."""
        params["kernel"] = named_kernel(
            params.get("kernel"), _DEFAULT_KERNEL, stride=1, dtype=space.dtype
        )
        params.setdefault("in_shape", space.shape)
        return cls(**params)

    def _apply(self, x: Tensor) -> Tensor:
        return convolve(self, x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return convolve_adjoint(self, y)
