"""Blind super-resolution on DIV2KRK: the kernel's error, and what it is worth.

`python -m benchmarks kernelgan --data DIR` with the folders gt, lr_x2, gt_k_x2 (and x4). PSNR and
SSIM of the luminance (BT.601), rounded to 8 bits, a border of the stride cut off. Kernel errors are
relative L2 distances after both centres of mass were aligned by cubic splines. `--speed` compares a
step of training with that of the networks as the paper draws them.
"""

from __future__ import annotations

import argparse
import resource
import time
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import torch
from scipy import ndimage
from scipy.io import loadmat
from torch import Tensor
from wellposed import Problem, Space, luminance, psnr, ssim
from wellposed.edge import build_operator, build_solver
from wellposed.images import read
from wellposed.plugins.kernelgan.crops import importance
from wellposed.plugins.kernelgan.kernel_gan import _bicubic
from wellposed.plugins.kernelgan.recipe import RECIPES
from wellposed.plugins.kernelgan.training import start

from ._kernelgan_layers import Layers
from ._timing import interleaved

_ABLATIONS = {
    "one layer": {"layers": (13,)},
    "alpha 0": {"sum_to_one": 0.0},
    "beta 0": {"boundaries": 0.0},
    "gamma 0": {"sparse": 0.0},
    "delta 0": {"centre": 0.0},
}


def main(argv: list[str]) -> None:
    """Run `python -m benchmarks kernelgan`."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks kernelgan",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--data", type=Path, help="the folder DIV2KRK")
    parser.add_argument("--scale", type=int, default=2, choices=(2, 4))
    parser.add_argument("--pictures", nargs="+", help="names, such as im_14; default: all")
    parser.add_argument("--steps", type=int, default=3000, help="of KernelGAN")
    parser.add_argument("--seeds", type=int, default=2, help="runs of KernelGAN, side by side")
    parser.add_argument("--ablations", action="store_true", help="one layer; regularisers off")
    parser.add_argument("--zssr", type=int, default=3000, help="steps of ZSSR; 0: Tikhonov only")
    parser.add_argument("--start", help="solver that ZSSR starts from; default: interpolation")
    parser.add_argument("--only", nargs="+", help="of the estimators")
    parser.add_argument("--speed", action="store_true", help="time the training instead")
    options = parser.parse_args(argv)
    if options.speed:
        _speed()
        return
    if options.data is None or not (options.data / "gt").is_dir():
        parser.error("--data: expected the folder DIV2KRK, with gt, lr_x2 and gt_k_x2 in it")
    _quality(options)


def _quality(options: argparse.Namespace) -> None:
    names = options.pictures or sorted(p.stem for p in (options.data / "gt").glob("*.png"))
    print(f"stride {options.scale}, {torch.get_num_threads()} threads; PSNR dB / SSIM")
    print("| picture | kernel | error | Tikhonov | ZSSR | kernel, s | ZSSR, s |")
    print("|---|---|---|---|---|---|---|")
    rows: dict[str, list[list[float]]] = {}
    for name in names:
        for label, values in _rows(name, options):
            print(f"| {name} | {label} | {_shown(values)} |", flush=True)
            rows.setdefault(label, []).append(values)
    means = {label: np.mean(values, 0) for label, values in rows.items()}
    for label, mean in means.items():
        print(f"| mean | {label} | {_shown(mean)} |")
    print("\n| kernel | share of the true kernel's gain: Tikhonov | ZSSR |\n|---|---|---|")
    base, best = means["bicubic picture"], means["true"]
    for label, mean in means.items():
        gains = [(mean[i] - base[i]) / (best[i] - base[i]) for i in (1, 3)]
        print(f"| {label} | {gains[0]:.0%} | {gains[1]:.0%} |")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"\npeak memory {peak:.0f} MiB")


def _rows(name: str, options: argparse.Namespace) -> Any:
    """Yield a label and `error, PSNR, SSIM, PSNR, SSIM, s, s` for each kernel."""
    scale = options.scale
    y = read(options.data / f"lr_x{scale}" / f"{name}.png").tensor[:3]
    truth = read(options.data / "gt" / f"{name}.png").tensor[:3]
    truth = truth[:, : scale * y.shape[1], : scale * y.shape[2]]
    true = _true_kernel(options.data, name, scale)
    space = Space(tuple(truth.shape))
    params = {"stride": scale, "boundary": "symmetric"}
    plain = build_operator("strided_blur", params, x_space=space)

    def scored(operator: Any, seconds: float, half: Tensor | None = None) -> list[float]:
        found = operator.kernel[0, 0].double().numpy()
        values = [_error(found, true)]
        fast = build_solver("tikhonov").solve(
            Problem(operator=attrs.evolve(operator, boundary="circular"), measurement=y)
        )
        values += _score(fast.image, truth, scale)
        if not options.zssr:
            return [*values, np.nan, np.nan, seconds, np.nan]
        # Two back-projections, as the authors take for estimated kernels.
        settings: dict[str, Any] = {"max_steps": options.zssr, "back_projections": 2}
        if options.start:
            settings |= {"start": options.start, "schedule": "cosine"}
        zssr = attrs.evolve(build_solver("zssr", settings), kernel_half=half)
        begun = time.perf_counter()
        slow = zssr.solve(Problem(operator=operator, measurement=y))
        return [*values, *_score(slow.image, truth, scale), seconds, time.perf_counter() - begun]

    bicubic = build_operator(
        "resize", {"scale": float(scale)}, x_space=Space(tuple(y.shape), y.dtype)
    )(y)
    yield (
        "bicubic picture",
        [np.nan, *_score(bicubic, truth, scale) * 2, np.nan, np.nan],
    )
    conv = torch.from_numpy(true[::-1, ::-1].copy()).float()[None, None]
    yield "true", scored(attrs.evolve(plain, kernel=conv, offset=0), np.nan)
    gan = {"max_steps": options.steps, "restarts": options.seeds}
    estimators: dict[str, tuple[str, dict[str, Any]]] = {
        "cross_scale": ("cross_scale", {}),
        "kernelgan paper": ("kernelgan", {"recipe": "paper", **gan}),
        "kernelgan clean": ("kernelgan", {"recipe": "clean", **gan}),
    }
    if options.ablations:
        for label, changed in _ABLATIONS.items():
            estimators[f"kernelgan paper, {label}"] = ("kernelgan", {**gan, **changed})
    for label, (solver, settings) in estimators.items():
        if options.only and label not in options.only:
            continue
        begun = time.perf_counter()
        blind: Any = build_solver(solver, settings)
        found = blind.estimate_operator(Problem(operator=plain, measurement=y, seed=0))
        half = found.extras.get("half")
        yield label, scored(found.operator, time.perf_counter() - begun, half)


def _true_kernel(data: Path, name: str, scale: int) -> np.ndarray:
    """Return the kernel as the data set's authors applied it, in correlation order."""
    k = loadmat(data / f"gt_k_x{scale}" / f"kernel_{name.removeprefix('im_')}.mat")["Kernel"]
    goal = np.array(k.shape) // 2 + 0.5 * (scale - np.array(k.shape) % 2)
    shifted: np.ndarray = ndimage.shift(k, goal - ndimage.center_of_mass(k))
    return shifted


