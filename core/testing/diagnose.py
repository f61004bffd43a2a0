"""What is wrong with an adjoint: scaled, shifted, unflipped, unconjugated, or wrong at a border."""

from __future__ import annotations

import torch
from torch import Tensor

from ..operator import ForwardOperator
from .measure import place_of

__all__ = ["adjoint_trouble"]

_LARGEST = 2**22
_SAME = 1e-4


def adjoint_trouble(op: ForwardOperator) -> str:
    """Compare the adjoint's dense matrix with the operator's, and describe the difference."""
    if op.in_space.numel * op.out_space.numel > _LARGEST:
        return "The operator is too large to say what is wrong; use a smaller example."
    matrix, back = _both(op)
    true = matrix.mH
    gap = back - true
    norms = gap.norm(dim=(-2, -1))
    sample = int(norms.argmax())
    matrix, back, true, gap = matrix[sample], back[sample], true[sample], gap[sample]
    if not float(gap.norm()):
        return "The adjoint fits the operator's matrix: it depends on the batch, or on rounding."
    place = place_of(gap.norm(dim=-1).reshape(op.in_space.shape), op.in_space)
    return f"{_fitted(true, back)} {_hint(op, matrix, true, back)}{place}"


def _both(op: ForwardOperator) -> tuple[Tensor, Tensor]:
    """Return A and A^H as matrices `(samples, rows, columns)` in double precision."""
    with torch.no_grad():
        matrix, back = op.as_matrix(), op.H.as_matrix()
    kind = torch.promote_types(matrix.dtype, back.dtype)
    kind = torch.complex128 if kind.is_complex else torch.float64
    if not back.is_complex():  # a real picture seen through complex data: A^H is the real part
        matrix = matrix.real if matrix.is_complex() else matrix
    rows, columns = op.out_space.numel, op.in_space.numel
    return (
        matrix.to(kind).reshape(-1, rows, columns),
        back.to(kind).reshape(-1, columns, rows),
    )


def _scale(true: Tensor, got: Tensor) -> complex:
    size = (true.conj() * true).sum().real
    return complex((true.conj() * got).sum() / size) if float(size) else 0j


def _fitted(true: Tensor, back: Tensor) -> str:
    scale = _scale(true, back)
    shown = f"{scale.real:.6g}" if abs(scale.imag) <= 1e-9 * abs(scale) else f"{scale:.4g}"
    return f"Fitted scale <A x, y> : <x, A^H y> = 1 : {shown}."


def _near(a: Tensor, b: Tensor) -> bool:
    size = float(b.norm())
    return size > 0 and float((a - b).norm()) < _SAME * size


def _hint(op: ForwardOperator, matrix: Tensor, true: Tensor, back: Tensor) -> str:
    scale = _scale(true, back)
    if _near(back, matrix.T) and matrix.is_complex():
        return "Hint: missing conjugate, this is A^T. "
    # A single number is always scaled, whatever is wrong.
    if true.numel() > 1 and _near(back, scale * true) and abs(scale - 1) > _SAME:
        return f"Hint: scaled, A^H is {abs(scale):.6g} times as large as it should be. "
    if matrix.shape[0] == matrix.shape[1] and _near(back, matrix):
        return "Hint: transposed kernel, A^H does what A does (the kernel is not flipped). "
    return _hint_from_answer(op, true, back)


def _hint_from_answer(op: ForwardOperator, true: Tensor, back: Tensor) -> str:
    """Look at the answer to one pixel in the middle of y: is it moved, or turned round?"""
    if op.in_space.ndim != 3 or op.out_space.ndim != 3:
        return ""
    _, h, w = op.out_space.shape
    pixel = (h // 2) * w + w // 2
    want = true[:, pixel].reshape(op.in_space.shape)[0]
    got = back[:, pixel].reshape(op.in_space.shape)[0]
    if not float(want.norm()) or _near(got, want):
        return ""
    shift = _shift_between(want, got)
    if shift:
        return f"Hint: shifted, by {shift[0]} rows and {shift[1]} columns. "
    if _shift_between(want.flip(-2, -1), got) is not None:
        return "Hint: transposed kernel, the kernel in A^H is not flipped. "
    return ""


def _shift_between(want: Tensor, got: Tensor) -> tuple[int, int] | None:
    """Return the circular shift that makes `want` into `got`; None when there is none."""
    f = torch.fft.fft2(got) * torch.fft.fft2(want).conj()
    peak = int(torch.fft.ifft2(f).abs().argmax())
    rows, columns = want.shape
    dy, dx = divmod(peak, columns)
    if not _near(got, want.roll((dy, dx), (0, 1))):
        return None
    return (dy - rows if dy > rows // 2 else dy), (dx - columns if dx > columns // 2 else dx)
