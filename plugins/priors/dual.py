"""The proximal map of `sum_i g_i(L_i x)`, also within bounds, through its dual problem.

    argmin over lower <= x <= upper of  sum_i g_i(L_i x) + 1/(2 tau) |x - v|^2

has the smooth dual `q -> x(q) = clip(v - tau sum_i L_i^H q_i)`, which is climbed by fast gradient
projection. Source: Beck and Teboulle, 2009, Fast gradient-based algorithms for constrained total
variation image denoising and deblurring problems, IEEE TIP 18(11), section IV, for any g whose
proximal map is simple; departures: the dual gap ends each sample, and the momentum restarts where
the step turns back (O'Donoghue and Candes, 2015).
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from wellposed import AnalysisPrior, ForwardOperator, Space
from wellposed.errors import NotConvergedWarning

from .bounded import Bounds, clamp
from .values import per_sample

__all__ = ["Accuracy", "can_watch", "dual_prox", "momentum", "reference_norm", "warn_unconverged"]

CHECK_EVERY = 10


class Accuracy(NamedTuple):
    """When to stop: the result is within `tolerance` times `reference` of the exact one."""

    tolerance: float
    max_steps: int
    who: str


def can_watch(*tensors: object) -> bool:
    """Whether the host may look at values: not under `vmap` or while compiling."""
    if torch.compiler.is_compiling():
        return False
    return not any(
        isinstance(t, Tensor) and torch._C._functorch.is_functorch_wrapped_tensor(t)
        for t in tensors
    )


def momentum(t: Tensor) -> tuple[Tensor, Tensor]:
    """Return the next Nesterov parameter and the weight of the extrapolation."""
    after = (1 + torch.sqrt(1 + 4 * t * t)) / 2
    return after, (t - 1) / after


def reference_norm(v: Tensor, space: Space, *, centred: bool) -> Tensor:
    """Return the norm of each sample, about its mean where constants do not matter."""
    if centred:
        v = v - v.mean((-2, -1), keepdim=True)
    return space.norm(v)


def warn_unconverged(active: Tensor, accuracy: Accuracy) -> None:
    """Warn when samples are still active at the end of the budget."""
    if bool(active.any()):
        warnings.warn(
            f"{accuracy.who}.prox stopped after {accuracy.max_steps} steps with "
            f"{int(active.sum())} of {active.numel()} samples above the tolerance "
            f"{accuracy.tolerance:g}. Allow more max_steps, or a larger tolerance.",
            NotConvergedWarning,
            stacklevel=4,
        )


class _Term(NamedTuple):
    """One g(L x), at a fixed dual step s."""

    prior: AnalysisPrior
    op: ForwardOperator
    rate: Tensor  # 1 / s, of shape batch
    dual_step: Tensor  # s with the axes of u

    def ascend(self, q: Tensor, image: Tensor) -> tuple[Tensor, Tensor]:
        """Return prox_{s g*}(q + s L x), and the u with q in the subdifferential of g at u."""
        z = image + q / self.dual_step
        u = self.prior.analysis_prox(z, self.rate)
        return self.dual_step * (z - u), u

    def gap(self, q: Tensor, u: Tensor, image: Tensor) -> Tensor:
        """Return g(L x) + g*(q) - <q, L x>, with g*(q) = <q, u> - g(u)."""
        inner = self.op.out_space.inner(q, image - u)
        g = self.prior.analysis_value
        return g(image) - g(u) - inner.real


def dual_prox(
    terms: Sequence[tuple[AnalysisPrior, ForwardOperator]],
    v: Tensor,
    tau: Tensor,
    *,
    clip: Callable[[Tensor], Tensor],
    reference: Tensor,
    accuracy: Accuracy,
) -> Tensor:
    """Return the proximal map; tau (positive) broadcasts against v, `reference` is `batch`.

    Under `vmap` and `torch.compile` no value can be looked at: all `max_steps` are taken.
    Gradients go through the iteration; its memory grows with the steps.
    """
    batch = v.shape[:-3]
    duals = _terms(terms, tau, batch)
    tau = tau.expand(*batch, 1, 1, 1)

    def primal(q: Sequence[Tensor]) -> Tensor:
        back = duals[0].op._adjoint(q[0])
        for term, qi in zip(duals[1:], q[1:], strict=True):
            back = back + term.op._adjoint(qi)
        return clip(v - tau * back)

    old = [torch.zeros_like(term.op._apply(v)) for term in duals]
    ahead, t = old, torch.ones_like(reference)
    watch = can_watch(v, tau)
    limit = 0.5 * (accuracy.tolerance * reference).square() / tau.flatten(len(batch)).squeeze(-1)
    active = torch.ones_like(reference, dtype=torch.bool)
    out = v
    for k in range(1, accuracy.max_steps + 1):
        x = primal(ahead)
        pairs = [d.ascend(q, d.op._apply(x)) for d, q in zip(duals, ahead, strict=True)]
        new = [q for q, _ in pairs]
        if k % CHECK_EVERY == 0 or k == accuracy.max_steps or k == 1:
            x = primal(new)
            out = torch.where(_wide(active, 3), x, out)
            if watch:
                gap, floor = _gap(duals, new, [u for _, u in pairs], x)
                # A NaN compares as false, and ends its own sample only.
                active = active & (gap > torch.maximum(limit, floor))
                if not bool(active.any()):
                    break
            t = torch.where(_turned(ahead, new, old, duals), 1.0, t)
        t, beta = momentum(t)
        ahead = [
            n + _wide(beta, n.ndim - len(batch)) * (n - o) for n, o in zip(new, old, strict=True)
        ]
        old = new
    if watch:
        warn_unconverged(active, accuracy)
    return out


def prox_by_dual(
    terms: Sequence[tuple[AnalysisPrior, ForwardOperator]],
    v: Tensor,
    tau: Tensor | float,
    *,
    bounds: Bounds = (None, None),
    accuracy: Accuracy,
) -> Tensor:
    """Return `argmin within the bounds of sum_i g_i(L_i x) + 1/(2 tau) |x - v|^2`.

    A sample whose tau is 0 keeps its v, moved within the bounds.
    """
    space = terms[0][1].in_space
    step = per_sample(tau, v, name="tau", who=accuracy.who)
    if not isinstance(step, Tensor):
        step = space.expand(step, v, name="tau", who=accuracy.who)
    positive = step > 0

    def clip(x: Tensor) -> Tensor:
        return clamp(x, bounds, who=accuracy.who)

    found = dual_prox(
        terms,
        v,
        torch.where(positive, step, 1),
        clip=clip,
        reference=reference_norm(v.detach(), space, centred=False),
        accuracy=accuracy,
    )
    return torch.where(positive, found, clip(v))


def _terms(
    terms: Sequence[tuple[AnalysisPrior, ForwardOperator]], tau: Tensor, batch: torch.Size
) -> list[_Term]:
    step = tau.reshape(tau.shape[: max(tau.ndim - 3, 0)]).expand(batch)
    bound = terms[0][1].norm_bound().square()
    for _, op in terms[1:]:
        bound = bound + op.norm_bound().square()
    # A picture of one pixel has no differences: any dual step will do.
    rate = step * torch.where(bound > 0, bound, 1)
    return [_Term(prior, op, rate, 1 / _wide(rate, op.out_space.ndim)) for prior, op in terms]


@torch.no_grad()
def _gap(
    duals: Sequence[_Term], q: Sequence[Tensor], u: Sequence[Tensor], x: Tensor
) -> tuple[Tensor, Tensor]:
    """Return the dual gap at x, and what rounding may leave of it: below that it says nothing."""
    space = duals[0].op.in_space
    eps = 8 * torch.finfo(x.dtype).eps
    size = space.norm(x)
    gap = torch.zeros_like(size)
    floor = torch.zeros_like(size)
    for term, qi, ui in zip(duals, q, u, strict=True):
        image = term.op._apply(x)
        gap = gap + term.gap(qi, ui, image)
        # Every entry of L x may be wrong by about eps times the root mean square of x.
        off = _wide(eps * size / space.numel**0.5, term.op.out_space.ndim)
        value = term.prior.analysis_value
        floor = floor + (value(image + off) - value(image)).abs()
        floor = floor + eps * size * term.op.out_space.norm(qi)
    return gap, floor


def _turned(
    ahead: Sequence[Tensor], new: Sequence[Tensor], old: Sequence[Tensor], duals: Sequence[_Term]
) -> Tensor:
    """Whether the last step points against the momentum, for each sample."""
    total: Tensor | None = None
    for a, n, o, term in zip(ahead, new, old, duals, strict=True):
        part = term.op.out_space.inner(a - n, n - o).real
        total = part if total is None else total + part
    assert total is not None
    return total.detach() > 0


def _wide(value: Tensor, ndim: int) -> Tensor:
    return value[(...,) + (None,) * ndim]
