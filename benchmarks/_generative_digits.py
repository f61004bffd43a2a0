"""Blind deblurring of MNIST's digits.

The first digits of the file, each blurred circularly by a motion of 10 pixels in a direction of its
own (class A), with noise of standard deviation 0.01, restored together. PSNR of each picture as it
is, without alignment; success is 25 dB or more. Beside it what the generators can do at best: each
digit, and each kernel, coded and decoded.
"""

from __future__ import annotations

import argparse
import time
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
    started = time.perf_counter()
    found = wellposed.solve(
        y,
        op=protocol.CONVOLUTION,
        prior=prior,
        solver="generative_bilinear",
        solver_params=params,
        seed=0,
    )
    seconds = (time.perf_counter() - started) / len(x)
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
        f"{seconds:.2f} s a picture on {torch.get_num_threads()} threads",
    ]


def _error(estimate: Tensor, truth: Tensor) -> str:
    away = (estimate - truth).norm(dim=(-2, -1)) / truth.norm(dim=(-2, -1))
    return f"{away.mean():.3f}"
