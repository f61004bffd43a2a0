"""`Space`: the event shape and dtype of a picture or a measurement, and every check of them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from .errors import DtypeError, ParameterError, ShapeError

__all__ = ["Space", "complex_partner", "real_partner", "same_kind_dtype"]

_COMPLEX = {torch.float32: torch.complex64, torch.float64: torch.complex128}
_REAL = {complex_: real for real, complex_ in _COMPLEX.items()}


def complex_partner(dtype: torch.dtype) -> torch.dtype:
    """Return the complex dtype of the same precision (itself when already complex)."""
    return _COMPLEX.get(dtype, dtype)


def real_partner(dtype: torch.dtype) -> torch.dtype:
    """Return the real dtype of the same precision (itself when already real)."""
    return _REAL.get(dtype, dtype)


def same_kind_dtype(old: torch.dtype, new: torch.dtype) -> torch.dtype:
    """Return `new` in the kind of `old`: complex stays complex, integers and bools stay put."""
    if old.is_complex:
        return complex_partner(new)
    return real_partner(new) if old.is_floating_point else old


def _event_shape(value: object) -> tuple[int, ...]:
    sizes = tuple(value) if isinstance(value, (tuple, list, torch.Size)) else None
    if sizes is None or any(isinstance(n, bool) or not isinstance(n, int) for n in sizes):
        raise ParameterError(
            f"a shape is a tuple of whole numbers such as (3, 64, 64); got {value!r}"
        )
    if not sizes or any(n < 1 for n in sizes):
        raise ParameterError(f"a shape needs one axis or more, each of size 1 or more; got {sizes}")
    return sizes


@attrs.frozen(init=False)
class Space:
    """Shape and dtype of one event: a picture `(C, H, W)`, or any other measured array.

    There is no batch and no device here: tensors of shape `(*batch, *shape)` on any device
    belong to the space.
    """

    shape: tuple[int, ...]
    dtype: torch.dtype = torch.float32

    def __init__(self, shape: Sequence[int], dtype: torch.dtype = torch.float32) -> None:
        # As attrs would, in a form that torch.compile can trace: operators make spaces in calls.
        object.__setattr__(self, "shape", _event_shape(shape))
        object.__setattr__(self, "dtype", dtype)

    @property
    def ndim(self) -> int:
        """Number of event axes."""
        return len(self.shape)

    @property
    def numel(self) -> int:
        """Number of values in one event."""
        return math.prod(self.shape)

    def batch_of(self, x: Tensor) -> tuple[int, ...]:
        """Return the batch shape of a tensor of this space."""
        return tuple(x.shape[: x.ndim - self.ndim])

    def check(self, x: object, *, who: str, name: str, batch: tuple[int, ...] = ()) -> Tensor:
        """Return `x` if it belongs to the space, with trailing batch axes `batch`; else raise.

        Raises: ShapeError, DtypeError.
        """
        if not isinstance(x, Tensor):
            raise DtypeError(
                f"{who} expects {name} as a torch.Tensor; got {type(x).__name__}. "
                "wellposed.solve() takes arrays, pictures and paths."
            )
        lead = x.ndim - self.ndim
        if lead < 0 or tuple(x.shape[lead:]) != self.shape:
            raise ShapeError(
                f"{who} expects {name} of shape {_shown(batch, self.shape)}; got {tuple(x.shape)}. "
                "Build the operator for this size, or crop or pad the tensor."
            )
        if batch and tuple(x.shape[max(lead - len(batch), 0) : lead]) != batch:
            raise ShapeError(
                f"{who} has parameters for a batch of {batch} and expects {name} of shape "
                f"{_shown(batch, self.shape)}; got {tuple(x.shape)}."
            )
        if x.dtype != self.dtype:
            raise DtypeError(
                f"{who} expects {name} of dtype {self.dtype}; got {x.dtype}. "
                "Convert one of them: x.to(dtype), or op.to(dtype=...)."
            )
        return x

    def inner(self, a: Tensor, b: Tensor) -> Tensor:
        """Return the inner product of each sample, `sum(conj(a) * b)`; shape `batch`."""
        return (a.conj() * b).sum(dim=self._axes)

    def norm(self, a: Tensor) -> Tensor:
        """Return the Euclidean norm of each sample, real; shape `batch`."""
        norm: Tensor = torch.linalg.vector_norm(a, dim=self._axes)
        return norm

    def expand(self, value: Tensor | float, like: Tensor, *, name: str, who: str) -> Tensor:
        """Shape a scalar or one value per sample, so that it broadcasts against `like`.

        A tensor of shape `batch` gets one trailing axis of size 1 per event axis, so that it can
        never be taken for values along the width.

        Raises: ShapeError when `value` is neither a scalar nor of the batch shape of `like`.
        """
        dtype = real_partner(like.dtype)
        if not isinstance(value, Tensor):
            # Not as_tensor: that one makes a tensor on the host, and CUDA waits for its copy.
            return torch.full((), value, dtype=dtype, device=like.device)
        batch = self.batch_of(like)
        if value.ndim == 0:
            return value.to(dtype=dtype, device=like.device)
        if tuple(value.shape) != batch[len(batch) - value.ndim :]:
            raise ShapeError(
                f"{who} expects {name} as a number or one value per sample, of shape {batch}; "
                f"got shape {tuple(value.shape)}."
            )
        return value.to(dtype=dtype, device=like.device)[(...,) + (None,) * self.ndim]

    def zeros(
        self, batch: tuple[int, ...] = (), *, device: torch.device | str | None = None
    ) -> Tensor:
        """Return zeros of shape `(*batch, *shape)`."""
        return torch.zeros((*batch, *self.shape), dtype=self.dtype, device=device)

    def randn(
        self,
        batch: tuple[int, ...] = (),
        *,
        generator: torch.Generator | None = None,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return standard normal values (of unit variance in all, when complex)."""
        return torch.randn(
            (*batch, *self.shape), dtype=self.dtype, generator=generator, device=device
        )

    def to(self, dtype: torch.dtype) -> Space:
        """Return the space of the same kind (real or complex) at another precision."""
        return attrs.evolve(self, dtype=same_kind_dtype(self.dtype, dtype))

    @property
    def _axes(self) -> tuple[int, ...]:
        return tuple(range(-self.ndim, 0))


def _shown(batch: tuple[int, ...], shape: tuple[int, ...]) -> str:
    sizes = ", ".join(str(n) for n in (*batch, *shape))
    return f"(*batch, {sizes})"
