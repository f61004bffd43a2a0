"""What restores the pictures of these tables: ours with generators, and what it is compared with.

The parameters of all of them are here. Those of the generative solvers were chosen on the first 8
faces of the authors' pictures, by PSNR.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from typing import Any, Final

import attrs
import torch
from torch import Tensor
from wellposed import GenerativePrior, Problem, Solver, Space
from wellposed.edge import build_operator, build_prior, build_solver
from wellposed.errors import NotConvergedWarning
from wellposed.plugins.generative_bilinear import project

from ._generative_protocol import Clock, Restored, Task, convolution

__all__ = [
    "KNOWN_LABEL",
    "PLAIN",
    "blind",
    "generative",
    "image_penalty",
    "nearest",
    "slack",
    "slack_alone",
    "then_known",
    "with_network",
]

# Adam with steps all alike. Restarts end far apart, and the best one wins.
PLAIN: Final[Mapping[str, Any]] = {
    "update": "adam",
    "step_size": 0.05,
    "decay": None,
    "data_weight": 1.0,
    "image_penalty": 0.1,  # without noise; see image_penalty
    "parameter_penalty": 0.1,
}
# From where the former ends. Penalties, which the solver with slack does not have, are what leads
# there from a random start; then they only hold back.
SLACK: Final[Mapping[str, Any]] = {"update": "adam", "step_size": 0.01, "max_steps": 400}
# From a random start, as the authors do in 10,000 steps.
SLACK_ALONE: Final[Mapping[str, Any]] = {"update": "adam", "step_size": 0.05}
KNOWN: Final = {"solver": "admm", "prior": "tv", "weight": 3e-3}  # once a kernel is found
KNOWN_LABEL: Final = f"`{KNOWN['solver']}` with {KNOWN['prior']}"
PROJECTION: Final[Mapping[str, Any]] = {"update": "adam", "max_steps": 200, "step_size": 0.1}


def image_penalty(sigma: float) -> float:
    """Return the weight of the picture's code for noise of that standard deviation.

    For Gaussian noise and a code from N(0, I) the likeliest code minimises

        1/2 |y - A(w, C(m))|^2 + sigma^2 / 2 |m|^2

    What the generator cannot make is not in that model; it weighs as much as PLAIN says, and the
    two variances add up.
    """
    return float(PLAIN["image_penalty"]) + sigma**2


def nearest(prior: GenerativePrior, x: Tensor, *, restarts: int) -> Restored:
    """Return the pictures in a generator's range that are nearest to given ones."""
    with Clock() as clock:
        found = project(prior, x, restarts=restarts, seed=0, **PROJECTION)
    return Restored(image=found, seconds=clock.seconds / len(x))


# Solvers


def generative(task: Task) -> Restored:
    """Return what the generative solver finds."""
    penalty = {"image_penalty": image_penalty(task.sigma)}
    return _solved("generative_bilinear", task, {**PLAIN, **penalty, **_effort(task)})


def slack(task: Task) -> Restored:
    """Return what the solver finds whose pictures may leave the range, from where that one ends."""
    penalty = {"image_penalty": image_penalty(task.sigma)}
    first = {"name": "generative_bilinear", "params": {**PLAIN, **penalty, **_effort(task)}}
    params = {**SLACK, "parameter_prior": task.kernels, "first": first}
    return _solved("generative_bilinear_slack", task, params)


def slack_alone(task: Task) -> Restored:
    """Return what the same finds from random starts."""
    return _solved("generative_bilinear_slack", task, {**SLACK_ALONE, **_effort(task)})


def blind(task: Task, *, dark_channel: float) -> Restored:
    """Return what the classical method finds."""
    free = attrs.evolve(task, faces=None)
    return _solved("blind_deblurring", free, {"dark_channel": dark_channel})


def with_network(task: Task, solver: Solver) -> Restored:
    """Return what a network makes of the measurements."""
    y = task.measurement
    identity: Any = build_operator("identity", x_space=Space(tuple(y.shape[1:]), y.dtype))
    return _timed(solver, Problem(operator=identity.to(device=y.device), measurement=y))


def then_known(task: Task, found: Restored) -> Restored:
    """Return what a solver for known kernels makes of those that were found."""
    assert found.kernel is not None and found.seconds is not None
    y = task.measurement
    prior: Any = build_prior(KNOWN["prior"], {"weight": KNOWN["weight"]})
    problem = Problem(
        operator=convolution(y).at_w(found.kernel),
        measurement=y,
        prior=prior.to(device=y.device, dtype=y.dtype),
    )
    after = _timed(build_solver(KNOWN["solver"]), problem)
    assert after.seconds is not None
    return Restored(image=after.image, kernel=found.kernel, seconds=found.seconds + after.seconds)


def _effort(task: Task) -> dict[str, Any]:
    return {
        "parameter_prior": task.kernels,
        "restarts": task.restarts,
        "max_steps": task.steps,
    }


def _solved(name: str, task: Task, params: Mapping[str, Any]) -> Restored:
    return _timed(build_solver(name, params), task.problem)


def _timed(solver: Any, problem: Problem) -> Restored:
    with warnings.catch_warnings(), torch.no_grad(), Clock() as clock:
        warnings.simplefilter("ignore", NotConvergedWarning)
        found = solver.solve(problem)
    kernel = found.extras.get("parameter_normalised", found.extras.get("parameter"))
    return Restored(
        image=found.image,
        kernel=None if kernel is None else kernel.detach()[..., :1, :, :],
        seconds=clock.seconds / len(problem.measurement),
    )
