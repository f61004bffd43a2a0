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
_CHUNK_BYTES = 2**22  # of z: what a CPU keeps in its cache, with all that one step makes of it


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
    Autocast is off: steps of 1e-3 are lost on bfloat16. Where no gradients are recorded, all steps
    but the first are taken in place.
    Shapes: z `(*batch, C', h, w)`; gradient, from and to `(N, C, H, W)`, all samples on one axis.
    Source: Guo et al., 2021, Deep likelihood network, equation (5); Kingma and Ba, 2015, Adam,
    algorithm 1.
    """
    device, zs = z.device.type, list(z.reshape(-1, *z.shape[-3:]).split(_chunk(z)))
    size = max(len(zs[0]), 1)
    del z  # gigabytes for a large picture, which are free after the first step
    in_place = not (torch.is_grad_enabled() or torch.compiler.is_compiling() or _transformed())
    with torch.autocast(device, enabled=False):
        pictures = [network.head(part) for part in zs]
        # m and v are kept divided by (1 - b1) and (1 - b2), and then need no constants if printed.
        moments: list[tuple[Tensor, Tensor]] = []
        for k in range(1, updates + 1):
            step, least = _constants(k, rate, adam)
            for i, pull in enumerate(gradient(_joined(pictures)).split(size)):
                g = network.head_adjoint(zs[i], pull, pictures[i])
                if in_place and _shares_memory(g, pull):  # a head that passes all on as it is
                    g = g.clone(memory_format=torch.contiguous_format)
                if k == 1:
                    zs[i] = _first_step(zs[i], g, rate)
                    moments.append((g, g.square()))
                elif in_place:
                    _step_in_place(zs[i], *moments[i], g, step, least)
                else:
                    made: tuple[Tensor, ...] = _Step.apply(zs[i], *moments[i], g, step, least)  # type: ignore[no-untyped-call]
                    zs[i], moments[i] = made[0], (made[1], made[2])
                del g
                pictures[i] = network.head(zs[i])
        return _joined(pictures)


def _constants(k: int, rate: float, adam: str) -> tuple[float, float]:
    """Return rate and least square of step k for moments without their (1 - b)."""
    c1 = c2 = 1.0
    if adam == "bias_corrected":
        c1 = (1 - _BETA1) / (1 - _BETA1**k)
        c2 = (1 - _BETA2) / (1 - _BETA2**k)
    return rate * c1 / math.sqrt(c2), _LEAST_SQUARE / c2


def _first_step(z: Tensor, g: Tensor, rate: float) -> Tensor:
    step = (g.detach() * (-rate / math.sqrt(_LEAST_SQUARE))).clamp_(-rate, rate)
    return step.add_(z)


def _chunk(z: Tensor) -> int:
    """Return how many samples to take at once."""
    samples = math.prod(z.shape[:-3])
    if z.device.type != "cpu" or samples == 0:
        return max(samples, 1)
    return max(_CHUNK_BYTES * samples // (z.numel() * z.element_size()), 1)


def _transformed() -> bool:
    """Whether inside torch.func, where z may lack the batch axis of what is written to it."""
    return torch._C._functorch.peek_interpreter_stack() is not None


def _shares_memory(a: Tensor, b: Tensor) -> bool:
    return a.untyped_storage().data_ptr() == b.untyped_storage().data_ptr()


def _step_in_place(z: Tensor, m: Tensor, v: Tensor, g: Tensor, rate: float, least: float) -> None:
    """Take `_Step` without other memory than g, which is lost."""
    torch.add(g, m, alpha=_BETA1, out=m)
    v.mul_(_BETA2).addcmul_(g, g)
    z.addcmul_(m, torch.clamp_min(v, least, out=g).rsqrt_(), value=-rate)


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
        ctx.set_materialize_grads(False)  # whose zeros would not be in the layout of m

    @staticmethod
    def backward(ctx: Any, *grads: Tensor | None) -> tuple[Tensor | None, ...]:
        """Return the gradients of z, m, v and g."""
        g, m, v = ctx.saved_tensors
        dz, dm, dv = (torch.zeros_like(m) if grad is None else grad for grad in grads)
        r = v.clamp_min(ctx.least).rsqrt_()
        pull = dz * r
        dm = torch.sub(dm, pull, alpha=ctx.rate)
        # r does not depend on v' where it is held at its greatest value
        slope = torch.ops.aten.threshold_backward(pull.mul_(m).mul_(r.square_()), v, ctx.least)
        dv = torch.add(dv, slope, alpha=ctx.rate / 2)
        dg = torch.addcmul(dm, g, dv, value=2)
        return dz, dm.mul_(_BETA1), dv.mul_(_BETA2), dg, None, None
