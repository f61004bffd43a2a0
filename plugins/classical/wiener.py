"""Wiener deconvolution, with or without a stride, against a flat or a natural spectrum."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import DirectSolver, Needs, Problem, Reconstruction, param

from .checks import positive
from .fourier import SpectralFilter, frequencies, is_diagonal
from .levels import apparent_sigma, known_sigma
from .steps import ratio

__all__ = ["Wiener"]


def _wrong_operator(op: object) -> str | None:
    if is_diagonal(op):  # type: ignore[arg-type]
        return None
    return (
        "it needs one that commutes with circular shifts and keeps channels apart, such as blur or "
        "strided_blur with boundary='circular' on a picture whose sides the stride divides. "
        "Take tikhonov, which needs neither."
    )


@attrs.frozen(eq=False, kw_only=True)
class Wiener(DirectSolver):
    """The linear estimate of least mean squared error for pictures of a given power spectrum.

        x = S A^H (A S A^H + nsr I)^-1 y

    with S the power spectrum, of mean 1, and nsr the variance of the noise over that of the
    picture. `natural`: S falls with the square of the frequency, as in photographs; `flat`: S = 1,
    the textbook filter `conj(K) Y / (|K|^2 + nsr)`. Left out, nsr comes from the sigma of the
    noise model, or else from the finest detail of y, and is at least 1e-6.

    Shapes: y `(*batch, C, h, w)` -> `(*batch, C, H, W)`; one nsr per sample. Extras: `nsr`.
    Raises: IncompatibleError unless A commutes with circular shifts, channel by channel.
    Cost: FFTs at the size of the picture.
    Source: Wiener, 1949, Extrapolation, interpolation and smoothing of stationary time series;
    Gonzalez and Woods, Digital image processing, equation (5.8-2); the spectrum: Field, 1987,
    Relations between the statistics of natural images..., JOSA A 4(12); with a stride: Zhao et
    al., 2016, IEEE TIP 25(8), equation (12).
    """

    needs = Needs(operator_check=_wrong_operator)

    nsr: float | None = param(
        None, doc="Noise over signal variance; left out, estimated.", check=positive
    )
    spectrum: str = param(
        "natural", doc="Power spectrum of the picture.", choices=("natural", "flat")
    )

    def _reconstruct(self, problem: Problem) -> Reconstruction:
        op, y = problem.linear, problem.measurement
        nsr = self._nsr(problem)
        if self.spectrum == "flat":
            return Reconstruction(
                image=op.data_prox(torch.zeros_like(op._adjoint(y)), y, 1 / nsr),
                extras={"nsr": nsr},
            )
        shape = SpectralFilter(response=self._amplitude(problem), space=op.in_space)
        whitened = op @ shape
        z = whitened.data_prox(torch.zeros_like(op._adjoint(y)), y, 1 / nsr)
        return Reconstruction(image=shape(z), extras={"nsr": nsr})

    def _amplitude(self, problem: Problem) -> Tensor:
        """Return the root of the power spectrum, of mean power 1 over all but frequency zero."""
        y, space = problem.measurement, problem.image_space
        down, across = frequencies(space, y.device)
        # Below one period per picture nothing is known; the power stays that of one period.
        lowest = 1 / max(space.shape[1:])
        power = 1 / (down.square() + across.square()).clamp_min(lowest**2)
        count = max(power.numel() - 1, 1)
        mean = (power.sum() - power[0, 0]) / count if power.numel() > 1 else power[0, 0]
        return (power / mean).sqrt().to(y.real.dtype)

    def _nsr(self, problem: Problem) -> Tensor:
        y = problem.measurement
        like = problem.linear.out_space.norm(y)
        if self.nsr is not None:
            return torch.full_like(like, self.nsr)
        sigma = known_sigma(problem)
        noise = (apparent_sigma(problem) if sigma is None else sigma).square()
        spread = (y - y.mean((-2, -1), keepdim=True)).abs().square().mean((-3, -2, -1))
        signal = ratio(torch.maximum(spread - noise, 0.01 * spread), self._gain(problem))
        return ratio(noise, signal).clamp_min(1e-6)

    def _gain(self, problem: Problem) -> Tensor:
        """Return how much A changes the power of a constant picture, or its squared norm if 0."""
        op = problem.linear
        ones = torch.ones_like(op.in_space.zeros(op.batch_shape, device=problem.measurement.device))
        gain = op._apply(ones).abs().square().mean((-3, -2, -1))
        bound = op.norm_bound().square().to(gain.device)
        return torch.where(gain > 0, gain, bound).expand(problem.batch)
