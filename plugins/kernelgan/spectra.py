"""The blur of a picture from its own power spectrum at two scales.

Natural pictures look alike at all scales: the power spectrum of a sharp one is the same, up to a
factor, after it has been reduced. KernelGAN looks for the kernel whose reduction keeps the
distribution of patches; here it is the Gaussian whose reduction keeps the power spectrum, a fit of
five numbers that takes a fraction of a second.

Let B be the covariance of the blur of y, in pixels of y, and P(u) its power spectrum, of which
`exp(-4 pi^2 u' B u)` is due to the blur. Reducing y by 2 with a Gaussian of covariance S gives

    P'(2u) ~ sum over aliases of P(u) exp(-4 pi^2 u' S u).

A sharp picture that is blurred by B after its reduction has the spectrum of y. But y is blurred
before it already, so that the two agree where `S + B = 4 B`: the reduction that keeps the spectrum,
and the patches, is narrower than the blur, `S = 3 B`. With a stride of 2, the blur is 4 B in
pixels of x: what keeps the patches is too narrow by a factor of 3/4.
"""

from __future__ import annotations

import math

import attrs
import numpy as np
from numpy.typing import NDArray
from scipy.optimize import least_squares

__all__ = ["Blur", "TwoScales"]

Array = NDArray[np.float64]
_SIDE = 64
_HALF = _SIDE // 2
_FEWEST = 4  # windows that make a spectrum
_QUANTISATION = 1 / (12 * 255**2)
_LOWEST = 2.5  # cycles per window: below, the window's own spectrum is seen
_SCALE = 0.02  # of residuals, beyond which they count as outliers
_TINY = 1e-3  # of the noise: what is left of a spectrum that noise explains
# Of (log l11, l21, log l22) with S = l l'; the log of the gain, and of the noise's excess.
_STARTS = ((-0.3, 0.0, -0.3, 0.0, -3.0), (0.3, 0.5, 0.0, 0.0, -3.0), (0.3, -0.5, 0.0, 0.0, -3.0))


@attrs.frozen(eq=False)
class Blur:
    """Covariance `(2, 2)` in pixels of y, rows first; misfit: rms of the log spectra, in nepers."""

    covariance: Array
    misfit: float
    noise: float


@attrs.frozen(eq=False)
class TwoScales:
    """Power spectra of a picture in windows of 64 and of 32 pixels, and the least noise."""

    coarse: Array
    fine: Array
    floor: float

    @classmethod
    def of(cls, grey: Array, covered: Array | None = None, sigma: float = 0.0) -> TwoScales | None:
        """Return those of a picture `(H, W)` in [0, 1]; None if there is too little to see.

        covered: which pixels were measured; sigma: known standard deviation of the noise.
        """
        if not np.isfinite(grey).all():
            return None
        coarse, fine = _power(grey, covered, _SIDE), _power(grey, covered, _HALF)
        floor = _QUANTISATION + sigma**2
        if coarse is None or fine is None or fine[1:, 1:].max() < floor:
            return None
        return cls(coarse, fine, floor)

    def blur(self) -> Blur:
        """Return the Gaussian blur that explains both."""
        rows, columns = _frequencies(_SIDE)
        weight, seen = _weights()
        target = np.log(self.fine[seen] + self.floor * _TINY)

        def residual(p: Array) -> Array:
            noise = self._noise(p)
            s = _covariance(p)
            form = s[0, 0] * rows**2 + 2 * s[0, 1] * rows * columns + s[1, 1] * columns**2
            reduced = self._reduced(np.exp(-4 * math.pi**2 * form), noise)
            model: Array = np.log(math.exp(p[3]) * reduced + noise)[seen]
            return weight * (model - target)

        fits = [least_squares(residual, start, loss="soft_l1", f_scale=_SCALE) for start in _STARTS]
        best = min(fits, key=lambda fit: float(fit.cost)).x
        misfit = float(np.linalg.norm(residual(best)))
        return Blur(_covariance(best) / 3, misfit, math.sqrt(self._noise(best)))

    def misfit(self, kernel: Array) -> float:
        """Return how badly a kernel of stride 2 explains both: rms of the log spectra, in nepers.

        The blur of y is the kernel at half the frequency.
        """
        rows, columns = _frequencies(_SIDE)
        response = _response(kernel, rows, columns) ** 2
        blur = _response(kernel, rows / 2, columns / 2) ** 2
        weight, seen = _weights()
        reduced = self._reduced(response / np.maximum(blur, _TINY), self.floor)
        off = np.log(self.fine[seen] + self.floor) - np.log(reduced[seen] + self.floor)
        # Twice, since the gain acts on the signal only.
        for _ in range(2):
            gain = math.exp(float(np.sum(weight**2 * off)))
            reduced = reduced * gain
            off = np.log(self.fine[seen] + self.floor) - np.log(reduced[seen] + self.floor)
        return float(np.linalg.norm(weight * off))

    def _noise(self, p: Array) -> float:
        return self.floor * (1 + math.exp(min(p[4], 30.0)))

    def _reduced(self, response: Array, noise: float) -> Array:
        """Return the spectrum, less noise, after a filter and a reduction by 2."""
        signal = np.clip(self.coarse - noise, self.floor * _TINY, None) * response
        folded: Array = signal.reshape(2, _HALF, 2, _HALF).sum((0, 2))
        return folded


def _covariance(p: Array) -> Array:
    root = np.array([[math.exp(min(p[0], 10.0)), 0.0], [p[1], math.exp(min(p[2], 10.0))]])
    product: Array = root @ root.T
    return product


def _response(kernel: Array, rows: Array, columns: Array) -> Array:
    """Return the magnitude of a kernel's spectrum at given frequencies, in cycles per tap."""
    at = np.arange(kernel.shape[0]), np.arange(kernel.shape[1])
    down = np.exp(-2j * math.pi * rows[:, :1] * at[0])
    across = np.exp(-2j * math.pi * columns[:1].T * at[1])
    found: Array = np.abs(down @ kernel @ across.T)
    return found


def _weights() -> tuple[Array, NDArray[np.bool_]]:
    """Return root weights of sum of squares 1, every octave counting the same, and where."""
    radius = np.hypot(*_frequencies(_HALF))
    seen = (radius > _LOWEST / _HALF) & (radius < 0.5)
    weight = np.sqrt(1 / radius[seen])
    return weight / np.linalg.norm(weight), seen


def _frequencies(side: int) -> tuple[Array, Array]:
    along = np.fft.fftfreq(side)
    rows, columns = np.meshgrid(along, along, indexing="ij")
    return rows, columns


def _power(grey: Array, covered: Array | None, side: int) -> Array | None:
    """Return the mean power spectrum over half-overlapping windows, `(side, side)`.

    Source: Welch, 1967, The use of fast Fourier transform for the estimation of power spectra.
    """
    if min(grey.shape) < side:
        return None
    hann = np.hanning(side + 2)[1:-1]
    window = np.outer(hann, hann)
    views = _windows(grey, side)
    if covered is not None:
        whole = _windows(covered, side).min((1, 2)) > 0
        if whole.sum() >= _FEWEST:
            views = views[whole]
    total = np.zeros((side, side))
    for view in views:
        total += np.abs(np.fft.fft2((view - view.mean()) * window)) ** 2
    mean: Array = total / (len(views) * (window**2).sum())
    return mean


def _windows(x: Array, side: int) -> Array:
    views = np.lib.stride_tricks.sliding_window_view(x, (side, side))
    return views[:: side // 2, :: side // 2].reshape(-1, side, side)
