"""The baselines that everything else must beat: the operator's own estimate, and its adjoint."""

from __future__ import annotations

import attrs
from torch import Tensor
from wellposed import DirectSolver, Problem

__all__ = ["AdjointSolver", "Interpolation"]


@attrs.frozen(eq=False, kw_only=True)
class Interpolation(DirectSolver):
    """The operator's own initial estimate: interpolation for those that drop pixels.

        x = A.initial_estimate(y)

    For an operator without an estimate of its own that is the scaled adjoint.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`.
    Cost: a few operator calls.
    Source: Keys, 1981, Cubic convolution interpolation for digital image processing, IEEE TASSP
    29(6), for operators that sample a picture.
    """

    def _reconstruct(self, problem: Problem) -> Tensor:
        return problem.start()


@attrs.frozen(eq=False, kw_only=True)
class AdjointSolver(DirectSolver):
    """The adjoint alone, unscaled: back-projection, the matched filter, the zero-filled picture.

        x = A^H y

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`.
    Cost: one adjoint.
    Source: North, 1963, An analysis of the factors which determine signal/noise discrimination in
    pulsed-carrier systems, Proc. IEEE 51(7), the matched filter.
    """

    def _reconstruct(self, problem: Problem) -> Tensor:
        return problem.linear.H(problem.measurement)
