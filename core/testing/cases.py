"""What an example strategy yields for each kind of component.

operator, bilinear, kernel, noise: the instance itself, in double precision, on the CPU, small.
network: the spec itself, with few and narrow layers.
prior: a `PriorCase`. solver: a `SolverCase`.
"""

from __future__ import annotations

import attrs
from torch import Tensor

from ..prior import Prior
from ..problem import Problem
from ..solver import Solver
from ..space import Space

__all__ = ["PriorCase", "SolverCase"]


@attrs.frozen(eq=False, kw_only=True)
class PriorCase:
    """A prior, the space of pictures to try it on, and whether its functional is convex.

    rtol: how exact its proximal map is, relative to the picture; None means 10 times the prior's
    own `tolerance` if it has one, else 1e-9. batch_shape: `(B,)` for parameters per sample; left
    out, it is taken from the prior's one-dimensional tensors. waits: on CUDA the host has to wait
    for it, as what computes in NumPy does; a prior with a `tolerance` need not say so.
    """

    prior: Prior
    space: Space
    convex: bool = True
    rtol: float | None = None
    batch_shape: tuple[int, ...] | None = None
    waits: bool = False


@attrs.frozen(eq=False, kw_only=True)
class SolverCase:
    """A solver and a problem that it must solve to `expected` (when known) within `rtol`.

    `expected` has the shape of the solution; `rtol` is relative to its norm, per sample.
    """

    solver: Solver
    problem: Problem
    expected: Tensor | None = attrs.field(default=None, repr=False)
    rtol: float = 1e-6
