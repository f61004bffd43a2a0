"""Where a run takes place: processes, device and precision, by Lightning Fabric."""

from __future__ import annotations

import atexit
import gc
import os
import signal
import threading
import time
import weakref
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import TYPE_CHECKING, Any

import torch

from ..devices import computes_bf16
from ..errors import MissingExtraError, ParameterError, WellposedError

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["Deadline", "exchanging", "make_fabric", "mixed_precision", "own_slice", "seed_step"]


def make_fabric(device: str) -> Fabric:
    """Return a started Fabric: one process, or the one of several that `torchrun` started.

    A group of processes that was there before stays its maker's; one that is made here is left
    when Python ends.

    Raises: MissingExtraError without Lightning Fabric; ParameterError for an unusable device.
    """
    try:
        from lightning_fabric import Fabric
    except ImportError as error:
        raise MissingExtraError(
            "training needs Lightning Fabric, which is not installed: "
            "pip install 'wellposed[train]'"
        ) from error
    if device not in ("auto", "cpu", "cuda"):
        raise ParameterError(f"expected 'auto', 'cpu' or 'cuda'; got {device!r}", where="device")
    if device == "cuda" and not torch.cuda.is_available():
        raise ParameterError(
            "torch sees no CUDA device here; leave --device out, or take cpu", where="device"
        )
    cuda = device != "cpu" and torch.cuda.is_available()
    world, local = (int(os.environ.get(n, "1")) for n in ("WORLD_SIZE", "LOCAL_WORLD_SIZE"))
    fabric = Fabric(
        accelerator="cuda" if cuda else "cpu",
        devices=local,
        num_nodes=max(world // local, 1),
        strategy="ddp" if world > 1 else "auto",
    )
    joined = _in_group()
    fabric.launch()
    if not joined and _in_group() and torch.distributed.get_backend() == "gloo":
        group = weakref.ref(torch.distributed.group.WORLD)
        atexit.register(_leave_group, os.getpid(), group)  # of NCCL's, Fabric takes care
    return fabric


@contextmanager
def exchanging() -> Iterator[None]:
    """Do not leave the group in order after an unforeseen error.

    It may have struck while messages were under way, and leaving waits until they are answered:
    for ever, it may be, while nobody has heard of the error.
    """
    try:
        yield
    except WellposedError:  # raised between messages
        raise
    except BaseException:
        atexit.unregister(_leave_group)
        raise


def _in_group() -> bool:
    return torch.distributed.is_available() and torch.distributed.is_initialized()


def _leave_group(process: int, made: weakref.ref[Any]) -> None:
    """Leave the group that `process` made, which waits for gloo's threads.

    A thread lets go of a message's tensors, for which it needs Python's lock, some time after the
    message has arrived. If Python is ending by then, the process aborts. But a module of torch's
    DDP that outlives the group would wait for the threads with the lock in its hand: then rather
    not.
    """
    if process != os.getpid() or not _in_group() or made() is not torch.distributed.group.WORLD:
        return
    gc.collect()
    wrapper = torch.nn.parallel.DistributedDataParallel
    if not any(type(thing) is wrapper for thing in gc.get_objects()):
        torch.distributed.destroy_process_group()


def mixed_precision(device: torch.device, precision: str) -> torch.autocast:
    """Return the context of a forward pass: bf16 where it is asked for and the device computes so.

    Fabric's own mixed precision would round the measurements to bf16 too.
    """
    half = precision == "bf16" and computes_bf16(device)
    return torch.autocast(device.type, torch.bfloat16, enabled=half)


def own_slice(fabric: Fabric, batch: int) -> slice:
    """Return which samples of a batch this process works on.

    Raises: ParameterError when the batch cannot be shared equally.
    """
    if batch % fabric.world_size:
        raise ParameterError(
            f"a batch of {batch} cannot be shared equally by {fabric.world_size} processes; "
            "take a multiple",
            where="batch",
        )
    share = batch // fabric.world_size
    return slice(fabric.global_rank * share, (fabric.global_rank + 1) * share)


def seed_step(seed: int, step: int, rank: int) -> None:
    """Seed torch's own generators for a step, so that dropout is the same after resuming."""
    mixed = (seed * 0x9E3779B97F4A7C15 + step * 0xBF58476D1CE4E5B9 + rank) % 2**63
    torch.manual_seed(mixed)


class Deadline:
    """Tells when to stop early: after some minutes, or when asked to by SIGTERM or Ctrl-C."""

    def __init__(self, minutes: float | None) -> None:
        """Start the clock."""
        self._end = None if minutes is None else time.monotonic() + 60 * minutes
        self._signalled = False

    def reached(self, fabric: Fabric, step: int) -> bool:
        """Tell whether to stop; all processes get the same answer."""
        late = self._signalled or (self._end is not None and time.monotonic() >= self._end)
        if fabric.world_size == 1:
            return late
        if step % 10:  # asking the others costs a message
            return False
        flags: Any = fabric.all_reduce(
            torch.tensor(float(late), device=fabric.device), reduce_op="sum"
        )
        return bool(flags > 0)

    @contextmanager
    def listening(self) -> Iterator[None]:
        """Let signals end the run after the present step, with a checkpoint."""
        if threading.current_thread() is not threading.main_thread():
            yield
            return
        before = {s: signal.signal(s, self._stop) for s in (signal.SIGTERM, signal.SIGINT)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _stop(self, number: int, frame: FrameType | None) -> None:
        if self._signalled:  # a second Ctrl-C does not wait for the step
            raise KeyboardInterrupt
        self._signalled = True
