"""`solve`, `pipeline` and `simulate`: the three calls that most users need."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import attrs
import numpy as np
import torch
from torch import Tensor

from .edge import build_conditions, build_noise, build_operator, build_prior, build_solver
from .errors import IncompatibleError, ParameterError, ShapeError
from .metrics import psnr, ssim
from .noise import Noise
from .operator import ForwardOperator
from .prior import Prior
from .problem import AnyOperator, Problem
from .rasters import MAX_VALUES
from .samples import sample
from .solution import Solution
from .solver import BlindSolver, Callback, OperatorEstimate, Solver, usual_prior
from .space import Space, real_partner

__all__ = ["Pipeline", "estimate_operator", "pipeline", "simulate", "solve"]


def solve(
    measurement: Any = None,
    *,
    op: Any,
    solver: Any,
    prior: Any = None,
    op_params: Mapping[str, Any] | None = None,
    solver_params: Mapping[str, Any] | None = None,
    prior_params: Mapping[str, Any] | None = None,
    noise: Any = None,
    conditions: Mapping[str, Any] | None = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    callback: Callback | None = None,
) -> Solution:
    """Restore a picture from its measurement.

        solution = wellposed.solve("blurred.png", op="blur", solver="admm")

    measurement: a float tensor `(*batch, C, H, W)` with values in [0, 1] (or whatever the operator
    measures), a NumPy array `(H, W)` or `(H, W, C)`, a PIL picture, or a path. Left out, a sample
    picture that ships with the package is degraded by `op` and `noise` and then restored, and the
    solution carries the truth and its metrics.
    op, solver, prior, noise: each a name (`wellposed list`), a mapping `{name:, params:}`, or an
    object; op may also be a list, the composition of its items (the first is applied last).
    conditions: what else is known, for networks that take it: `{"edges": "edges.png"}`, with
    whatever a measurement may be; a list of pictures goes one behind the other in the channels.
    device: "auto" takes a tensor's own device, and CUDA for everything else where there is one.
    seed: for the noise of a sample and for solvers that draw random numbers (None: 0).
    callback: sees an `IterationEvent` after each step; returning True stops.

    Nothing is recorded for autograd; call `Solver.solve(Problem(...))` for that.
    Raises: the errors of `wellposed.errors`, each of which says what to do. A failed iteration is
    not raised: look at `solution.status`, or call `solution.require()`.
    """
    pipe = pipeline(
        op=op,
        solver=solver,
        prior=prior,
        op_params=op_params,
        solver_params=solver_params,
        prior_params=prior_params,
        noise=noise,
        device=device,
        seed=seed,
    )
    if measurement is None:
        return pipe.demonstrate(conditions=conditions, callback=callback)
    return pipe(measurement, conditions=conditions, callback=callback)


def pipeline(
    *,
    op: Any,
    solver: Any,
    prior: Any = None,
    op_params: Mapping[str, Any] | None = None,
    solver_params: Mapping[str, Any] | None = None,
    prior_params: Mapping[str, Any] | None = None,
    noise: Any = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
) -> Pipeline:
    """Prepare a restoration once, to be called on many measurements; arguments as for `solve`."""
    built = build_solver(solver, solver_params)
    return Pipeline(
        op=op,
        op_params=_own_params("op", op_params),
        solver=built,
        prior=_prior(built, prior, prior_params),
        noise=build_noise(noise),
        device=_device(device),
        seed=check_seed(seed),
    )


def estimate_operator(
    measurement: Any,
    *,
    op: Any,
    solver: Any = "kernelgan",
    op_params: Mapping[str, Any] | None = None,
    solver_params: Mapping[str, Any] | None = None,
    noise: Any = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
    callback: Callback | None = None,
) -> OperatorEstimate:
    """Return the operator behind a measurement, its unknown part estimated by a blind solver.

        operator = wellposed.estimate_operator("photo.png", op="strided_blur").operator
        solution = wellposed.solve("photo.png", op=operator, solver="admm")

    Arguments as for `solve`.
    Raises: IncompatibleError for a solver that is not blind, and what `solve` raises.
    """
    pipe = pipeline(
        op=op,
        solver=solver,
        op_params=op_params,
        solver_params=solver_params,
        noise=noise,
        device=device,
        seed=seed,
    )
    if not isinstance(pipe.solver, BlindSolver):
        raise IncompatibleError(
            f"{pipe.solver.name} takes the operator as it is; expected a blind solver, such as "
            "kernelgan."
        )
    y = _as_tensor(measurement, pipe.device, picture=pipe._sizes_by_shape)
    problem, placed = pipe.prepared(pipe.operator_for(y), y)
    assert isinstance(placed, BlindSolver)
    with torch.no_grad():
        return placed.estimate_operator(problem, callback=callback)


def simulate(
    picture: Any,
    *,
    op: Any,
    op_params: Mapping[str, Any] | None = None,
    noise: Any = None,
    device: str | torch.device = "auto",
    seed: int | None = None,
) -> Tensor:
    """Return the measurement of a picture: the operator applied, and noise drawn.

    Arguments as for `solve`. Shapes: `(*batch, C, H, W)` -> `(*batch, *out)`.
    """
    x = _as_tensor(picture, _device(device))
    operator = build_operator(op, op_params, x_space=Space(tuple(x.shape[-3:]), x.dtype))
    return _measure(operator, x, build_noise(noise), check_seed(seed))


@attrs.frozen(eq=False, kw_only=True)
class Pipeline:
    """A prepared restoration: call it on a measurement. Operators are kept by measurement shape."""

    op: Any
    op_params: dict[str, Any]
    solver: Solver
    prior: Prior | None
    noise: Noise | None
    device: torch.device | None
    seed: int | None
    _operators: dict[Any, AnyOperator] = attrs.field(factory=dict, init=False, repr=False)

    def __call__(
        self,
        measurement: Any,
        *,
        conditions: Mapping[str, Any] | None = None,
        callback: Callback | None = None,
    ) -> Solution:
        """Restore one measurement, or a batch of them; see `solve`."""
        y = _as_tensor(measurement, self.device, picture=self._sizes_by_shape)
        return self._run(self.operator_for(y), y, conditions, callback)

    @property
    def _sizes_by_shape(self) -> bool:
        """Whether the operator is yet to be built; an object knows what it measures."""
        return isinstance(self.op, (str, Mapping, list, tuple))

    def operator_for(self, y: Tensor) -> AnyOperator:
        """Return the operator, sized for a measurement."""
        if not self._sizes_by_shape:
            return build_operator(self.op, self.op_params)
        key = (tuple(y.shape[-3:]), y.dtype, y.device)
        if key not in self._operators:
            space = Space(tuple(y.shape[-3:]), y.dtype)
            built = build_operator(self.op, self.op_params, y_space=space)
            self._operators[key] = built.to(device=y.device)
        return self._operators[key]

    def demonstrate(
        self, *, conditions: Mapping[str, Any] | None = None, callback: Callback | None = None
    ) -> Solution:
        """Degrade a sample picture, restore it, and compare."""
        operator, truth = _sample_for(self.op, self.op_params, self.device)
        y = _measure(operator, truth, self.noise, self.seed)
        solution = self._run(operator, y, conditions, callback)
        assert isinstance(operator, ForwardOperator)
        baseline = operator.initial_estimate(y)
        metrics = None
        if solution.image.shape == truth.shape:
            metrics = {
                "psnr": float(psnr(solution.image, truth)),
                "ssim": float(ssim(solution.image, truth)),
                "baseline_psnr": float(psnr(baseline, truth)),
                "baseline_ssim": float(ssim(baseline, truth)),
            }
        return attrs.evolve(solution, truth=truth, baseline=baseline, metrics=metrics)

    def _run(
        self,
        operator: AnyOperator,
        y: Tensor,
        conditions: Mapping[str, Any] | None,
        callback: Callback | None,
    ) -> Solution:
        problem, solver = self.prepared(operator, y, conditions)
        with torch.no_grad():
            return solver.solve(problem, callback=callback)

    def prepared(
        self, operator: AnyOperator, y: Tensor, conditions: Mapping[str, Any] | None = None
    ) -> tuple[Problem, Solver]:
        """Return the problem for a measurement, and the solver, where the measurement is."""
        place = {"device": y.device, "dtype": real_partner(y.dtype)}
        problem = Problem(
            operator=operator,
            measurement=y,
            noise=None if self.noise is None else self.noise.to(**place),  # type: ignore[arg-type]
            prior=None if self.prior is None else self.prior.to(**place),  # type: ignore[arg-type]
            seed=self.seed,
            conditions=build_conditions(conditions, y),
        )
        return problem, self.solver.to(**place)  # type: ignore[arg-type]


def _sample_for(
    op: Any, params: Mapping[str, Any], device: torch.device | None
) -> tuple[AnyOperator, Tensor]:
    if isinstance(op, ForwardOperator):
        raise ParameterError(
            "without a measurement, op must be given by name, so that it can be sized for the "
            "sample picture; got an object. Call solve(op(x), op=op, ...) instead."
        )
    for name in _sample_names(op):
        picture = sample(name).to(device)
        operator = build_operator(op, params, x_space=Space(tuple(picture.shape), picture.dtype))
        return operator.to(device=device), picture.to(_linear(operator).in_space.dtype)
    raise AssertionError


def _sample_names(op: Any) -> list[str]:
    """Return the sample that the innermost operator asks for."""
    from .edge import _name_and_params, load_operator

    innermost = op[-1] if isinstance(op, (list, tuple)) and op else op
    if isinstance(innermost, (str, Mapping)):
        cls = load_operator(_name_and_params("op", innermost, None)[0])
        return [getattr(cls, "sample", "astronaut")]
    return ["astronaut"]


def _linear(operator: AnyOperator) -> ForwardOperator:
    if not isinstance(operator, ForwardOperator):
        raise ParameterError(f"{operator.name} cannot measure a picture alone; it is not linear.")
    return operator


def _measure(operator: AnyOperator, x: Tensor, noise: Noise | None, seed: int | None) -> Tensor:
    operator = _linear(operator).to(device=x.device)
    with torch.no_grad():
        y = operator(x.to(operator.in_space.dtype))
        if noise is None:
            return y
        return noise.sample(y, torch.Generator(x.device).manual_seed(seed or 0))


def _prior(solver: Solver, given: Any, params: Mapping[str, Any] | None) -> Prior | None:
    """Return the prior given, or the one that the solver takes by default."""
    given = usual_prior(solver) if given is None else given
    if given is None and params:
        raise ParameterError(
            f"expected a prior that they belong to; {solver.name} takes none by itself.",
            where="prior_params",
        )
    return build_prior(given, params)


def _own_params(kind: str, params: Mapping[str, Any] | None) -> dict[str, Any]:
    if params is not None and not isinstance(params, Mapping):
        raise ParameterError(
            f"expected a mapping of names and values; got {type(params).__name__}",
            where=f"{kind}_params",
        )
    return dict(params or {})


def check_seed(seed: object) -> int | None:
    """Return a seed as a whole number; None stays None. Raises: ParameterError."""
    if seed is None:
        return None
    whole = isinstance(seed, (int, np.integer)) and not isinstance(seed, bool)
    if not whole or not 0 <= seed < 2**63:  # type: ignore[operator]
        raise ParameterError(f"expected a whole number from 0 on; got {seed!r:.40}", where="seed")
    return int(seed)  # type: ignore[call-overload,no-any-return]


def _device(device: str | torch.device) -> torch.device | None:
    if device == "auto":
        return None
    try:
        found = torch.device(device)
        torch.empty(0, device=found)
    except (RuntimeError, AssertionError, TypeError) as error:
        raise ParameterError(
            f"device {device!r} cannot be used here: {str(error).splitlines()[0]}. "
            "Take 'auto' or 'cpu'."
        ) from None
    return found


def _as_tensor(given: Any, device: torch.device | None, *, picture: bool = True) -> Tensor:
    if isinstance(given, Tensor):
        y = given if device is None else given.to(device)
    else:
        from .images import to_tensor

        auto = torch.device("cuda" if torch.cuda.is_available() else "cpu")
        y = to_tensor(given).to(device or auto)
    _check_values(y, picture)
    return y


def _check_values(y: Tensor, picture: bool) -> None:
    if not (y.is_floating_point() or y.is_complex()) or y.element_size() < 4:
        raise ParameterError(
            f"a measurement tensor must be float32 or float64 (or their complex partners), with "
            f"pictures in [0, 1]; got {y.dtype}. For 8-bit values: y.float() / 255."
        )
    if (picture and y.ndim < 3) or 0 in y.shape:
        raise ShapeError(
            f"a measurement tensor must have shape (*batch, C, H, W), none of them 0; "
            f"got {tuple(y.shape)}. For a grey picture (H, W): y[None]."
        )
    if math.prod(y.shape) > MAX_VALUES:
        raise ShapeError(
            f"a measurement of {math.prod(y.shape)} values is more than {MAX_VALUES}; "
            "cut it into pieces."
        )
    bad = int((~torch.isfinite(y)).sum())
    if bad:
        raise ParameterError(
            f"the measurement holds NaN or Inf at {bad} of {y.numel()} values. "
            "Repair them, or mark them as missing with op='mask'."
        )
