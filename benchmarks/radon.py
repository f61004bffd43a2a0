"""Radon transform against scikit-image, and total variation against filtered back-projection."""

from __future__ import annotations

import argparse
import time

import numpy as np
import torch
import wellposed
from skimage.transform import iradon, radon
from wellposed import Space, psnr
from wellposed.edge import build_operator

from ._timing import interleaved

SIZE, ANGLES, BATCH = 256, 180, 8


def main(argv: list[str]) -> None:
    """Run `python -m benchmarks radon [--seconds S]`."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks radon")
    parser.add_argument("--seconds", type=float, default=2.0, help="per contender")
    seconds = parser.parse_args(argv).seconds
    _speed(seconds)
    _quality()


def _speed(seconds: float) -> None:
    picture = wellposed.sample("shepp_logan", size=SIZE)
    batch = torch.stack([picture] * BATCH)
    op = build_operator("radon", {"angles": ANGLES}, x_space=Space(tuple(picture.shape)))
    degrees = np.linspace(0, 180, ANGLES, endpoint=False)
    image, sinogram = picture[0].numpy(), radon(picture[0].numpy(), theta=degrees)
    y, many = op(picture), op(batch)
    error = float((y[0] - torch.from_numpy(sinogram)).norm() / y.norm())
    # The floor of a plain matrix, which reads each weight and its 32-bit column once.
    entries = int((op(torch.ones_like(picture)) > 0).sum()) * 2 * SIZE
    kept = op._system(picture.device).nbytes / 2  # half of it is the transpose
    source = torch.empty(2**26)
    target = torch.empty_like(source)
    t = interleaved(
        {
            "skimage radon": lambda: radon(image, theta=degrees),
            "skimage iradon, no filter": lambda: iradon(sinogram, theta=degrees, filter_name=None),
            "skimage iradon, ramp": lambda: iradon(sinogram, theta=degrees),
            "A": lambda: op(picture),
            "A^H": lambda: op.H(y),
            "fbp": lambda: op.fbp(y),
            "A, batch": lambda: op(batch),
            "A^H, batch": lambda: op.H(many),
            "copy": lambda: target.copy_(source),
        },
        seconds=seconds,
    )
    ms_per_byte = t["copy"] / (2 * 4 * source.numel())
    floor, least = entries * 8 * ms_per_byte, kept * ms_per_byte
    print(f"{SIZE} x {SIZE}, {ANGLES} angles, {torch.get_num_threads()} threads, error {error:.1e}")
    print(
        f"about {entries / 1e6:.0f} M weights, {floor:.1f} ms to read once at the copy's bandwidth;"
    )
    print(f"{kept / 1e6:.0f} MB are stored, {least:.1f} ms")
    print("| job | ms | skimage, ms | ratio | times the floor | times the stored bytes' |")
    print("|---|---|---|---|---|---|")
    rows = [
        ("A", 1, "skimage radon"),
        ("A, batch", BATCH, "skimage radon"),
        ("A^H", 1, "skimage iradon, no filter"),
        ("A^H, batch", BATCH, "skimage iradon, no filter"),
        ("fbp", 1, "skimage iradon, ramp"),
    ]
    for name, pictures, peer in rows:
        each = t[name] / pictures
        share = f"{t[name] / floor:.1f} | {t[name] / least:.1f}" if name != "fbp" else "|"
        print(f"| {name} | {each:.1f} | {t[peer]:.0f} | {t[peer] / each:.0f} | {share} |")


def _quality() -> None:
    phantom = wellposed.sample("shepp_logan", size=SIZE)
    y = wellposed.simulate(phantom, op="radon", op_params={"angles": 60})
    print("\n60 angles, no noise\n| solver | PSNR, dB | s | status |\n|---|---|---|---|")
    for solver, params, prior in [
        ("fbp", {}, None),
        ("fista", {"max_steps": 150}, {"name": "tv", "params": {"weight": 1.0}}),
    ]:
        start = time.perf_counter()
        found = wellposed.solve(
            y,
            op="radon",
            op_params={"angles": 60},
            solver=solver,
            solver_params=params,
            prior=prior,
        )
        spent = time.perf_counter() - start
        quality = float(psnr(found.image, phantom))
        print(f"| {solver} | {quality:.2f} | {spent:.1f} | {found.status} |")
