"""A solver and a bilinear operator with one fault at a time; see `broken`."""

from __future__ import annotations

from typing import Any, Final

import attrs
import torch
from hypothesis import strategies as st
from torch import Tensor
from wellposed.registry import param

from ..bilinear import BilinearOperator
from ..fields import tensor_param
from ..operator import ForwardOperator
from ..problem import Problem
from ..solver import IterativeSolver, Needs
from ..space import Space
from .broken import NONE, FaultyBlur
from .cases import SolverCase
from .strategies import image_shapes, kernels, seeds

__all__ = [
    "BILINEAR_FAULTS",
    "SOLVER_FAULTS",
    "FaultyBilinear",
    "FaultySolver",
    "faulty_bilinears",
    "faulty_solvers",
]

# ---- solver -------------------------------------------------------------------------------------

SOLVER_FAULTS: Final = {
    "stops early": "test_reaches_the_expected_solution",
    "global random state": "test_is_deterministic",
    "mean over the batch": "test_batch_equals_loop",
    "one sample stops all": "test_nan_sample_is_reported_alone",
    "divides by zero": "test_zero_sample_harms_no_other",
    "absolute epsilon": "test_has_no_scale",
    "takes anything": "test_refuses_what_it_cannot_use",
    "writes into the measurement": "test_problem_is_not_modified",
    "double only": "test_works_in_single_precision",
    "curve without samples": "test_history_has_a_row_per_sample",
    "ignores the callback": "test_callback_can_stop",
    "says it converged": "test_says_when_it_did_not_converge",
    "exceeds its budget": "test_never_exceeds_its_budget",
    "prints": "test_prints_nothing",
}


@attrs.frozen(eq=False, kw_only=True)
class _Iterate:
    x: Tensor


@attrs.frozen(eq=False, kw_only=True)
class FaultySolver(IterativeSolver[_Iterate]):
    """Gradient descent on `1/2 |A x - y|^2`, wrong in one way.

    Source: the definition.
    """

    max_steps: int = param(400, doc="budget", check=attrs.validators.instance_of(int))
    tolerance: float = param(1e-12, doc="relative change at which a sample stops")
    fault: str = param(NONE, doc="what is wrong")

    @property
    def needs(self) -> Needs:  # type: ignore[override]
        """A linear operator, and no prior."""
        if self.fault == "takes anything":
            return _Anything(operators=(object,), quadratic=False)
        return Needs()

    def init(self, problem: Problem) -> _Iterate:
        """Start at zero."""
        batch = problem.batch
        return _Iterate(
            x=torch.zeros((*batch, *problem.image_space.shape), dtype=self._dtype(problem))
        )

    def step(self, problem: Problem, state: _Iterate) -> _Iterate:
        """Go down the gradient."""
        op, x = problem.linear, state.x
        y = problem.measurement
        if self.fault == "writes into the measurement":
            y.mul_(1.0)
        if self.fault == "prints":
            print("step")  # the fault
        g = op._adjoint(op._apply(x.to(op.in_space.dtype)) - y)
        if self.fault == "mean over the batch" and g.ndim > 3:
            g = g.mean(0, keepdim=True).expand_as(g)
        if self.fault == "one sample stops all" and bool(g.isnan().any()):
            g = torch.zeros_like(g)
        if self.fault == "absolute epsilon":
            g = torch.where(g.abs() > 1e-8, g, 0)
        if self.fault == "divides by zero":
            size = op.out_space.norm(y)[..., None, None, None]
            g = g * size / size
        if self.fault == "global random state":
            g = g * (1 + 1e-3 * torch.rand(()))
        scale = 1e-3 if self.fault in ("stops early", "says it converged") else 1.0
        return _Iterate(x=x - scale * g / op.norm_bound().max() ** 2)

    def estimate(self, problem: Problem, state: _Iterate) -> Tensor:
        """Return x."""
        return state.x

    def change(self, problem: Problem, old: _Iterate, new: _Iterate) -> Tensor:
        """Return the relative change."""
        if self.fault == "says it converged":
            return torch.zeros(problem.batch, dtype=torch.float64)
        return IterativeSolver.change(self, problem, old, new)

    def monitor(self, problem: Problem, state: _Iterate) -> dict[str, Tensor]:
        """Return nothing, or a curve of another shape."""
        wrong = self.fault == "curve without samples"
        return {"norm": state.x.reshape(-1)[:1]} if wrong else {}

    def _solve(self, problem: Problem, callback: Any) -> Any:
        if self.fault == "ignores the callback" and callback is not None:
            kept = callback

            def callback(event: Any) -> None:
                kept(event)

        solver = self
        if self.fault == "exceeds its budget":
            solver = attrs.evolve(self, max_steps=self.max_steps + 5, fault=NONE)
        return IterativeSolver._solve(solver, problem, callback)

    def _dtype(self, problem: Problem) -> torch.dtype:
        own = problem.image_space.dtype
        return torch.float64 if self.fault == "double only" and not own.is_complex else own


