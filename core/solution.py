"""`Solution`: the picture, and an honest account of how it came about."""

from __future__ import annotations

import enum
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attrs
import numpy as np
import torch
from torch import Tensor

from .errors import SolveFailed

if TYPE_CHECKING:
    from .problem import AnyOperator

__all__ = ["Provenance", "Solution", "Status"]


class Status(enum.IntEnum):
    """How a solve ended for one sample; the larger, the worse."""

    DIRECT = 0
    CONVERGED = 1
    BUDGET_SPENT = 2
    STOPPED = 3
    DEGENERATE = 4
    DIVERGED = 5
    NONFINITE = 6

    @property
    def advice(self) -> str:
        """What it means, and what to do."""
        return _ADVICE[self]

    def __str__(self) -> str:
        return self.name.lower()


_ADVICE = {
    Status.DIRECT: "computed in closed form or by one pass; nothing was iterated.",
    Status.CONVERGED: "the relative change fell below the tolerance.",
    Status.BUDGET_SPENT: "max_steps were done before the tolerance was met; often good enough, "
    "else raise max_steps or the tolerance.",
    Status.STOPPED: "the callback asked to stop.",
    Status.DEGENERATE: "the estimated operator is not to be trusted: see the solution's extras for "
    "why; take another seed, more restarts, or a picture with more detail.",
    Status.DIVERGED: "the picture grew without bound; take a smaller step, or check that the "
    "operator passes `wellposed check`.",
    Status.NONFINITE: "NaN or Inf appeared; the last finite picture is returned. Check the "
    "measurement for NaN, or take a smaller step.",
}


@attrs.frozen(kw_only=True)
class Provenance:
    """What made a solution: components with their parameters, versions, seed, device, time."""

    operator: str
    solver: str
    prior: str | None
    noise: str | None
    seed: int | None
    dtype: str
    device: str
    seconds: float
    versions: Mapping[str, str]


@attrs.frozen(eq=False, kw_only=True)
class Solution:
    """Result of a solve.

    Shapes: image `(*batch, *in_space.shape)`; steps and every entry of `history` start with the
    batch shape (history: `(*batch, steps)`); `statuses` is flat, one per sample.
    """

    image: Tensor = attrs.field(repr=lambda t: str(tuple(t.shape)))
    operator: AnyOperator
    statuses: tuple[Status, ...]
    steps: Tensor = attrs.field(repr=lambda t: str(tuple(t.shape)))
    history: Mapping[str, Tensor] = attrs.field(factory=dict, repr=False)
    extras: Mapping[str, Any] = attrs.field(factory=dict, repr=False)
    provenance: Provenance = attrs.field(repr=False)
    metrics: Mapping[str, float] | None = None
    baseline: Tensor | None = attrs.field(default=None, repr=False)
    measurement: Tensor | None = attrs.field(default=None, repr=False)
    truth: Tensor | None = attrs.field(default=None, repr=False)

    @property
    def status(self) -> Status:
        """The worst status of all samples."""
        return max(self.statuses)

    def require(self) -> Solution:
        """Return the solution itself, or raise when a sample has no usable picture.

        Raises: SolveFailed when a sample diverged or is not finite.
        """
        if self.status >= Status.DIVERGED:
            bad = [i for i, s in enumerate(self.statuses) if s >= Status.DIVERGED]
            raise SolveFailed(
                f"{self.provenance.solver}: {len(bad)} of {len(self.statuses)} samples ended as "
                f"{self.status} (first: sample {bad[0]}): {self.status.advice}"
            )
        return self

    def numpy(self) -> np.ndarray:
        """Return the picture as NumPy users hold it: `(*batch, H, W)` or `(*batch, H, W, C)`.

        Complex pictures stay complex; values are not clipped.
        """
        image = self.image.detach().cpu().movedim(-3, -1)
        array: np.ndarray = (image.squeeze(-1) if image.shape[-1] == 1 else image).numpy()
        return array

    def save(self, path: str | Path, *, bits: int | None = None) -> Path:
        """Write the picture (the magnitude, when complex), clipped to [0, 1]; format by suffix.

        The file appears whole or not at all.
        Raises: ImageFileError when it cannot be written; ShapeError for a batch of pictures.
        """
        from .images import write

        return write(path, self.image, bits=bits)

    def save_kernel(self, path: str | Path) -> list[Path]:
        """Write the kernel of the operator, which a blind solver has estimated.

        As `.npy` and `.mat` (the array `Kernel`, in the order of convolution) or `.png` (16 bits,
        the largest value white), by suffix; without one, as all three. Kernels per sample are
        stacked in `.npy` and `.mat`, and side by side in `.png`.
        Raises: ParameterError when no part of the operator has a kernel; ImageFileError when a
        file cannot be written.
        """
        from .kernel_files import write_kernel

        return write_kernel(path, self.operator)

    def report(self) -> str:
        """Return a readable account: components, status with advice, steps, time, metrics."""
        p = self.provenance
        counts = {s: self.statuses.count(s) for s in sorted(set(self.statuses))}
        lines = [
            f"operator  {p.operator}",
            f"solver    {p.solver}",
            f"prior     {p.prior or '-'}",
            f"noise     {p.noise or '-'}",
            f"picture   {tuple(self.image.shape)} {p.dtype} on {p.device}",
            *(f"status    {n} x {s}: {s.advice}" for s, n in counts.items()),
            f"steps     {int(self.steps.max())}, {p.seconds:.2f} s",
        ]
        if self.metrics:
            lines.append("metrics   " + ", ".join(f"{k} {v:.4g}" for k, v in self.metrics.items()))
        return "\n".join(lines)


def final_statuses(codes: Tensor) -> tuple[Status, ...]:
    """Turn a tensor of codes into a flat tuple."""
    return tuple(Status(int(c)) for c in codes.reshape(-1).to(torch.int64).cpu())
