"""`KernelGan`: the kernel of a picture from the distribution of its patches."""

from __future__ import annotations

from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from wellposed import (
    Callback,
    IterationEvent,
    Problem,
    Solver,
    Watchers,
    param,
    real_number,
    whole_number,
)
from wellposed.errors import IncompatibleError, ParameterError, ShapeError
from wellposed.registry import build, default_registry

from .blind import BlindStrided, Estimates, Seen, named
from .crops import grey_of, importance
from .discriminator import PATCH
from .generator import LAYERS, kernel_side
from .postprocess import centred, kernel_for_four, thinned
from .recipe import RECIPES, Recipe
from .spectra import TwoScales
from .training import STRIDE, Training, start

__all__ = ["KernelGan"]

Array = NDArray[np.float64]
_LARGEST_DEFECT = 0.2  # of a kernel's mass, from one
_LARGEST_EDGE = 0.1  # share of the mass that lies in the frame of two taps


def _layers(instance: object, attribute: Any, value: tuple[int, ...]) -> None:
    odd = all(isinstance(n, int) and n > 0 and n % 2 for n in value)
    if not value or not odd or kernel_side(value) < 9:
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects odd sides that make a kernel of "
            f"at least 9 x 9 taps, such as {LAYERS}; got {value!r}."
        )


