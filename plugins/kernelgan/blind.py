"""Super-resolution with an unknown kernel: estimate it, then solve with any non-blind solver."""

from __future__ import annotations

import functools
from abc import abstractmethod
from collections.abc import Mapping
from typing import Any, ClassVar, cast

import attrs
import torch
from torch import Tensor
from wellposed import (
    BlindSolver,
    Callback,
    ForwardOperator,
    Needs,
    OperatorEstimate,
    Prior,
    Problem,
    Reconstruction,
    Solver,
    parts_of,
    with_part,
)
from wellposed.errors import IncompatibleError, ParameterError, ShapeError
from wellposed.registry import build, default_registry

__all__ = ["BlindStrided", "Estimates", "Seen", "named"]

_FLAT = 1 / 255
_ZSSR_STEPS = 300  # a tenth of the paper's: within 0.5 dB of it, and seconds instead of minutes


@attrs.frozen(eq=False, kw_only=True)
class Seen:
    """What there is to learn from: pictures `(B, C, h, w)`, and which pixels were measured.

    covered `(B, h, w)`, or None when all were. sigma: of the noise in each picture.
    """

    pictures: Tensor
    covered: Tensor | None
    stride: int
    sigma: tuple[float, ...]
    seed: int


@attrs.frozen(eq=False, kw_only=True)
class Estimates:
    """Kernels `(B, 1, n, n)` in the order of convolution, and how they came about.

    half: the kernels of stride 2, where those of a larger stride were made from them. why: for
    each sample whose estimate is not to be trusted, the reason.
    """

    kernels: Tensor
    why: Mapping[int, str]
    half: Tensor | None = None
    steps: Tensor | None = None
    history: Mapping[str, Tensor] = attrs.field(factory=dict)
    extras: Mapping[str, Any] = attrs.field(factory=dict)
    stopped: bool = False


def named(solver: Solver | None) -> str:
    """Show a solver in a repr by its name only."""
    return "None" if solver is None else solver.name


@functools.cache
def _strided_blur() -> type:
    found = default_registry().load("operator", "strided_blur")
    assert isinstance(found, type)
    return found


def _unknown_in(op: object) -> Any:
    """Return the one strided blur in a composition; None when there is none, or more than one."""
    found = [part for part in parts_of(op) if isinstance(part, _strided_blur())]
    return found[0] if len(found) == 1 else None


def _what_is_wrong(op: ForwardOperator) -> str | None:
    unknown: Any = _unknown_in(op)
    if unknown is None:
        return "it must hold exactly one strided_blur, whose kernel is then estimated."
    if op is not unknown and getattr(op, "factors", (None,))[-1] is not unknown:
        return (
            "the strided_blur whose kernel is sought must come first, with known operators after "
            "it: `known @ strided_blur`."
        )
    stride: int = cast(Any, unknown).stride
    if stride < 2:
        return f"the kernel is seen by comparing two scales; got stride {stride}."
    return None


