"""Errors per sample, relative to what rounding allows, and where on the picture they sit."""

from __future__ import annotations

import torch
from torch import Tensor

from ..space import Space
from .engine import fail

__all__ = [
    "assert_close",
    "assert_same",
    "eps_of",
    "inner",
    "norm",
    "place_of",
    "shape_of",
    "size_of",
]

# Results that agree up to the order of summation differ by a few eps; 32 is what the adjoint
# rule allows, and correct code stays a factor of 100 below.
_ROUNDINGS = 32


def eps_of(dtype: torch.dtype) -> float:
    """Return the machine precision of a dtype."""
    return float(torch.finfo(dtype).eps)


def _wide(a: Tensor) -> Tensor:
    return a.to(torch.complex128 if a.is_complex() else torch.float64)


def inner(a: Tensor, b: Tensor, space: Space) -> Tensor:
    """Return `sum(conj(a) b)` of each sample, summed in double precision."""
    return space.inner(_wide(a), _wide(b))


def norm(a: Tensor, space: Space) -> Tensor:
    """Return the Euclidean norm of each sample in double precision."""
    return space.norm(_wide(a))


def shape_of(batch: tuple[int, ...]) -> str:
    """Return a batch shape as failure messages show it."""
    return f"batch {batch}" if batch else "no batch"


def assert_same(
    got: object, want: Tensor, *, what: str, dtype: torch.dtype | None = None
) -> Tensor:
    """Return `got` if it is a tensor of the shape (and dtype) of `want`; else fail."""
    if not isinstance(got, Tensor):
        fail(f"{what} returned {type(got).__name__}; expected a torch.Tensor.")
    dtype = dtype or want.dtype
    if got.shape != want.shape:
        fail(f"{what} has shape {tuple(got.shape)}; expected {tuple(want.shape)}.")
    if got.dtype != dtype:
        fail(f"{what} has dtype {got.dtype}; expected {dtype}.")
    return got


def assert_close(
    got: Tensor,
    want: Tensor,
    space: Space,
    *,
    what: str,
    scale: Tensor | float = 0.0,
    rtol: float | None = None,
) -> None:
    """Fail unless each sample of `got` is `want` up to `rtol` of their norms (or of `scale`).

    scale: a norm per sample that rounding errors are relative to, where the results themselves
    may cancel. rtol: 32 eps unless told.
    """
    got = assert_same(got, want, what=what)
    rtol = _ROUNDINGS * eps_of(want.dtype) if rtol is None else rtol
    error = norm(got - want, space)
    size = torch.maximum(norm(want, space), norm(got, space)).maximum(
        torch.as_tensor(scale, dtype=torch.float64)
    )
    bad = ~(error <= rtol * size)
    if not bool(bad.any()):
        return
    ratio = torch.where(size > 0, error / size, error)
    worst = float(ratio[bad].nan_to_num(torch.inf).max())
    fail(
        f"{what}: {int(bad.sum())} of {bad.numel()} samples differ, by up to {worst:.1e} relative "
        f"({rtol:.0e} allowed). {place_of(got - want, space)}"
    )


def place_of(error: Tensor, space: Space) -> str:
    """Say where an error is largest, and whether it keeps to an edge of the picture."""
    size = error.abs().to(torch.float64).nan_to_num(torch.inf, torch.inf)
    flat = size.reshape(-1, *space.shape)
    index = _unravel(int(flat.argmax()), tuple(flat.shape))
    where = ", ".join(
        f"{name} {n}" for name, n in zip(_axis_names(space), index[1:], strict=True) if name
    )
    sample = f"sample {index[0]}, " if flat.shape[0] > 1 else ""
    edge = _edge(flat.amax(0))
    text = f"Largest at {sample}{where} of {space.shape}"
    return f"{text}: the error sits in the {edge}." if edge else f"{text}."


def _axis_names(space: Space) -> list[str]:
    names = ["channel", "row", "column"][-space.ndim :]
    return [f"axis {i}" for i in range(space.ndim - len(names))] + names


def _unravel(flat: int, shape: tuple[int, ...]) -> tuple[int, ...]:
    index = []
    for size in reversed(shape):
        flat, rest = divmod(flat, size)
        index.append(rest)
    return tuple(reversed(index))


def _edge(size: Tensor) -> str:
    """Return the row or column that holds the error, when one of them holds nearly all of it."""
    if size.ndim < 2 or not bool(torch.isfinite(size).all()):
        return ""
    energy = size.square()
    while energy.ndim > 2:
        energy = energy.sum(0)
    total = float(energy.sum())
    for axis, name in ((0, "row"), (1, "column")):
        lines = energy.sum(1 - axis)
        if len(lines) < 3 or total == 0:
            continue
        if float(lines[-1]) > 0.9 * total:
            return f"last {name}"
        if float(lines[0]) > 0.9 * total:
            return f"first {name}"
        if float(lines[0] + lines[-1]) > 0.9 * total:
            return f"first and last {name}s"
    rim = energy.clone()
    rim[1:-1, 1:-1] = 0
    return "border" if min(energy.shape) > 4 and float(rim.sum()) > 0.9 * total > 0 else ""


def size_of(space: Space) -> str:
    """Return a space as failure messages show it."""
    return f"{space.shape} {str(space.dtype).removeprefix('torch.')}"
