"""The least-squares solution of least norm, in closed form or by conjugate gradients."""

from __future__ import annotations

from collections.abc import Callable

import attrs
import torch
from torch import Tensor
from wellposed import (
    ForwardOperator,
    IterationEvent,
    Problem,
    Reconstruction,
    Solver,
    Status,
    param,
    real_number,
    whole_number,
)

from .cgls import Cgls
from .fourier import energies, is_diagonal
from .steps import ratio

__all__ = ["PseudoInverse"]


@attrs.frozen(eq=False, kw_only=True)
class PseudoInverse(Solver):
    """Moore-Penrose inverse: of all pictures that fit the data best, the one of least norm.

        x = A^+ y = A^H (A A^H)^+ y

    Immediate when `A A^H` is diagonal (masks, crops, Fourier sampling; values that are exactly
    zero measure nothing), when `A^H A` is a multiple of the identity, and in the Fourier domain of
    a shift-equivariant operator. Otherwise `cg` from zero, which tends to the same picture and
    regularises when stopped early. Noise is amplified without limit: `tikhonov` bounds it.

    Shapes: y `(*batch, *out)` -> `(*batch, *in)`.
    Cost: closed: three operator calls and two FFTs; otherwise two operator calls per step.
    Source: Penrose, 1956, On best approximate solutions of linear matrix equations; iteration:
    Bjorck, 1996, Numerical methods for least squares problems, section 7.4.
    """

    rtol: float | None = param(
        None,
        doc="Singular values below rtol times the largest count as zero in the Fourier domain; "
        "left out, four times the root of the machine precision.",
        check=real_number(above=0, below=1),
    )
    max_steps: int = param(
        500, doc="Largest number of steps of conjugate gradients.", check=whole_number(1)
    )
    tolerance: float = param(
        1e-6,
        doc="Relative residual of the normal equations to stop at.",
        check=real_number(least=0),
    )

    def _solve(
        self, problem: Problem, callback: Callable[[IterationEvent], object] | None
    ) -> Reconstruction:
        image = self._closed(problem.linear, problem.measurement)
        if image is None:
            return Cgls(max_steps=self.max_steps, tolerance=self.tolerance)._solve(
                attrs.evolve(problem, initial=None), callback
            )
        finite = torch.isfinite(problem.image_space.norm(image))
        codes = torch.where(finite, int(Status.DIRECT), int(Status.NONFINITE))
        return Reconstruction(image=image, codes=codes, steps=torch.zeros_like(codes))

    def _closed(self, op: ForwardOperator, y: Tensor) -> Tensor | None:
        row, column = op.row_gram(), op.column_gram()
        if row is not None:
            diagonal = torch.as_tensor(row, device=y.device)
            return op._adjoint(ratio(y, diagonal.to(y.real.dtype)))
        if column:
            return op._adjoint(y) / column
        if not is_diagonal(op):
            return None
        energy = energies(op, y.device)
        rtol = 4 * torch.finfo(energy.dtype).eps ** 0.5 if self.rtol is None else self.rtol
        kept = energy > rtol**2 * energy.amax((-3, -2, -1), keepdim=True)
        spectrum = torch.where(kept, torch.fft.fft2(y) / torch.where(kept, energy, 1), 0)
        inverted = torch.fft.ifft2(spectrum)
        return op._adjoint(inverted if y.is_complex() else inverted.real)
