"""`ConditionKit`: a condition goes with its picture, whatever else is in the batch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..conditions import ConditionMaker
from ..training.distributions import draws_for
from .cuda_checks import CudaChecks
from .engine import Trial, check, fail

__all__ = ["ConditionKit"]

T = Trial[ConditionMaker]

_SIDES = ((8, 8), (5, 9), (1, 6), (7, 1), (12, 10))


class ConditionKit(CudaChecks[ConditionMaker]):
    """Checks of a `ConditionMaker`; examples are instances."""

    kind = "condition"

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return the conditions of four pictures, or of some of them."""
        return {"condition": _made(component, trial, _pictures(trial), slice(0, 4))}

    def may_wait(self, trial: Trial[Any]) -> bool:
        """Made once for a batch, they may be made on the host, as what is drawn for them is."""
        return True

    @check()
    def test_has_four_axes(self, trial: T) -> None:
        """`(b, C', h, w)`, finite, in the precision of the pictures."""
        name = type(trial.subject).__name__
        for dtype in (torch.float32, torch.float64):
            x = _pictures(trial).to(dtype)
            got = _made(trial.subject, trial, x, slice(0, 4))
            if not isinstance(got, Tensor) or got.ndim != 4 or len(got) != 4 or 0 in got.shape:
                shown = tuple(got.shape) if isinstance(got, Tensor) else type(got)
                fail(f"{name} gives {shown} for pictures {tuple(x.shape)}; expected (4, C, h, w).")
            if got.dtype not in (dtype, torch.bool):
                fail(f"{name} gives {got.dtype} for pictures of {dtype}.")
            if not bool(got.isfinite().all()):
                fail(f"{name} gives values that are not finite.")

    @check()
    def test_processes_share_the_batch(self, trial: T) -> None:
        """Two processes with two samples each get what one process with all four gets."""
        x = _pictures(trial)
        whole = _made(trial.subject, trial, x, slice(0, 4))
        halves = [_made(trial.subject, trial, x[s], s) for s in (slice(0, 2), slice(2, 4))]
        name = type(trial.subject).__name__
        parts = {"condition": torch.cat(halves)}
        self._compare(parts, {"condition": whole}, f"{name} in two processes")

    @check()
    def test_samples_are_on_their_own(self, trial: T) -> None:
        """A picture of its own beside others changes nothing but its own condition."""
        x = _pictures(trial)
        other = torch.cat([x[:1].flip(-1) * 0.5, x[1:]])
        want = _made(trial.subject, trial, x, slice(0, 4))[1:]
        got = _made(trial.subject, trial, other, slice(0, 4))[1:]
        name = type(trial.subject).__name__
        self._compare({"condition": got}, {"condition": want}, f"{name} beside another picture")

    @check()
    def test_input_is_not_modified(self, trial: T) -> None:
        """It does not write into the pictures."""
        x = _pictures(trial)
        kept = x.clone()
        _made(trial.subject, trial, x, slice(0, 4))
        if not torch.equal(x, kept):
            fail(f"{type(trial.subject).__name__} changed the pictures in place.")


def _pictures(trial: Trial[Any]) -> Tensor:
    """Return four pictures with something to see in them, of one or three channels."""
    height, width = _SIDES[trial.seed % len(_SIDES)]
    shape = (4, (1, 3)[trial.seed % 2], height, width)

    def drawn() -> Tensor:
        x = torch.rand(shape, dtype=torch.float64, generator=trial.generator(1))
        return (x + (x > 0.5)) / 2

    return trial.placed("pictures", drawn)


def _made(component: Any, trial: Trial[Any], x: Tensor, own: slice) -> Tensor:
    """Return the conditions of the samples `own` of four, measured by a linear map."""
    draws = draws_for(trial.seed, 3, stream=1, batch=4, own=own, device=x.device)
    found: Tensor = component.make(x, measure=_measure, draws=draws)
    return found


def _measure(x: Tensor) -> Tensor:
    return 0.5 * x[..., ::2, ::2]
