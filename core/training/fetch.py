"""Batches in order, from this process, or from workers when pictures are read from disk."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, cast

import attrs
from torch.utils.data import DataLoader, Dataset

from ..errors import ParameterError
from .batches import Batches, Sample
from .pool import DiskPool

__all__ = ["fetch"]


@attrs.frozen(eq=False)
class _Steps(Dataset[Sample]):
    """Batches by number of step, as torch's loader wants them."""

    batches: Batches

    def __getitem__(self, step: int) -> Sample:
        return self.batches[step]


def fetch(batches: Batches, first: int, last: int, workers: int = 0) -> Iterator[Sample]:
    """Yield the batches of the steps `first` to `last - 1`.

    What is in memory needs no workers, and uses none. Raises: ParameterError.
    """
    if workers < 0:
        raise ParameterError(f"expected 0 workers or more; got {workers}", where="workers")
    if workers == 0 or not isinstance(batches.pool, DiskPool):
        yield from (batches[step] for step in range(first, last))
        return
    loader: Any = DataLoader(
        _Steps(batches),
        batch_size=None,
        sampler=range(first, last),
        num_workers=workers,
        multiprocessing_context="spawn",  # a fork would copy the state of torch's threads
    )
    yield from cast(Iterator[Sample], iter(loader))
