"""Filtered back-projection of parallel-beam sinograms."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from .radon_matrix import Geometry

__all__ = ["FILTERS", "backproject", "filtered"]

FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann", "none")


def filtered(y: Tensor, name: str, *, square: bool) -> Tensor:
    """Return sinograms `(*, detectors, angles)` convolved with a filter along the detectors.

    With `square`, detectors are added that measure zero, up to the diagonal of the picture; their
    filtered values count near the rim.
    """
    if square:
        count = y.shape[-2]
        diagonal = math.ceil(math.sqrt(2) * count)
        before = diagonal // 2 - count // 2
        y = F.pad(y, (0, 0, before, diagonal - count - before))
    count = y.shape[-2]
    size = max(64, 2 ** math.ceil(math.log2(2 * count)))
    response = _response(name, size, y.device).to(y.dtype.to_real())[:, None]
    if y.is_complex():
        return torch.fft.ifft(torch.fft.fft(y, n=size, dim=-2) * response, dim=-2)[..., :count, :]
    half = response[: size // 2 + 1]
    spectrum = torch.fft.rfft(y, n=size, dim=-2) * half
    return torch.fft.irfft(spectrum, n=size, dim=-2)[..., :count, :]


def _response(name: str, size: int, device: torch.device) -> Tensor:
    """Return the real, symmetric response of a filter at `size` frequencies, in float64.

    The ramp is the transform of its samples on the detectors, which has no bias at frequency 0:
    Kak and Slaney, 1988, equation (61). The others multiply it by a window.
    """
    place = torch.arange(size, dtype=torch.float64, device=device)
    distance = torch.minimum(place, size - place)
    odd = distance.remainder(2) == 1
    samples = torch.where(odd, -1 / (math.pi * torch.where(odd, distance, 1)) ** 2, 0)
    samples[0] = 0.25
    if name == "none":
        return torch.ones_like(samples)
    ramp = 2 * torch.fft.fft(samples).real
    if name == "shepp-logan":
        return ramp * torch.sinc(torch.fft.fftfreq(size, dtype=torch.float64, device=device))
    if name == "cosine":
        window = torch.sin(math.pi * place / size)
    elif name == "hamming":
        window = 0.54 - 0.46 * torch.cos(2 * math.pi * place / (size - 1))
    elif name == "hann":
        window = 0.5 - 0.5 * torch.cos(2 * math.pi * place / (size - 1))
    else:
        return ramp
    response = ramp * torch.fft.fftshift(window)
    # NumPy's windows are not periodic; a real result sees their even part only.
    return (response + response.flip(0).roll(1)) / 2


def backproject(q: Tensor, geometry: Geometry) -> Tensor:
    """Return `pi / (2 angles) sum_a q_a(t)` for `q (*, detectors, angles)`; shape `(*, H, W)`.

    q_a is interpolated linearly, and zero beyond the detectors.
    Cost: about a dozen passes over the picture for each angle.
    """
    last, real = q.shape[-2] - 1, q.dtype.to_real()
    rows, columns, _ = (torch.from_numpy(a).to(q.device) for a in geometry.positions())
    y, x = rows.to(real), columns.to(real)
    total = q.new_zeros((*q.shape[:-2], rows.numel()))
    for degrees, projection in zip(geometry.angles, q.unbind(-1), strict=True):
        angle = math.radians(degrees)
        place = x * math.cos(angle) - y * math.sin(angle) + (last + 1) // 2
        inside = (place >= 0) & (place <= last)
        low = place.clamp(0, last).to(torch.int32)
        part = place - low
        below = projection.index_select(-1, low)
        above = projection.index_select(-1, (low + 1).clamp(max=last))
        total = total + inside * torch.lerp(below, above, part.to(below.dtype))
    if geometry.circle:
        radius = geometry.canvas // 2
        total = torch.where(rows**2 + columns**2 <= radius**2, total, 0)
    scale = math.pi / (2 * len(geometry.angles))
    return scale * total.unflatten(-1, (geometry.height, geometry.width))
