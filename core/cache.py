"""One cache for tensors derived from a component's parameters, such as a transfer function."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

import torch
from torch import Tensor

__all__ = ["derived"]

T = TypeVar("T")
Versions = tuple[int, ...]
_SLOT = "_derived_cache"


def derived(owner: object, key: str, compute: Callable[[], T], *inputs: Tensor) -> T:
    """Return `compute()`, remembered on `owner` under `key` where that is safe.

    Nothing is remembered when one of `inputs` (the parameters that the value comes from) requires
    grad, since a second backward pass would find its graph freed; under `inference_mode`, whose
    tensors poison later training; inside a `torch.func` transform; or while compiling. Inputs that
    were changed in place since give a new value. The cache is no attrs field: copies, pickles and
    `attrs.evolve` start without it.
    """
    cache: dict[str, tuple[Versions, T]] | None = getattr(owner, _SLOT, None)
    if cache is not None and key in cache and _holds(cache[key][0], inputs):
        return cache[key][1]
    if torch.compiler.is_compiling() or not _is_safe(inputs):
        return compute()
    # A parameter that needs no grad gives a constant. Inside torch.func.grad even a tensor made
    # from nothing would carry the transform's level, and must not outlive it.
    with torch._C._DisableFuncTorch():
        value = compute()
    if cache is None:
        cache = {}
        object.__setattr__(owner, _SLOT, cache)
    cache[key] = _versions(inputs), value
    return value


def _holds(versions: Versions, inputs: tuple[Tensor, ...]) -> bool:
    """Whether the tensors are as they were, and have not been made to require grad."""
    if any(t.requires_grad for t in inputs):
        return False
    return torch.compiler.is_compiling() or versions == _versions(inputs)


def _versions(inputs: tuple[Tensor, ...]) -> Versions:
    """Return how often each tensor was changed in place, as far as torch counts it."""
    return tuple(-1 if t.is_inference() else t._version for t in inputs)


def _is_safe(inputs: tuple[Tensor, ...]) -> bool:
    if torch.is_inference_mode_enabled():
        return False
    return not any(
        t.requires_grad or torch._C._functorch.is_functorch_wrapped_tensor(t) for t in inputs
    )
