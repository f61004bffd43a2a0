"""Fourier form of operators that commute with circular shifts, with or without a stride.

Let `g_o = A^H delta_o` be the adjoint's answer to a unit pixel at the origin of output channel o.
If moving x by `stride` pixels moves y by one, then `y_o[i] = sum_n conj(g_o[n - stride i]) x[n]`.
Split x and g into their `stride^2` phases, pictures of the size of y: in the Fourier domain every
frequency of y is a small row of products,

    Y_o(f) = sum over channels c and phases p of  K_{o,c,p}(f) X_{c,p}(f),   K = conj(FFT(g)).

For a channelwise operator `A A^H` is then diagonal in the Fourier domain of y, which gives the
analytic l2-l2 solution of Zhao et al., 2016, Fast single image super-resolution using a new
analytical solution for l2-l2 problems, IEEE TIP 25(8), equations (12)-(19), at the cost of FFTs
at the size of y only. Otherwise `A A^H` is one matrix of output channels per frequency.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

from .space import Space

__all__ = ["Spectra", "fft", "ifft", "join_phases", "split_phases"]


@attrs.frozen(eq=False)
class Spectra:
    """Transfer functions `K` of a shift-equivariant operator, and the energy `A A^H`.

    Shapes: channelwise: transfer `(*batch, C, P, h, w')`, energy `(*batch, C, h, w')`; otherwise
    transfer `(*batch, O, C P, h, w')` and energy `(*batch, h, w', O, O)`. `P = stride^2`, and
    `w'` is `w // 2 + 1` for real operators.
    """

    transfer: Tensor
    stride: int
    channelwise: bool
    energy: Tensor = attrs.field(init=False)

    @energy.default
    def _energy(self) -> Tensor:
        if self.channelwise:
            return (self.transfer.real.square() + self.transfer.imag.square()).sum(-3)
        rows = self.transfer.movedim((-4, -3), (-2, -1))
        return rows @ rows.mH

    def apply(self, x: Tensor) -> Tensor:
        """Return the spectrum of A x from the spectra of the phases of x, `(*, C, P, h, w')`."""
        if self.channelwise:
            return (self.transfer * x).sum(-3)
        return torch.einsum("...oqhw,...qhw->...ohw", self.transfer, x.flatten(-4, -3))

    def adjoint(self, y: Tensor, channels: int) -> Tensor:
        """Return the spectra of the phases of A^H y from the spectrum of y, `(*, O, h, w')`."""
        if self.channelwise:
            return self.transfer.conj() * y.unsqueeze(-3)
        x = torch.einsum("...oqhw,...ohw->...qhw", self.transfer.conj(), y)
        return x.unflatten(-3, (channels, self.stride**2))

    def shrink(self, residual: Tensor, tau: Tensor) -> Tensor:
        """Return `(I + tau A A^H)^-1 residual`; tau broadcasts against `(*, O, h, w')`."""
        if self.channelwise:
            return residual / (1 + tau * self.energy)
        rows = residual.movedim(-3, -1).unsqueeze(-1)
        identity = torch.eye(rows.shape[-2], dtype=rows.dtype, device=rows.device)
        # One value per sample has shape (*, 1, 1, 1), which also fits (*, h, w', O, O) one axis on.
        step = tau.unsqueeze(-1) if tau.ndim else tau
        solved = torch.linalg.solve(identity + step * self.energy, rows)
        return solved.squeeze(-1).movedim(-1, -3)

    def squared_norm(self) -> Tensor:
        """Return the largest eigenvalue of A A^H, of the batch shape."""
        if self.channelwise:
            return self.energy.amax((-3, -2, -1))
        return torch.linalg.eigvalsh(self.energy).amax((-3, -2, -1))


def split_phases(x: Tensor, stride: int) -> Tensor:
    """Return the phases of `(*, C, H, W)` as `(*, C, stride^2, H / stride, W / stride)`."""
    if stride == 1:
        return x.unsqueeze(-3)
    h, w = x.shape[-2] // stride, x.shape[-1] // stride
    x = x.unflatten(-2, (h, stride)).unflatten(-1, (w, stride))
    return x.movedim((-3, -1), (-4, -3)).flatten(-4, -3)


def join_phases(x: Tensor, stride: int) -> Tensor:
    """Return the picture `(*, C, H, W)` of the phases `(*, C, stride^2, h, w)`."""
    if stride == 1:
        return x.squeeze(-3)
    x = x.unflatten(-3, (stride, stride)).movedim((-4, -3), (-3, -1))
    return x.flatten(-4, -3).flatten(-2, -1)


def fft(x: Tensor) -> Tensor:
    """Return the 2-D spectrum, half of it for real input."""
    return torch.fft.fft2(x) if x.is_complex() else torch.fft.rfft2(x)


def ifft(spectrum: Tensor, space: Space, size: tuple[int, int]) -> Tensor:
    """Return the picture of a spectrum from `fft`, of the dtype kind of `space`."""
    if space.dtype.is_complex:
        return torch.fft.ifft2(spectrum)
    return torch.fft.irfft2(spectrum, s=size)
