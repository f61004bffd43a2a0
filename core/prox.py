"""Which operators have a closed-form proximal map of the data term, and what it is.

    data_prox(v, y, tau) = argmin_x 1/2 |A x - y|^2 + 1/(2 tau) |x - v|^2
                         = v + tau A^H (I + tau A A^H)^-1 (y - A v)

The inverse is immediate when `A A^H` is diagonal (masks, crops, unblurred decimation, Fourier
sampling: `row_gram`), and in the Fourier domain when A commutes with shifts (`equivariance`).
Without a stride, `(I + tau A^H A)^-1` is as simple (`solve_normal`), whatever the shape of y.
Compositions peel off factors that are multiples of an isometry; see `wellposed.algebra`.
Everything else goes by conjugate gradients on `(I + tau A^H A) x = v + tau A^H y`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from .cache import derived
from .linalg import spd_solve
from .moves import tensors_in
from .polyphase import ChannelSpectra, MixingSpectra, Spectra, fft, ifft

if TYPE_CHECKING:
    from .operator import ForwardOperator

__all__ = ["data_prox", "exact_norm", "is_closed", "solve_normal", "spectra_of"]

# Above this many entries, one matrix per frequency costs more memory than iterating.
_SPECTRA_LIMIT = 2**26


def is_closed(op: ForwardOperator) -> bool:
    """Whether the declared structure gives a closed form."""
    return op.row_gram() is not None or _fits_fourier(op) or _gram_fits_fourier(op)


def exact_norm(op: ForwardOperator) -> Tensor | None:
    """Return the operator norm, of shape `op.batch_shape`, where the structure gives it."""
    space = op.out_space
    like = space.zeros(op.batch_shape, device=op.device).abs()
    column = op.column_gram()
    if column is not None:
        return like.new_full(op.batch_shape, column**0.5)
    row = op.row_gram()
    if row is not None:
        if isinstance(row, Tensor):
            row = row.to(like.device)
        return (like + row).flatten(len(op.batch_shape)).amax(-1).sqrt()
    if _fits_fourier(op):
        return spectra_of(op).squared_norm().clamp_min(0).sqrt().expand(op.batch_shape)
    return None


def data_prox(
    op: ForwardOperator, v: Tensor, y: Tensor, tau: Tensor, *, rtol: float | None, max_steps: int
) -> Tensor:
    """Compute the proximal map by the best way that the structure allows; tau broadcasts to v."""
    row = op.row_gram()
    if row is not None:
        step = _on_measurement(op, tau)
        if isinstance(row, Tensor):  # of an operator without tensors, it lies on the CPU
            row = row.to(v.device)
        return v + tau * op._adjoint((y - op._apply(v)) / (1 + step * row))
    if _fits_fourier(op):
        return spectra_of(op).prox(v, y, tau)
    terms = [(tau, op)]
    rhs = v + tau * op._adjoint(y)
    return solve_normal(terms, rhs, shift=1.0, x0=v, rtol=rtol, max_steps=max_steps)


def solve_normal(
    terms: Sequence[tuple[Tensor | float, ForwardOperator]],
    rhs: Tensor,
    *,
    shift: float = 0.0,
    x0: Tensor | None = None,
    rtol: float | None = None,
    max_steps: int = 500,
) -> Tensor:
    """Solve `(shift I + sum_i w_i A_i^H A_i) x = rhs`, the normal equations of quadratic terms.

    At once when every A_i^H A_i is a multiple of the identity; in the Fourier domain when each is
    that, or its operator commutes with all shifts and keeps channels apart; otherwise by conjugate
    gradients (started at `x0`), with implicit gradients.

    Shapes: rhs `(*batch, *in_space.shape)`; each weight positive, a number or broadcastable to
    rhs. The sum must be positive definite.
    """
    space = terms[0][1].in_space
    if not rhs.numel():
        return rhs
    if all(_gram_fits_fourier(op) for _, op in terms):
        energy = sum(w * _gram_spectrum(op, rhs.device) for w, op in terms) + shift
        if all(op.column_gram() is not None for _, op in terms):
            return rhs / energy
        size = (space.shape[1], space.shape[2])
        return ifft(fft(rhs) / energy, size, real=not space.dtype.is_complex)

    def apply(x: Tensor) -> Tensor:
        total = shift * x if shift else torch.zeros_like(x)
        for w, op in terms:
            total = total + w * op._gram(x)
        return total

    return spd_solve(apply, rhs, space, x0=x0, rtol=rtol, max_steps=max_steps)


def _gram_spectrum(op: ForwardOperator, device: torch.device) -> Tensor | float:
    """Return the eigenvalues of A^H A, one per channel and frequency, `(*batch, C, H, w')`.

    An operator without parameters has no device of its own, and a spectrum for each that it meets.
    """
    column = op.column_gram()
    if column is not None:
        return column

    def compute() -> Tensor:
        delta = op.in_space.zeros(op.batch_shape, device=device)
        delta[..., 0, 0] = 1
        return fft(op._gram(delta)).real

    return derived(op, f"gram_spectrum {device}", compute, *tensors_in(op))


def _gram_fits_fourier(op: ForwardOperator) -> bool:
    if op.column_gram() is not None:
        return op.in_space.ndim == 3
    known = op.equivariance()
    if known is None or op.in_space.ndim != 3:
        return False
    return known.stride == 1 and known.channelwise


def spectra_of(op: ForwardOperator) -> Spectra:
    """Return the Fourier form of a shift-equivariant operator, remembered on it."""
    return derived(op, "spectra", lambda: _spectra(op), *tensors_in(op))


def _fits_fourier(op: ForwardOperator) -> bool:
    known = op.equivariance()
    a, b = op.in_space, op.out_space
    if known is None or a.ndim != 3 or b.ndim != 3 or a.dtype != b.dtype:
        return False
    s = known.stride
    if a.shape[1:] != (b.shape[1] * s, b.shape[2] * s):
        return False
    if known.channelwise:
        return a.shape[0] == b.shape[0]
    return a.numel * b.shape[0] <= _SPECTRA_LIMIT


def _spectra(op: ForwardOperator) -> Spectra:
    known = op.equivariance()
    assert known is not None
    space, batch = op.out_space, op.batch_shape
    if known.channelwise:
        delta = space.zeros(batch, device=op.device)
        delta[..., 0, 0] = 1
        return ChannelSpectra.of_impulse(op._adjoint(delta), known.stride)
    impulses = []
    for channel in range(space.shape[0]):
        delta = space.zeros(batch, device=op.device)
        delta[..., channel, 0, 0] = 1
        impulses.append(op._adjoint(delta))
    return MixingSpectra.of_impulses(torch.stack(impulses, -4), known.stride)


def _on_measurement(op: ForwardOperator, tau: Tensor) -> Tensor:
    """Give a tau that broadcasts against x the event axes of y instead."""
    if tau.ndim == 0:
        return tau
    batch = tau.shape[: tau.ndim - op.in_space.ndim]
    return tau.reshape(*batch, *(1,) * op.out_space.ndim)
