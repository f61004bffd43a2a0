"""Closed forms in the Fourier domain of the measurement, also for operators with a stride.

For a channelwise operator B that moves y by one pixel when x moves by `stride` pixels, `B B^H` is
diagonal in the Fourier domain of y. A quadratic penalty `|L x|^2` with a circulant `L^H L > 0` is
brought to that form by `x = F z` with `F = (L^H L)^(-1/2)` and `B = A F`.
"""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import Equivariance, ForwardOperator, Space

__all__ = ["SpectralFilter", "energies", "frequencies", "is_diagonal"]


@attrs.frozen(eq=False, kw_only=True)
class SpectralFilter(ForwardOperator):
    """A circular filter given by its real, even response `(H, W)`; Hermitian."""

    response: Tensor
    space: Space

    @property
    def in_space(self) -> Space:
        """The pictures."""
        return self.space

    @property
    def out_space(self) -> Space:
        """The pictures."""
        return self.space

    def equivariance(self) -> Equivariance:
        """Commutes with every shift."""
        return Equivariance()

    def _apply(self, x: Tensor) -> Tensor:
        height, width = self.space.shape[1:]
        filtered: Tensor
        if x.is_complex():
            filtered = torch.fft.ifft2(torch.fft.fft2(x) * self.response)
        else:
            half = self.response[:, : width // 2 + 1]
            filtered = torch.fft.irfft2(torch.fft.rfft2(x) * half, s=(height, width))
        return filtered

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._apply(y)


def frequencies(space: Space, device: torch.device) -> tuple[Tensor, Tensor]:
    """Return both frequencies of every coefficient, cycles per pixel, (H, 1) and (1, W)."""
    height, width = space.shape[1:]
    down = torch.fft.fftfreq(height, device=device, dtype=torch.float64)
    across = torch.fft.fftfreq(width, device=device, dtype=torch.float64)
    return down[:, None], across[None, :]


def is_diagonal(op: ForwardOperator) -> bool:
    """Whether `A A^H` is diagonal in the Fourier domain of each channel of y."""
    known = op.equivariance()
    a, b = op.in_space, op.out_space
    if known is None or not known.channelwise or a.ndim != 3 or b.ndim != 3 or a.dtype != b.dtype:
        return False
    return a.shape == (b.shape[0], b.shape[1] * known.stride, b.shape[2] * known.stride)


def energies(op: ForwardOperator, device: torch.device) -> Tensor:
    """Return the eigenvalues of `A A^H` for each frequency of y, `(*batch_shape, C, h, w)`."""
    delta = op.out_space.zeros(op.batch_shape, device=device)
    delta[..., 0, 0] = 1
    # Rounding leaves values around zero where the operator removes a frequency.
    values: Tensor = torch.fft.fft2(op._apply(op._adjoint(delta))).real.clamp_min(0)
    return values
