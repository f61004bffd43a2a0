"""`Zssr`: zero-shot super-resolution."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor
from wellposed import (
    IterationEvent,
    Needs,
    Problem,
    Reconstruction,
    Solver,
    Status,
    Watchers,
    computes_bf16,
    param,
    real_number,
    short,
    tensor_param,
    whole_number,
)
from wellposed.errors import DtypeError, IncompatibleError, ParameterError, ShapeError

from .downscaling import Downscaling, evolved, gain_of, keeps_brightness, what_is_wrong
from .finish import Finish
from .journal import Journal, Restored
from .network import Residual
from .pairs import Pairs
from .policy import HalfCosine, SlopePolicy
from .training import Budget, Streams, Trained, train

__all__ = ["Zssr"]

Callback = Callable[[IterationEvent], object]

_BACK_PROJECTIONS = 10


@attrs.frozen(eq=False, kw_only=True)
class Zssr(Solver):
    """Zero-shot super-resolution: a small network that learns from the measurement alone.

        min_f  E |w (f(U A c) - c)|_1  over crops c of y;      x = f(U y)

    A is the operator, of any known kernel and stride; U interpolates (Keys' cubic at the exact
    phase) or is another solver, `start`; w is the local gradient of y, averaged over 5 x 5 pixels
    and of mean 1; f is a stack of 3x3 convolutions around the identity. The picture is projected
    back onto y, in all the orientations that leave the operator as it is, and their median is
    taken and projected again. With `kernel_half`, f learns half the stride first, then goes on.

    Departures from the paper, with their effect on the luminance of the picture below. Sons are
    made of the whole picture at each phase of the stride, not of each crop, whose frame is then
    seen as it is (0.0 dB). The ensemble leaves out turns for which the kernel is another: all
    eight lose 0.2 dB there, the two that are left gain 0.1 dB. No random scales and no turns while
    learning, as the authors advise for kernels that have a direction (`augment`, turns only:
    -0.1 dB). The error that the schedule looks at is that of the middle 256 x 256 pixels. Noise on
    sons is new every 50 steps. Pixels at the frame count as any other.

    Ours: `start` and `schedule="cosine"`. A deconvolved start leaves less to be learned, unless y
    is noisy, which it would amplify; a falling rate alone, within 300 steps, is 0.3 dB worse than
    the paper's schedule.

    A measurement without any detail is interpolated (DIRECT, no steps); a stopped solve
    interpolates the samples that it has not begun. Random numbers depend on the seed only: equal
    samples give equal pictures.

    Shapes: y `(*batch, C, h, w)` -> x `(*batch, C, H, W)`; kernels per sample as the operator's.
    history: `loss` of each step, and `reconstruction_error`, mean square, of every 50th.
    Units: pictures in [0, 1], to which x is clipped; a kernel's gain is divided out.
    Raises: IncompatibleError for other operators; ShapeError for a y of less than 4 pixels or two
    strides to a side; DtypeError, ParameterError.
    Cost: 22 GFLOP a step and sample with the defaults: 0.15 s of one CPU core with AVX-512, 0.07 s
    if it multiplies bfloat16. Astronaut, 256 x 256 to 512 x 512, oblique Gaussian of variances 4
    and 1.2, luminance in dB and seconds of one such core (`python -m benchmarks zssr`;
    interpolation 27.6, Tikhonov 32.6; the authors' code, with that kernel transposed, 33.1):

        steps                                     100        300        1000       3000
        defaults                                  32.4 10 s  32.6 22 s  32.9 72 s  33.1 227 s
        start="tikhonov", schedule="cosine"       32.9 12 s  33.2 24 s             33.4 227 s

    The defaults at 300 and 1,000 steps are points on the way of the run of 3,000, before the
    ensemble. Seeds differ by 0.2 dB.

    Source: Shocher, Cohen and Irani, 2018, Zero-shot super-resolution using deep internal
    learning, CVPR, section 3; numbers from the authors' code.
    """

    homogeneous: ClassVar[bool] = False
    needs: ClassVar[Needs] = Needs(operator_check=what_is_wrong)

    start: Solver | None = param(
        None,
        doc="Solver whose picture the network corrects; left out, interpolation.",
    )
    kernel_half: Tensor | None = tensor_param(
        default=None,
        doc="Kernel (1|B, 1|C, kh, kw) of half the stride, to learn that scale first.",
    )
    max_steps: int = param(
        3000, doc="Most steps of training, for each scale.", check=whole_number(1)
    )
    max_seconds: float | None = param(
        None, doc="Time to train in, for each sample.", unit="seconds", check=real_number(above=0)
    )
    noise: float | None = param(
        None,
        doc="Standard deviation of noise added to what is learned from; left out, the sigma of a "
        "Gaussian noise model, else 0.",
        unit="picture units",
        check=real_number(least=0),
    )
    ensemble: bool = param(
        True, doc="Whether to take the median over all turns and mirror images the kernel allows."
    )
    augment: bool = param(False, doc="Whether to learn from turned and mirrored crops too.")
    back_projections: int | None = param(
        None,
        doc="Steps towards the measurement, of each picture and again of their median; left out, "
        "10, or 0 with noise.",
        check=whole_number(0),
    )
    precision: str = param(
        "auto",
        doc="Of the convolutions; auto: bf16 for float32 pictures where the device computes so.",
        choices=("auto", "full", "bf16"),
    )
    crop: int = param(
        128, doc="Side of the crops to learn from.", unit="pixels", check=whole_number(1)
    )
    width: int = param(64, doc="Channels inside the network.", check=whole_number(1))
    depth: int = param(8, doc="Layers of the network.", check=whole_number(2))
    schedule: str = param(
        "slope",
        doc="Of the learning rate; slope: falls when the error stands still, and then ends "
        "training; cosine: falls to zero over the budget.",
        choices=("slope", "cosine"),
    )
    rate: float = param(1e-3, doc="First learning rate.", check=real_number(above=0))
    last_rate: float = param(
        9e-6, doc="Training ends when the learning rate falls below it.", check=real_number(above=0)
    )
    tile: int = param(
        512, doc="Side of the tiles a large picture is computed in.", check=whole_number(1)
    )

    def __repr__(self) -> str:
        """Return what differs from the defaults; all of it would be long."""
        fields = attrs.fields(type(self))
        shown = {f.name: (short(getattr(self, f.name)), short(f.default)) for f in fields}
        given = [f"{name}={value}" for name, (value, default) in shown.items() if value != default]
        return f"{type(self).__name__}({', '.join(given)})"

    def _solve(self, problem: Problem, callback: Callback | None) -> Reconstruction:
        op: Any = problem.operator
        self._check_kernel_half(op)
        # What learns needs its gradients, whatever the mode of the caller.
        with torch.inference_mode(False), torch.no_grad():
            journal = Journal(
                solver=self,
                problem=problem,
                watchers=Watchers(callback),
                budget=self.max_steps * (1 if self.kernel_half is None else 2),
            )
            for y in problem.measurement.detach().reshape(-1, *op.out_space.shape):
                journal.add(self._restore(journal, op, y))
            return journal.reconstruction()

    def _restore(self, journal: Journal, op: Downscaling, measured: Tensor) -> Restored:
        index = len(journal.done)
        scales = self._scales(op, index)
        gain = gain_of(_of_sample(op.kernel, index))
        y = measured / gain
        noise = self._noise_of(journal.problem, index) / float(gain.mean())
        finish = self._finish(y, scales[-1], noise)
        if not bool(y.isfinite().all()):
            return Restored(image=finish.interpolation(), status=Status.NONFINITE)
        if journal.stopped:
            return Restored(image=finish.interpolation(), status=Status.STOPPED)
        pairs = [
            Pairs.of(y, scale, start=self._start, noise=noise, crop=self.crop, augment=self.augment)
            for scale in scales
        ]
        if not pairs[0].is_learnable:
            return Restored(image=finish.interpolation(), status=Status.DIRECT)
        return self._learn(journal, finish, pairs)

    def _learn(self, journal: Journal, finish: Finish, scales: list[Pairs]) -> Restored:
        y = finish.y
        streams = Streams.seeded(journal.problem.seed or 0, y.device)
        network = Residual(y, self.width, self.depth, streams.host)
        seconds = math.inf if self.max_seconds is None else self.max_seconds / len(scales)
        ended: list[Trained] = []

        def tell(step: int, loss: Tensor) -> bool:
            done = sum(t.steps for t in ended)
            return journal.tell(done + step, loss, lambda: finish.picture(network, quick=True))

        for pairs in scales:
            trained = train(
                network,
                pairs,
                streams,
                policy=self._policy(),
                budget=Budget(steps=self.max_steps, seconds=seconds),
                half=finish.half,
                tell=tell,
            )
            ended.append(trained)
            if trained.status > Status.BUDGET_SPENT:
                break
        failed = ended[-1].status == Status.NONFINITE
        return Restored(
            image=finish.interpolation() if failed else finish.picture(network),
            status=max(t.status for t in ended),
            steps=sum(t.steps for t in ended),
            loss=[v for t in ended for v in t.loss],
            error=[v for t in ended for v in t.error],
        )

    def _start(self, op: Any, y: Tensor) -> Tensor:
        """Return the picture that the network corrects."""
        if self.start is None:
            first: Tensor = op._initial_estimate(y)
            return first
        return self.start.solve(Problem(operator=op, measurement=y)).image

    def _policy(self) -> SlopePolicy | HalfCosine:
        if self.schedule == "cosine":
            return HalfCosine(self.rate)
        return SlopePolicy(self.rate, self.last_rate)

    def _finish(self, y: Tensor, op: Downscaling, noise: float) -> Finish:
        steps = self.back_projections
        half = self.precision == "bf16" or (self.precision == "auto" and computes_bf16(y.device))
        return Finish(
            y=y,
            op=op,
            start=self._start,
            back_projections=(0 if noise else _BACK_PROJECTIONS) if steps is None else steps,
            ensemble=self.ensemble,
            tile=self.tile,
            half=half and y.dtype == torch.float32,
        )

    def _scales(self, op: Downscaling, index: int) -> list[Any]:
        """Return one sample's operators of brightness 1, the smaller stride first."""
        own = evolved(op, kernel=_of_sample(op.kernel, index))
        if self.kernel_half is None:
            return [own]
        stride = op.stride // 2
        kernel = _of_sample(self.kernel_half, index)
        return [evolved(op, kernel=kernel, stride=stride, offset=(stride - 1) // 2), own]

    def _noise_of(self, problem: Problem, index: int) -> float:
        if self.noise is not None:
            return self.noise
        sigma = torch.as_tensor(getattr(problem.noise, "sigma", 0.0)).flatten()
        return float(sigma[index % len(sigma)])

    def _check_kernel_half(self, op: Downscaling) -> None:
        kernel = self.kernel_half
        if kernel is None:
            return
        if op.stride < 4 or op.stride % 2:
            raise IncompatibleError(
                f"zssr takes kernel_half only with an even stride of 4 or more; got a stride of "
                f"{op.stride}. Leave kernel_half out."
            )
        fits = kernel.ndim == 4 and kernel.shape[0] in (1, op.kernel.shape[0])
        if not fits or kernel.shape[1] not in (1, op.in_shape[0]):
            raise ShapeError(
                f"zssr expects kernel_half of shape (1 or {op.kernel.shape[0]}, 1 or "
                f"{op.in_shape[0]}, kh, kw), as the operator's; got {tuple(kernel.shape)}."
            )
        if not keeps_brightness(kernel):
            raise ParameterError(
                "zssr expects a kernel_half that keeps brightness; got one whose taps cancel."
            )
        if kernel.dtype != op.kernel.dtype:
            raise DtypeError(
                f"zssr expects kernel_half of dtype {op.kernel.dtype}, as the operator's; got "
                f"{kernel.dtype}. Convert one of them."
            )


def _of_sample(kernel: Tensor, index: int) -> Tensor:
    """Return the kernel of one sample, `(1, 1|C, kh, kw)`."""
    index %= len(kernel)
    return kernel[index : index + 1].detach()
