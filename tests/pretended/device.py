"""A CUDA device that is not there: tensors say that they are on it, and the CPU computes.

What it finds without a GPU: tensors of two devices in one operation, generators of the wrong one,
and calls for which the host would wait for the device, such as `.item()` or a copy. `graphs.py`
adds CUDA graphs. What it cannot find: anything about kernels, memory or time.

A tensor here is a wrapper around one on the CPU. To torch's C++ it is on a device of Python's own
("pretended"), which keeps autograd content; to Python it is on "cuda:0". Functions that are told
"cuda" make such tensors.
"""

from __future__ import annotations

import contextlib
import warnings
from collections.abc import Iterator
from typing import Any
from unittest import mock

import torch
from torch import Tensor
from torch.overrides import TorchFunctionMode
from torch.utils import backend_registration
from torch.utils._pytree import tree_leaves, tree_map

from . import graphs

aten = torch.ops.aten
CLAIMED = torch.device("cuda:0")

POSSIBLE = hasattr(backend_registration, "_setup_privateuseone_for_python_backend")
if POSSIBLE:
    backend_registration._setup_privateuseone_for_python_backend("pretended")
    _BEHIND = torch.device("pretended:0")
    _LIBRARY = torch.library.Library("_", "IMPL")
    _LIBRARY.fallback(lambda op, *args, **kwargs: _run(op, args, kwargs), "PrivateUse1")

# The host waits for their results; and with a mask for an index, for its number of pixels.
_WAITING = (
    "_local_scalar_dense",
    "equal",
    "nonzero",
    "masked_select",
    "unique_consecutive",
    "_unique2",
    "repeat_interleave",
)
_INDEXED = ("index", "index_put", "index_put_", "_index_put_impl_")


class Waits:
    """How often the host has waited, and what becomes of it: torch.cuda's sync debug mode."""

    mode, count = 0, 0

    @classmethod
    def met(cls, what: str) -> None:
        """The host waits."""
        cls.count += 1
        if graphs.recording() is not None:
            raise RuntimeError(f"operation not permitted when stream is capturing: {what}")
        message = f"called a synchronizing CUDA operation: {what}"
        if cls.mode == 2:
            raise RuntimeError(message)
        if cls.mode == 1:
            warnings.warn(message, stacklevel=2)

    @classmethod
    def set(cls, mode: int | str) -> None:
        """As `torch.cuda.set_sync_debug_mode`."""
        cls.mode = {"default": 0, "warn": 1, "error": 2}.get(str(mode), mode)


