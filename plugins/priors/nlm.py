"""Non-local means."""

from __future__ import annotations

from types import EllipsisType

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import Denoiser, param

from .values import above, per_sample, picture_space

__all__ = ["NonLocalMeans"]


@attrs.frozen(eq=False, kw_only=True)
class NonLocalMeans(Denoiser):
    """Weighted means of the pixels whose surroundings look alike.

        z_i = sum_j w_ij v_j / sum_j w_ij,   w_ij = exp(-max(d_ij - 2 sigma^2, 0) / h^2)

    with d_ij the mean squared difference of the patches around i and j (over all channels), j in
    a search window around i inside the picture, and `h = strength sigma`. Each weight serves
    every pixel of its patch (`aggregate`), so that a pixel's mean rests on all patches that
    contain it.

    Linear pieces of torch: batched, differentiable, on any device. Denoising `s v` at `s sigma`
    gives s times the same. Complex pictures: sigma is that of the complex noise.

    Shapes: pictures `(*batch, C, H, W)`; sigma a number or `(*batch,)`.
    Units: sigma: standard deviation in picture units; zero returns v.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: about 20 passes over the picture for each pair of opposite shifts; there are
    `2 search (search + 1)` pairs.
    Source: Buades, Coll, Morel, 2011, Non-local means denoising, IPOL 1, equations (1)-(3), and
    "patchwise" for `aggregate`; Darbon et al., 2008, Fast nonlocal filtering applied to electron
    cryomicroscopy, ISBI, for the sums over shifts. Departures: means stay inside the picture; a
    pixel's own weight is 1; in `aggregate`, patches count by the sum of their weights.
    """

    patch: int = param(
        1,
        doc="Radius of the patches that are compared.",
        unit="pixels",
        check=above(-1, whole=True),
    )
    search: int = param(
        8, doc="Radius of the window that is searched.", unit="pixels", check=above(0, whole=True)
    )
    strength: float = param(0.7, doc="h in units of sigma: larger is smoother.", check=above(0))
    aggregate: bool = param(True, doc="Let a weight serve all pixels of its patch.")

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return v with noise of standard deviation `sigma` removed."""
        space = picture_space(v, who=self.name)
        level = per_sample(sigma, v, who=self.name, name="sigma")
        if not isinstance(level, Tensor):
            if level == 0:
                return v
            level = space.expand(level, v, name="sigma", who=self.name)
        noisy = level > 0
        variance = torch.where(noisy, level, 1).square()
        flat = v.reshape(-1, *space.shape)
        variance = variance.expand(*v.shape[:-3], 1, 1, 1).reshape(-1, 1, 1, 1)
        return torch.where(noisy, self._means(flat, variance).reshape(v.shape), v)

    def _means(self, v: Tensor, variance: Tensor) -> Tensor:
        """Return the means of `(B, C, H, W)` at a positive `(B, 1, 1, 1)`."""
        # Differences of patches need a margin of the patch's radius around the picture.
        margin = self.patch
        wide = _extend(v, margin)
        # Under vmap, what is added to must be batched as the weights are.
        total = v + torch.zeros_like(variance)
        norm = torch.ones_like(total[:, :1].real)
        height, width = v.shape[-2:]
        for down in range(min(self.search, height - 1) + 1):
            reach = min(self.search, width - 1)
            for right in range(-reach if down else 1, reach + 1):
                here, there = _overlap(down, right, (height, width), 0)
                near, far = _overlap(down, right, (height, width), margin)
                weight = self._weights(wide[near], wide[far], variance)
                total[here].add_(weight * v[there])
                total[there].add_(weight * v[here])
                norm[here].add_(weight)
                norm[there].add_(weight)
        return total / norm

    def _weights(self, a: Tensor, b: Tensor, variance: Tensor) -> Tensor:
        """Return the weights between the patches of a and those of b, `(B, 1, h, w)`."""
        difference = a - b
        squares = difference.abs().square() if a.is_complex() else difference.square()
        distance = _box_mean(squares.mean(1, keepdim=True), self.patch)
        excess = (distance - 2 * variance).clamp_min(0)
        weight = torch.exp(excess / (-(self.strength**2) * variance))
        if self.aggregate and self.patch:
            p = self.patch
            weight = _box_mean(F.pad(weight, (p, p, p, p)), p)
        return weight


Window = tuple[EllipsisType, slice, slice]


def _overlap(down: int, right: int, size: tuple[int, int], margin: int) -> tuple[Window, Window]:
    """Return the pixels whose shifted partner lies in the picture, and the partners."""
    height, width = size[0] + 2 * margin, size[1] + 2 * margin
    left = max(-right, 0)
    right = max(right, 0)
    here = (..., slice(0, height - down), slice(left, width - right))
    there = (..., slice(down, height), slice(right, width - left))
    return here, there


def _box_mean(x: Tensor, radius: int) -> Tensor:
    """Return the means over windows that lie inside, `(H, W)` -> `(H - 2r, W - 2r)`."""
    for axis in (-2, -1):
        x = _running_sum(x, 2 * radius + 1, axis)
    return x / (2 * radius + 1) ** 2


def _running_sum(x: Tensor, taps: int, axis: int) -> Tensor:
    """Return sums of `taps` neighbours, by doubling: log2(taps) additions instead of taps."""
    length = x.shape[axis] - taps + 1
    done = 0
    total: Tensor | None = None
    power, run = 1, x
    while True:
        if taps & power:
            part = run.narrow(axis, done, length)
            total = part if total is None else total + part
            done += power
        if done == taps:
            assert total is not None
            return total
        run = run.narrow(axis, 0, run.shape[axis] - power) + run.narrow(
            axis, power, run.shape[axis] - power
        )
        power *= 2


def _extend(v: Tensor, margin: int) -> Tensor:
    """Return v mirrored (without repeating the border) by `margin` pixels, however small it is."""
    if margin == 0:
        return v
    for axis in (-2, -1):
        n = v.shape[axis]
        period = max(2 * (n - 1), 1)
        index = torch.arange(-margin, n + margin, device=v.device).remainder(period)
        v = v.index_select(axis, torch.minimum(index, period - index) if n > 1 else index)
    return v
