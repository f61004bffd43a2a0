"""Table VIII of the DL-Net paper: what K evaluations of the last layer cost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from wellposed import Problem
from wellposed.training import recipe_from
from wellposed.training.learner import SolverLearner, build_learner

from ._dlnet_paper import OVERHEAD
from ._dlnet_protocol import degraded
from ._timing import interleaved

__all__ = ["overhead"]

_TEST_SET = 1000
_COUNTS = (1, 2, 3, 4, 5)
_NETWORK: dict[str, Any] = {"name": "context_encoder"}


def overhead(device: str, batch: int, seconds: float, *, cpu_time: bool = False) -> None:
    """Print time and ratio for K = 1 ... 5: restoring the test set, and a step of training.

    The autoencoder at the paper's width, untrained, float32, faces with a hole of 20 pixels. All K
    take turns in one process; medians. K = 1 is the plain network. `cpu_time` counts the time on
    the processor, with one thread: fair on a busy machine.
    """
    generator = torch.Generator().manual_seed(0)
    pictures = torch.rand(batch, 3, 64, 64, generator=generator)
    x, operator, y = next(degraded(pictures, "s = 20", repeats=1, device=device, batch=batch))
    learners = {k: _learner(k, device) for k in _COUNTS}

    def restoring(learner: SolverLearner) -> Callable[[], object]:
        problem = Problem(operator=operator, measurement=y)

        def run() -> object:
            learner.eval()
            with torch.no_grad():
                return learner.solver.solve(problem)

        return run

    def training(learner: SolverLearner) -> Callable[[], object]:
        optimiser = torch.optim.Adam(learner.parameters(), 1e-3)

        def run() -> None:
            learner.train()
            optimiser.zero_grad()
            (learner(y, operator).picture - x).square().mean().backward()
            optimiser.step()

        return run

    if cpu_time:
        torch.set_num_threads(1)
    restored, trained = (
        interleaved(
            {str(k): job(one) for k, one in learners.items()}, seconds=seconds, cpu_time=cpu_time
        )
        for job in (restoring, training)
    )
    _print(restored, trained, device, batch)
    parameters = sum(p.numel() for p in learners[1].parameters())
    print(f"\nparameters: {parameters / 1e6:.2f} M for every K (paper: about 2.9 M)")


def _learner(steps: int, device: str) -> SolverLearner:
    recipe: dict[str, Any] = {
        "solver": {
            "name": "dlnet",
            "params": {
                "network": _NETWORK,
                "steps": steps,
                "rate": 1e-3,
                "feed": "measurement",
            },
        },
        "operator": {"name": "mask", "params": {"mask": {"hole": 20}}},
        "steps": 1,
    }
    learner = build_learner(recipe_from(recipe))
    assert isinstance(learner, SolverLearner)
    place = torch.device(device)
    # as training and restoring have it
    learner.to(place, memory_format=torch.channels_last)  # type: ignore[call-overload]
    learner.solver_to(place)
    return learner


def _print(restored: dict[str, float], trained: dict[str, float], device: str, batch: int) -> None:
    paper = OVERHEAD["cuda" if device.startswith("cuda") else "cpu"]
    name = torch.cuda.get_device_name() if device.startswith("cuda") else "CPU"
    print(
        f"Table VIII. Overhead: {name}, {torch.get_num_threads()} threads, batches of {batch}, "
        f"float32; seconds for {_TEST_SET} pictures, and times the plain network's\n"
    )
    print("| K | paper, s | ratio | ours, s | ratio | training step, s | ratio |")
    print("|---|---|---|---|---|---|---|")
    for k in _COUNTS:
        whole = restored[str(k)] / 1e3 * _TEST_SET / batch
        cells = [
            f"{paper[k]:.3f} | {paper[k] / paper[1]:.2f}",
            f"{whole:.3f} | {restored[str(k)] / restored['1']:.2f}",
            f"{trained[str(k)] / 1e3:.3f} | {trained[str(k)] / trained['1']:.2f}",
        ]
        print(f"| {k} | {' | '.join(cells)} |")
