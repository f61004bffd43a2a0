"""The simplest torch and SciPy code for the jobs of a circular strided blur: what users write.

`y = (k * x)[::stride, ::stride]` with circular boundaries, an odd kernel `(1, 1, n, n)` and
pictures `(N, C, H, W)`; the kernel's spectrum, where one is used, is computed in every call.
"""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np
import scipy.fft
import scipy.ndimage
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["error", "reference", "scipy_forms", "torch_forms"]

Form = Callable[[], object]


def torch_forms(
    x: Tensor, y: Tensor, v: Tensor, kernel: Tensor, stride: int, tau: float
) -> dict[str, dict[str, Form]]:
    """Return the forms of each job, ready to call."""

    def backward(form: Callable[[Tensor, Tensor, int], Tensor]) -> Form:
        leaf = x.clone().requires_grad_()
        return lambda: torch.autograd.grad(form(leaf, kernel, stride), leaf, y)[0]

    forwards = {"pad + conv2d": _conv, "kernel FFT per call": _fft}
    if stride > 1:
        forwards["conv2d, then slice"] = _conv_slice
    return {
        "forward": {n: _bind(f, x, kernel, stride) for n, f in forwards.items()},
        "adjoint": {
            "conv_transpose2d + wrap": _bind(_conv_adjoint, y, kernel, stride),
            "kernel FFT per call": _bind(_fft_adjoint, y, kernel, stride),
            "autograd of pad + conv2d": backward(_conv),
        },
        "data_prox": {"full-size FFTs": lambda: _prox(v, y, kernel, stride, tau)},
        "forward+backward": {n: backward(f) for n, f in forwards.items()},
    }


def scipy_forms(x: Tensor, kernel: Tensor, stride: int) -> dict[str, Form]:
    """Return the forward forms of SciPy; ndimage only where it ends within seconds."""
    picture, taps = x.cpu().numpy(), kernel[0, 0].cpu().numpy()
    workers = os.cpu_count() or 1

    def by_fft() -> object:
        spectrum = scipy.fft.rfft2(_embed(kernel, x)[0, 0].numpy())
        full = scipy.fft.irfft2(
            scipy.fft.rfft2(picture, workers=workers) * spectrum,
            s=picture.shape[-2:],
            workers=workers,
        )
        return full[..., ::stride, ::stride]

    forms: dict[str, Form] = {"scipy.fft": by_fft}
    if picture.size * taps.size < 1e9:
        forms["ndimage.convolve"] = lambda: scipy.ndimage.convolve(
            picture, taps[None, None], mode="wrap"
        )[..., ::stride, ::stride]
    return forms


def reference(
    x: Tensor, y: Tensor, v: Tensor, kernel: Tensor, stride: int, tau: float
) -> dict[str, Tensor]:
    """Return the answers in double precision, on the CPU, by full-size FFTs."""
    x, y, v, kernel = (t.double().cpu() for t in (x, y, v, kernel))
    adjoint = _fft_adjoint(y, kernel, stride)
    return {
        "forward": _fft(x, kernel, stride),
        "adjoint": adjoint,
        "data_prox": _prox(v, y, kernel, stride, tau),
        "forward+backward": adjoint,
    }


def error(got: object, expected: Tensor) -> float:
    """Return the largest difference of a result from the reference."""
    values = torch.from_numpy(np.ascontiguousarray(got)) if isinstance(got, np.ndarray) else got
    assert isinstance(values, Tensor)
    return float((values.detach().double().cpu() - expected).abs().max())


def _bind(form: Callable[[Tensor, Tensor, int], Tensor], t: Tensor, k: Tensor, s: int) -> Form:
    return lambda: form(t, k, s)


def _conv(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    channels, half = x.shape[1], kernel.shape[-1] // 2
    weight = kernel.flip(-2, -1).expand(channels, -1, -1, -1)
    padded = F.pad(x, (half,) * 4, mode="circular")
    return F.conv2d(padded, weight, stride=stride, groups=channels)


def _conv_slice(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    return _conv(x, kernel, 1)[..., ::stride, ::stride]


def _embed(kernel: Tensor, x: Tensor) -> Tensor:
    n, half = kernel.shape[-1], kernel.shape[-1] // 2
    padded = F.pad(kernel, (0, x.shape[-1] - n, 0, x.shape[-2] - n))
    return padded.roll((-half, -half), (-2, -1))


def _fft(x: Tensor, kernel: Tensor, stride: int) -> Tensor:
    spectrum = torch.fft.rfft2(_embed(kernel, x))
    full = torch.fft.irfft2(torch.fft.rfft2(x) * spectrum, s=x.shape[-2:])
    return full[..., ::stride, ::stride]


def _spread(y: Tensor, stride: int) -> Tensor:
    full = y.new_zeros(*y.shape[:-2], y.shape[-2] * stride, y.shape[-1] * stride)
    full[..., ::stride, ::stride] = y
    return full


def _fft_adjoint(y: Tensor, kernel: Tensor, stride: int) -> Tensor:
    full = _spread(y, stride)
    spectrum = torch.fft.rfft2(_embed(kernel, full)).conj()
    return torch.fft.irfft2(torch.fft.rfft2(full) * spectrum, s=full.shape[-2:])


def _conv_adjoint(y: Tensor, kernel: Tensor, stride: int) -> Tensor:
    channels, half = y.shape[1], kernel.shape[-1] // 2
    weight = kernel.flip(-2, -1).expand(channels, -1, -1, -1)
    x = F.conv_transpose2d(y, weight, stride=stride, groups=channels, output_padding=stride - 1)
    height, width = y.shape[-2] * stride, y.shape[-1] * stride
    x[..., half : 2 * half, :] += x[..., height + half :, :]
    x[..., height : height + half, :] += x[..., :half, :]
    x = x[..., half : height + half, :]
    x[..., half : 2 * half] += x[..., width + half :]
    x[..., width : width + half] += x[..., :half]
    return x[..., half : width + half]


def _prox(v: Tensor, y: Tensor, kernel: Tensor, stride: int, tau: float) -> Tensor:
    """Zhao et al., 2016: at full size, with the aliases folded by a reshape and a mean."""
    blur = torch.fft.fft2(_embed(kernel, v))
    right = torch.fft.fft2(v + tau * _fft_adjoint(y, kernel, stride))

    def folded(spectrum: Tensor) -> Tensor:
        h, w = y.shape[-2:]
        blocks = spectrum.reshape(*spectrum.shape[:-2], stride, h, stride, w)
        return blocks.mean((-4, -2))

    small = folded(blur * right) / (1 + tau * folded(blur.abs() ** 2))
    tiled = small.repeat(1, 1, stride, stride)
    return torch.fft.ifft2(right - tau * blur.conj() * tiled).real
