"""Pictures, kernels and operators for the tests of blind deblurring."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import torch
from torch import Tensor
from wellposed import psnr
from wellposed.registry import default_registry

F64 = torch.float64


def stream(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def rand(*shape: int, seed: int = 0) -> Tensor:
    return torch.rand(shape, dtype=F64, generator=stream(seed))


def convolution(
    shape: tuple[int, int, int], kernel: tuple[int, int], dtype: torch.dtype = F64, **rest: Any
) -> Any:
    cls: Any = default_registry().load("bilinear", "convolution")
    return cls(in_shape=shape, kernel_shape=kernel, dtype=dtype, **rest)


def blocks(size: int = 64, seed: int = 3) -> Tensor:
    """Return a picture of overlapping rectangles of constant colour."""
    draw = np.random.default_rng(seed)
    picture = np.full((3, size, size), 0.5)
    for _ in range(25):
        top, left = draw.integers(0, size - 8, 2)
        height, width = draw.integers(6, size // 2, 2)
        picture[:, top : top + height, left : left + width] = draw.random((3, 1, 1))
    return torch.from_numpy(picture)


def hook() -> Tensor:
    """Return a kernel that no symmetry leaves as it is."""
    kernel = torch.zeros(11, 11, dtype=F64)
    kernel[2:9, 4] = 1.0
    kernel[8, 4:9] = 0.6
    return (kernel / kernel.sum())[None]


def shifted(x: Tensor, truth: Tensor) -> Tensor:
    """Return x at the whole shift that is nearest to the truth."""
    moves = [x.roll((i, j), (-2, -1)) for i, j in itertools.product(range(-3, 4), repeat=2)]
    return max(moves, key=lambda m: float(psnr(m, truth).mean()))


def likeness(a: Tensor, b: Tensor) -> float:
    """Return the largest normalised cross-correlation of two kernels."""
    found = torch.nn.functional.conv2d(a[None], b[None], padding=a.shape[-1])
    return float(found.max() / (a.norm() * b.norm()))
