"""Random motion of a hand-held camera."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, Final

import attrs
import torch
from torch import Tensor
from wellposed import Kernel, param, whole_number
from wellposed.errors import ParameterError

from .sampling import (
    Device,
    centre,
    check_size,
    checked_stride,
    finished,
    per_sample,
    positive,
    real_values,
    same_count,
    shown,
)

__all__ = ["CameraShake"]

_POINTS: Final = 2000
_STRONGEST: Final = (10.0, 0.7, 0.2)  # of trembling, of the pull, and the chance of a shake


def _not_negative(instance: object, attribute: Any, value: float | Tensor) -> None:
    given = real_values(value)
    bad = given[~((given >= 0) & given.isfinite())]
    if bad.numel():
        got = f"{float(bad[0]):g}" if isinstance(value, Tensor) else repr(value)
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a number of at least 0; got {got}."
        )


def _seeds(instance: object, attribute: Any, value: object) -> None:
    if isinstance(value, Tensor):
        good = value.ndim <= 1 and not (value.is_floating_point() or value.is_complex())
        good = good and value.dtype != torch.bool and bool((value >= 0).all())
        got = f"{shown(value)}"
    else:
        good = isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63
        got = repr(value)
    if not good:
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a whole number of at least 0, or "
            f"one for each sample, (B,), of an integer dtype; got {got}. A recipe draws them by "
            "{integers: [0, 2147483647]}."
        )


@attrs.frozen(eq=False, kw_only=True)
class CameraShake(Kernel):
    """Motion of a hand-held camera along a random path: it trembles, is pulled back, and jerks.

        u  <-  u + a (g n - c x) - 2 s e^(i r) u,  u / |u|          x  <-  x + u length / 1999
        k[j] = mean over the 2000 places x of h(j_1 - x_1) h(j_2 - x_2),    h(v) = max(1 - |v|, 0)

    The camera moves with constant speed in direction u, from x = 0 on. In each step: n is complex
    and normal; -c x pulls it to where it started; s is 1 with probability p a, else 0, and then
    r, uniform in [-1/2, 1/2], about turns it back. `anxiety` a scales all of these. Once for
    each path, the first direction is drawn, and g, c and p, uniform up to 10, 0.7 and 0.2. h is
    linear interpolation. A path that would leave the frame is made smaller.

    The default `anxiety` is not the program's 0.005, whose paths are tangled, but one by which
    they look as the test kernels that come with the generative bilinear paper: a third of them
    almost straight, most of the others bent once. Those are 28 x 28, with the mean of each in the
    middle of the frame, at 13.5: give `middle="frame"` and lengths uniform in [5, 28].

    Shapes: `(1, 1, size, size)`, or `(B, 1, size, size)` where a parameter has shape `(B,)`. Its
    mean is tap size // 2 for odd strides and lies half a pixel before it for even ones.
    Gradients flow to `length` and `anxiety`, though not through the shakes.
    Cost: 2000 steps for all samples together: 0.1 s for one, 1 s for 1000.
    Source: Boracchi and Foi, 2012, Modeling the performance of image restoration from motion blur,
    IEEE Transactions on Image Processing 21(8); the ranges of g, c and p, and the 2000 places, as
    in the program that its authors gave out. That puts the middle of the path's frame, not its
    mean, in the middle of the kernel.
    """

    size: int = param(28, doc="taps along each axis", check=whole_number(1))
    length: float | Tensor = param(
        16.0, doc="length of the path, turns included", unit="pixels", check=positive, repr=shown
    )
    anxiety: float | Tensor = param(
        1e-3,
        doc="how unsteady the hand is: 0 is a straight line, 0.005 a tangle",
        check=_not_negative,
        repr=shown,
    )
    seed: int | Tensor = param(
        0, doc="which path; a tensor (B,) gives each sample its own", check=_seeds, repr=shown
    )
    middle: str = param(
        "tap",
        doc="where the mean of the kernel lies: on the tap that is its origin, or in the middle of "
        "the frame, at (size - 1) / 2",
        choices=("tap", "frame"),
    )

    def __attrs_post_init__(self) -> None:
        """Check the parameters against each other."""
        same_count(self)

    @property
    def centred(self) -> bool:
        """Tell whether the kernel moves no picture: by half a pixel, the middle of a frame may."""
        return self.middle == "tap"

    def tensor(
        self, *, stride: int = 1, dtype: torch.dtype = torch.float32, device: Device = None
    ) -> Tensor:
        """Return the kernel."""
        check_size((self.size, self.size))
        last = self.size - 1
        tap = max(centre(self.size, checked_stride(stride)), 0.0)
        origin = tap if self.middle == "tap" else last / 2
        # On the CPU: thousands of small steps, one after the other.
        length = per_sample(self.length, "CameraShake.length", "cpu").flatten()
        anxiety = per_sample(self.anxiety, "CameraShake.anxiety", "cpu").flatten()
        seeds = self.seed.reshape(-1).tolist() if isinstance(self.seed, Tensor) else [self.seed]
        path = _path(length, anxiety, seeds)
        path = path - path.mean(1, keepdim=True)
        at = torch.stack([-path.imag, path.real], -1)  # rows run downwards
        reach = min(origin, last - origin)
        at = at * (reach / at.abs().amax((1, 2), keepdim=True)).clamp_max(1)
        return finished(_drawn_on(self.size, (at + origin).to(device)), dtype)


def _path(length: Tensor, anxiety: Tensor, seeds: Sequence[int]) -> Tensor:
    """Return the places of the camera, `(B, 2000)`, complex."""
    uniform, normal = _random(seeds)
    trembling, pull, chance = (most * uniform[i] for i, most in enumerate(_STRONGEST))
    u = torch.polar(torch.ones_like(uniform[3]), 2 * math.pi * uniform[3])
    jerks, turns = uniform[4:].chunk(2)
    back = -2 * torch.polar((jerks < chance * anxiety).double(), turns - 0.5)
    noise, pull = anxiety * trembling * normal, anxiety * pull
    x, step = torch.zeros_like(u), length / (_POINTS - 1)
    places = [x.expand(max(x.numel(), length.numel(), anxiety.numel()))]
    for jerk, kick in zip(back, noise, strict=True):
        u = u + u * jerk + kick - pull * x
        u = u / u.abs()
        x = x + step * u
        places.append(x.expand_as(places[0]))
    return torch.stack(places, 1)


def _random(seeds: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return uniform `(4 + 2 steps, S)` and complex normal numbers `(steps, S)`, seed by seed."""
    steps, uniform, normal = _POINTS - 1, [], []
    for seed in seeds:
        generator = torch.Generator().manual_seed(seed)
        uniform.append(torch.rand(4 + 2 * steps, dtype=torch.float64, generator=generator))
        pair = torch.randn(2, steps, dtype=torch.float64, generator=generator)
        normal.append(torch.complex(pair[0], pair[1]))
    return torch.stack(uniform, 1), torch.stack(normal, 1)


def _drawn_on(size: int, at: Tensor) -> Tensor:
    """Return pictures `(B, 1, size, size)` of places `(B, N, 2)`, interpolated between pixels."""
    low = at.detach().floor().clamp(0, max(size - 2, 0))
    part = (at - low)[..., None]
    weights = torch.cat([1 - part, part], -1)  # (B, N, axis, near or far)
    near = low.long()
    taps = torch.stack([near, (near + 1).clamp_max(size - 1)], -1)
    index = taps[..., 0, :, None] * size + taps[..., 1, None, :]
    share = weights[..., 0, :, None] * weights[..., 1, None, :]
    flat = share.new_zeros(at.shape[0], size * size)
    picture = flat.scatter_add(1, index.flatten(1), share.flatten(1))
    return picture.reshape(-1, 1, size, size)
