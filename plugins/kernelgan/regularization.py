"""The terms that keep the kernel plausible: equation (3) of the paper, and its gradient."""

from __future__ import annotations

import attrs
import torch
from torch import Tensor

__all__ = ["Regularizer"]

_FRAME_WEIGHT = 30.0
_FRAME = 2


@attrs.frozen(eq=False)
class Regularizer:
    """`R(k) = alpha |1 - sum k| + beta mean |k m| + gamma mean |k|^p + delta mean (c(k) - c)^2`.

    m weighs the outermost two pixels; c(k) is the centre of mass, and c where it should be. gamma
    and delta may differ from sample to sample.
    """

    side: int
    centre: float
    power: float
    frame: Tensor  # (side, side)
    places: Tensor  # (side^2, 2)

    @classmethod
    def of(cls, side: int, centre: float, power: float, like: Tensor) -> Regularizer:
        """Return it for kernels of `side` taps, centred at index `centre`."""
        at = torch.arange(side, dtype=torch.float64, device=like.device)
        hill = torch.exp(-((at - side // 2) ** 2) / (2 * side**2))
        hill = hill[:, None] * hill
        frame = _FRAME_WEIGHT * (1 - hill / hill.max())
        frame[_FRAME:-_FRAME, _FRAME:-_FRAME] = 0
        places = torch.stack(torch.meshgrid(at, at, indexing="ij"), -1).reshape(-1, 2)
        return cls(side, centre, power, frame.to(like.dtype), places.to(like.dtype))

    def value(self, k: Tensor, alpha: float, beta: float, gamma: Tensor, delta: Tensor) -> Tensor:
        """Return R for each of `(N, side, side)`; gamma and delta `(N,)`."""
        total = k.sum((1, 2))
        size = k.abs()
        centre = (k.flatten(1) @ self.places) / total[:, None]
        return (
            alpha * (1 - total).abs()
            + beta * (size * self.frame).mean((1, 2))
            + gamma * size.pow(self.power).mean((1, 2))
            + delta * (centre - self.centre).square().mean(1)
        )

    def gradient(
        self, k: Tensor, alpha: float, beta: float, gamma: Tensor, delta: Tensor
    ) -> Tensor:
        """Return the gradient of `value`, with 0 for `|k|^p` where k is 0, instead of infinity."""
        flat = k.flatten(1)
        total = flat.sum(1, keepdim=True)
        sign, size = flat.sign(), flat.abs()
        area = self.side**2
        # size^(p - 1) without its pole: sign is 0 there.
        slope = size.clamp_min_(torch.finfo(k.dtype).tiny ** 0.5).pow_(self.power - 1)
        slope = slope * (gamma[:, None] * (self.power / area)) + self.frame.flatten() * (
            beta / area
        )
        centre = (flat @ self.places) / total
        pull = (centre - self.centre) * (delta[:, None] / total)  # (N, 2)
        lever = pull @ self.places.T - (pull * centre).sum(1, keepdim=True)
        result = torch.addcmul(lever, slope, sign) - alpha * (1 - total).sign()
        return result.view_as(k)
