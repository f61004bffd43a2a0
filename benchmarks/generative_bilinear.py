"""Blind deblurring of MNIST's digits by the generative bilinear solver.

    python -m benchmarks generative_bilinear --data t10k-images-idx3-ubyte.gz --count 20 --steps 600

The first digits of the file, each blurred circularly by a motion of 10 pixels in a direction of its
own (class A), with noise of standard deviation 0.01, restored together. PSNR of each picture as it
is, without alignment; success is 25 dB or more. Beside it what the generators can do at best: each
digit, and each kernel, coded and decoded.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path
from typing import Any

import torch
import wellposed
from wellposed import Space, psnr
from wellposed.edge import build_operator, build_prior
from wellposed.training.drawn import DrawnKernels
from wellposed.training.sources import open_source

SIDE, SUCCESS = 28, 25.0
CLASS_A = {"name": "motion", "params": {"length": 10, "angle": {"uniform": [0, 180]}}}


def main(argv: list[str]) -> int:
    """Run `python -m benchmarks generative_bilinear`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks generative_bilinear",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, required=True, help="an idx file of test digits")
    parser.add_argument("--count", type=int, default=20, help="of digits")
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--restarts", type=int, default=10)
    parser.add_argument("--digits", default=None, help="weights of mnist_vae; else those installed")
    options = parser.parse_args(argv)
    source = open_source(options.data)
    x = torch.stack([source.load(i) for i in range(min(options.count, len(source.names)))])
    drawn = DrawnKernels.of(CLASS_A, count=len(x), size=SIDE, seed=99).kernels
    w = torch.from_numpy(drawn)
    w = w / w.sum((-2, -1), keepdim=True)
    op = {"name": "convolution", "params": {"kernel_shape": [SIDE, SIDE]}}
    operator: Any = build_operator(op, x_space=Space((1, SIDE, SIDE)))
    y = operator(w, x)
    y = y + 0.01 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    digits: Any = build_prior({"name": "mnist_vae", "params": {"weights": options.digits}})
    kernels: Any = build_prior("blur_vae")
    params = {
        "parameter_prior": kernels,
        "update": "normalised",
        "step_size": 0.01,
        "data_weight": float(SIDE * SIDE),
        "parameter_penalty": 0.01,
        "image_penalty": 0.01,
        "max_steps": options.steps,
        "restarts": options.restarts,
    }
    started = time.perf_counter()
    found = wellposed.solve(
        y, op=op, prior=digits, solver="generative_bilinear", solver_params=params, seed=0
    )
    seconds = (time.perf_counter() - started) / len(x)
    with torch.no_grad():
        coded = psnr(digits.decode(digits.encode(x)), x)
        peak = w.amax((-2, -1), keepdim=True)
        back = kernels.decode(kernels.encode(w / peak))
    quality = psnr(found.image, x)
    estimated = found.extras["parameter"]
    print(f"{len(x)} digits, {options.restarts} restarts of {options.steps} steps\n")
    print("| | mean | least | share of 25 dB or more |\n|---|---|---|---|")
    for name, values in (("blurred", psnr(y, x)), ("coded, decoded", coded), ("found", quality)):
        share = (values >= SUCCESS).float().mean()
        print(f"| {name}, dB | {values.mean():.2f} | {values.min():.2f} | {share:.0%} |")
    print(f"\n- kernels, relative error: found {_error(estimated, w)}, coded {_error(back, w)}")
    print(f"- {seconds:.2f} s a picture on {torch.get_num_threads()} threads")
    return 0


def _error(estimate: torch.Tensor, truth: torch.Tensor) -> str:
    away = (estimate - truth).norm(dim=(-2, -1)) / truth.norm(dim=(-2, -1))
    return f"{away.mean():.3f}"
