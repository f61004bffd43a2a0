"""The recursive module of DL-Net: a few steps of ADAM on the last hidden representation."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor
from wellposed import SplitNetwork

__all__ = ["ADAM_FORMS", "refine"]

ADAM_FORMS = ("printed", "bias_corrected")

_BETA1, _BETA2 = 0.9, 0.999
_LEAST_SQUARE = 1e-16
_CHUNK_BYTES = 2**20  # of z: what a CPU keeps in its cache, with all that one step makes of it


def refine(
    z: Tensor,
    network: SplitNetwork,
    gradient: Callable[[Tensor], Tensor],
    *,
    updates: int,
    rate: float,
    adam: str,
) -> Tensor:
    """Return h(z) after `updates` steps of ADAM on z.

        g_k = (dh/dz)^T gradient(h(z_(k-1)))
        m_k = b1 m_(k-1) + (1 - b1) g_k             b1 = 0.9
        v_k = b2 v_(k-1) + (1 - b2) g_k^2           b2 = 0.999
        z_k = z_(k-1) - rate (m_k / c1) / sqrt(max(v_k / c2, 1e-16))

    printed: c1 = 1 - b1 and c2 = 1 - b2 in every step, as in equation (5), so that steps grow:
    1, 1.34, 1.56, 1.72 times the rate for a constant gradient. bias_corrected: c1 = 1 - b1^k and
    c2 = 1 - b2^k, as in the ADAM paper.

    The first step is `rate sign(g)`, whose derivative in g is zero: it is taken as a constant.
    Autograd of `m / sqrt(v)` would return the rounding of two large numbers that cancel. g itself
    keeps its derivative in the moments of the later steps.

    `gradient` sees all samples together. Between two of its calls, each sample goes its own way:
    a few at a time, on a CPU, so that z and its moments stay in the cache.
    Shapes: z `(N, C', h, w)`; gradient, from and to `(N, C, H, W)`.
    Source: Guo et al., 2021, Deep likelihood network, equation (5); Kingma and Ba, 2015, Adam,
    algorithm 1.
    """
    size = _chunk(z)
    zs = list(z.split(size))
    pictures = [network.head(part) for part in zs]
    # m and v are kept divided by (1 - b1) and (1 - b2): the printed form then needs no constants.
    moments: list[tuple[Tensor, Tensor]] = []
    for k in range(1, updates + 1):
        c1 = c2 = 1.0
        if adam == "bias_corrected":
            c1 = (1 - _BETA1) / (1 - _BETA1**k)
            c2 = (1 - _BETA2) / (1 - _BETA2**k)
        step, least = rate * c1 / math.sqrt(c2), _LEAST_SQUARE / c2
        for i, pull in enumerate(gradient(_joined(pictures)).split(size)):
            g = network.head_adjoint(zs[i], pull, pictures[i])
            if k == 1:
                moments.append((g, g.square()))
                sign = (g.detach() / math.sqrt(_LEAST_SQUARE)).clamp_(-1, 1)
                zs[i] = torch.add(zs[i], sign, alpha=-rate)
            else:
                made: tuple[Tensor, ...] = _Step.apply(zs[i], *moments[i], g, step, least)  # type: ignore[no-untyped-call]
                zs[i], moments[i] = made[0], (made[1], made[2])
            pictures[i] = network.head(zs[i])
    return _joined(pictures)


def _chunk(z: Tensor) -> int:
    """Return how many samples to take at once."""
    if z.device.type != "cpu" or len(z) == 0:
        return max(len(z), 1)
    return max(_CHUNK_BYTES * len(z) // (z.numel() * z.element_size()), 1)


def _joined(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)


class _Step(torch.autograd.Function):
    """One step after the first: `m' = b1 m + g`, `v' = b2 v + g^2`, `z' = z - rate m' r`.

    r = max(v', least)^(-1/2). With its derivative written out, three tensors are kept for the
    way back instead of eight, and half as much memory is read.
    """

    generate_vmap_rule = True

    @staticmethod
    def forward(
        z: Tensor, m: Tensor, v: Tensor, g: Tensor, rate: float, least: float
    ) -> tuple[Tensor, Tensor, Tensor]:
        """Return z', m' and v'."""
        m = torch.add(g, m, alpha=_BETA1)
        v = torch.mul(v, _BETA2).addcmul_(g, g)
        z = torch.addcmul(z, m, v.clamp_min(least).rsqrt_(), value=-rate)
        return z, m, v

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: tuple[Any, ...]) -> None:
        """Keep g, m' and v'."""
        *_, g, ctx.rate, ctx.least = inputs
        _, m, v = output
        ctx.save_for_backward(g, m, v)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:
        """Return the gradients of z, m, v and g."""
        dz, dm, dv = grads
        g, m, v = ctx.saved_tensors
        r = v.clamp_min(ctx.least).rsqrt_()
        pull = dz * r * ctx.rate
        dm = dm - pull
        # r does not depend on v' where it is held at its greatest value
        slope = torch.ops.aten.threshold_backward((0.5 * m) * pull * r.square_(), v, ctx.least)
        dv = dv + slope
        return dz, _BETA1 * dm, _BETA2 * dv, torch.addcmul(dm, g, dv, value=2), None, None
