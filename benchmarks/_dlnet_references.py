"""Networks of others, whose published figures say whether an evaluation protocol is theirs.

They are read from `.npz` files with `convI.weight (out, in, h, w)` and `convI.bias`. VDSR is our
`vdsr` with scale=1 and DnCNN our `dncnn` without batch normalisation, its last layer negated, both
fed by bicubic interpolation. SRMDNF (12 convolutions and pixel shuffle, fed by RGB and 15 principal
components of the blur) is the one whose figures with blur are known.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
import wellposed.registry as reg
from scipy.io import loadmat
from torch import Tensor
from wellposed import Space, luminance, psnr
from wellposed.edge import build_operator
from wellposed.images import read

from ._dlnet_paper import TABLES
from ._dlnet_protocol import (
    SCALES,
    WIDTHS,
    bicubic,
    cut,
    reduction,
    rounded,
    score,
    shifted_bicubic,
    test_pictures,
)

__all__ = ["check_protocol"]

# Set5 at x2, x3, x4 with u = 0: the papers of VDSR and DnCNN.
_PUBLISHED = {"VDSR (official)": (37.53, 33.66, 31.35), "DnCNN-3": (37.58, 33.75, 31.40)}
_SRMD_DELTA = 0.2  # the width that SRMD calls no blur


def check_protocol(set5: Path, references: Path | None) -> None:
    """Print published figures on Set5, and those that our protocol gives."""
    print("Set5, PSNR of Y in dB at x2 / x3 / x4\n")
    print("| method | u | published | ours | largest difference |\n|---|---|---|---|---|")
    pictures = test_pictures(set5)
    known = TABLES["XII"].rows["Bicubic"]
    for label, enlarge, columns in (
        ("bicubic, MATLAB's", bicubic, (0,)),
        ("bicubic, TensorFlow 1's", shifted_bicubic, (1, 2)),
    ):
        for i in columns:
            values = [
                _mean(pictures, s, lambda x, s=s, i=i, up=enlarge: up(_reduced(x, s, WIDTHS[i]), s))
                for s in SCALES
            ]
            _line(label, WIDTHS[i], known[i].split("/"), values)
    for label, published in _PUBLISHED.items():
        run = None if references is None else _network(label, references)
        if run is None:
            _line(label, 0.0, published, None)
            continue
        values = [_mean(pictures, s, lambda x, s=s, f=run: f(x, s)) for s in SCALES]
        _line(label, 0.0, published, values)
    for width, cell in zip(WIDTHS, TABLES["XII"].rows["SRMDNF"], strict=True):
        found = None if references is None else _srmdnf(set5, references, width)
        _line("SRMDNF", width, cell.split("/"), found)


def _line(label: str, width: float, published: Any, ours: list[float] | None) -> None:
    numbers = [float(value) for value in published]
    shown = " / ".join(f"{value:.2f}" for value in numbers)
    if ours is None:
        print(f"| {label} | {width:g} | {shown} | - | - |", flush=True)
        return
    worst = max((a - b for a, b in zip(ours, numbers, strict=True)), key=abs)
    found = " / ".join(f"{value:.2f}" for value in ours)
    print(f"| {label} | {width:g} | {shown} | {found} | {worst:+.2f} |", flush=True)


def _mean(pictures: Mapping[str, Tensor], scale: int, run: Callable[[Tensor], Tensor]) -> float:
    scores = [score(run(x), x, scale) for x in (cut(t, scale) for t in pictures.values())]
    return sum(scores) / len(scores)


def _reduced(x: Tensor, scale: int, width: float) -> Tensor:
    """Return pictures `(C, H, W)` degraded channel by channel."""
    operator = reduction((x.shape[-2], x.shape[-1]), scale, width)
    smaller: Tensor = operator(x[:, None])[:, 0]
    return smaller


def _network(label: str, folder: Path) -> Callable[[Tensor, int], Tensor] | None:
    """Return a network of ours with the weights of a reference; None where they are missing."""
    official = label.startswith("VDSR")
    layers = _layers(folder, "vdsr_official_caffe.npz" if official else "dncnn3_matconvnet.npz")
    if layers is None:
        return None
    size: dict[str, Any] = {"depth": len(layers), "width": len(layers[0]["bias"])}
    if official:
        given = {"name": "vdsr", "params": {**size, "scale": 1}}
        names = [f"layers.{i}" for i in range(len(layers) - 1)]
    else:
        given = {"name": "dncnn", "params": {**size, "batch_norm": False}}
        names = ["first", *[f"layers.{i}" for i in range(len(layers) - 2)]]
        layers[-1] = {key: -value for key, value in layers[-1].items()}
    network = reg.build(None, "network", given, path="network").build()
    state = {
        f"{name}.{key}": value
        for name, layer in zip([*names, "tail.layer"], layers, strict=True)
        for key, value in layer.items()
    }
    network.load_state_dict(state)
    network.eval()

    def run(x: Tensor, scale: int) -> Tensor:
        with torch.no_grad():
            restored: Tensor = network(bicubic(_reduced(x, scale, 0.0), scale).float())
        return restored

    return run


def _layers(folder: Path, name: str) -> list[dict[str, Tensor]] | None:
    path = next(iter(sorted(folder.rglob(name))), None)
    if path is None:
        return None
    arrays = np.load(path)
    return [
        {key: torch.from_numpy(arrays[f"conv{i}.{key}"]).float() for key in ("weight", "bias")}
        for i in range(len(arrays) // 2)
    ]


def _srmdnf(set5: Path, folder: Path, width: float) -> list[float] | None:
    """Return the PSNRs of SRMDNF, which restores colour: Y of the result, not rounded again."""
    basis = next(iter(sorted(folder.rglob("srmd_pca_matlab.mat"))), None)
    nets = [_layers(folder, f"srmdnf_x{scale}_ncnn.npz") for scale in SCALES]
    if basis is None or any(layers is None for layers in nets):
        return None
    width = width or _SRMD_DELTA
    kernel = build_operator(
        {"name": "blur", "params": {"kernel": _gaussian(width)}},
        x_space=Space((1, 15, 15), torch.float64),
    ).kernel
    code = torch.from_numpy(loadmat(basis)["P"]).double() @ kernel.reshape(-1)
    found = []
    for scale, layers in zip(SCALES, nets, strict=True):
        assert layers is not None
        values = []
        for path in sorted(set5.glob("*.png")):
            x = cut(read(path).tensor[:3].double(), scale)
            y = _reduced(x, scale, width)
            h = torch.cat([y, code[:, None, None].expand(-1, *y.shape[1:])]).float()[None]
            for i, layer in enumerate(layers):
                h = F.conv2d(F.relu(h) if i else h, layer["weight"], layer["bias"], padding=1)
            z = rounded(F.pixel_shuffle(h, scale)[0].double())
            values.append(float(psnr(luminance(z), luminance(x), border=scale)))
        found.append(sum(values) / len(values))
    return found


def _gaussian(width: float) -> dict[str, Any]:
    return {"name": "gaussian", "params": {"width": width, "size": 15}}
