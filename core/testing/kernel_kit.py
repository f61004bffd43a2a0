"""`KernelKit`: a named kernel has four axes, the sum it says, and the phase of its stride."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import WellposedError
from ..kernel import Kernel
from .component_checks import ComponentKit
from .engine import Trial, check, fail

__all__ = ["KernelKit"]

T = Trial[Kernel]

_STRIDES = (1, 2, 3, 4)


class KernelKit(ComponentKit[Kernel]):
    """Checks of a `Kernel`; examples are instances.

    A class that keeps the sum or the phase of what it is given says so by a class attribute
    `normalized = False` or `centred = False`; `normalized` may also be a field.
    """

    kind = "kernel"

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return the kernel for each stride."""
        return {f"stride {s}": component.tensor(stride=s, dtype=torch.float64) for s in _STRIDES}

    @check()
    def test_has_four_axes(self, trial: T) -> None:
        """`(B|1, C|1, kh, kw)`, finite, in the dtype asked for, on the device asked for."""
        for stride in _STRIDES:
            for dtype in (torch.float32, torch.float64):
                kernel = trial.subject.tensor(stride=stride, dtype=dtype)
                name = _named(trial, stride)
                if not isinstance(kernel, Tensor) or kernel.ndim != 4 or 0 in kernel.shape:
                    fail(f"{name} is {_shown(kernel)}; expected a tensor (B|1, C|1, kh, kw).")
                if kernel.dtype != dtype:
                    fail(f"{name} has dtype {kernel.dtype}; {dtype} was asked for.")
                if not bool(kernel.isfinite().all()):
                    fail(f"{name} is not finite.")

    @check(share=0.5)
    def test_goes_to_the_device_asked_for(self, trial: T) -> None:
        """`device=` is where the tensor lies."""
        kernel = trial.subject.tensor(stride=2, device="cpu")
        if kernel.device.type != "cpu":
            fail(f"{_named(trial, 2)} lies on {kernel.device}; cpu was asked for.")

    @check(corners=True)
    def test_sums_to_one(self, trial: T) -> None:
        """Brightness is kept, for every sample and channel, to rounding."""
        if not getattr(trial.subject, "normalized", True):
            return
        for stride in _STRIDES:
            kernel = trial.subject.tensor(stride=stride, dtype=torch.float64)
            error = float((kernel.sum((-2, -1)) - 1).abs().max())
            if not error <= 1e-12:
                fail(f"{_named(trial, stride)} sums to 1 only up to {error:.1e}.")

    @check(corners=True)
    def test_has_the_phase_of_its_stride(self, trial: T) -> None:
        """The centre of mass is index n // 2 for odd strides, half a pixel before for even ones.

        In the middle of the block of pixels that a measured pixel stands for, that is, when the
        operator's offset is (stride - 1) // 2. A single tap cannot lie between pixels.
        """
        if not getattr(trial.subject, "centred", True):
            return
        for stride in _STRIDES:
            kernel = trial.subject.tensor(stride=stride, dtype=torch.float64)
            if kernel.shape[-2:] == (1, 1):
                continue
            for axis, name in ((-2, "row"), (-1, "column")):
                weights = kernel.sum(-1 if axis == -2 else -2)
                fixed = getattr(trial.subject, "size", None) is not None
                centre, want = _centre(weights, stride, fixed)
                error = float((centre - want).abs().max())
                if not error <= 1e-9 * weights.shape[-1]:
                    fail(
                        f"{_named(trial, stride)} has its centre of mass {error:.3g} pixels off: "
                        f"{name} {float(centre.flatten()[0]):.6g} of {weights.shape[-1]}; "
                        f"expected {want:g}."
                    )

    @check(share=0.5)
    def test_single_precision_agrees_with_double(self, trial: T) -> None:
        """float32 is the float64 kernel, rounded."""
        for stride in _STRIDES:
            single = trial.subject.tensor(stride=stride, dtype=torch.float32).double()
            double = trial.subject.tensor(stride=stride, dtype=torch.float64)
            error = float((single - double).abs().max() / double.abs().max())
            if single.shape != double.shape or not error <= 1e-6:
                fail(f"{_named(trial, stride)} in float32 is off by {error:.1e} relative.")

    @check(share=0.2)
    def test_refuses_impossible_strides(self, trial: T) -> None:
        """A stride of 0, -1 or 1.5 is a ParameterError, or at least no kernel in silence."""
        for stride in (0, -1, 1.5):
            try:
                trial.subject.tensor(stride=stride)  # type: ignore[arg-type]
            except (WellposedError, TypeError, ValueError):
                continue
            fail(f"{type(trial.subject).__name__}.tensor took stride={stride}.")


def _centre(weights: Tensor, stride: int, fixed: bool) -> tuple[Tensor, float]:
    """Return the centre of mass along the last axis, and where it should be.

    Where a size that was asked for (`fixed`) gives one side a tap more than the other, that tap is
    left out; a kernel that chooses its own size has to choose one that suits the stride.
    """
    size = weights.shape[-1]
    want = size // 2 - (0.0 if stride % 2 else 0.5)
    first = int(2 * want) - size + 1  # taps beyond the mirror image of the last one
    index = torch.arange(size, dtype=torch.float64)
    inside = (index >= first) & (index <= 2 * want)
    weights = torch.where(inside, weights, 0) if fixed else weights
    return (weights * index).sum(-1) / weights.sum(-1), want


def _named(trial: T, stride: int) -> str:
    return f"{trial.subject!r} for stride {stride}"


def _shown(kernel: object) -> str:
    return f"of shape {tuple(kernel.shape)}" if isinstance(kernel, Tensor) else str(type(kernel))
