"""What proximal maps share, whichever functional they belong to: they beat every competitor."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..space import Space
from .engine import Trial, fail
from .measure import norm

__all__ = ["check_prox"]


def competitors(p: Tensor, v: Tensor, trial: Trial[Any]) -> Iterator[tuple[str, Tensor]]:
    """Yield points that a proximal point p of v must be no worse than."""
    yield "v itself", v
    yield "zero", torch.zeros_like(v)
    yield "half way to v", (p + v) / 2
    yield "a step beyond", p + (p - v) / 2
    size = float(v.abs().square().mean().sqrt()) or 1.0
    for index, scale in enumerate((1e-3, 1e-1, 1.0)):
        generator = trial.generator(50 + index)
        noise = torch.randn(v.shape, dtype=v.dtype, generator=generator)
        yield f"a random point {scale:g} away", p + scale * size * noise
    one = torch.zeros_like(p)
    one.reshape(-1)[:: max(p.numel() // 3, 1)] = 0.01 * size
    yield "a few pixels changed", p + one


def check_prox(
    value: Callable[[Tensor], Tensor],
    p: Tensor,
    v: Tensor,
    tau: Tensor,
    space: Space,
    trial: Trial[Any],
    *,
    convex: bool,
    rtol: float,
    what: str,
) -> None:
    """Fail unless `F(z) >= F(p)` with `F(z) = R(z) + |z - v|^2 / (2 tau)` for all competitors.

    For a convex R, F is strongly convex and `F(z) >= F(p) + |z - p|^2 / (2 tau)`: that is the
    subgradient inequality of `(v - p) / tau` at p, hence Moreau's characterisation of p.
    """
    at_p = value(p)
    if bool(at_p.isnan().all()):
        return  # there is no functional, as with a denoiser in the place of a proximal map
    if not bool(at_p.isfinite().all()):
        fail(f"{what}: the value at the proximal point is not finite.")
    for name, z in competitors(p, v, trial):
        gain = norm(z - p, space).square() / (2 * tau) if convex else torch.zeros_like(at_p)
        at_z = value(z)
        near, far = norm(p - v, space), norm(z - v, space)
        missing = at_p - at_z + (near.square() - far.square()) / (2 * tau) + gain
        reach = norm(v, space) + near + norm(z - p, space)
        finite = at_z.isfinite()
        size = at_p.abs() + torch.where(finite, at_z, 0).abs() + reach.square() / tau
        bad = finite & ~(missing <= rtol * size)
        if bool(bad.any()):
            worst = float((missing / size)[bad].nan_to_num(torch.inf).max())
            fail(
                f"{what}: {name} is better than the proximal point, by {worst:.1e} relative "
                f"({rtol:.0e} allowed), in {int(bad.sum())} of {bad.numel()} samples (tau about "
                f"{float(tau.flatten()[0]):.3g})."
            )