@attrs.frozen(kw_only=True)
class _Anything(Needs):
    def check(self, who: str, problem: Problem) -> None:
        """Let everything pass."""


@st.composite
def faulty_solvers(draw: st.DrawFn, fault: str = NONE) -> SolverCase:
    """Draw well-conditioned blurs and their exact solutions."""
    shape = draw(image_shapes(most=5))
    kernel = draw(kernels(most=3))
    kernel = 0.3 * kernel
    kernel[..., kernel.shape[-2] // 2, kernel.shape[-1] // 2] += 1.0
    op = FaultyBlur(in_shape=shape, kernel=kernel)
    generator = torch.Generator().manual_seed(draw(seeds()))
    batch = draw(st.sampled_from([(), (2,)]))
    x = op.in_space.randn(batch, generator=generator)
    solver = FaultySolver(fault=fault)
    return SolverCase(
        solver=solver, problem=Problem(operator=op, measurement=op(x)), expected=x, rtol=1e-8
    )


# ---- bilinear -----------------------------------------------------------------------------------

BILINEAR_FAULTS: Final = {
    "constant": "test_is_linear_in_each_argument",
    "squares w": "test_is_linear_in_each_argument",
    "at_w of another w": "test_sections_agree",
    "at_x of another x": "test_sections_agree",
    "scaled adjoint": "test_sections_pass_the_dot_test_in_float64",
    "mean over the batch": "test_batch_equals_loop",
    "writes into x": "test_input_is_not_modified",
    "detached w": "test_autograd_gives_the_sections_adjoints",
    "wrong space": "test_sections_have_the_right_spaces",
}


@attrs.frozen(eq=False, kw_only=True)
class _Times(ForwardOperator):
    """Pointwise product with a fixed picture."""

    factor: Tensor = tensor_param(doc="(*shape) or (B, *shape)")
    shape: tuple[int, ...] = param(doc="shape of the picture")
    scale: float = param(1.0, doc="of the adjoint")

    @property
    def in_space(self) -> Space:
        return Space(self.shape, self.factor.dtype)

    @property
    def out_space(self) -> Space:
        return self.in_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        return tuple(self.factor.shape[: -len(self.shape)])

    def _apply(self, x: Tensor) -> Tensor:
        return self.factor * x

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.scale * self.factor.conj() * y


@attrs.frozen(eq=False, kw_only=True)
class FaultyBilinear(BilinearOperator):
    """The pointwise product `w x`, wrong in one way.

    Source: the definition.
    """

    in_shape: tuple[int, ...] = param(doc="shape of w and x")
    dtype: torch.dtype = param(torch.float64, doc="of both")
    fault: str = param(NONE, doc="what is wrong")

    @property
    def w_space(self) -> Space:
        """Pictures."""
        return Space(self.in_shape, self.dtype)

    @property
    def x_space(self) -> Space:
        """Pictures."""
        return Space(self.in_shape, self.dtype)

    @property
    def out_space(self) -> Space:
        """Pictures."""
        return Space(self.in_shape, self.dtype)

    def _apply(self, w: Tensor, x: Tensor) -> Tensor:
        if self.fault == "squares w":
            return w * w * x
        if self.fault == "detached w":
            w = w.detach()
        if self.fault == "writes into x":
            x.detach().mul_(1.0)
        y = w * x
        if self.fault == "constant":
            y = y + 1e-9
        return y + y.mean() if self.fault == "mean over the batch" else y

    def at_w(self, w: Tensor) -> ForwardOperator:
        """Return `x -> w x`."""
        w = 1.1 * w if self.fault == "at_w of another w" else w
        scale = 1.01 if self.fault == "scaled adjoint" else 1.0
        shape = self.in_shape
        if self.fault == "wrong space":
            shape = (w.shape[0], *shape) if w.ndim > len(shape) else shape
        return _Times(factor=w, shape=shape, scale=scale)

    def at_x(self, x: Tensor) -> ForwardOperator:
        """Return `w -> w x`."""
        x = 1.1 * x if self.fault == "at_x of another x" else x
        return _Times(factor=x, shape=self.in_shape)


@st.composite
def faulty_bilinears(draw: st.DrawFn, fault: str = NONE) -> FaultyBilinear:
    """Draw products of pictures of all sizes, real and complex."""
    dtype = draw(st.sampled_from([torch.float64, torch.complex128]))
    return FaultyBilinear(in_shape=draw(image_shapes(most=6)), dtype=dtype, fault=fault)
