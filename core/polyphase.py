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

Real pictures whose stride is even go in pairs: the phases a and b of neighbouring columns are the
real and imaginary part of one complex picture `z = a + i b`, which is x itself seen as complex.
With `q = k_a - i k_b`, `Re(q * z) = k_a * a + k_b * b`: half as many transforms, all of them
complex to complex, which every FFT library does best.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial

import attrs
import torch
from torch import Tensor

from .autograd import linear_step
from .cache import derived
from .linalg import identity_plus

__all__ = ["ChannelSpectra", "MixingSpectra", "Spectra", "fft", "ifft"]

# Pixels at once for two threads: one megabyte in single precision, which a core keeps in its cache;
# phases are smaller pictures, and more of them go together.
_PIECE = 2**18
_PIECE_OF_PHASES = 2**19


@attrs.frozen(eq=False, slots=False)
class ChannelSpectra:
    """Transfer functions of an operator that keeps channels apart.

    Shapes: transfer `(*batch, 1|C, P, h, w')`: P = stride^2 phases, or half as many pairs.
    """

    transfer: Tensor
    stride: int
    paired: bool
    size: tuple[int, int]  # of y
    real: bool

    @classmethod
    def of_impulse(cls, impulse: Tensor, stride: int) -> ChannelSpectra:
        """Return the spectra from `A^H delta`, of shape `(*batch, 1|C, H, W)`."""
        real = not impulse.is_complex()
        paired = real and stride % 2 == 0
        phases = _pairs(impulse, stride) if paired else _phases(impulse, stride)
        transfer = fft(phases).conj().resolve_conj()
        size = (impulse.shape[-2] // stride, impulse.shape[-1] // stride)
        return cls(transfer, stride, paired, size, real)

    def apply(self, x: Tensor) -> Tensor:
        """Return A x for `(*, C, H, W)`."""
        return self._step(x, self._apply, self._adjoint)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^H y for `(*, C, h, w)`."""
        return self._step(y, self._adjoint, self._apply)

    def gram(self, x: Tensor) -> Tensor:
        """Return A^H A x."""
        if self.stride > 1:
            return self.adjoint(self.apply(x))
        return self._in_pieces(self._gram, x)

    def prox(self, v: Tensor, y: Tensor, tau: Tensor) -> Tensor:
        """Return `argmin_x 1/2 |A x - y|^2 + 1/(2 tau) |x - v|^2`; tau broadcasts against both."""
        if tau.ndim:
            tau = tau.expand(*v.shape[:-2], 1, 1)
            return self._in_pieces(self._prox, v, y, tau)

        def prox(v: Tensor, y: Tensor) -> Tensor:
            return self._prox(v, y, tau)

        return self._in_pieces(prox, v, y)

    def damped(self, y: Tensor, tau: Tensor) -> Tensor:
        """Return `tau (I + tau A A^H)^-1 y`; tau broadcasts against y.

        With it `prox(v, y, tau) = v + A^H damped(y - A v, tau)`, whatever computes A and A^H.
        """
        spectrum = fft(y)
        energy = self.energy[..., : spectrum.shape[-1]]
        return ifft(_times(spectrum, tau / (1 + tau * energy)), self.size, real=self.real)

    def squared_norm(self) -> Tensor:
        """Return the largest eigenvalue of A A^H, of the batch shape."""
        return self.energy.amax((-3, -2, -1))

    @property
    def energy(self) -> Tensor:
        """The eigenvalues of A A^H, `(*batch, 1|C, h, w')`."""
        return derived(self, "energy", self._energy, self.transfer)

    def _energy(self) -> Tensor:
        total = (self.transfer.real.square() + self.transfer.imag.square()).sum(-3)
        if not self.paired:
            return total
        # |k_a - i k_b|^2 holds a cross term that is odd in the frequency.
        return (total + total.flip(-2, -1).roll((1, 1), (-2, -1))) / 2

    @property
    def _scaled(self) -> Tensor:
        # The 1/hw of the inverse transform, where it costs nothing.
        area = self.size[0] * self.size[1]
        return derived(self, "scaled", lambda: self.transfer / area, self.transfer)

    @property
    def _scaled_back(self) -> Tensor:
        area = self.size[0] * self.size[1]
        return derived(
            self, "scaled_back", lambda: (self.transfer.conj() / area).resolve_conj(), self.transfer
        )

    @property
    def _scaled_energy(self) -> Tensor:
        area = self.size[0] * self.size[1]
        return derived(self, "scaled_energy", lambda: self.energy / area, self.transfer)

    def _apply(self, x: Tensor) -> Tensor:
        products = _times(self._analyse(x), self._scaled)
        y = self._inverse(products.sum(-3) if self.stride > 1 else products.squeeze(-3))
        return y.real.contiguous() if self.paired else y

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._join(self._synthesise(self._spectrum(y)))

    def _gram(self, x: Tensor) -> Tensor:
        return self._inverse(_times(fft(x), self._scaled_energy))

    def _prox(self, v: Tensor, y: Tensor, tau: Tensor) -> Tensor:
        shrink = tau / (1 + tau * self.energy)
        if self.stride > 1:
            residual = self._spectrum(y - self._apply(v))
            return v + self._join(self._synthesise(_times(residual, shrink)))
        residual = torch.addcmul(fft(y), self.transfer.squeeze(-3), fft(v), value=-1)
        return v + self._inverse(_times(residual, self._scaled_back.squeeze(-3) * shrink))

    def _step(self, x: Tensor, apply: Callable[..., Tensor], back: Callable[..., Tensor]) -> Tensor:
        in_pieces, batch = self._in_pieces, tuple(self.transfer.shape[:-4])
        return linear_step(
            x, partial(in_pieces, apply), partial(in_pieces, back), self.transfer, batch=batch
        )

    def _in_pieces(self, compute: Callable[..., Tensor], *inputs: Tensor) -> Tensor:
        """Return `compute(*inputs)`, a few pictures at a time on CPUs.

        Small buffers are reused while they are in the cache; large ones come from the system page
        by page at every step, which costs more than the transforms.
        """
        if not self._is_plain(*inputs):
            return compute(*inputs)
        lead = inputs[0].shape[:-2]
        pictures = math.prod(lead)
        piece = _PIECE if self.stride == 1 else _PIECE_OF_PHASES
        piece *= max(torch.get_num_threads() // 2, 1)
        at_once = max(piece // (self.size[0] * self.size[1] * self.stride**2), 1)
        if pictures <= at_once:
            return compute(*inputs)
        flat = [t.reshape(pictures, 1, *t.shape[-2:]) for t in inputs]
        starts = range(at_once, pictures, at_once)
        first = compute(*(t[:at_once] for t in flat))
        result = first.new_empty(pictures, *first.shape[1:])
        result[:at_once] = first
        for start in starts:
            result[start : start + at_once] = compute(*(t[start : start + at_once] for t in flat))
        return result.reshape(*lead, *result.shape[-2:])

    def _is_plain(self, *inputs: Tensor) -> bool:
        """Whether nobody records or transforms what happens, and all pictures share a kernel."""
        if (
            torch.compiler.is_compiling()
            or inputs[0].is_cuda
            or self.transfer.shape[:-3].numel() > 1
        ):
            return False
        tensors = (self.transfer, *inputs)
        if torch.is_grad_enabled() and any(t.requires_grad for t in tensors):
            return False
        return not any(torch._C._functorch.is_functorch_wrapped_tensor(t) for t in tensors)

    def _analyse(self, x: Tensor) -> Tensor:
        if self.stride == 1:
            return fft(x).unsqueeze(-3)
        return fft(_pairs(x, self.stride) if self.paired else _phases(x, self.stride))

    def _spectrum(self, y: Tensor) -> Tensor:
        """Return the spectrum of y, whole where the phases of x are paired."""
        return torch.fft.fft2(y) if self.paired else fft(y)

    def _synthesise(self, spectrum: Tensor) -> Tensor:
        return self._inverse(self._scaled_back * spectrum.unsqueeze(-3))

    def _inverse(self, spectrum: Tensor) -> Tensor:
        real = self.real and not self.paired
        return ifft(spectrum, self.size, real=real, norm="forward")

    def _join(self, phases: Tensor) -> Tensor:
        return (
            _from_pairs(phases, self.stride) if self.paired else _from_phases(phases, self.stride)
        )


@attrs.frozen(eq=False, slots=False)
class MixingSpectra:
    """Transfer functions of an operator that mixes channels.

    Shapes: transfer `(*batch, O, C P, h, w')` for O channels of y and C of x.
    """

    transfer: Tensor
    stride: int
    channels: int
    size: tuple[int, int]
    real: bool

    @classmethod
    def of_impulses(cls, impulses: Tensor, stride: int) -> MixingSpectra:
        """Return the spectra from `A^H delta` of every output channel, `(*batch, O, C, H, W)`."""
        transfer = fft(_phases(impulses, stride)).conj().resolve_conj()
        size = (impulses.shape[-2] // stride, impulses.shape[-1] // stride)
        real = not impulses.is_complex()
        return cls(transfer.flatten(-4, -3), stride, impulses.shape[-3], size, real)

    def apply(self, x: Tensor) -> Tensor:
        """Return A x for `(*, C, H, W)`."""
        return self._inverse(self._apply(x))

    def adjoint(self, y: Tensor) -> Tensor:
        """Return A^H y for `(*, O, h, w)`."""
        return self._adjoint(fft(y))

    def prox(self, v: Tensor, y: Tensor, tau: Tensor) -> Tensor:
        """Return `argmin_x 1/2 |A x - y|^2 + 1/(2 tau) |x - v|^2`; tau broadcasts against both."""
        residual = fft(y) - self._apply(v)
        # One value per sample has shape (*, 1, 1, 1), which also fits (*, h, w', O, O) one axis on.
        step = tau.unsqueeze(-1) if tau.ndim else tau
        if self._is_wide:
            return v + tau * self._adjoint(self._solved(step, residual))
        # By A A^H, whatever no picture gives would come back times tau eps.
        return v + tau * self._picture(self._solved(step, self._back(residual)))

    def squared_norm(self) -> Tensor:
        """Return the largest eigenvalue of A A^H, of the batch shape."""
        result: Tensor = torch.linalg.eigvalsh(self.energy).amax((-3, -2, -1))
        return result

    @property
    def energy(self) -> Tensor:
        """The matrices of A A^H, `(*batch, h, w', O, O)`; of A^H A where these are smaller."""
        return derived(self, "energy", self._energy, self.transfer)

    def _energy(self) -> Tensor:
        rows = self.transfer.movedim((-4, -3), (-2, -1))
        return rows @ rows.mH if self._is_wide else rows.mH @ rows

    @property
    def _is_wide(self) -> bool:
        return self.transfer.shape[-4] <= self.transfer.shape[-3]

    def _solved(self, step: Tensor, b: Tensor) -> Tensor:
        """Return `(I + step energy)^-1 b`, for a spectrum `(*, n, h, w')`."""
        rows = b.movedim(-3, -1).unsqueeze(-1)
        # By solve, one sample that is not finite could stop the others.
        solved: Tensor = torch.linalg.solve_ex(identity_plus(step, self.energy), rows)[0]
        return solved.squeeze(-1).movedim(-1, -3)

    def _apply(self, x: Tensor) -> Tensor:
        phases = fft(_phases(x, self.stride)).flatten(-4, -3)
        return torch.einsum("...oqhw,...qhw->...ohw", self.transfer, phases)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._picture(self._back(y))

    def _back(self, y: Tensor) -> Tensor:
        return torch.einsum("...oqhw,...ohw->...qhw", self.transfer.conj(), y)

    def _picture(self, spectrum: Tensor) -> Tensor:
        x = self._inverse(spectrum).unflatten(-3, (self.channels, self.stride**2))
        return _from_phases(x, self.stride)

    def _inverse(self, spectrum: Tensor) -> Tensor:
        return ifft(spectrum, self.size, real=self.real)


Spectra = ChannelSpectra | MixingSpectra


def fft(x: Tensor) -> Tensor:
    """Return the 2-D spectrum, half of it for real input.

    On CPUs in two steps: the second leaves columns contiguous, as the inverse wants them, where
    rfft2 would copy them back.
    """
    if x.is_complex():
        result: Tensor = torch.fft.fft2(x)
    elif x.is_cuda:
        result = torch.fft.rfft2(x)
    else:
        result = torch.fft.fft(torch.fft.rfft(x), dim=-2)
    return result


def ifft(spectrum: Tensor, size: tuple[int, int], *, real: bool, norm: str = "backward") -> Tensor:
    """Return the picture of a spectrum from `fft`; norm 'forward' leaves out the factor 1/hw."""
    if not real:
        result: Tensor = torch.fft.ifft2(spectrum, norm=norm)
    elif spectrum.is_cuda:
        result = torch.fft.irfft2(spectrum, s=size, norm=norm)
    else:
        columns = torch.fft.ifft(spectrum, dim=-2, norm=norm)
        result = torch.fft.irfft(columns, n=size[1], norm=norm)
    return result


def _times(fresh: Tensor, factor: Tensor) -> Tensor:
    """Return the product, in the storage of `fresh` (a tensor that nobody else holds) if possible.

    A new buffer costs more than the product: the system hands it out page by page.
    """
    if torch.compiler.is_compiling() or fresh.requires_grad or factor.requires_grad:
        return fresh * factor
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    if wrapped(fresh) or wrapped(factor):
        return fresh * factor
    if torch.broadcast_shapes(fresh.shape, factor.shape) != fresh.shape:
        return fresh * factor
    return fresh.mul_(factor)


def _phases(x: Tensor, stride: int) -> Tensor:
    """Return the phases of `(*, C, H, W)` as `(*, C, stride^2, H / stride, W / stride)`."""
    if stride == 1:
        return x.unsqueeze(-3)
    h, w = x.shape[-2] // stride, x.shape[-1] // stride
    x = x.unflatten(-2, (h, stride)).unflatten(-1, (w, stride))
    return x.movedim((-3, -1), (-4, -3)).flatten(-4, -3)


def _from_phases(phases: Tensor, stride: int) -> Tensor:
    """Return the picture `(*, C, H, W)` of its phases."""
    if stride == 1:
        return phases.squeeze(-3)
    x = phases.unflatten(-3, (stride, stride)).movedim((-4, -3), (-3, -1))
    joined: Tensor = x.flatten(-4, -3).flatten(-2, -1)
    return joined


def _pairs(x: Tensor, stride: int) -> Tensor:
    """Return the phases in pairs, complex `(*, C, stride^2 / 2, H / stride, W / stride)`."""
    h, w = x.shape[-2] // stride, x.shape[-1] // stride
    x = x.contiguous()
    # A complex view wants aligned pairs; while compiling, nobody can say whether they are.
    if torch.compiler.is_compiling() or x.storage_offset() % 2:
        x = x.clone()
    z = torch.view_as_complex(x.unflatten(-1, (-1, 2)))
    z = z.unflatten(-2, (h, stride)).unflatten(-1, (w, stride // 2))
    result: Tensor = z.movedim((-3, -1), (-4, -3)).flatten(-4, -3)
    return result


def _from_pairs(phases: Tensor, stride: int) -> Tensor:
    """Return the real picture `(*, C, H, W)` of its phases in pairs."""
    z = phases.unflatten(-3, (stride, stride // 2)).movedim((-4, -3), (-3, -1))
    # Copied while complex, in units of a pair, which is twice as fast.
    return torch.view_as_real(z.flatten(-4, -3).flatten(-2, -1)).flatten(-2, -1)
