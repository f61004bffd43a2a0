"""The InverseNet paper's tests: pictures, degradations and figures, with what it leaves open.

Figures. PSNR over red, green and blue of pictures in [0, 1], what was restored limited to that
range, no border cut off; the mean of each picture's own. SSIM is `wellposed.ssim`, the mean of the
channels'. The paper says neither.

Faces. CelebA, the middle 89 x 89 of the half-size pictures, resized to 64 x 64; those that
training held out. LFW (250 x 250, deep-funneled): the middle 150 x 150, on which a face fills as
much of the picture as in those of CelebA, resized to 64 x 64.

Natural pictures. BSD100 (all of BSDS500's validation part) stands in for ImageNet's test pictures;
the middle 64 x 64 of each, the size that the paper trains on, or the whole picture. For
super-resolution the middle 256 x 256, as in the paper.

Degradations. `motion`: the operator `motion_blur`, with its kernel of 9 x 9, which is ours as the
paper prints none; the picture is mirrored beyond its frame. `x4`: the flat kernel of 7 x 7, every
fourth pixel. `colour`: each colour blurred by its own kernel of 9 x 9, every second pixel, the
mean of the three. Noise: none unless it is asked for, as in the paper, where nothing is said of
it: measurements are floats. To round them to 256 levels is `--rounded`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space, psnr, ssim
from wellposed.edge import build_operator
from wellposed.errors import DataError
from wellposed.images import SUFFIXES, read
from wellposed.training.prepare import floats, prepared
from wellposed.training.recipe import DataRecipe
from wellposed.training.sources import open_source

__all__ = [
    "LFW",
    "OPERATORS",
    "Measured",
    "Restore",
    "Score",
    "degraded",
    "lfw",
    "natural",
    "operator_of",
    "scores",
]

OPERATORS: Final[Mapping[str, Any]] = {
    "motion": "motion_blur",
    "x4": {"name": "strided_blur", "params": {"stride": 4, "kernel": "inversenet_flat"}},
    "colour": [
        {"name": "channel_mix", "params": {"response": [[1 / 3] * 3]}},
        {"name": "strided_blur", "params": {"stride": 2, "kernel": "inversenet_colour"}},
    ],
}
LFW: Final = DataRecipe(middle=150, resize=64)
_SEED: Final = 1712_00202  # apart from those of recipes


@attrs.frozen(eq=False, kw_only=True)
class Measured:
    """Pictures of one size, `(B, 3, H, W)`, and what was measured of them."""

    truth: Tensor
    operator: ForwardOperator
    measurement: Tensor


@attrs.frozen
class Score:
    """Mean PSNR in dB and mean SSIM of some pictures."""

    psnr: float
    ssim: float

    @property
    def cells(self) -> tuple[str, str]:
        """As tables show them."""
        return f"{self.psnr:.2f}", f"{self.ssim:.4f}"


Restore = Callable[[Measured], Mapping[str, Tensor]]  # pictures by name, such as z and x


# Pictures


def natural(folder: Path, side: int | None, most: int | None = None) -> list[Tensor]:
    """Return the middle parts of a folder's pictures, or whole ones, in batches of one size.

    Of BSDS500, whose folder has a `val`, those are taken: they are the 100 pictures of BSD100.
    side: of the middle part; None: whole, cut so that 4 divides the sides. most: that many only.
    Raises: DataError when there is none, or one is too small.
    """
    folder = folder / "val" if (folder / "val").is_dir() else folder
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    if not paths:
        raise DataError(f"{folder} holds no pictures to test on.")
    sizes: dict[tuple[int, int], list[Tensor]] = {}
    for path in paths[:most]:
        x = read(path).tensor[:3].float()
        x = x.expand(3, -1, -1) if x.shape[0] < 3 else x
        height, width = (side or n // 4 * 4 for n in x.shape[1:])
        if height > x.shape[1] or width > x.shape[2]:
            raise DataError(f"{path} is smaller than {side} x {side} pixels.")
        top, left = (x.shape[1] - height) // 2, (x.shape[2] - width) // 2
        part = x[:, top : top + height, left : left + width]
        sizes.setdefault((height, width), []).append(part)
    return [torch.stack(parts) for parts in sizes.values()]


def lfw(path: Path, most: int | None = None) -> list[Tensor]:
    """Return the pictures of LFW, a folder or an archive, as one batch."""
    source = open_source(path)
    count = len(source.names[:most])
    return [torch.stack([floats(prepared(source.load(i), LFW)) for i in range(count)])]


# Measurements


def operator_of(task: str, shape: Sequence[int], **params: Any) -> ForwardOperator:
    """Return the operator of a task for pictures `(3, H, W)`."""
    given = OPERATORS[task]
    space = Space((shape[0], shape[1], shape[2]))
    built = build_operator(given, params or None, x_space=space)
    assert isinstance(built, ForwardOperator)
    return built


def degraded(
    pictures: Iterable[Tensor],
    task: str,
    *,
    sigma: float = 0.0,
    rounded: bool = False,
    batch: int = 50,
    device: torch.device | str = "cpu",
) -> list[Measured]:
    """Return pictures with their measurements, a batch at a time; the same for all methods."""
    generator = torch.Generator().manual_seed(_SEED)
    found = []
    for same_size in pictures:
        operator = operator_of(task, same_size.shape[1:])
        for x in same_size.split(batch):
            y = operator(x)
            if sigma:
                y = y + sigma * torch.randn(y.shape, generator=generator)
            if rounded:
                y = (y.clamp(0, 1) * 255).round() / 255
            found.append(
                Measured(
                    truth=x.to(device),
                    operator=operator.to(device=device),
                    measurement=y.to(device),
                )
            )
    return found


# Figures


def scores(measured: Iterable[Measured], restore: Restore) -> dict[str, Score]:
    """Return the figures of what a method restores, for each of the pictures that it gives."""
    rows: dict[str, list[Tensor]] = {}
    for one in measured:
        truth = one.truth.double()
        for name, picture in restore(one).items():
            x = picture.double().clamp(0, 1)
            rows.setdefault(name, []).append(torch.stack([psnr(x, truth), ssim(x, truth)], 1))
    return {name: Score(*torch.cat(parts).mean(0).tolist()) for name, parts in rows.items()}
