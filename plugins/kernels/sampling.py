"""What named kernels share: their phase, their default sizes, and parameters per sample."""

from __future__ import annotations

import math
import numbers
from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed.errors import ParameterError

__all__ = [
    "Device",
    "centre",
    "check_size",
    "checked_stride",
    "finished",
    "finite",
    "largest",
    "mirrored",
    "optional_size",
    "per_sample",
    "positive",
    "real_values",
    "same_count",
    "shown",
    "size_for",
    "spans",
]

Device = torch.device | str | None

_MOST_TAPS = 4096


def checked_stride(stride: object) -> int:
    """Return a stride. Raises: ParameterError for anything but a whole number of at least 1."""
    if isinstance(stride, bool) or not isinstance(stride, int) or stride < 1:
        raise ParameterError(f"stride expects a whole number of at least 1; got {stride!r}.")
    return stride


def shown(value: object) -> str:
    """Describe a tensor in a repr by its dtype and shape only."""
    if not isinstance(value, Tensor):
        return repr(value)
    return f"{str(value.dtype).removeprefix('torch.')}{list(value.shape)}"


def centre(size: int, stride: int) -> float:
    """Return the index on which a kernel of `size` taps is centred for sampling with `stride`.

    The middle of the block of `stride` pixels lies on pixel `offset = (stride - 1) // 2` for odd
    strides, and half a pixel beyond it for even ones. Since
    `y[i] = sum_j k[j] x[i + size // 2 - j]`, beyond in x is below in j.
    """
    return size // 2 - (0.0 if checked_stride(stride) % 2 else 0.5)


def size_for(radius: float, stride: int) -> int:
    """Return the least size, symmetric for the stride, that reaches `radius` on both sides."""
    if checked_stride(stride) % 2:
        return 2 * math.ceil(radius - 1e-9) + 1
    return 2 * max(math.ceil(radius + 0.5 - 1e-9), 1)


def spans(size: tuple[int, int], stride: int, device: Device) -> tuple[Tensor, Tensor]:
    """Return the row and column distances from the centre, `(kh, 1)` and `(1, kw)`, in float64.

    Raises: ParameterError for a kernel larger than any picture.
    """
    check_size(size)
    rows, columns = (
        torch.arange(n, dtype=torch.float64, device=device) - centre(n, stride) for n in size
    )
    return rows[:, None], columns[None, :]


def check_size(size: tuple[int, int]) -> None:
    """Raise ParameterError for a kernel larger than any picture."""
    if max(size) > _MOST_TAPS:
        raise ParameterError(
            f"a kernel of {size[0]} x {size[1]} taps is more than {_MOST_TAPS} along an axis. "
            "Widths and lengths are in pixels."
        )


def per_sample(value: float | Tensor, name: str, device: Device) -> Tensor:
    """Return a parameter as float64 `(B, 1, 1, 1)`, with B = 1 for a number.

    Raises: ParameterError for a tensor of more than one axis.
    """
    if not isinstance(value, Tensor):
        return torch.full((1, 1, 1, 1), float(value), dtype=torch.float64, device=device)
    if value.ndim > 1:
        raise ParameterError(
            f"{name} expects a number or one value per sample, of shape (B,); "
            f"got {tuple(value.shape)}."
        )
    return value.to(device=device, dtype=torch.float64).reshape(-1, 1, 1, 1)


def same_count(kernel: attrs.AttrsInstance) -> None:
    """Check that all parameters per sample are of as many samples. Raises: ParameterError."""
    values = {f.name: getattr(kernel, f.name) for f in attrs.fields(type(kernel))}
    counts = {k: v.numel() for k, v in values.items() if isinstance(v, Tensor) and v.numel() > 1}
    if len(set(counts.values())) > 1:
        told = ", ".join(f"{name} of {count} samples" for name, count in counts.items())
        raise ParameterError(
            f"{type(kernel).__name__} expects parameters of the same number of samples; got {told}."
        )


def largest(value: float | Tensor) -> float:
    """Return the largest of the values of a parameter, to size the kernel by."""
    return float(value.detach().max()) if isinstance(value, Tensor) else float(value)


def positive(instance: object, attribute: Any, value: object) -> None:
    """Check that a parameter, or every value of it, is positive and finite."""
    values = real_values(value)
    _require(((values > 0) & values.isfinite()).all(), instance, attribute, value, "a positive")


def finite(instance: object, attribute: Any, value: object) -> None:
    """Check that a parameter, or every value of it, is finite."""
    _require(real_values(value).isfinite().all(), instance, attribute, value, "a finite")


def real_values(value: object) -> Tensor:
    """Return the values of a parameter; NaN, which passes no check, for what is no real number."""
    if isinstance(value, Tensor) and value.numel() and not value.is_complex():
        return value.detach()
    number = isinstance(value, numbers.Real) and not isinstance(value, bool)
    return torch.tensor(float(value) if number else torch.nan)  # type: ignore[arg-type]


def _require(good: Tensor, instance: object, attribute: Any, value: object, what: str) -> None:
    if not bool(good):
        got = "values that are not" if isinstance(value, Tensor) else repr(value)
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects {what} number; got {got}."
        )


def optional_size(instance: object, attribute: Any, value: object) -> None:
    """Check that a size is a whole number of at least 1, or None."""
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a whole number of taps; "
            f"got {value!r}."
        )


def mirrored(size: int, stride: int, device: Device) -> Tensor:
    """Return which taps of `size` have a mirror image about the centre, `(size, size)`.

    All of them when the parity of the size is that of the stride. The others must be left out, or
    they would pull the centre of mass aside.
    """
    at = torch.arange(size, device=device)
    partner = round(2 * centre(size, stride)) - at
    kept = (partner >= 0) & (partner < size) if size > 1 else at >= 0
    return kept[:, None] & kept


def finished(kernel: Tensor, dtype: torch.dtype) -> Tensor:
    """Return a kernel `(B, C, kh, kw)` of sum 1, in the wanted dtype."""
    return (kernel / kernel.sum((-2, -1), keepdim=True)).to(dtype)
