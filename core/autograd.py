"""A linear map as one step of autograd, whose derivative is its adjoint."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor

__all__ = ["linear_step"]

Map = Callable[[Tensor], Tensor]


def linear_step(
    x: Tensor, apply: Map, adjoint: Map, *parameters: Tensor, batch: tuple[int, ...] = ()
) -> Tensor:
    """Return `apply(x)`; its gradient is `adjoint` of the gradient, where that is safe.

    torch's backward of an FFT of real pictures goes through a complex one, that of a convolution
    with a stride through code many times slower than another convolution; and what nobody records
    may be computed in pieces, or in place. Where `parameters` require grad, inside a `torch.func`
    transform, while compiling, or where x has fewer samples than `batch`, the leading shape of the
    parameters, so that the adjoint would have to sum, autograd records the steps of `apply`.
    Shapes: x and the result `(*, C, H, W)`. Cost: that of `apply`; its backward, of `adjoint`.
    """
    if not x.requires_grad or not torch.is_grad_enabled() or torch.compiler.is_compiling():
        return apply(x)
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor
    if any(p.requires_grad or wrapped(p) for p in parameters) or wrapped(x):
        return apply(x)
    if x.shape[x.ndim - 3 - len(batch) : -3] != batch:
        return apply(x)
    result: Tensor = _LinearStep.apply(x, apply, adjoint)  # type: ignore[no-untyped-call]
    return result


class _LinearStep(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, x: Tensor, apply: Map, adjoint: Map) -> Tensor:
        ctx.there, ctx.back = apply, adjoint
        return apply(x)

    @staticmethod
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, None, None]:
        return linear_step(grads[0], ctx.back, ctx.there), None, None

    @staticmethod
    def jvp(ctx: Any, *tangents: Any) -> Tensor:
        return linear_step(tangents[0], ctx.there, ctx.back)
