"""Blind deblurring of MNIST's digits.

The first digits of the file, each blurred circularly by a motion of 10 pixels in a direction of its
own (class A), with noise of standard deviation 0.01, restored together. PSNR of each picture as it
is, without alignment; success is 25 dB or more. Beside it what the generators can do at best: each
digit, and each kernel, coded and decoded. With --one-by-one, how much it gains that all restarts of
all digits are one program.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Mapping
from typing import Any

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


def digits(options: argparse.Namespace) -> list[str]:
    """Print what the solver makes of blurred digits; return notes."""
    source = open_source(options.data)
    x = torch.stack([source.load(i) for i in range(min(options.count, len(source.names)))])
    w = protocol.drawn("Blur A", len(x))
    y = protocol.blurred(x, w, sigma=protocol.SIGMA)
    prior: Any = build_prior({"name": "mnist_vae", "params": {"weights": options.digits}})
    kernels: Any = build_prior("blur_vae")
    params = {
        "parameter_prior": kernels,
        "update": "normalised",
        "step_size": 0.01,
        "data_weight": float(_SIDE * _SIDE),
        "parameter_penalty": 0.01,
        "image_penalty": 0.01,
        "max_steps": options.steps,
        "restarts": options.restarts,
    }
    if options.one_by_one:
        return [_one_by_one(y, prior, params)]
    found, seconds = _solved(y, prior, params)
    with torch.no_grad():
        coded = psnr(prior.decode(prior.encode(x)), x)
        peak = w.amax((-2, -1), keepdim=True)
        back = kernels.decode(kernels.encode(w / peak))
    quality = psnr(found.image, x)
    estimated = found.extras["parameter"]
    print(f"{len(x)} digits, {options.restarts} restarts of {options.steps} steps\n")
    print("| | mean | least | share of 25 dB or more |\n|---|---|---|---|")
    for name, values in (("blurred", psnr(y, x)), ("coded, decoded", coded), ("found", quality)):
        share = (values >= _SUCCESS).float().mean()
        print(f"| {name}, dB | {values.mean():.2f} | {values.min():.2f} | {share:.0%} |")
    return [
        f"kernels, relative error: found {_error(estimated, w)}, coded {_error(back, w)}",
        f"{seconds / len(x):.2f} s a picture on {torch.get_num_threads()} threads",
    ]


def _solved(y: Tensor, prior: Any, params: Mapping[str, Any], seed: int = 0) -> tuple[Any, float]:
    """Return the solution, and how long it took."""
    started = time.perf_counter()
    found = wellposed.solve(
        y,
        op=protocol.CONVOLUTION,
        prior=prior,
        solver="generative_bilinear",
        solver_params=params,
        seed=seed,
    )
    return found, time.perf_counter() - started


def _one_by_one(y: Tensor, prior: Any, params: Mapping[str, Any]) -> str:
    """Return how much faster all restarts of all pictures are together than one after another."""
    params = {**params, "max_steps": _TIMED_STEPS}
    single = {**params, "restarts": 1}
    for warm in (params, single):
        _solved(y if warm is params else y[:1], prior, warm)
    together = _solved(y, prior, params)[1]
    some = y[:_TIMED_DIGITS]
    seconds = [
        _solved(one, prior, single, seed)[1]
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
