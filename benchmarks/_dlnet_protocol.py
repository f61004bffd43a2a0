"""The DL-Net paper's tests: pictures, degradations and figures, with what the paper leaves open.

Faces. The test pictures are those that training held out: `load_pool`, which training itself calls,
divides them by the recipe's seed. A square hole of s pixels has its middle at most 10 pixels, to
each side, from that of the picture; r % of the pixels are missing anywhere, the same in all
channels. Each picture is degraded ten times (a centred hole: once); seeds make all methods see the
same. l1 and l2 are means of absolute and squared differences over pixels, channels and pictures, of
pictures in [-1, 1]. PSNR is the mean over pictures of each one's own, of the peak to peak range:
the printed pairs leave no other reading, since the PSNR of the mean square, 10 log10(4 / 0.0015) =
34.3 dB say, lies below the 35.00 dB beside it, as that of a mean must; a sum of squares over three
channels would have it lie 4 dB above, which cannot be.

Super-resolution. Y of ITU-R BT.601, rounded to 8 bits (a grey picture: its values as they are); the
lower and right edges cut so that the scale divides the size. Blur by a Gaussian of standard
deviation u, 15 x 15 taps, the border repeated; MATLAB's bicubic reduction, antialiased; no noise,
no rounding. The result is rounded to 8 bits, a border as wide as the scale is cut off, and PSNRs
are averaged. This gives the known figures of bicubic interpolation on Set5, 33.66 / 30.39 / 28.42
dB (Set14: 30.23 / 27.54 / 26.00, BSD100: 29.56 / 27.21 / 25.96), and those of public networks,
also with blur (`--protocol`).

Set5's "woman" is the picture 302003 of BSDS500's training part, at 0.71 of its size: whoever trains
on BSDS500, the paper too, has seen it. `--without woman_GT` leaves it out. Set14 and BSD100 (all of
BSDS500's validation part) share no whole picture with T91 and the rest of BSDS500.

The paper's bicubic row is not one method: for u = 0 it holds these known figures, for u > 0 those
of TensorFlow 1's `resize_bicubic`, whose grid lies (scale - 1) / 2 pixels off and whose cubic has
a = -3/4. `shifted_bicubic` does that and gives all six cells; its shift costs up to 2.8 dB. What
was enlarged is right: VDSR's own weights give 30.57 / 30.24 / 29.73 dB for u = 1.3, where the
paper has 30.65 / 30.36 / 29.88 for its own (without antialiasing: 31.05 / 31.90 / 30.67).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import ForwardOperator, Problem, Solver, Space, luminance, psnr
from wellposed.edge import build_operator
from wellposed.errors import DataError
from wellposed.images import SUFFIXES, read
from wellposed.training.degradations import Degradation
from wellposed.training.distributions import draws_for

from ._held_out import Split, faces

__all__ = [
    "FACE_MASKS",
    "SCALES",
    "WIDTHS",
    "FaceScore",
    "Split",
    "bicubic",
    "compose",
    "cut",
    "degraded",
    "face_figures",
    "faces",
    "reduction",
    "restored",
    "rounded",
    "score",
    "shifted_bicubic",
    "test_pictures",
]

SCALES = (2, 3, 4)
WIDTHS = (0.0, 1.3, 2.6)
FACE_MASKS: Mapping[str, Mapping[str, Any]] = {
    "s = 10": {"hole": {"size": 10, "shift": 10}},
    "s = 20": {"hole": {"size": 20, "shift": 10}},
    "s = 30": {"hole": {"size": 30, "shift": 10}},
    "s = 20, centered": {"hole": {"size": 20, "shift": 0}},
    "r = 15%": {"missing_pixels": 0.15},
    "r = 45%": {"missing_pixels": 0.45},
    "r = 75%": {"missing_pixels": 0.75},
    "r in [0%, 75%]": {"missing_pixels": {"uniform": [0, 0.75]}},
}
_SEED = 1904_09105  # apart from those of recipes


# Faces


def degraded(
    pictures: Tensor,
    column: str,
    *,
    repeats: int = 10,
    batch: int = 100,
    device: torch.device | str = "cpu",
) -> Iterator[tuple[Tensor, ForwardOperator, Tensor]]:
    """Yield pictures, operator and measurement of each batch of a column of tables II to VII."""
    law = Degradation.from_data({"name": "mask", "params": {"mask": FACE_MASKS[column]}}, None)
    space = Space(tuple(pictures.shape[1:]))
    step = 0
    for _ in range(1 if column.endswith("centered") else repeats):
        for x in pictures.split(batch):
            # drawn on the CPU, whose generator gives every device the same masks
            draws = draws_for(_SEED, step, stream=3, batch=x.shape[0])
            operator = law.operator(space, draws).to(device=device)
            x = x.to(device)
            yield x, operator, operator(x)
            step += 1


def compose(restored: Tensor, operator: Any, measurement: Tensor) -> Tensor:
    """Return `I_x + (1 - M) I_y`: what was measured, and what was restored elsewhere."""
    return measurement + (1 - operator.mask) * restored


@attrs.frozen
class FaceScore:
    """The three figures of a cell of tables II to VII."""

    l1: float
    l2: float
    psnr: float


def face_figures(restored: Iterable[tuple[Tensor, Tensor]]) -> FaceScore:
    """Return the figures of batches of restored pictures and truths in [0, 1]."""
    rows = []
    for found, truth in restored:
        error = 2 * (found.double() - truth.double())
        l1, l2 = error.abs().mean((1, 2, 3)), error.square().mean((1, 2, 3))
        rows.append(torch.stack([l1, l2, 10 * torch.log10(4 / l2)], 1).cpu())
    means = torch.cat(rows).mean(0).tolist()
    return FaceScore(*means)


# Super-resolution


def test_pictures(
    folder: Path, most: int | None = None, without: Sequence[str] = ()
) -> dict[str, Tensor]:
    """Return the luminance `(1, H, W)`, in 256 levels, of the pictures of a folder, by name.

    Of BSDS500, whose folder has a `val`, those are taken: they are the 100 pictures of BSD100.
    `most`: that many only; `without`: names to leave out. Raises: DataError when none is left.
    """
    folder = folder / "val" if (folder / "val").is_dir() else folder
    paths = sorted(p for p in folder.iterdir() if p.suffix.lower() in SUFFIXES)
    paths = [p for p in paths if p.stem not in without]
    if not paths:
        raise DataError(f"{folder} holds no pictures to test on.")
    return {p.stem: rounded(_luminance(read(p).tensor.double())) for p in paths[:most]}


def _luminance(x: Tensor) -> Tensor:
    return luminance(x[:3]) if x.shape[0] >= 3 else x[:1]


def reduction(size: tuple[int, int], scale: int, width: float) -> ForwardOperator:
    """Return the operator of a cell: blur of standard deviation `width`, then bicubic reduction.

    It is built of the parts that recipes have, with the boundary of MATLAB's imresize.
    """
    parts: list[Any] = [
        {"name": "strided_blur", "params": {"stride": scale, "boundary": "symmetric"}}
    ]
    if width:
        gaussian = {"name": "gaussian", "params": {"width": width, "size": 15}}
        parts.append({"name": "blur", "params": {"kernel": gaussian, "boundary": "replicate"}})
    operator = build_operator(parts, x_space=Space((1, *size), torch.float64))
    assert isinstance(operator, ForwardOperator)
    return operator


def cut(x: Tensor, scale: int) -> Tensor:
    """Return a picture without the lower and right edges that a scale does not divide."""
    height, width = (n // scale * scale for n in x.shape[-2:])
    return x[..., :height, :width]


def bicubic(y: Tensor, scale: int) -> Tensor:
    """Return a picture interpolated as by MATLAB's imresize."""
    params = {"scale": float(scale)}
    larger: Tensor = build_operator("resize", params, x_space=Space(tuple(y.shape), y.dtype))(y)
    return larger


