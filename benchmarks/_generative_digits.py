"""Blind deblurring of MNIST's digits.

The first digits of the file, each blurred circularly by a motion of 10 pixels in a direction of its
own (class A), with noise of standard deviation 0.01, restored together. PSNR of each picture as it
is, without alignment; success is 25 dB or more. Beside it what the generators make of each digit,
and of each kernel, coded and decoded. With --halve-every, the same once more where the worse
restarts come to rest. With --cpu-time, times are the processor's. With --one-by-one, how much it
gains that all restarts of all digits are one program.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import torch
import wellposed
from torch import Tensor
from wellposed import psnr
from wellposed.edge import build_prior
from wellposed.training.sources import open_source

from . import _generative_protocol as protocol

__all__ = ["digits"]

_SIDE, _SUCCESS = 28, 25.0
_TIMED_STEPS, _TIMED_DIGITS = 20, 4


# The authors' own update and scale of the loss.
_PLAIN: Final[Mapping[str, Any]] = {
    "update": "normalised",
    "step_size": 0.01,
    "data_weight": float(_SIDE * _SIDE),
    "parameter_penalty": 0.01,
    "image_penalty": 0.01,
}
# Strong penalties lead to the right digit and motion; then, free of them, both are refined.
_FIRST: Final[Mapping[str, Any]] = {
    "update": "adam",
    "step_size": 0.05,
    "decay": None,
    "parameter_penalty": 3e-3,
    "image_penalty": 3e-3,
    "max_steps": 300,
}
_SLACK: Final[Mapping[str, Any]] = {"update": "adam", "step_size": 0.01, "max_steps": 400}


def digits(options: argparse.Namespace) -> list[str]:
    """Print what the solvers make of blurred digits; return notes."""
    source = open_source(options.data)
    x = torch.stack([source.load(i) for i in range(min(options.count, len(source.names)))])
    w = protocol.drawn("Blur A", len(x))
    y = protocol.blurred(x, w, sigma=protocol.SIGMA)
    x, w, y = (t.to(options.device) for t in (x, w, y))
    prior: Any = build_prior({"name": "mnist_vae", "params": {"weights": options.digits}})
    kernels: Any = build_prior("blur_vae")
    shared = {"parameter_prior": kernels, "restarts": options.restarts}
    plain = {**_PLAIN, **shared, "max_steps": options.steps}
    if options.one_by_one:
        return [_one_by_one(y, prior, plain)]
    print(f"{len(x)} digits, {options.restarts} restarts of {options.steps} steps\n")
    print("| | mean, dB | least | share of 25 dB or more | error of the kernel | s a picture |")
    print("|---|---|---|---|---|---|")
    with torch.no_grad():
        coded = prior.decode(prior.encode(x))
        peak = w.amax((-2, -1), keepdim=True)
        back = kernels.decode(kernels.encode(w / peak))
    _row("blurred", psnr(y, x))
    _row("coded, decoded", psnr(coded, x), _error(back, w))
    clock = time.process_time if options.cpu_time else time.perf_counter
    solver = "generative_bilinear"
    found, seconds = _solved(solver, y, prior, plain, clock=clock)
    _row(f"`{solver}`", *_judged(found, x, w), f"{seconds / len(x):.2f}")
    if options.halve_every:
        halved = {**plain, "halve_every": options.halve_every}
        found, seconds = _solved(solver, y, prior, halved, clock=clock)
        name = f"`{solver}`, halved every {options.halve_every}"
        _row(name, *_judged(found, x, w), f"{seconds / len(x):.2f}")
    first = {"name": "generative_bilinear", "params": {**_FIRST, **shared}}
    slack = {**_SLACK, "parameter_prior": kernels, "first": first}
    found, seconds = _solved("generative_bilinear_slack", y, prior, slack, clock=clock)
    _row("`generative_bilinear_slack`", *_judged(found, x, w), f"{seconds / len(x):.2f}")
    return [
        f"`generative_bilinear_slack` goes on for {_SLACK['max_steps']} steps after "
        f"{_FIRST['max_steps']} of as many restarts",
        f"on {torch.get_num_threads()} threads"
        + (", time of the processor" if options.cpu_time else ""),
    ]


def _row(name: str, quality: Tensor, error: str = "", seconds: str = "") -> None:
    share = (quality >= _SUCCESS).float().mean()
    cells = (f"{quality.mean():.2f}", f"{quality.min():.2f}", f"{share:.0%}", error, seconds)
    print(f"| {name} | {' | '.join(cells)} |", flush=True)


def _judged(found: Any, x: Tensor, w: Tensor) -> tuple[Tensor, str]:
    return psnr(found.image, x), _error(found.extras["parameter"], w)


def _solved(
    solver: str,
    y: Tensor,
    prior: Any,
    params: Mapping[str, Any],
    seed: int = 0,
    *,
    clock: Callable[[], float] = time.perf_counter,
) -> tuple[Any, float]:
    """Return the solution, and how long it took."""
    started = clock()
    found = wellposed.solve(
        y,
        op=protocol.CONVOLUTION,
        prior=prior,
        solver=solver,
        solver_params=params,
        seed=seed,
    )
    return found, clock() - started


def _one_by_one(y: Tensor, prior: Any, params: Mapping[str, Any]) -> str:
    """Return how much faster all restarts of all pictures are together than one after another."""
    name, params = "generative_bilinear", {**params, "max_steps": _TIMED_STEPS}
    single = {**params, "restarts": 1}
    for warm in (params, single):
        _solved(name, y if warm is params else y[:1], prior, warm)
    together = _solved(name, y, prior, params)[1]
    some = y[:_TIMED_DIGITS]
    seconds = [
        _solved(name, one, prior, single, seed)[1]
        for one in some.split(1)
        for seed in range(params["restarts"])
    ]
    alone = sum(seconds) / len(some) * len(y)
    return (
        f"{len(y)} digits, {params['restarts']} restarts of {_TIMED_STEPS} steps on "
        f"{torch.get_num_threads()} threads: {together:.2f} s together; {alone:.2f} s one after "
        f"another (from {len(seconds)} of them), {alone / together:.1f} times as long"
    )


def _error(estimate: Tensor, truth: Tensor) -> str:
    away = (estimate - truth).norm(dim=(-2, -1)) / truth.norm(dim=(-2, -1))
    return f"{away.mean():.3f}"
