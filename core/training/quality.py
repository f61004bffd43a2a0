"""How well a learner restores: measured on crops that are always the same."""

from __future__ import annotations

from collections.abc import Mapping

import attrs
import torch
from torch import Tensor

from ..metrics import psnr
from ..space import Space
from .batches import Batches, Sample
from .degradations import Degradation
from .distributions import Draws, draws_for
from .learner import Learner
from .step import measured

__all__ = ["measure_quality"]

_SAMPLES = 64
_MOST = 100.0  # dB: what is restored exactly would make every mean infinite


def measure_quality(
    learner: Learner,
    batches: Batches,
    degradation: Degradation | None,
    *,
    device: torch.device,
    samples: int = _SAMPLES,
) -> Mapping[str, float]:
    """Return the mean PSNR of restored crops, and of the operator's own initial estimates.

    A crop counts 100 dB at most: a mask that hides nothing leaves an estimate without any error.
    The crops, operators and noise belong to the seed alone, so that numbers of two runs, or of
    two steps, can be compared. Without the truth, the mean `|A f(y) - y|^2` is returned.
    """
    batches = attrs.evolve(batches, stream=2, own=slice(0, batches.batch))
    found: dict[str, list[float]] = {}
    training = learner.training
    learner.eval()
    with torch.no_grad():
        for step in range(max(samples // batches.batch, 1)):
            draws = draws_for(batches.seed, step, stream=3, batch=batches.batch, device=device)
            for key, value in _one(learner, batches[step], batches, degradation, draws).items():
                found.setdefault(key, []).append(value)
    learner.train(training)
    return {key: sum(values) / len(values) for key, values in found.items()}


def _one(
    learner: Learner,
    sample: Sample,
    batches: Batches,
    degradation: Degradation | None,
    draws: Draws,
) -> dict[str, float]:
    x, y, operator, noise, conditions = measured(sample, degradation, Space(batches.shape), draws)
    found = learner(y, operator, noise, conditions)
    restored = found.picture.float()
    if x is None:
        assert operator is not None
        return {"residual": float((operator(restored) - y).abs().square().mean())}
    result = {"psnr": _mean_psnr(restored, x)}
    if operator is not None:
        estimate = operator.initial_estimate(y)
        if not estimate.is_complex():
            result["psnr_estimate"] = _mean_psnr(estimate, x)
    return result


def _mean_psnr(found: Tensor, x: Tensor) -> float:
    return float(psnr(found, x).clamp(max=_MOST).mean())
