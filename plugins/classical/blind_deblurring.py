"""`BlindDeblurring`: the kernel of a blur from the edges of the picture, coarse to fine."""

from __future__ import annotations

import functools
from typing import Any, ClassVar, cast

import attrs
import torch
from torch import Tensor
from wellposed import (
    BilinearOperator,
    BlindSolver,
    Callback,
    IterationEvent,
    Needs,
    OperatorEstimate,
    Prior,
    Problem,
    Reconstruction,
    Solver,
    Watchers,
    param,
    real_number,
    whole_number,
)
from wellposed.errors import IncompatibleError, ParameterError, ShapeError
from wellposed.registry import build, default_registry

from .blind_latent import Sparsity
from .blind_pyramid import extended
from .blind_search import Schedule, search

__all__ = ["BlindDeblurring"]

_GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601
_FLAT = 1 / 255


def _named(solver: Solver | None) -> str:
    return "None" if solver is None else solver.name


def _what_is_wrong(op: BilinearOperator) -> str | None:
    if not isinstance(op, default_registry().load("bilinear", "convolution")):
        return (
            "it finds the kernel of a `convolution` with nothing before or after it; "
            "`generative_bilinear` takes other bilinear operators, and known ones after them."
        )
    if op.x_space.dtype.is_complex:
        return f"it knows real pictures only; got {op.x_space.dtype}."
    return None


def _odd(instance: object, attribute: Any, value: object) -> None:
    whole_number(1)(instance, attribute, value)
    if value % 2 == 0:  # type: ignore[operator]
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects an odd side, which has a middle; "
            f"got {value}."
        )