class BlindStrided(BlindSolver):
    """Estimates the kernel of `known @ strided_blur`, then solves with it.

    A final class has a field `nonblind`, and estimates the kernels.
    """

    needs: ClassVar[Needs] = Needs(
        operator_check=_what_is_wrong, priors=(Prior,), prior_optional=True
    )
    homogeneous: ClassVar[bool] = False

    nonblind: Solver | None

    @abstractmethod
    def _estimate(self, seen: Seen, problem: Problem, callback: Callback | None) -> Estimates:
        """Return the kernels."""

    def estimate_operator(
        self, problem: Problem, *, callback: Callback | None = None
    ) -> OperatorEstimate:
        """Return the problem's operator with the estimated kernel.

        The kernel has its centre of mass in the middle of the block of pixels that a measured one
        stands for, whatever the operator's offset. extras: `half`, the kernel of stride 2, where
        that of a larger stride was made from it.
        Raises: IncompatibleError for an operator without a strided blur at its end; ShapeError for
        a picture that is too small; ParameterError for one without any detail.
        """
        self.needs.check(self.name, problem)
        unknown = _unknown_in(problem.linear)
        seen = self._look(problem, unknown)
        found = self._estimate(seen, problem, callback)
        kernels = found.kernels.to(unknown.kernel)
        phase = (unknown.stride - 1) // 2
        known = attrs.evolve(unknown, kernel=_moved(kernels, unknown.offset - phase))
        half = {} if found.half is None else {"half": found.half.to(unknown.kernel)}
        return OperatorEstimate(
            operator=with_part(problem.linear, unknown, known),
            why={**found.why, **_flat_ones(seen.pictures)},
            steps=found.steps,
            history=found.history,
            extras={**found.extras, "kernel": known.kernel, **half},
            stopped=found.stopped,
        )

    def _solve(self, problem: Problem, callback: Callback | None) -> Reconstruction:
        batch, problem = problem.batch, self._flattened(problem)
        found = self.estimate_operator(problem, callback=callback)
        nonblind = self._nonblind(found, noisy=bool((_sigma_of(problem) > 0).any()))
        known = attrs.evolve(
            problem, operator=found.operator, prior=self._prior_for(nonblind, problem), initial=None
        )
        inner = nonblind.solve(known, callback=None if found.stopped else callback)
        history = {**found.history, **{f"nonblind_{k}": v for k, v in inner.history.items()}}
        steps = inner.steps.reshape(-1)
        if found.steps is not None:
            steps = steps + found.steps.to(steps)
        return Reconstruction(
            image=inner.image.reshape(*batch, *inner.image.shape[-3:]),
            operator=found.operator,
            codes=self._codes(inner, found).to(steps.device).reshape(batch),
            steps=steps.reshape(batch),
            history={name: v.reshape(*batch, v.shape[-1]) for name, v in history.items()},
            extras={
                **found.extras,
                "why": dict(found.why),
                "nonblind": inner.provenance.solver,
            },
        )

    def _nonblind(self, found: OperatorEstimate, *, noisy: bool) -> Solver:
        """Return the non-blind solver, told about the kernel of stride 2 if it can use one."""
        solver = self.nonblind
        if solver is None:
            given = self._default_nonblind(found.operator, noisy=noisy)
            solver = build(default_registry(), "solver", given, path="nonblind")
        if not isinstance(solver, Solver) or isinstance(solver, BlindSolver):
            got = getattr(solver, "name", type(solver).__name__)
            raise ParameterError(
                f"{self.name}.nonblind expects a solver for known kernels; got {got}."
            )
        kernel = found.extras["kernel"]
        solver = solver.to(device=kernel.device, dtype=kernel.dtype)
        if "half" in found.extras and getattr(solver, "kernel_half", "none such") is None:
            told: Solver = attrs.evolve(cast(Any, solver), kernel_half=found.extras["half"])
            return told
        return solver

    @staticmethod
    def _default_nonblind(operator: ForwardOperator, *, noisy: bool) -> str | Mapping[str, Any]:
        """Zero-shot super-resolution where nothing comes after the blur, as in the paper.

        With the authors' two back-projections: more of them fit the errors of the kernel. With
        noise zssr takes none, as the authors do: two of them would fit the noise.
        """
        if not isinstance(operator, _strided_blur()):
            return "tikhonov"
        back = {} if noisy else {"back_projections": 2}
        return {"name": "zssr", "params": {"max_steps": _ZSSR_STEPS, **back}}

    def _look(self, problem: Problem, unknown: Any) -> Seen:
        """Return the pictures that the strided blur gave, as far as they were measured."""
        y, op = problem.measurement, problem.linear
        if len(problem.batch) > 1:
            raise IncompatibleError(
                f"{self.name} takes one batch axis, since kernels are per sample; got the batch "
                f"{problem.batch}. Flatten it."
            )
        covered = None
        if op is not unknown:
            outer = op.factors[:-1]  # type: ignore[attr-defined]
            known = functools.reduce(lambda a, b: a @ b, outer)
            ones = torch.ones(unknown.out_space.shape, dtype=y.dtype, device=y.device)
            amount = known.gram(ones.expand(*known.batch_shape, *ones.shape)).abs().amin(-3)
            covered = (amount > 0.1 * amount.amax((-2, -1), keepdim=True)).to(y.dtype)
            y = known.initial_estimate(y)
        pictures = y.reshape(-1, *y.shape[-3:])
        if covered is not None:
            covered = (
                None if bool(covered.all()) else covered.expand(len(pictures), *covered.shape[-2:])
            )
        if len(_flat_ones(pictures)) == len(pictures):
            raise ParameterError(
                f"{self.name} learns from detail in the picture; got a constant one."
            )
        sigma = _sigma_of(problem)
        if len(sigma) not in (1, len(pictures)):
            raise ShapeError(
                f"{self.name} takes one sigma of the noise, or one for each of {len(pictures)} "
                f"pictures; got {len(sigma)}."
            )
        return Seen(
            pictures=pictures,
            covered=covered,
            stride=unknown.stride,
            sigma=tuple(sigma.expand(len(pictures)).tolist()),
            seed=problem.seed or 0,
        )


def _sigma_of(problem: Problem) -> Tensor:
    """Return the standard deviation of the noise, one or one for each sample; 0 if unknown."""
    return torch.as_tensor(getattr(problem.noise, "sigma", 0.0)).flatten()


def _flat_ones(pictures: Tensor) -> dict[int, str]:
    spread = pictures.amax((1, 2, 3)) - pictures.amin((1, 2, 3))
    return {i: "the picture is constant" for i in torch.nonzero(spread < _FLAT).flatten().tolist()}


def _moved(kernels: Tensor, pixels: int) -> Tensor:
    """Return kernels for an operator whose offset is so much larger than the block's middle."""
    if not pixels:
        return kernels
    # y[i] reads x[offset + stride i + n // 2 - j]: a larger offset, a larger index j.
    grown = torch.nn.functional.pad(kernels, [abs(pixels)] * 4)
    return grown.roll((pixels, pixels), (-2, -1))
