"""How the pictures of these tables are measured: kernels, noise, and what a solver is given.

Blurs are circular, by kernels of 28 x 28 pixels whose tap [14, 14] moves nothing, as those of the
paper's authors are.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any, Final

import attrs
import torch
from torch import Tensor
from wellposed import GenerativePrior, Problem, Space
from wellposed.edge import build_operator
from wellposed.training.drawn import DrawnKernels

from ._timing import synchronize

__all__ = [
    "CLASSES",
    "CONVOLUTION",
    "SIGMA",
    "Clock",
    "Restored",
    "Task",
    "blurred",
    "convolution",
    "drawn",
]

_SIDE: Final = 28
_SEED: Final = 99
CONVOLUTION: Final = {"name": "convolution", "params": {"kernel_shape": [_SIDE, _SIDE]}}
SIGMA: Final = 0.01  # of the noise, but for table 2
_MOTION: Final = {"length": 10, "angle": {"uniform": [0, 180]}}
CLASSES: Final[Mapping[str, Mapping[str, Any]]] = {  # of blurs, as in section 4.1
    "Blur A": {"name": "motion", "params": _MOTION},
    "Blur B": {"name": "motion_gaussian", "params": {**_MOTION, "width": {"uniform": [0.5, 1.5]}}},
}


def drawn(kind: str, count: int) -> Tensor:
    """Return kernels of a class, `(count, 1, 28, 28)`, of sum 1; always the same."""
    taps = torch.from_numpy(
        DrawnKernels.of(CLASSES[kind], count=count, size=_SIDE, seed=_SEED).kernels
    )
    return taps / taps.sum((-2, -1), keepdim=True)


def blurred(x: Tensor, kernels: Tensor, *, sigma: float, seed: int = 0) -> Tensor:
    """Return pictures blurred circularly, with noise; not clipped."""
    noise = torch.randn(x.shape, generator=torch.Generator().manual_seed(seed))
    y: Tensor = convolution(x)(kernels, x) + sigma * noise.to(x.device)
    return y


def convolution(x: Tensor) -> Any:
    """Return the convolution of pictures like these with a kernel that is not known."""
    built: Any = build_operator(CONVOLUTION, x_space=Space(tuple(x.shape[1:]), x.dtype))
    return built.to(device=x.device)


@attrs.frozen(eq=False, kw_only=True)
class Task:
    """Measurements `(N, C, H, W)`, the two generators, and how long to look for their codes."""

    measurement: Tensor
    faces: GenerativePrior | None
    kernels: GenerativePrior | None
    restarts: int
    steps: int
    sigma: float = SIGMA

    @property
    def problem(self) -> Problem:
        """The measurements with a convolution whose kernel is not known."""
        y = self.measurement
        return Problem(operator=convolution(y), measurement=y, prior=self.faces, seed=0)


@attrs.frozen(eq=False, kw_only=True)
class Restored:
    """Pictures, the kernels that were found, `(N, 1, 28, 28)` of sum 1, and the time for one."""

    image: Tensor
    kernel: Tensor | None = None
    seconds: float | None = None


class Clock:
    """Measures what happens inside `with`."""

    seconds = 0.0

    def __enter__(self) -> Clock:
        """Start."""
        synchronize()
        self._start = time.perf_counter()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop."""
        synchronize()
        self.seconds = time.perf_counter() - self._start
