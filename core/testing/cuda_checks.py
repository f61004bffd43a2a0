"""Checks on CUDA, where there is one: same numbers, and no wait for the device in between."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import attrs
import torch
from torch import Tensor

from ..moves import fields_of
from .component_checks import ComponentKit
from .corners import component_of
from .engine import Trial, check, fail

__all__ = ["CudaChecks", "iterates"]

Subject = TypeVar("Subject")


class CudaChecks(ComponentKit[Subject]):
    """Needs `outputs`; see `OperatorKit`. Without CUDA these pass, as there is nothing to run."""

    def device_outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return what each device must give alike, from the trial's data, on its device."""
        return self.outputs(component, trial)

    def device_accuracy(self, trial: Trial[Any]) -> float:
        """Return how far apart two devices may be, relative."""
        return max(self.accuracy(trial), 1e-9)

    def may_wait(self, trial: Trial[Any]) -> bool:
        """Whether the host has to look at results on its way, as a loop with a tolerance does."""
        return False

    @check(share=0.3)
    def test_cuda_agrees_with_cpu(self, trial: Trial[Any]) -> None:
        """Moved to CUDA, it gives what it gives on the CPU, and leaves it there."""
        if not torch.cuda.is_available():
            return
        what = f"{type(component_of(trial.subject)).__name__} on CUDA"
        want = self.device_outputs(component_of(trial.subject), trial)
        there = trial.to("cuda")
        found = self.device_outputs(component_of(there.subject), there)
        for name, value in found.items():
            if value.device.type != "cuda":
                fail(f"{what}: {name} is on {value.device}; expected the device of the input.")
        here = {name: value.cpu() for name, value in found.items()}
        self._compare(here, want, what, self.device_accuracy(trial))

    @check(share=0.3)
    def test_cuda_does_not_synchronise(self, trial: Trial[Any]) -> None:
        """After a first call, none waits for the device: no `.item()`, no copy to or from it."""
        if not torch.cuda.is_available() or self.may_wait(trial):
            return
        there = trial.to("cuda")
        component = component_of(there.subject)
        self.device_outputs(component, there)
        before = torch.cuda.get_sync_debug_mode()
        torch.cuda.set_sync_debug_mode("error")
        try:
            self.device_outputs(component, there)
        finally:
            torch.cuda.set_sync_debug_mode(before)


def iterates(component: object) -> bool:
    """Whether a component, or one in its fields, has a tolerance to meet."""
    if not attrs.has(type(component)):
        return False
    if getattr(component, "tolerance", None) is not None:
        return True
    return any(iterates(getattr(component, field.name)) for field in fields_of(component))