def _error(found: np.ndarray, true: np.ndarray) -> float:
    """Compare a kernel in the order of convolution with one in that of correlation."""
    a, b = (_framed(k) for k in (found[::-1, ::-1], true))
    return float(np.linalg.norm(a - b) / np.linalg.norm(b))


def _framed(k: np.ndarray, side: int = 65) -> np.ndarray:
    frame = np.zeros((side, side))
    first = (side - k.shape[0]) // 2
    frame[first : first + k.shape[0], first : first + k.shape[1]] = k
    frame = ndimage.shift(frame, side // 2 - np.array(ndimage.center_of_mass(frame)))
    return frame / frame.sum()


def _score(x: Tensor, truth: Tensor, border: int) -> list[float]:
    rounded = (x.clamp(0, 1) * 255).round() / 255
    a, b = (luminance(t)[..., border:-border, border:-border] for t in (rounded, truth))
    return [float(psnr(a, b)), float(ssim(a, b))]


def _shown(v: Any) -> str:
    def cell(value: float, digits: int) -> str:
        return "" if np.isnan(value) else f"{value:.{digits}f}"

    zssr = "" if np.isnan(v[3]) else f"{v[3]:.2f} / {v[4]:.4f}"
    return f"{cell(v[0], 3)} | {v[1]:.2f} / {v[2]:.4f} | {zssr} | {cell(v[5], 1)} | {cell(v[6], 0)}"


def _speed() -> None:
    import wellposed

    y = wellposed.sample("astronaut")[None][..., :236, :236].contiguous()
    bicubic, chances = torch.from_numpy(_bicubic()), importance(y[0])

    def training(count: int) -> Any:
        streams = [torch.Generator().manual_seed(i) for i in range(count)]
        return start(
            y, [chances], streams, RECIPES["paper"], restarts=count, steps=3000, bicubic=bicubic
        )

    torch.manual_seed(0)
    layers = Layers(3, bicubic)
    crop, real = 2 * y[0, :, 50:114, 60:124] - 1, 2 * y[0, :, 20:46, 30:56] - 1
    one, many = training(1), training(16)
    t = interleaved(
        {
            "layers": lambda: layers.step(crop, real),
            "1 run": lambda: [one.step() for _ in range(10)],
            "16 runs": many.step,
        },
        seconds=8,
    )
    print(f"{torch.get_num_threads()} threads, picture 236 x 236\n")
    print("| form | ms a step and run | ratio | 3000 steps, s |\n|---|---|---|---|")
    for name, each in (
        ("layer by layer", t["layers"]),
        ("collapsed, 1 run", t["1 run"] / 10),
        ("collapsed, 16 runs", t["16 runs"] / 16),
    ):
        print(f"| {name} | {each:.2f} | {t['layers'] / each:.1f} | {3 * each:.1f} |")
