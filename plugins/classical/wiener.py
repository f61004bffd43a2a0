"""Wiener deconvolution, with or without a stride, against a flat or a natural spectrum."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import DirectSolver, Needs, Problem, Reconstruction, param, real_number

from .fourier import SpectralFilter, frequencies, is_diagonal
from .weight import best_weight

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
    the textbook filter `conj(K) Y / (|K|^2 + nsr)`. Left out, nsr is the one of least predicted
    risk: by the sigma of a Gaussian noise model, or else by generalised cross-validation.

    Shapes: y `(*batch, C, h, w)` -> `(*batch, C, H, W)`; one nsr per sample. Extras: `nsr`.
    Raises: IncompatibleError unless A commutes with circular shifts, channel by channel.
    Cost: FFTs at the size of the picture.
    Source: Wiener, 1949, Extrapolation, interpolation and smoothing of stationary time series;
    Gonzalez and Woods, Digital image processing, section on Wiener filtering; the spectrum:
    Field, 1987, Relations between the statistics of natural images..., JOSA A 4(12); with a
    stride: Zhao et al., 2016, IEEE TIP 25(8), the analytical l2-l2 solution.
    """

    needs = Needs(operator_check=_wrong_operator)

    nsr: float | None = param(
        None, doc="Noise over signal variance; left out, found.", check=real_number(above=0)
    )
    spectrum: str = param(
        "natural", doc="Power spectrum of the picture.", choices=("natural", "flat")
    )

    def _reconstruct(self, problem: Problem) -> Reconstruction:
        op, y = problem.linear, problem.measurement
        shape = None
        if self.spectrum == "natural":
            shape = SpectralFilter(response=self._amplitude(problem), space=op.in_space)
        white = op if shape is None else op @ shape
        if self.nsr is None:
            nsr = best_weight(problem, white)
        else:
            nsr = torch.full_like(op.out_space.norm(y), self.nsr)
        z = white.data_prox(torch.zeros_like(op._adjoint(y)), y, 1 / nsr)
        return Reconstruction(image=z if shape is None else shape(z), extras={"nsr": nsr})

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
