"""What a picture is taken to be outside its frame, and the exact adjoint of that extension.

With the pixels `a b c d` of a row, the row goes on as

    circular    c d | a b c d | a b
    reflect     c b | a b c d | c b     NumPy's and torch's 'reflect', SciPy's 'mirror'
    symmetric   b a | a b c d | d c     NumPy's 'symmetric', SciPy's 'reflect', MATLAB's imresize
    replicate   a a | a b c d | d d     NumPy's 'edge', SciPy's 'nearest'
    zero        0 0 | a b c d | 0 0
    valid       nothing outside is ever read

for as far as needed: a row of one pixel, or a kernel larger than the picture, wraps or mirrors
several times.
"""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["BOUNDARIES", "extend", "fold", "source_indices"]

BOUNDARIES = ("circular", "reflect", "symmetric", "replicate", "zero", "valid")

Margin = tuple[int, int]  # pixels added before and after; negative ones are cut off


def extend(x: Tensor, rows: Margin, columns: Margin, boundary: str) -> Tensor:
    """Return `(*, H, W)` extended by the margins."""
    if boundary in ("zero", "valid"):
        margins = (*columns, *rows)
        return F.pad(x, margins) if any(margins) else x
    if _is_plain(x, rows, columns, boundary):
        # One copy instead of two.
        flat = F.pad(x.flatten(0, -3), (*columns, *rows), boundary)
        return flat.reshape(*x.shape[:-2], *flat.shape[-2:])
    # The shorter rows first: fewer values are then copied twice.
    return _extend(_extend(x, -2, rows, boundary), -1, columns, boundary)


def fold(y: Tensor, rows: Margin, columns: Margin, boundary: str) -> Tensor:
    """Return the adjoint of `extend`: values outside the frame are added where they came from."""
    if boundary in ("zero", "valid"):
        margins = (-columns[0], -columns[1], -rows[0], -rows[1])
        return F.pad(y, margins) if any(margins) else y
    folded = _fold(y, -1, columns, boundary)
    return _fold(folded, -2, rows, boundary, own=max(columns) > 0)


def source_indices(
    size: int, margin: Margin, boundary: str, device: torch.device | None = None
) -> Tensor:
    """Return which of `size` pixels stands at each place of an extended row."""
    at = torch.arange(-margin[0], size + margin[1], device=device)
    if boundary == "replicate":
        return at.clamp(0, size - 1)
    if boundary == "circular":
        return at.remainder(size)
    if boundary == "symmetric":
        at = at.remainder(2 * size)
        return torch.minimum(at, 2 * size - 1 - at)
    if size == 1:
        return torch.zeros_like(at)
    at = at.remainder(2 * size - 2)
    return torch.minimum(at, 2 * size - 2 - at)


def _is_plain(x: Tensor, rows: Margin, columns: Margin, boundary: str) -> bool:
    """Whether torch itself extends x so, and no derivative asks for the adjoint of that."""
    if boundary == "symmetric" or x.ndim < 3 or x.requires_grad:
        return False
    if torch.compiler.is_compiling() or torch._C._functorch.is_functorch_wrapped_tensor(x):
        return False
    fits = (
        0 <= min(margin) and max(margin) <= _reach(size, boundary)
        for margin, size in ((rows, x.shape[-2]), (columns, x.shape[-1]))
    )
    return x.numel() > 0 and all(fits)


def _extend(x: Tensor, dim: int, margin: Margin, boundary: str) -> Tensor:
    before, after = max(margin[0], 0), max(margin[1], 0)
    size = x.shape[dim]
    if before or after:
        if max(before, after) > _reach(size, boundary):
            index = source_indices(size, (before, after), boundary, x.device)
            x = x.index_select(dim, index)
        else:
            x = torch.cat(_pieces(x, dim, before, after, boundary), dim)
    if margin[0] < 0 or margin[1] < 0:
        start = max(-margin[0], 0)
        x = x.narrow(dim, start, size + sum(margin) if start or margin[1] < 0 else size)
    return x


def _pieces(x: Tensor, dim: int, before: int, after: int, boundary: str) -> list[Tensor]:
    size = x.shape[dim]
    if boundary == "replicate":
        head, tail = x.narrow(dim, 0, 1), x.narrow(dim, size - 1, 1)
        shape = list(x.shape)
        shape[dim] = before
        head = head.expand(shape)
        shape[dim] = after
        tail = tail.expand(shape)
    elif boundary == "circular":
        head, tail = x.narrow(dim, size - before, before), x.narrow(dim, 0, after)
    else:
        skip = 1 if boundary == "reflect" else 0
        head = x.narrow(dim, skip, before).flip(dim)
        tail = x.narrow(dim, size - after - skip, after).flip(dim)
    pieces = [head] if before else []
    return [*pieces, x, tail] if after else [*pieces, x]


def _reach(size: int, boundary: str) -> int:
    """Return how far one copy of the picture on each side goes."""
    if boundary == "replicate":
        return 2**62
    return size - 1 if boundary == "reflect" else size


def _fold(y: Tensor, dim: int, margin: Margin, boundary: str, *, own: bool = False) -> Tensor:
    """Fold one axis; into y itself, if nobody else holds it."""
    before, after = max(margin[0], 0), max(margin[1], 0)
    if margin[0] < 0 or margin[1] < 0:
        cut = (max(-margin[0], 0), max(-margin[1], 0))
        y = F.pad(y, cut if dim == -1 else (0, 0, *cut))
    if not (before or after):
        return y
    size = y.shape[dim] - before - after
    if max(before, after) > _reach(size, boundary):
        index = source_indices(size, (before, after), boundary, y.device)
        shape = list(y.shape)
        shape[dim] = size
        return y.new_zeros(shape).index_add(dim, index, y)
    total = y.narrow(dim, before, size)
    total = total if own else total.clone()
    head, tail = y.narrow(dim, 0, before), y.narrow(dim, before + size, after)
    for part, start in _landing(head, tail, dim, size, boundary):
        total.narrow(dim, start, part.shape[dim]).add_(part)
    return total


def _landing(
    head: Tensor, tail: Tensor, dim: int, size: int, boundary: str
) -> list[tuple[Tensor, int]]:
    """Return the folded margins, and the pixel at which each of them is added."""
    before, after = head.shape[dim], tail.shape[dim]
    if boundary == "replicate":
        parts = [(head.sum(dim, keepdim=True), 0), (tail.sum(dim, keepdim=True), size - 1)]
    elif boundary == "circular":
        parts = [(head, size - before), (tail, 0)]
    else:
        skip = 1 if boundary == "reflect" else 0
        parts = [(head.flip(dim), skip), (tail.flip(dim), size - after - skip)]
    return [part for part, kept in zip(parts, (before, after), strict=True) if kept]
