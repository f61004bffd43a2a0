"""One step: measurements are simulated, restored, and the loss flows back."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor

from ..noise import Noise
from ..operator import ForwardOperator
from ..space import Space
from .batches import Sample
from .degradations import Degradation
from .distributions import Draws

__all__ = ["Measured", "measured"]

Measured = tuple[Tensor | None, Tensor, ForwardOperator | None, Noise | None, Mapping[str, Tensor]]


def measured(
    sample: Sample, degradation: Degradation | None, space: Space, draws: Draws
) -> Measured:
    """Return picture, measurement, operator, noise and conditions of a step, on the device.

    The measurement is simulated unless the sample brings its own; `space` is that of the crops.
    Conditions are made of the picture.
    """
    x = None if sample.picture is None else sample.picture.to(draws.device, non_blocking=True)
    if sample.measurement is None:
        assert x is not None
        if degradation is None:  # a prior learns the pictures themselves
            return x, x, None, None, {}
        operator = degradation.operator(space, draws)
        noise = degradation.noise_model(draws)
        with torch.no_grad():
            y = degradation.measure(operator(x), noise, draws)
            return x, y, operator, noise, degradation.conditions(x, operator, noise, draws)
    y = sample.measurement.to(draws.device, non_blocking=True)
    if degradation is None:
        return x, y, None, None, {}
    if x is None:
        return x, y, degradation.operator_for(Space(tuple(y.shape[1:])), draws.device), None, {}
    operator = degradation.operator(space, draws)
    with torch.no_grad():
        return x, y, operator, None, degradation.conditions(x, operator, None, draws)
