"""The hyper-Laplacian prior: gradients of photographs have heavier tails than a Laplacian."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor
from wellposed import AnalysisPrior, ForwardOperator, Space, param, real_number

from .gradient import gradient_of

__all__ = ["HyperLaplacian"]

_NEWTON_STEPS = 12


@attrs.frozen(eq=False, kw_only=True)
class HyperLaplacian(AnalysisPrior):
    """Sum of powers below one of the differences between neighbours; not convex.

        R(x) = weight sum_i |(D x)_i|^power

    Keeps edges sharper than total variation. Solve it by `hqs`, whose continuation avoids poor
    local minima; that pair is fast non-blind deconvolution.

    Shapes: pictures `(*batch, C, H, W)`; D x `(*batch, 2, C, H, W)`.
    Units: weight in (data units)^2 per (picture unit)^power.
    Cost: the proximal map: 12 Newton steps per difference.
    Source: Krishnan and Fergus, 2009, Fast image deconvolution using hyper-Laplacian priors,
    the w sub-problem; departures: Newton's method from above instead of a look-up table, and the
    threshold in closed form: Zuo et al., 2013, A generalized iterated shrinkage algorithm for
    non-convex sparse coding, ICCV, generalised soft-thresholding.
    """

    weight: float = param(3e-4, doc="Multiplies the functional.", check=real_number(above=0))
    power: float = param(
        2 / 3, doc="Exponent of the differences.", check=real_number(above=0, below=1)
    )
    boundary: str = param(
        "circular",
        choices=("circular", "zero"),
        doc="The difference across the border: to the opposite side, or zero.",
    )

    def analysis(self, space: Space) -> ForwardOperator:
        """Return the differences D."""
        return gradient_of(space, circular=self.boundary == "circular")

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return the weighted sum of powers for each sample; shape `batch`."""
        return self.weight * u.abs().pow(self.power).sum((-4, -3, -2, -1))

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return the proximal map: zero below a threshold, the larger stationary point above."""
        p = self.power
        step = torch.as_tensor(tau, dtype=u.real.dtype, device=u.device) * self.weight
        step = step[(...,) + (None,) * 4] if step.ndim else step
        size = u.abs()
        least = (2 * step * (1 - p)) ** (1 / (2 - p))  # the smallest value that is not zero
        threshold = least + p * step * least ** (p - 1)
        kept = size > threshold
        t = torch.where(kept, size, 1)
        # On the kept values h(t) = t + p step t^(p - 1) - size is convex and increasing from the
        # root to the start, so that Newton's method comes down to the root.
        for _ in range(_NEWTON_STEPS):
            slope = p * step * t ** (p - 1)
            fall = (t + slope - size) / (1 + (p - 1) * slope / t)
            t = torch.where(kept, t - fall, 1)
        return torch.where(kept, t, 0) * u.sgn()
