"""CUDA graphs on the pretended device: what is recorded is done again, on the same memory."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils._pytree import tree_leaves, tree_map

_CURRENT: list[Graph] = []


class Graph:
    """As `torch.cuda.CUDAGraph`: the operations of a recording, with their tensors."""

    def __init__(self) -> None:
        self._done: list[tuple[Any, Any, Any, list[Tensor]]] = []
        self._before: dict[int, tuple[Tensor, Tensor]] = {}
        self._own: set[int] = set()

    def add(self, func: Any, args: Any, kwargs: Any, out: Any) -> None:
        """Remember an operation."""
        results = [t for t in tree_leaves(out) if isinstance(t, Tensor)]
        self._done.append((func, args, kwargs, results))
        given = {_memory(t) for t in tree_leaves((args, kwargs)) if isinstance(t, Tensor)}
        self._own |= {_memory(t) for t in results} - given

    def keep(self, written: list[Tensor]) -> None:
        """Remember what was in memory from outside: recording must not change it."""
        for t in written:
            if _memory(t) not in self._own | self._before.keys():
                whole = torch.empty(0, dtype=t.dtype).set_(t.untyped_storage())
                self._before[_memory(t)] = whole, whole.clone()

    def restore(self) -> None:
        """Undo what recording has done."""
        for whole, before in self._before.values():
            whole.copy_(before)

    def replay(self) -> None:
        """Do everything again; results go where they were, as on the device."""
        with torch.no_grad():
            for func, args, kwargs, results in self._done:
                again = [t for t in tree_leaves(func(*args, **kwargs)) if isinstance(t, Tensor)]
                for old, new in zip(results, again, strict=True):
                    if _memory(old) != _memory(new):
                        old.copy_(new)


def recording() -> Graph | None:
    """Return the graph that is being recorded."""
    return _CURRENT[-1] if _CURRENT else None


def call(func: Any, args: Any, kwargs: Any) -> Any:
    """Call it, and record it if need be."""
    graph = recording()
    if graph is None:
        return tree_map(_resolved, func(*args, **kwargs))
    graph.keep(_written(func, args, kwargs))
    out = tree_map(_resolved, func(*args, **kwargs))
    graph.add(func, args, kwargs, out)
    return out


def _written(func: Any, args: Any, kwargs: Any) -> list[Tensor]:
    schema = getattr(func, "_schema", None)
    if schema is None:  # a factory
        return []
    found = []
    for number, argument in enumerate(schema.arguments):
        if argument.alias_info is not None and argument.alias_info.is_write:
            found.append(args[number] if number < len(args) else kwargs.get(argument.name))
    return [t for t in tree_leaves(found) if isinstance(t, Tensor)]


def _resolved(value: Any) -> Any:
    """Return numbers as they are: what wraps them knows of no conjugate yet to be taken."""
    return value.resolve_conj().resolve_neg() if isinstance(value, Tensor) else value


def _memory(t: Tensor) -> int:
    return t.untyped_storage().data_ptr()


class Stream:
    """As `torch.cuda.Stream`; everything is in order anyway."""

    def __init__(self, device: object = None) -> None:
        pass

    def wait_stream(self, other: object) -> None:
        """Wait for nothing."""


@contextlib.contextmanager
def _stream(stream: object) -> Iterator[None]:
    yield


@contextlib.contextmanager
def _graph(graph: Graph, stream: object = None) -> Iterator[None]:
    _CURRENT.append(graph)
    try:
        yield
    finally:
        _CURRENT.pop()
        graph.restore()


REPLACED = {
    "Stream": Stream,
    "current_stream": lambda *_: Stream(),
    "stream": _stream,
    "CUDAGraph": Graph,
    "graph": _graph,
    "is_current_stream_capturing": lambda: bool(_CURRENT),
}
