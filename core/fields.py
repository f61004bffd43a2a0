"""Attrs fields for components: tensors with a short repr, and the types that text can give."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from wellposed.registry import param

from .errors import DtypeError, ParameterError

__all__ = ["param", "short", "tensor_param"]

_SHORT = {
    torch.float16: "f16",
    torch.bfloat16: "bf16",
    torch.float32: "f32",
    torch.float64: "f64",
    torch.complex64: "c64",
    torch.complex128: "c128",
    torch.bool: "bool",
}


def short(value: object) -> str:
    """Describe a tensor by dtype and shape only, e.g. `f64[4, 1, 5, 5]`, a network by its name."""
    if isinstance(value, nn.Module):
        return type(value).__name__
    if not isinstance(value, Tensor):
        return repr(value)
    kind = _SHORT.get(value.dtype, str(value.dtype).removeprefix("torch."))
    return f"{kind}{list(value.shape)}"


def tensor_param(
    *, doc: str, unit: str = "", check: Callable[..., None] | None = None, **kw: Any
) -> Any:
    """Return an attrs field that holds a tensor: checked to be one, and shown by `short`."""
    optional = kw.get("default", ...) is None

    def is_tensor(instance: object, attribute: Any, value: object) -> None:
        if value is None and optional:
            return
        if not isinstance(value, Tensor):
            raise ParameterError(
                f"{type(instance).__name__}.{attribute.name} expects a torch.Tensor; "
                f"got {type(value).__name__}."
            )
        if value.dtype in (torch.float16, torch.bfloat16):
            raise DtypeError(
                f"{type(instance).__name__}.{attribute.name} expects float32 or float64 "
                f"(or a complex, integer or bool dtype); got {value.dtype}."
            )
        if check is not None:
            check(instance, attribute, value)

    return param(doc=doc, unit=unit, check=is_tensor, repr=short, **kw)
