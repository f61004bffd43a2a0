"""Moving components between devices and precisions, without changing the original."""

from __future__ import annotations

import copy
import math
from typing import Any, TypeVar, cast

import attrs
import torch
from torch import Tensor, nn

from .errors import DtypeError
from .space import Space, same_kind_dtype

__all__ = ["device_of", "fields_of", "move", "repeated", "tensors_in"]

T = TypeVar("T")


def move(
    component: T, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
) -> T:
    """Return `component` with its tensors moved; the same object when nothing changes.

    Real tensors follow `dtype`, complex ones its complex partner, integers and bools only the
    device. Nested components follow; networks are copied first, since `nn.Module.to` works in
    place.

    Raises: DtypeError when `dtype` is not a floating-point dtype.
    """
    if dtype is not None and not (dtype.is_floating_point or dtype.is_complex):
        raise DtypeError(f"to() expects a floating-point dtype such as torch.float64; got {dtype}.")
    place = None if device is None else torch.device(device)
    return cast(T, _move(component, place, dtype))


def _move(value: object, device: torch.device | None, dtype: torch.dtype | None) -> object:
    if isinstance(value, Tensor):
        wanted = value.dtype if dtype is None else same_kind_dtype(value.dtype, dtype)
        return value.to(device=device, dtype=wanted)
    if isinstance(value, torch.dtype):
        return value if dtype is None else same_kind_dtype(value, dtype)
    if isinstance(value, Space):
        return value if dtype is None else value.to(dtype)
    if isinstance(value, nn.Module):
        return copy.deepcopy(value).to(device=device, dtype=dtype)
    if isinstance(value, (tuple, list)):
        moved = type(value)(_move(v, device, dtype) for v in value)
        return value if all(a is b for a, b in zip(moved, value, strict=True)) else moved
    if isinstance(value, dict):
        parts = {k: _move(v, device, dtype) for k, v in value.items()}
        return value if all(parts[k] is v for k, v in value.items()) else parts
    if attrs.has(type(value)):
        return _move_fields(value, device, dtype)
    return value


def _move_fields(value: object, device: torch.device | None, dtype: torch.dtype | None) -> object:
    changed: dict[str, Any] = {}
    for field in fields_of(value):
        if field.init:
            old = getattr(value, field.name)
            new = _move(old, device, dtype)
            if new is not old:
                changed[field.alias or field.name] = new
    return attrs.evolve(cast(Any, value), **changed) if changed else value


def fields_of(component: Any) -> tuple[attrs.Attribute[Any], ...]:
    """Return the attrs fields of a component, or of its class."""
    fields: tuple[attrs.Attribute[Any], ...] = attrs.fields(
        component if isinstance(component, type) else type(component)
    )
    return fields


def device_of(component: object) -> torch.device | None:
    """Return the device of the first tensor found in the fields; None when there is none."""
    if isinstance(component, Tensor):
        return component.device
    if isinstance(component, nn.Module):
        return next((p.device for p in component.parameters()), None)
    if isinstance(component, (tuple, list)):
        return _first(device_of(v) for v in component)
    if attrs.has(type(component)):
        return _first(device_of(getattr(component, f.name, None)) for f in fields_of(component))
    return None


def _first(devices: object) -> torch.device | None:
    return next((d for d in devices if d is not None), None)  # type: ignore[attr-defined]


def tensors_in(component: object) -> tuple[Tensor, ...]:
    """Return every tensor in the fields, nested components and networks included."""
    if isinstance(component, Tensor):
        return (component,)
    if isinstance(component, nn.Module):
        return tuple(component.parameters()) + tuple(component.buffers())
    if isinstance(component, (tuple, list)):
        return tuple(t for item in component for t in tensors_in(item))
    if attrs.has(type(component)):
        values = (getattr(component, f.name, None) for f in fields_of(component))
        return tuple(t for value in values for t in tensors_in(value))
    return ()


def repeated(value: T, batch: tuple[int, ...]) -> T:
    """Return a component whose parameters for the last of several batch axes are for all samples.

    The batch axes made one, that is what goes with them. The same object when nothing changes.
    """
    if len(batch) < 2:
        return value
    if isinstance(value, Tensor):
        times = math.prod(batch[:-1]) if value.shape == batch[-1:] else 1
        return cast(T, value.repeat(times)) if times != 1 else value
    if isinstance(value, tuple):
        return cast(T, tuple(repeated(item, batch) for item in value))
    if not attrs.has(type(value)):
        return value
    fields = [f for f in fields_of(value) if f.init]
    before = {f.alias or f.name: getattr(value, f.name) for f in fields}
    after = {name: repeated(old, batch) for name, old in before.items()}
    changed = {name: new for name, new in after.items() if new is not before[name]}
    return attrs.evolve(cast(Any, value), **changed) if changed else value
