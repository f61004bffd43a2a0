"""Kernels as training pictures: drawn from a distribution, with no file."""

from __future__ import annotations

from typing import Any, Final

import attrs
import numpy as np
import torch
import torch.nn.functional as F
import wellposed.registry as reg
from torch import Tensor
from wellposed.registry.errors import located

from ..edge import register_types
from ..errors import ParameterError
from ..kernel import Kernel
from .distributions import draws_for, realise
from .parsing import parse
from .sources import Source

__all__ = ["DrawnKernels"]

_AT_ONCE: Final = 1000


@attrs.frozen(eq=False)
class DrawnKernels(Source):
    """A number of kernels as pictures `(1, size, size)`, the largest tap of each 1.

    That scale keeps a network's values large; whoever uses one divides by its sum. A kernel is
    cut off, or continued by zeros, around its middle, index n // 2.
    """

    kernels: np.ndarray
    names: tuple[str, ...]

    @classmethod
    def of(cls, given: Any, *, count: int, size: int, seed: int) -> DrawnKernels:
        """Draw the kernels that a recipe describes. Raises: ParameterError and its kin."""
        register_types()
        tree = parse(given, "data.kernel")
        found = [
            _drawn(tree, min(_AT_ONCE, count - start), size, seed, start // _AT_ONCE)
            for start in range(0, count, _AT_ONCE)
        ]
        return cls(torch.cat(found).numpy(), tuple(f"kernel[{i}]" for i in range(count)))

    def load(self, number: int) -> Tensor:
        """Return a kernel."""
        return torch.from_numpy(self.kernels[number])


def _drawn(tree: Any, count: int, size: int, seed: int, step: int) -> Tensor:
    draws = draws_for(seed, step, stream=1, batch=count)
    with located("data.kernel"):
        kernel = reg.build(None, "kernel", realise(tree, draws), path="")
    if not isinstance(kernel, Kernel):
        raise ParameterError(f"expected a kernel; got {type(kernel).__name__}", where="data.kernel")
    taps = kernel.tensor()
    if taps.shape[1] != 1:
        raise ParameterError(
            f"expected kernels of one channel; {kernel.name} has {taps.shape[1]}",
            where="data.kernel",
        )
    taps = _centred(taps, size).expand(count, 1, size, size)
    return taps / taps.amax((-2, -1), keepdim=True)


def _centred(taps: Tensor, size: int) -> Tensor:
    """Return kernels of another size, the tap n // 2 of either at the same place."""
    pads = []
    for n in (taps.shape[-1], taps.shape[-2]):
        before = size // 2 - n // 2
        pads += [before, size - n - before]
    return F.pad(taps, pads)
