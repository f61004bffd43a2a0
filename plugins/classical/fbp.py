"""Filtered back-projection, for operators that offer it."""

from __future__ import annotations

from typing import Any, Protocol, runtime_checkable

import attrs
from torch import Tensor
from wellposed import DirectSolver, Needs, Problem, param

__all__ = ["Fbp"]


@runtime_checkable
class _BackProjector(Protocol):
    def fbp(self, y: Tensor, *, filter: str) -> Tensor: ...


def _wrong_operator(op: Any) -> str | None:
    if isinstance(op, _BackProjector):
        return None
    return (
        "it needs one that offers fbp(y, filter=...), such as radon, alone and not in a "
        "composition. Take cg or fista, which take any operator."
    )


@attrs.frozen(eq=False, kw_only=True)
class Fbp(DirectSolver):
    """Tomography in one pass: every projection is ramp-filtered, then smeared back.

        x = scale * A^H (ramp * window * y)

    Exact for many angles without noise; few angles leave streaks.

    Shapes: y as the operator measures -> `(*batch, *in)`.
    Raises: IncompatibleError for an operator without filtered back-projection.
    Cost: one FFT per projection and one adjoint.
    Source: Kak and Slaney, 1988, Principles of computerized tomographic imaging, section 3.3,
    reconstruction from parallel projections.
    """

    needs = Needs(operator_check=_wrong_operator)

    filter: str = param(
        "ramp",
        doc="Window on the ramp; the smoother ones trade detail for less noise.",
        choices=("ramp", "shepp-logan", "cosine", "hamming", "hann"),
    )

    def _reconstruct(self, problem: Problem) -> Tensor:
        op: Any = problem.linear
        image: Tensor = op.fbp(problem.measurement, filter=self.filter)
        return image
