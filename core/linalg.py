"""Batched linear solves and norm bounds: every sample has its own tolerance and its own end."""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from .errors import NotConvergedWarning
from .space import Space, real_partner

__all__ = [
    "CGResult",
    "conjugate_gradient",
    "default_rtol",
    "identity_plus",
    "lanczos_norm_bound",
    "spd_solve",
]

Linear = Callable[[Tensor], Tensor]

# On CUDA the host asks whether all samples are done only this often: each question is a sync.
_CUDA_CHECK_EVERY = 10


@attrs.frozen(eq=False)
class CGResult:
    """Solution of a batch of systems, and how each of them went (all of shape `batch`)."""

    x: Tensor
    residual: Tensor  # |b - Kx| / |b|
    converged: Tensor
    steps: int


def default_rtol(dtype: torch.dtype) -> float:
    """Return the relative residual that a solve in this precision should and can reach."""
    return 1e-12 if real_partner(dtype) == torch.float64 else 1e-6


def identity_plus(step: Tensor, gram: Tensor) -> Tensor:
    """Return `I + step gram` for a Gram matrix, in a form that can always be factorised.

    Beside a large `step gram`, the identity is lost to rounding, and a singular gram would leave a
    singular matrix. So it counts for no less than what rounding does to the gram itself.

    Shapes: gram `(*, n, n)`, Hermitian; step broadcasts against it.
    """
    trace = gram.detach().diagonal(dim1=-2, dim2=-1).real.sum(-1)[..., None, None]
    least = 4 * torch.finfo(gram.dtype).eps * step.detach() * trace
    identity = torch.eye(gram.shape[-1], dtype=gram.dtype, device=gram.device)
    return least.clamp_min(1) * identity + step * gram


def conjugate_gradient(
    apply: Linear,
    b: Tensor,
    space: Space,
    *,
    x0: Tensor | None = None,
    rtol: float | None = None,
    max_steps: int = 500,
) -> CGResult:
    """Solve `K x = b` for Hermitian positive definite `K`, each sample to `|b - Kx| <= rtol |b|`.

    There is no absolute tolerance, so the answer for `s * b` is `s` times the answer for `b`, and
    a zero right-hand side gives zero. A sample that has converged, or whose curvature is not
    positive or not finite, is left as it is while the others go on. Under `vmap`, where no value
    can be looked at, all `max_steps` are taken.

    Shapes: b `(*batch, *space.shape)`.
    Cost: one `apply` and five passes over memory per step; on CUDA one host synchronisation in
    ten steps.
    Source: Hestenes and Stiefel, 1952, Methods of conjugate gradients for solving linear systems.
    """
    rtol = default_rtol(b.dtype) if rtol is None else rtol
    scale = space.norm(b)
    limit = (rtol * scale) ** 2
    x = torch.zeros_like(b) if x0 is None else x0
    r = b.clone() if x0 is None else b - apply(x0)
    p = r
    rho = _square_norm(r, space)
    check_every = _CUDA_CHECK_EVERY if b.is_cuda else 1
    active = rho > limit
    steps = 0
    for steps in range(1, max_steps + 1):
        if (steps - 1) % check_every == 0 and not _may_be_true(active):
            steps -= 1
            break
        q = apply(p)
        curvature = space.inner(p, q).real if q.is_complex() else space.inner(p, q)
        good = active & (curvature > 0) & torch.isfinite(curvature)
        alpha = torch.where(good, rho / torch.where(good, curvature, 1), 0)
        x = torch.addcmul(x, _broadcast(alpha, space), p)
        r = torch.addcmul(r, _broadcast(-alpha, space), q)
        rho_new = _square_norm(r, space)
        beta = torch.where(good, rho_new / torch.where(good, rho, 1), 0)
        p = torch.addcmul(r, _broadcast(beta, space), p)
        rho = torch.where(good, rho_new, rho)
        active = good & (rho > limit)
    relative = torch.where(scale == 0, 0, rho.sqrt() / torch.where(scale == 0, 1, scale))
    # The recurrence drifts from the true residual by rounding; twice the tolerance is still met.
    return CGResult(x=x, residual=relative, converged=relative <= 2 * rtol, steps=steps)


def spd_solve(
    apply: Linear,
    b: Tensor,
    space: Space,
    *,
    x0: Tensor | None = None,
    rtol: float | None = None,
    max_steps: int = 500,
) -> Tensor:
    """Solve like `conjugate_gradient`, differentiably in `b` and in whatever `apply` closes over.

    The gradient is the implicit one: with `K x = b`, a cotangent `g` of `x` becomes `K^-1 g` on
    the residual `b - K x`, whose own graph reaches the parameters. Memory does not grow with the
    number of steps. It can be differentiated once; a second time is an error, never a wrong value.

    Warns: NotConvergedWarning when a sample ends above its tolerance.
    """
    with torch.no_grad():
        start = None if x0 is None else x0.detach()
        found = conjugate_gradient(
            apply, b.detach(), space, x0=start, rtol=rtol, max_steps=max_steps
        )
    _warn_unconverged(found)
    if not torch.is_grad_enabled():
        return found.x
    residual = b - apply(found.x)
    if not residual.requires_grad:
        return found.x

    def solve(g: Tensor) -> Tensor:
        with torch.no_grad():
            back = conjugate_gradient(apply, g, space, rtol=rtol, max_steps=max_steps)
        _warn_unconverged(back)
        return back.x

    inverse: Any = _ImplicitInverse  # torch leaves `apply` without annotations
    correction: Tensor = inverse.apply(residual, solve)
    return found.x + correction


