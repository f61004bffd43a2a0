"""Replaying a training step as one CUDA graph, where there is CUDA."""

from __future__ import annotations

import warnings
from collections.abc import Callable

import torch

__all__ = ["replayed"]

_WARM_UP = 3


def replayed(step: Callable[[], None], device: torch.device) -> Callable[[], None]:
    """Return a function that does `step()`; on CUDA as a graph, launched at once.

    The step must read and write tensors that stay where they are, and must not wait for the
    device. The first three calls run as they are, the fourth is recorded. What cannot be recorded
    runs as it is, after a warning. On other devices this is `step` itself.
    """
    if device.type != "cuda":
        return step
    return _Replayed(step, device)


class _Replayed:
    def __init__(self, step: Callable[[], None], device: torch.device) -> None:
        self._step, self._device = step, device
        self._calls = 0
        self._graph: torch.cuda.CUDAGraph | None = None
        self._stream = torch.cuda.Stream(device)

    def __call__(self) -> None:
        self._calls += 1
        if self._graph is not None:
            self._graph.replay()
        elif self._calls == _WARM_UP + 1:
            self._record()
        else:
            self._on_the_side(self._step)

    def _on_the_side(self, step: Callable[[], None]) -> None:
        # Recording takes place on another stream than the current one, and so must the warm-up.
        self._stream.wait_stream(torch.cuda.current_stream(self._device))
        with torch.cuda.stream(self._stream):
            step()
        torch.cuda.current_stream(self._device).wait_stream(self._stream)

    def _record(self) -> None:
        graph = torch.cuda.CUDAGraph()
        try:
            with torch.cuda.graph(graph, stream=self._stream):
                self._step()
        except RuntimeError as error:
            first = str(error).splitlines()[0]
            warnings.warn(f"no CUDA graph could be recorded: {first}", RuntimeWarning, stacklevel=3)
            self._step()
            return
        self._graph = graph
        graph.replay()  # recording does nothing yet