@attrs.frozen(eq=False, kw_only=True)
class BlindDeblurring(BlindSolver):
    """Recover kernel w and picture x from `y = w * x` by the picture's sparse edges.

    Coarse to fine, in steps of sqrt(2), and `rounds` times at each scale, in grey:

        x = argmin_x |w * x - y|^2 + gradient_weight |D x|_0 + dark_channel |d(x)|_0
        w = argmin_w |w * D x - D y|^2 + kernel_weight |w|^2    with w >= 0, sum(w) = 1

    where D are differences, of which the large ones alone decide w, and d(x) is the dark channel,
    the smallest value in a window around each pixel. After each round taps below `cut` of the
    largest and groups of taps with less than `island` of the sum are removed; after each scale
    the kernel is centred. The picture x only serves to find w: the result is that of `nonblind`,
    on all channels.

    Ambiguities: a shift of w against x fits as well, and is settled by the centre of mass of w at
    index `n // 2` (to a whole pixel); a scale, by `sum(w) = 1`. Compare with a truth by a shifted
    copy (`aligned` of `generative_bilinear`). What has no edges (a constant picture) ends as
    DEGENERATE, with a reason in extras. A picture that is hardly larger than the kernel's frame
    (32 pixels for 28 taps) has too few edges, and may come out worse than it was.

    Borders: the operator wraps, and so does everything here. A photograph does not: with
    `border="extended"` it is made periodic by a margin as wide as the kernel, which is cut off in
    the end.

    Shapes: y `(*batch, C, H, W)` -> x of the same shape, with a kernel per sample. The solution's
    operator is the convolution with w (several batch axes made one). extras: `parameter`,
    w `(*batch, 1|C, kh, kw)` (one kernel for all channels); `why`, by sample; `nonblind`.
    Units: pictures in [0, 1]: the weights are made for them.
    Raises: IncompatibleError for other operators and for an initial picture; ShapeError for a
    kernel larger than the picture.
    Nothing is drawn at random, and no gradient goes through: counts have none.
    Cost: for each round and scale about 70 FFTs of the picture in grey, and two for each of
    `kernel_steps`; with the dark channel, about ten times the former.
    Source: Pan, Sun, Pfister and Yang, 2016, Blind image deblurring using dark channel prior, CVPR,
    section 4 and algorithms 1 and 2; without the dark channel: Pan, Hu, Su and Yang, 2014,
    Deblurring text images via L0-regularized intensity and gradient prior, CVPR, and Xu, Zheng and
    Jia, 2013, Unnatural L0 sparse representation for natural image deblurring, CVPR. Weights,
    windows and schedules are those of the 2016 authors' code. Departures: the constraints on w are
    part of its least squares; there they are imposed afterwards, which leaves a haze of small taps
    and fails on small pictures. x is kept in [0, 1]. The start is a Dirac's delta, not two taps
    side by side. The dark channel is left out by default: it costs more than it gains here.
    """

    needs: ClassVar[Needs] = Needs(
        operators=(BilinearOperator,),
        operator_check=_what_is_wrong,
        priors=(Prior,),
        prior_optional=True,
    )
    homogeneous: ClassVar[bool] = False

    nonblind: Solver | None = param(
        None,
        doc="Solver for the picture once the kernel is known; left out, `admm`, with the problem's "
        "prior or else total variation.",
        check=attrs.validators.optional(attrs.validators.instance_of(Solver)),
        repr=_named,
    )
    rounds: int = param(5, doc="Rounds at each scale.", check=whole_number(1))
    gradient_weight: float = param(
        4e-3,
        doc="Weight of the number of edges; falls by 1.1 per round, to 1e-4.",
        unit="(picture units)^2",
        check=real_number(above=0, below=1),
    )
    dark_channel: float = param(
        0.0,
        doc="Weight of the number of pixels whose dark channel is not zero, 4e-3 in the paper; "
        "falls likewise. 0: leave it out.",
        unit="(picture units)^2",
        check=real_number(least=0, below=1),
    )
    patch: int = param(
        35, doc="Side of the dark channel's windows, odd.", unit="pixels", check=_odd
    )
    kernel_weight: float = param(2.0, doc="Weight of |w|^2.", check=real_number(least=0))
    kernel_steps: int = param(
        50, doc="Steps of projected gradients for each kernel.", check=whole_number(1), repr=False
    )
    cut: float = param(
        0.05,
        doc="Smallest tap that is kept, as a share of the largest.",
        check=real_number(least=0, below=1),
        repr=False,
    )
    island: float = param(
        0.1,
        doc="Least mass of a connected group of taps, as a share of the sum.",
        check=real_number(least=0, below=1),
        repr=False,
    )
    border: str = param(
        "circular",
        doc="The measurement's: it wraps, or it is a photograph's, to be extended.",
        choices=("circular", "extended"),
    )

    def estimate_operator(
        self, problem: Problem, *, callback: Callback | None = None
    ) -> OperatorEstimate:
        """Return the convolution with the estimated kernel; extras: `kernel`.

        Raises: IncompatibleError, ShapeError.
        """
        self.needs.check(self.name, problem)
        return self._estimate(problem, callback)

    @torch.no_grad()
    def _estimate(self, problem: Problem, callback: Callback | None) -> OperatorEstimate:
        op, y = _convolution_of(problem), problem.measurement
        taps = (op.w_space.shape[-2], op.w_space.shape[-1])
        if taps[0] > y.shape[-2] or taps[1] > y.shape[-1]:
            raise ShapeError(
                f"{self.name} needs a picture as large as the kernel; got a kernel of {taps[0]} x "
                f"{taps[1]} and a picture of {y.shape[-2]} x {y.shape[-1]}. Give the operator a "
                "smaller kernel_shape."
            )
        if problem.initial is not None:
            raise IncompatibleError(
                f"{self.name} starts from the measurement; got an initial picture. Leave it out.",
                where="initial",
            )
        grey = _grey(y.reshape(-1, *y.shape[-3:]))
        why = _flat_ones(grey)
        if self.border == "extended":
            grey = extended(grey, taps)
        found = search(grey, taps, self._schedule(), _Watch(self, problem, Watchers(callback)))
        kernel = found.kernel.expand(-1, op.w_space.shape[0], -1, -1).contiguous()
        changes = found.changes.cpu().nan_to_num(0)
        return OperatorEstimate(
            operator=op.at_w(kernel),
            why=why,
            steps=torch.full((len(kernel),), changes.shape[-1], dtype=torch.int32),
            history={"kernel_change": changes},
            extras={"kernel": kernel},
            stopped=found.stopped,
        )

    def _schedule(self) -> Schedule:
        return Schedule(
            rounds=self.rounds,
            sparsity=Sparsity(
                gradient=self.gradient_weight, dark=self.dark_channel, patch=self.patch
            ),
            kernel_weight=self.kernel_weight,
            kernel_steps=self.kernel_steps,
            cut=self.cut,
            island=self.island,
        )

    @torch.no_grad()  # a gradient by way of the picture alone would be a wrong one
    def _solve(self, problem: Problem, callback: Callback | None) -> Reconstruction:
        batch, y = problem.batch, problem.measurement
        nonblind = self._nonblind(y)
        found = self._estimate(problem, callback)
        kernel = found.extras["kernel"]
        op, flat = _convolution_of(problem), y.reshape(-1, *y.shape[-3:])
        if self.border == "extended":
            flat = extended(flat, (kernel.shape[-2], kernel.shape[-1]))
            op = attrs.evolve(cast(Any, op), in_shape=tuple(flat.shape[-3:]))
        one_axis = self._flattened(problem)
        known = attrs.evolve(
            one_axis,
            operator=op.at_w(kernel),
            measurement=flat,
            prior=self._prior_for(nonblind, one_axis),
        )
        unseen = callback is None or found.stopped
        after = None if unseen else _After(self, problem, callback, found.history["kernel_change"])
        inner = nonblind.solve(known, callback=after)
        history = {**found.history, **{f"nonblind_{k}": v for k, v in inner.history.items()}}
        assert found.steps is not None
        image = inner.image[..., : y.shape[-2], : y.shape[-1]]
        return Reconstruction(
            image=image.reshape(y.shape),
            operator=found.operator,
            codes=self._codes(inner, found).reshape(batch),
            steps=(inner.steps.reshape(-1).cpu() + found.steps).reshape(batch),
            history={name: v.reshape(*batch, v.shape[-1]) for name, v in history.items()},
            extras={
                "parameter": kernel.reshape(*batch, *kernel.shape[1:]),
                "why": dict(found.why),
                "nonblind": inner.provenance.solver,
            },
        )

    def _nonblind(self, y: Tensor) -> Solver:
        solver: Any = self.nonblind
        if solver is None:
            solver = build(default_registry(), "solver", "admm", path="nonblind")
        if isinstance(solver, BlindSolver):
            raise ParameterError(
                f"{self.name}.nonblind expects a solver for known kernels; got {solver.name}."
            )
        moved: Solver = solver.to(device=y.device, dtype=y.dtype)
        return moved