def shifted_bicubic(y: Tensor, scale: int) -> Tensor:
    """Return a picture interpolated as by TensorFlow 1: pixel i lies at i / scale, a = -3/4."""
    sides = [torch.arange(n * scale, dtype=y.dtype) / scale * 2 / (n - 1) - 1 for n in y.shape[-2:]]
    rows, columns = torch.meshgrid(*sides, indexing="ij")
    grid = torch.stack([columns, rows], -1)[None]
    return F.grid_sample(y[None], grid, "bicubic", "border", align_corners=True)[0]


def rounded(x: Tensor) -> Tensor:
    """Return a picture in 256 levels."""
    return (x.clamp(0, 1) * 255).round() / 255


def score(restored: Tensor, truth: Tensor, scale: int) -> float:
    """Return the PSNR in dB, in 256 levels, without a border as wide as the scale."""
    return float(psnr(rounded(restored.double()), truth, border=scale))


def restored(solver: Solver, x: Tensor, scale: int, width: float, device: str) -> Tensor:
    """Return what a solver makes of a degraded picture, `(1, H, W)`."""
    operator = reduction((x.shape[-2], x.shape[-1]), scale, width)
    # measured in float64, restored in float32
    y = operator(x)[None].float().to(device)
    operator = operator.to(device=device, dtype=torch.float32)
    return solver.solve(Problem(operator=operator, measurement=y)).image[0].cpu()
