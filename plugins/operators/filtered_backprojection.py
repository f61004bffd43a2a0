"""Filtered back-projection of parallel-beam sinograms."""

from __future__ import annotations

import math

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .checks import real_dtype
from .radon_matrix import Geometry

__all__ = ["FILTERS", "backproject", "filtered"]

FILTERS = ("ramp", "shepp-logan", "cosine", "hamming", "hann", "none")


# Angles that are computed together: few enough for the cache, enough to keep the cores busy.
_AT_ONCE = 8


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
    response = _response(name, size, y.device).to(real_dtype(y.dtype))[:, None]
    q: Tensor
    if y.is_complex():
        q = torch.fft.ifft(torch.fft.fft(y, n=size, dim=-2) * response, dim=-2)
    else:
        spectrum = torch.fft.rfft(y, n=size, dim=-2) * response[: size // 2 + 1]
        q = torch.fft.irfft(spectrum, n=size, dim=-2)
    return q[..., :count, :]


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
    ramp = 2 * torch.fft.fft(samples).real
    turn = 2 * math.pi * place / (size - 1)
    frequency = torch.fft.fftfreq(size, dtype=torch.float64, device=device)
    responses = {
        "ramp": ramp,
        "shepp-logan": ramp * torch.sinc(frequency),
        "cosine": ramp * torch.fft.fftshift(torch.sin(math.pi * place / size)),
        "hamming": ramp * torch.fft.fftshift(0.54 - 0.46 * torch.cos(turn)),
        "hann": ramp * torch.fft.fftshift(0.5 - 0.5 * torch.cos(turn)),
        "none": torch.ones_like(ramp),
    }
    response: Tensor = responses[name]
    # These windows, NumPy's, are not periodic; a real result sees their even part only.
    return (response + response.flip(0).roll(1)) / 2


def backproject(q: Tensor, geometry: Geometry) -> Tensor:
    """Return `pi / (2 angles) sum_a q_a(t)` for `q (*, detectors, angles)`; shape `(*, H, W)`.

    q_a is interpolated linearly, and zero beyond the detectors; with a circle, so is the picture.
    Cost: about ten passes over the picture for each angle.
    """
    count = q.shape[-2]
    rows, columns, _ = geometry.positions()
    distance = np.hypot(rows, columns)
    wanted = distance <= geometry.canvas // 2 if geometry.circle else np.ones(rows.size, bool)
    reach = float(distance[wanted].max())
    # Most often no pixel is beyond the detectors, and nothing needs to be cut off.
    covered = reach <= count // 2 and count // 2 + reach <= count - 1
    real = real_dtype(q.dtype)
    y, x = (torch.from_numpy(a[wanted]).to(q.device, real) for a in (rows, columns))
    angles = torch.tensor(geometry.angles, dtype=torch.float64, device=q.device).deg2rad()[:, None]
    cosines, sines = angles.cos().to(real), angles.sin().to(real)
    projections = F.pad(q.mT, (0, 1))  # so that a detector above the last one exists
    total = q.new_zeros((*q.shape[:-2], x.numel()))
    for start in range(0, len(geometry.angles), _AT_ONCE):
        some = slice(start, start + _AT_ONCE)
        place = cosines[some] * x - sines[some] * y + count // 2
        part = projections[..., some, :]
        if covered:
            total = total + _interpolated(part, place).sum(-2)
        else:
            inside = (place >= 0) & (place <= count - 1)
            values = _interpolated(part, place.clamp(0, count - 1))
            total = total + (inside * values).sum(-2)
    scale = math.pi / (2 * len(geometry.angles))
    where = torch.from_numpy(np.flatnonzero(wanted)).to(q.device)
    picture = q.new_zeros((*q.shape[:-2], rows.size)).index_copy(-1, where, scale * total)
    result: Tensor = picture.unflatten(-1, (geometry.height, geometry.width))
    return result


def _interpolated(q: Tensor, place: Tensor) -> Tensor:
    """Return `q (*, k, n)` at the places `(k, pixels)`, which lie in [0, n - 2]."""
    low = place.to(torch.int32)
    first = torch.arange(q.shape[-2], dtype=torch.int32, device=q.device)[:, None] * q.shape[-1]
    index = (low + first).flatten()
    flat = q.flatten(-2)
    below = flat.index_select(-1, index).unflatten(-1, place.shape)
    above = flat.index_select(-1, index + 1).unflatten(-1, place.shape)
    result: Tensor = below + (place - low) * (above - below)
    return result