@attrs.frozen(eq=False)
class _Watch:
    """Shows each round to whoever follows."""

    solver: BlindDeblurring
    problem: Problem
    watchers: Watchers

    def __call__(self, change: Tensor, kernel: Tensor, step: int, steps: int) -> bool:
        if not self.watchers:
            return False
        change = change.reshape(self.problem.batch)
        event = IterationEvent(
            step=step,
            max_steps=steps,
            change=change,
            active=torch.ones_like(change, dtype=torch.bool),
            estimate=self._measurement,  # there is no better picture of that size yet
            details=functools.partial(dict, kernel=kernel),
            solver=self.solver,
            problem=self.problem,
        )
        return self.watchers.tell(event)

    def _measurement(self) -> Tensor:
        return self.problem.measurement


@attrs.frozen(eq=False)
class _After:
    """Shows the non-blind solver's steps as those of the problem that was given."""

    solver: BlindDeblurring
    problem: Problem
    callback: Callback | None
    rounds: Tensor

    def __call__(self, event: IterationEvent) -> object:
        assert self.callback is not None
        before, batch = self.rounds.shape[-1], self.problem.batch
        shown = attrs.evolve(
            event,
            step=before + event.step,
            max_steps=before + event.max_steps,
            change=event.change.reshape(batch),
            active=event.active.reshape(batch),
            estimate=functools.partial(self._estimate, event),
            solver=self.solver,
            problem=self.problem,
        )
        return self.callback(shown)

    def _estimate(self, event: IterationEvent) -> Tensor:
        shape = self.problem.measurement.shape
        return event.estimate()[..., : shape[-2], : shape[-1]].reshape(shape)


def _convolution_of(problem: Problem) -> BilinearOperator:
    assert isinstance(problem.operator, BilinearOperator)  # `needs` has been checked
    return problem.operator


def _grey(y: Tensor) -> Tensor:
    if y.shape[-3] != 3:
        return y.mean(-3, keepdim=True)
    return (y * y.new_tensor(_GREY)[:, None, None]).sum(-3, keepdim=True)


def _flat_ones(grey: Tensor) -> dict[int, str]:
    spread = grey.amax((1, 2, 3)) - grey.amin((1, 2, 3))
    return {
        i: "the picture has no edges in grey"
        for i in torch.nonzero(spread < _FLAT).flatten().tolist()
    }