class _ImplicitInverse(torch.autograd.Function):
    """Zero in the forward pass, `K^-1` in the backward pass."""

    @staticmethod
    def forward(residual: Tensor, solve: Linear) -> Tensor:
        return torch.zeros_like(residual)

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
        residual, ctx.solve = inputs
        ctx.save_for_backward(residual)

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], residual: Tensor, solve: Linear) -> Any:
        return _ImplicitInverse.apply(residual, solve), in_dims[0]  # type: ignore[no-untyped-call]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, None]:
        (residual,) = ctx.saved_tensors
        guard: Any = _OnlyOnce
        return guard.apply(ctx.solve(g.detach()), g, residual), None


class _OnlyOnce(torch.autograd.Function):
    """Its first argument; an error when differentiated.

    It hangs on all that the value depends on, so that no path around it gives a partial second
    derivative in silence.
    """

    @staticmethod
    def forward(value: Tensor, *depends_on: Tensor) -> Tensor:
        return value

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        """Nothing is kept."""

    @staticmethod
    def vmap(info: Any, in_dims: tuple[Any, ...], *inputs: Tensor) -> Any:
        return _OnlyOnce.apply(*inputs), in_dims[0]  # type: ignore[no-untyped-call]

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor, ...]:
        raise NotImplementedError(
            "the implicit gradient of a conjugate gradient solve can be differentiated only once; "
            "for second derivatives take an operator with a closed form (op.has_closed_prox)."
        )


def lanczos_norm_bound(
    gram: Linear,
    space: Space,
    *,
    batch: tuple[int, ...] = (),
    device: torch.device | None = None,
    steps: int = 40,
) -> Tensor:
    """Return an upper bound of `sqrt(max eigenvalue)` of a Hermitian `gram`, per sample.

    Lanczos gives the largest Ritz value and the norm of its residual; their sum bounds the
    eigenvalue that the Ritz value belongs to. The start is a fixed random vector, which meets the
    top eigenvector with probability one, and a relative slack of 1e-3 covers what the recurrence
    loses to rounding. Typically 0.1-1 % above the truth.

    Shapes: result `batch`. Cost: `steps` calls of `gram`.
    Source: Paige, 1971; Golub and Van Loan, Matrix Computations, section 10.1.
    """
    generator = torch.Generator().manual_seed(0)
    with torch._C._DisableFuncTorch():  # vmap refuses random numbers, though they are constants
        start = space.randn(generator=generator)
    v = start.to(device).expand(*batch, *space.shape)
    v = v / _broadcast(space.norm(v), space)
    before = torch.zeros_like(v)
    beta = torch.zeros(batch, dtype=real_partner(space.dtype), device=device)
    diagonal: list[Tensor] = []
    off: list[Tensor] = []
    for _ in range(min(steps, space.numel)):
        w = gram(v) - _broadcast(beta, space) * before
        product = space.inner(v, w)
        alpha = product.real if product.is_complex() else product
        w = w - _broadcast(alpha, space) * v
        diagonal.append(alpha)
        beta = space.norm(w)
        off.append(beta)
        # An invariant subspace was found: beta is rounding, and nothing is left to learn.
        alive = beta > 1e-6 * torch.stack(diagonal).abs().amax(0)
        before, v = (
            v,
            torch.where(
                _broadcast(alive, space), w / _broadcast(torch.where(alive, beta, 1), space), 0
            ),
        )
        beta = torch.where(alive, beta, 0)
        off[-1] = beta
    return _top_of_tridiagonal(diagonal, off)


def _top_of_tridiagonal(diagonal: list[Tensor], off: list[Tensor]) -> Tensor:
    n = len(diagonal)
    d = torch.stack(diagonal, -1).double()
    e = torch.stack(off, -1).double()
    t = torch.diag_embed(d)
    if n > 1:
        t = t + torch.diag_embed(e[..., :-1], 1) + torch.diag_embed(e[..., :-1], -1)
    values, vectors = torch.linalg.eigh(t)
    top = values[..., -1] + e[..., -1] * vectors[..., -1, -1].abs()
    bound: Tensor = top.clamp_min(0).sqrt() * (1 + 1e-3)
    return bound.to(diagonal[0].dtype)


def _square_norm(a: Tensor, space: Space) -> Tensor:
    return space.norm(a).square()


def _broadcast(value: Tensor, space: Space) -> Tensor:
    return value[(...,) + (None,) * space.ndim]


def _may_be_true(value: Tensor) -> bool:
    """Whether any is true; also where nobody can say, which is under `vmap`."""
    return _is_batched(value) or bool(value.any())


def _is_batched(value: Tensor) -> bool:
    if torch.compiler.is_compiling():
        return False
    inside = torch._C._functorch
    while inside.is_functorch_wrapped_tensor(value):
        if inside.is_batchedtensor(value):
            return True
        value = inside.get_unwrapped(value)
    return False


def _warn_unconverged(found: CGResult) -> None:
    if torch.compiler.is_compiling() or _is_batched(found.converged):
        return
    if bool(found.converged.all()):
        return
    worst = float(found.residual.max())
    shown = "not finite" if math.isnan(worst) else f"{worst:.1e}"
    warnings.warn(
        f"conjugate gradients stopped after {found.steps} steps at a relative residual of {shown} "
        f"({int((~found.converged).sum())} of {found.converged.numel()} samples unconverged). "
        "Take a smaller tau, allow more steps, or a larger rtol.",
        NotConvergedWarning,
        stacklevel=3,
    )
