"""One line that names a component with its parameters, and the versions that matter."""

from __future__ import annotations

import functools
import importlib.metadata

import attrs
import torch
from torch import Tensor, nn

from .fields import short
from .moves import fields_of

__all__ = ["describe", "versions"]


def describe(component: object) -> str:
    """Return e.g. `Blur(kernel=f32[1, 1, 9, 9], boundary='circular')`; no tensor contents."""
    if isinstance(component, Tensor):
        return short(component)
    if isinstance(component, nn.Module):
        count = sum(p.numel() for p in component.parameters())
        return f"{type(component).__name__}({count} parameters)"
    if isinstance(component, tuple):
        return "(" + ", ".join(describe(c) for c in component) + ")"
    if not attrs.has(type(component)):
        return repr(component)
    shown = []
    for field in fields_of(component):
        value = getattr(component, field.name, None)
        if field.init and value is not None and value is not field.default:
            shown.append(f"{field.name}={describe(value)}")
    return f"{type(component).__name__}({', '.join(shown)})"


@functools.cache
def versions() -> dict[str, str]:
    """Return the versions of wellposed and torch."""
    return {"wellposed": importlib.metadata.version("wellposed"), "torch": torch.__version__}
