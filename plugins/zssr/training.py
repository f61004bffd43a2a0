"""Training on one picture, until the error stands still or the budget is spent."""

from __future__ import annotations

import itertools
import math
import time
from collections.abc import Callable

import attrs
import torch
from torch import Tensor
from wellposed import Status

from .network import Residual
from .pairs import Pairs
from .policy import TEST_EVERY, HalfCosine, SlopePolicy

__all__ = ["Budget", "Streams", "Trained", "train"]

_CLOCK_EVERY = 10


@attrs.frozen(eq=False)
class Streams:
    """Random numbers: on the host for weights and places, on the device for noise."""

    host: torch.Generator
    device: torch.Generator

    @classmethod
    def seeded(cls, seed: int, device: torch.device) -> Streams:
        """Return both, seeded alike."""
        return cls(torch.Generator().manual_seed(seed), torch.Generator(device).manual_seed(seed))


@attrs.frozen(eq=False, kw_only=True)
class Trained:
    """How training ended, and the curves: `loss` at each step, `error` at each test."""

    status: Status
    steps: int
    loss: list[Tensor]
    error: list[Tensor]


@attrs.frozen(kw_only=True)
class Budget:
    """Steps, and seconds from now on."""

    steps: int
    seconds: float
    started: float = attrs.field(factory=time.perf_counter, init=False)

    def spent(self, step: int, device: torch.device) -> float:
        """Return the share that is spent after some steps; 1 or more when nothing is left."""
        share = step / self.steps
        if math.isinf(self.seconds):
            return share
        if device.type == "cuda" and step % _CLOCK_EVERY == 0:
            torch.cuda.synchronize(device)  # the host may be far ahead
        return max(share, (time.perf_counter() - self.started) / self.seconds)


def train(
    network: Residual,
    pairs: Pairs,
    streams: Streams,
    *,
    policy: SlopePolicy | HalfCosine,
    budget: Budget,
    half: bool,
    tell: Callable[[int, Tensor], bool],
) -> Trained:
    """Minimise the weighted L1 distance between fathers and what is made of their sons, by Adam.

    `half` computes convolutions in bfloat16; `tell` is told each step and its loss, and ends
    training by returning True. The host waits for the device only where the policy looks at the
    errors and, given seconds, every tenth step.
    """
    optimiser = torch.optim.Adam(network.parameters(), policy.rate, fused=True)
    loss: list[Tensor] = []
    tested_at: list[int] = []
    error: list[Tensor] = []
    status = Status.BUDGET_SPENT
    spent = 0.0
    sons = pairs.sons(streams.device)
    for step in itertools.count(1):
        for group in optimiser.param_groups:
            group["lr"] = policy.rate_at(spent)
        loss.append(_step(network, optimiser, pairs.draw(sons, streams.host), half))
        if (step - 1) % TEST_EVERY == 0:
            sons = pairs.sons(streams.device) if pairs.noise and step > 1 else sons
            tested_at.append(step - 1)
            error.append(_test(network, pairs.middle(sons), half))
        if policy.is_due(step):
            seen = torch.stack(error).tolist()
            if not math.isfinite(sum(seen)):
                break
            policy.update(step, tested_at, seen)
        if tell(step, loss[-1]):
            status = Status.STOPPED
            break
        if policy.ended:
            status = Status.CONVERGED
            break
        spent = budget.spent(step, loss[-1].device)
        if spent >= 1:
            break
    finite = bool(torch.stack(loss).isfinite().all())
    return Trained(
        status=status if finite else Status.NONFINITE, steps=len(loss), loss=loss, error=error
    )


def _step(
    network: Residual,
    optimiser: torch.optim.Adam,
    drawn: tuple[Tensor, Tensor, Tensor],
    half: bool,
) -> Tensor:
    son, father, weight = drawn
    optimiser.zero_grad(set_to_none=True)
    with torch.enable_grad():
        with torch.autocast(son.device.type, torch.bfloat16, enabled=half):
            made = network(son)
        loss: Tensor = ((made - father).abs() * weight).mean()
        loss.backward()
    optimiser.step()
    return loss.detach()


def _test(network: Residual, middle: tuple[Tensor, Tensor], half: bool) -> Tensor:
    """Return the mean square error of the measurement, or its middle, made from its own son."""
    son, father = middle
    with torch.autocast(son.device.type, torch.bfloat16, enabled=half):
        made = network(son[None])[0].clamp(0, 1)
    error: Tensor = (made - father).square().mean()
    return error
