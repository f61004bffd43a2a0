"""Direct convolution and its adjoint: a sum over the taps for every result."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import derived, linear_step

from .blocks import Blocks, adjoint_blocks, forward_blocks
from .boundary import extend, fold
from .convolution_cost import bands_for

if TYPE_CHECKING:
    from .convolution import Convolution

__all__ = ["direct", "direct_adjoint", "is_shared"]


def direct(op: Convolution, x: Tensor) -> Tensor:
    """Return the convolution of `(*, C, H, W)`."""
    if not is_shared(op):
        return _grouped_forward(op, x)
    return linear_step(x, lambda t: _forward(op, t), lambda t: _adjoint(op, t), op.kernel)


def direct_adjoint(op: Convolution, y: Tensor) -> Tensor:
    """Return its adjoint of `(*, C, h, w)`."""
    if not is_shared(op):
        return _grouped_adjoint(op, y)
    return linear_step(y, lambda t: _adjoint(op, t), lambda t: _forward(op, t), op.kernel)


def is_shared(op: Convolution) -> bool:
    """Whether all pictures have one kernel."""
    return op.kernel.shape[:2] == (1, 1)


# ---- one kernel for all pictures: neighbouring results are channels --------------------------


def _forward(op: Convolution, x: Tensor) -> Tensor:
    g, kernel = op.plan, op.kernel
    rows, columns = forward_blocks(g)
    weight = derived(op, "forward blocks", lambda: _weight(kernel, rows, columns), kernel)
    extended = extend(x, rows.margin(g.rows.size), columns.margin(g.columns.size), g.boundary)
    return _in_blocks(extended, weight, rows, columns)[..., : g.rows.count, : g.columns.count]


def _adjoint(op: Convolution, y: Tensor) -> Tensor:
    g, kernel = op.plan, op.kernel
    rows, columns = adjoint_blocks(g)
    weight = derived(
        op, "adjoint blocks", lambda: _weight(kernel.conj().resolve_conj(), rows, columns), kernel
    )
    beyond = "circular" if g.periodic else "zero"
    y = extend(y, rows.margin(g.rows.count), columns.margin(g.columns.count), beyond)
    x = _in_blocks(y, weight, rows, columns)
    if not g.folds:
        return x[..., : g.rows.size, : g.columns.size]
    x = x[..., : g.rows.reach, : g.columns.reach]
    return fold(x, g.rows.margin, g.columns.margin, g.boundary)


def _weight(kernel: Tensor, rows: Blocks, columns: Blocks) -> Tensor:
    """Return a kernel `(1, 1, kh, kw)` for each result of a block: `(results, 1, window...)`."""
    taps = F.pad(kernel.flip(-2, -1)[0, 0], (0, 1, 0, 1))
    row, column = rows.tap(kernel.device), columns.tap(kernel.device)
    weight: Tensor = taps[row[:, None, :, None], column[None, :, None, :]]
    return weight.flatten(0, 1).unsqueeze(1)


def _in_blocks(sources: Tensor, weight: Tensor, rows: Blocks, columns: Blocks) -> Tensor:
    pictures = sources.reshape(-1, 1, *sources.shape[-2:])
    results = F.conv2d(pictures, weight, stride=(rows.step, columns.step))
    # Twice as fast as pixel_shuffle.
    results = results.unflatten(1, (rows.size, columns.size)).permute(0, 3, 1, 4, 2)
    shape = (rows.number * rows.size, columns.number * columns.size)
    joined: Tensor = results.reshape(*sources.shape[:-2], *shape)
    return joined


# ---- a kernel for each picture: pictures are groups ------------------------------------------


def _grouped_forward(op: Convolution, x: Tensor) -> Tensor:
    g = op.plan
    extended = extend(x, g.rows.margin, g.columns.margin, g.boundary)
    pictures = extended.reshape(-1, *extended.shape[-2:])
    y = _grouped(pictures, _per_picture(op.kernel.flip(-2, -1), x), g.stride)
    return y.reshape(*x.shape[:-2], *y.shape[-2:])


def _grouped_adjoint(op: Convolution, y: Tensor) -> Tensor:
    """Each of the `stride^2` phases of the extended picture is y convolved with a part of r."""
    g, kernel, s = op.plan, op.kernel, op.plan.stride
    parts = derived(op, "parts", lambda: _parts(kernel, s), kernel)
    height, width = (n - 1 for n in parts.shape[-2:])
    # The padding of conv2d itself leads to code that is fifteen times slower.
    padded = F.pad(y, (width, width, height, height))
    x = _grouped(padded.reshape(-1, *padded.shape[-2:]), _per_picture(parts, y), 1)
    x = x.reshape(-1, s * s, *x.shape[-2:])
    x = F.pixel_shuffle(x, s) if s > 1 else x
    x = x.reshape(*y.shape[:-2], *x.shape[-2:])[..., : g.rows.reach, : g.columns.reach]
    return fold(x, g.rows.margin, g.columns.margin, g.boundary)


def _grouped(pictures: Tensor, weight: Tensor, stride: int) -> Tensor:
    """Convolve each of `(G, H, W)` with its weights `(G, P, kh, kw)`; gives `(G, P, h, w)`."""
    groups, parts, side, _ = weight.shape
    count = (pictures.shape[-2] - side) // stride + 1
    # CPUs work on blocks of 16 groups, full or not: a few large pictures are cut into bands.
    bands = 1 if pictures.is_cuda else bands_for(groups, count)
    height = -(-count // bands)
    reach = (height - 1) * stride + side
    if bands > 1:
        missing = (bands - 1) * height * stride + reach - pictures.shape[-2]
        whole = F.pad(pictures, (0, 0, 0, max(missing, 0)))
        starts = range(0, bands * height * stride, height * stride)
        pictures = torch.stack([whole.narrow(-2, start, reach) for start in starts], 1)
        weight = weight.repeat_interleave(bands, 0)
    pictures = pictures.reshape(1, groups * bands, *pictures.shape[-2:])
    y = F.conv2d(pictures, weight.flatten(0, 1)[:, None], stride=stride, groups=groups * bands)
    y = y.reshape(groups, bands, parts, *y.shape[-2:]).transpose(1, 2)
    return y.reshape(groups, parts, bands * height, -1)[..., :count, :]


def _parts(kernel: Tensor, stride: int) -> Tensor:
    """Return `conj(r)` by phases, each reversed: `(1|B, 1|C, stride^2, dh, dw)`."""
    height, width = (-(-n // stride) * stride for n in kernel.shape[-2:])
    padding = (0, width - kernel.shape[-1], 0, height - kernel.shape[-2])
    reverse = F.pad(kernel.conj().resolve_conj().flip(-2, -1), padding)
    phases = reverse.unflatten(-2, (-1, stride)).unflatten(-1, (-1, stride))
    result: Tensor = phases.movedim((-3, -1), (-4, -3)).flatten(-4, -3).flip(-2, -1)
    return result


def _per_picture(kernel: Tensor, x: Tensor) -> Tensor:
    """Return a kernel `(1|B, 1|C, [P,] kh, kw)` once per picture, `(G, P, kh, kw)`."""
    kernel = kernel if kernel.ndim > 4 else kernel.unsqueeze(2)
    lead = x.shape[:-2] if x.ndim > 3 else (1, *x.shape[:-2])
    return kernel.expand(*lead, *kernel.shape[2:]).reshape(-1, *kernel.shape[2:])