class Pretended(Tensor):
    """A tensor that says it is on `CLAIMED`."""

    __torch_function__ = torch._C._disabled_torch_function_impl

    @staticmethod
    def __new__(cls, inner: Tensor) -> Pretended:
        made = Tensor._make_wrapper_subclass(
            cls,
            inner.shape,
            strides=inner.stride(),
            storage_offset=inner.storage_offset(),
            dtype=inner.dtype,
            device=_BEHIND,
        )
        made.inner = inner
        return made

    device = property(lambda self: CLAIMED)
    is_cuda = property(lambda self: True)
    is_cpu = property(lambda self: False)

    def untyped_storage(self) -> torch.UntypedStorage:
        return self.inner.untyped_storage()

    def __repr__(self) -> str:
        return f"Pretended({self.inner})"

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if id(self) not in memo:
            copied = Pretended(self.inner.clone())
            if isinstance(self, torch.nn.Parameter):
                copied = torch.nn.Parameter(copied, self.requires_grad)
            memo[id(self)] = copied.requires_grad_(self.requires_grad)
        return memo[id(self)]

    def __reduce_ex__(self, protocol: object) -> tuple[Any, ...]:
        return Pretended, (self.inner,)

    @classmethod
    def __torch_dispatch__(cls, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        return _run(func, args, kwargs or {})


def _run(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Do an operation on the CPU, having looked at where its arguments say they are."""
    leaves = [t for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)]
    there = [t for t in leaves if isinstance(t, Pretended)]
    on = kwargs["device"].type != "cpu" if kwargs.get("device") is not None else bool(there)
    name = func._schema.name.removeprefix("aten::")
    if name in ("_to_copy", "copy_"):
        on = isinstance(args[0], Pretended) if name == "copy_" else on
        both = on != bool(there) or len(there) != len(leaves)
        if both and not (kwargs.get("non_blocking") or args[2:3] == (True,)):
            Waits.met("a copy between host and device")
    elif there:
        _look(name, func, args, leaves)
    generator = kwargs.get("generator")
    if generator is not None and (getattr(generator, "claimed", "cpu") == "cuda") != on:
        raise RuntimeError(f"{func}: the generator is on another device than the result")
    inner = graphs.call(func, tree_map(_inner, args), tree_map(_inner, kwargs))
    if not on or name == "_local_scalar_dense":
        return inner
    return _given_back(func, args, kwargs, tree_map(_outer, inner))


def _look(name: str, func: Any, args: tuple[Any, ...], leaves: list[Tensor]) -> None:
    """Complain where CUDA would: about other devices, and about what the host waits for."""
    if name in _WAITING:
        Waits.met(str(func))
    if name in _INDEXED:
        for index in (i for i in args[1] if i is not None):
            if index.dtype in (torch.bool, torch.uint8):
                Waits.met(f"{func} with a mask")
            elif not isinstance(index, Pretended):
                Waits.met(f"{func} with an index on the CPU")
        leaves = [t for t in leaves if all(t is not i for i in args[1])]
    for t in leaves:
        # A single number on the CPU goes with a kernel's arguments.
        if t.ndim and not isinstance(t, Pretended):
            raise RuntimeError(
                "Expected all tensors to be on the same device, but found at least two devices, "
                f"cuda:0 and cpu: {func} with a tensor {tuple(t.shape)} on the CPU"
            )


def _inner(value: Any) -> Any:
    if isinstance(value, Pretended):
        return value.inner
    return torch.device("cpu") if isinstance(value, torch.device) else value


def _outer(value: Any) -> Any:
    return Pretended(value) if isinstance(value, Tensor) else value


def _given_back(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> Any:
    """Return `out`; but of an operation in place the tensor that it was given."""
    returns = func._schema.returns
    if len(returns) != 1 or returns[0].alias_info is None or not returns[0].alias_info.is_write:
        return out
    for number, argument in enumerate(func._schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            return args[number] if number < len(args) else kwargs[argument.name]
    return out


class _Redirected(TorchFunctionMode):
    """Whoever says "cuda" gets a pretended tensor."""

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        name, kwargs = getattr(func, "__name__", ""), dict(kwargs or {})
        if name == "cuda":
            return args[0].to(_BEHIND)
        if name in ("to", "_parse_to"):
            return func(*map(_behind, args), **{k: _behind(v) for k, v in kwargs.items()})
        if name == "tolist" and isinstance(args[0], Pretended):
            Waits.met("tolist")
            return args[0].inner.tolist()
        if name == "new_tensor" and isinstance(args[0], Pretended):
            Waits.met("new_tensor")
            return Pretended(args[0].inner.new_tensor(*args[1:], **kwargs))
        if name in ("matmul", "__matmul__") and args[0].ndim == 1 < args[1].ndim:
            # torch would squeeze the result in place, which a wrapper cannot follow.
            return (args[0].unsqueeze(0) @ args[1]).squeeze(-2)
        if "device" not in kwargs or _behind(kwargs["device"]) != _BEHIND:
            return func(*args, **kwargs)
        kwargs["device"] = _BEHIND
        if any(isinstance(t, Tensor) for t in tree_leaves((args, kwargs))):
            return func(*args, **kwargs)
        return _made(func, name, args, kwargs)


def _made(func: Any, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
    """Return a new tensor: of numbers that the host has, or of those that a kernel writes."""
    if name in ("tensor", "as_tensor"):
        Waits.met(f"torch.{name} on the device")
    generator = kwargs.get("generator")
    if generator is not None and getattr(generator, "claimed", "cpu") != "cuda":
        raise RuntimeError(f"torch.{name} on cuda: expected a generator of cuda, found one of cpu")
    grad = kwargs.pop("requires_grad", False)
    kwargs["device"] = "cpu"
    return Pretended(graphs.call(func, args, kwargs)).requires_grad_(grad)


def _behind(value: Any) -> Any:
    told = isinstance(value, torch.device) and value.type == "cuda"
    return _BEHIND if told or (isinstance(value, str) and value.split(":")[0] == "cuda") else value


class _Generator(torch.Generator):
    """Draws on the CPU, and remembers for which device."""

    def __new__(cls, device: Any = "cpu") -> _Generator:
        made = super().__new__(cls, "cpu")
        made.claimed = torch.device(device).type
        return made

    device = property(lambda self: CLAIMED if self.claimed == "cuda" else torch.device("cpu"))


@contextlib.contextmanager
def pretended_cuda() -> Iterator[type[Waits]]:
    """Within it there is a CUDA device, as far as Python is told."""
    replaced = {
        "is_available": lambda: True,
        "device_count": lambda: 1,
        "synchronize": lambda *_: None,
        "is_bf16_supported": lambda *_, **__: False,
        "get_sync_debug_mode": lambda: Waits.mode,
        "set_sync_debug_mode": Waits.set,
        **graphs.REPLACED,
    }
    always = torch.is_warn_always_enabled()
    with contextlib.ExitStack() as stack:
        for name, value in replaced.items():
            stack.enter_context(mock.patch.object(torch.cuda, name, value))
        stack.enter_context(mock.patch.object(torch, "Generator", _Generator))
        stack.enter_context(_Redirected())
        Waits.mode = Waits.count = 0
        try:
            yield Waits
        finally:
            torch.set_warn_always(always)