@attrs.frozen(eq=False, kw_only=True)
class KernelGan(BlindStrided):
    """Blind super-resolution: a GAN that learns from one picture the kernel that reduced it.

    A linear generator, which is one kernel k, reduces crops of y by 2 so that a discriminator of
    7 x 7 patches cannot tell them from crops of y. For a stride of 4, `k4 = k2 * dilate(k2)`.

    recipe: `paper` is what the authors' code does. `clean` mends two defects of it: noise that
    stays in the picture, and a bicubic target that sums the channels. The default is the one that
    measures better: on the 8 pictures of DIV2KRK at stride 2, the better of two restarts, and ZSSR
    of 300 steps behind it, `paper` gains 1.91 dB on bicubic interpolation and `clean` 1.63, of the
    2.73 dB that the true kernel gains. `cross_scale` gains 2.76 dB there.
    restarts: each sample is learned so many times at once, from other random numbers; the kernel
    whose reduction changes the picture's power spectrum least is taken (see `spectra`).

    Departures from the paper, all from the authors' code: its layers, losses and schedule, the
    soft threshold, and the centring. Ours: the generator is collapsed (the same up to rounding);
    a kernel tap of exactly 0 gets no gradient from the sparsity term, where theirs is infinite.

    extras: `kernel`, `kernels` of all restarts (a list of `(R, n, n)`), `raw_kernels` before the
    post-processing, `scores (B, R)`, the lower the better, and `why` for doubtful samples.
    Shapes: y `(C, h, w)` or `(B, C, h, w)`, not smaller than the crops; one kernel per sample.
    Raises: IncompatibleError for a stride other than 2 and 4, ShapeError, ParameterError.
    Cost: 0.16 GFLOP a step and restart; 4 to 8 ms on two CPU cores.
    Source: Bell-Kligler, Shocher and Irani, 2019, Blind super-resolution kernel estimation using
    an internal-GAN, NeurIPS; equations (2) and (3), section 4.2 for a stride of 4.
    """

    nonblind: Solver | None = param(
        None,
        doc="Solver for the known kernel; left out, zssr of 300 steps, or tikhonov where other "
        "operators follow the blur.",
        repr=named,
    )
    recipe: str = param("paper", doc="Which details of the training.", choices=tuple(RECIPES))
    max_steps: int = param(3000, doc="Steps of generator and discriminator.", check=whole_number(1))
    restarts: int = param(
        1, doc="Runs per sample, of which the best is taken.", check=whole_number(1)
    )
    crop: int = param(64, doc="Side of the crops.", unit="pixels", check=whole_number(26))
    layers: tuple[int, ...] = param(LAYERS, doc="Sides of the generator's layers.", check=_layers)
    sum_to_one: float = param(0.5, doc="Weight alpha of |1 - sum k|.", check=real_number(least=0))
    boundaries: float = param(
        0.5, doc="Weight beta of mass at the edge.", check=real_number(least=0)
    )
    sparse: float = param(5.0, doc="Weight gamma of the sparsity term.", check=real_number(least=0))
    centre: float = param(
        1.0, doc="Weight delta of the centre of mass.", check=real_number(least=0)
    )

    def _estimate(self, seen: Seen, problem: Problem, callback: Callback | None) -> Estimates:
        self._check(seen)
        training, stopped = self._train(seen, problem, callback)
        side = training.used.shape[-1]
        raw = training.used.double().cpu().numpy().reshape(-1, self.restarts, side, side)
        finished = [[centred(thinned(k)) for k in row] for row in raw]
        scores = np.array([self._scores(row, seen, i) for i, row in enumerate(finished)])
        best = np.where(np.isfinite(scores), scores, np.inf).argmin(1)
        doubts = [_doubt(raw[i, j]) for i, j in enumerate(best)]
        taken = [finished[i][j] for i, j in enumerate(best)]
        usual = centred(_bicubic())
        taken = [k if np.isfinite(k).all() else usual for k in taken]
        half = _together(taken)
        four = seen.stride == 4
        return Estimates(
            kernels=_together([centred(kernel_for_four(k)) for k in taken]) if four else half,
            half=half if four else None,
            why={i: doubt for i, doubt in enumerate(doubts) if doubt},
            steps=torch.full((len(taken),), training.done),
            history=training.history(self.restarts),
            extras={
                "kernels": [_together(row)[:, 0] for row in finished],
                "raw_kernels": torch.from_numpy(raw[..., ::-1, ::-1].copy()),
                "scores": torch.from_numpy(scores),
            },
            stopped=stopped,
        )

    def _check(self, seen: Seen) -> None:
        if seen.stride not in (2, 4):
            raise IncompatibleError(
                f"{self.name} estimates kernels for strides of 2 and 4; got {seen.stride}. "
                "cross_scale takes any."
            )
        least = kernel_side(self.layers) + STRIDE * (PATCH + 1)
        if self.crop < least:
            raise ParameterError(
                f"{self.name}.crop must be at least {least} for these layers; got {self.crop}."
            )
        size = tuple(seen.pictures.shape[-2:])
        if min(size) < self.crop:
            raise ShapeError(
                f"{self.name} learns from crops of {self.crop} x {self.crop} pixels; got a picture "
                f"of {size[0]} x {size[1]}. Give a larger one, or a smaller crop."
            )

    def _train(
        self, seen: Seen, problem: Problem, callback: Callback | None
    ) -> tuple[Training, bool]:
        pictures = seen.pictures
        watchers = Watchers(callback)
        # Gradients are written out: nothing is to be recorded, whatever the caller's mode.
        with torch.inference_mode(False), torch.no_grad():
            maps = [
                importance(p, None if seen.covered is None else seen.covered[i])
                for i, p in enumerate(pictures.cpu())
            ]
            streams = [
                torch.Generator(pictures.device).manual_seed(1000 * seen.seed + r)
                for _ in pictures
                for r in range(self.restarts)
            ]
            training = start(
                pictures.detach().clone(),
                maps,
                streams,
                self._recipe(),
                restarts=self.restarts,
                steps=self.max_steps,
                bicubic=torch.from_numpy(_bicubic()),
            )
            for _ in range(self.max_steps):
                training.step()
                if watchers and watchers.tell(self._event(training, problem)):
                    return training, True
        return training, False

    def _recipe(self) -> Recipe:
        return attrs.evolve(
            RECIPES[self.recipe],
            layers=self.layers,
            crop=self.crop,
            sum_to_one=self.sum_to_one,
            boundaries=self.boundaries,
            sparse=self.sparse,
            centred=self.centre,
        )

    def _event(self, training: Training, problem: Problem) -> IterationEvent:
        def kernels() -> dict[str, Tensor]:
            return {"kernel": training.used.flip(-2, -1).unflatten(0, (-1, self.restarts))}

        moved = (training.kernel - training.used).flatten(1).norm(dim=1)
        moved = moved.unflatten(0, (-1, self.restarts)).amax(1).reshape(problem.batch)
        return IterationEvent(
            step=training.done,
            max_steps=self.max_steps,
            change=moved,
            active=torch.ones_like(moved, dtype=torch.bool),
            estimate=problem.start,
            details=kernels,
            solver=self,
            problem=problem,
        )

    def _scores(self, kernels: list[Array], seen: Seen, i: int) -> list[float]:
        """Return how badly each kernel explains the picture's spectrum at two scales."""
        if len(kernels) == 1:
            return [0.0]
        covered = None if seen.covered is None else seen.covered[i].double().cpu().numpy()
        grey = grey_of(seen.pictures[i].double()).cpu().numpy()
        scales = TwoScales.of(grey, covered, seen.sigma[i])
        finite = [bool(np.isfinite(k).all()) for k in kernels]
        if scales is None:
            return [0.0 if ok else np.nan for ok in finite]
        return [scales.misfit(k) if ok else np.nan for k, ok in zip(kernels, finite, strict=True)]


def _doubt(raw: Array) -> str:
    """Return why a kernel, as the generator left it, is not to be trusted."""
    if not np.isfinite(raw).all():
        return "the training ended in NaN"
    total, inner = np.abs(raw).sum(), np.abs(raw[2:-2, 2:-2]).sum()
    if abs(1 - raw.sum()) > _LARGEST_DEFECT:
        return f"the kernel's sum is {raw.sum():.2f} instead of 1"
    if 1 - inner / total > _LARGEST_EDGE:
        return f"{1 - inner / total:.0%} of the kernel lie in its outermost taps"
    return ""


def _bicubic() -> Array:
    """Return the kernel of imresize by 1/2, which is symmetric."""
    kernel: Any = build(default_registry(), "kernel", "bicubic", path="kernel")
    array: Array = kernel.tensor(stride=STRIDE, dtype=torch.float64)[0, 0].numpy()
    return array


def _together(kernels: list[Array]) -> Tensor:
    """Return kernels in correlation order as `(B, 1, n, n)` in the order of convolution."""
    side = max(k.shape[0] for k in kernels)
    framed = [np.pad(k, (side - k.shape[0]) // 2)[::-1, ::-1] for k in kernels]
    return torch.from_numpy(np.stack(framed).copy()).unsqueeze(1)
