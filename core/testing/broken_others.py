"""A kernel, a prior, a solver, a noise and a bilinear operator with one fault at a time."""

from __future__ import annotations

from typing import Any, Final

import attrs
import torch
from hypothesis import strategies as st
from torch import Tensor
from wellposed.registry import param

from ..bilinear import BilinearOperator
from ..errors import ParameterError
from ..fields import tensor_param
from ..kernel import Kernel
from ..noise import Noise
from ..operator import ForwardOperator
from ..prior import AnalysisPrior, Denoiser, ProximalPrior, SmoothPrior
from ..problem import Problem
from ..solver import IterativeSolver, Needs
from ..space import Space
from .broken import NONE, FaultyBlur
from .cases import PriorCase, SolverCase
from .strategies import image_shapes, kernels, seeds

__all__ = [
    "BILINEAR_FAULTS",
    "KERNEL_FAULTS",
    "NOISE_FAULTS",
    "PRIOR_FAULTS",
    "SOLVER_FAULTS",
    "FaultyBilinear",
    "FaultyKernel",
    "FaultyNoise",
    "FaultyPrior",
    "FaultySolver",
    "faulty_bilinears",
    "faulty_kernels",
    "faulty_noises",
    "faulty_priors",
    "faulty_solvers",
]


def _events(value: Any, ndim: int = 3) -> Any:
    return value[(...,) + (None,) * ndim] if isinstance(value, Tensor) and value.ndim else value


# ---- kernel -------------------------------------------------------------------------------------

KERNEL_FAULTS: Final = {
    "two axes": "test_has_four_axes",
    "wrong dtype": "test_has_four_axes",
    "sums to two": "test_sums_to_one",
    "one phase for all strides": "test_has_the_phase_of_its_stride",
    "centred half a pixel off": "test_has_the_phase_of_its_stride",
    "takes any stride": "test_refuses_impossible_strides",
    "random": "test_call_changes_nothing",
}


@attrs.frozen(eq=False, kw_only=True)
class FaultyKernel(Kernel):
    """The mean over a square of about `width` pixels, wrong in one way.

    Source: the definition.
    """

    width: float = param(3.0, doc="pixels along a side")
    fault: str = param(NONE, doc="what is wrong")

    def tensor(
        self,
        *,
        stride: int = 1,
        dtype: torch.dtype = torch.float32,
        device: torch.device | str | None = None,
    ) -> Tensor:
        """Return the kernel."""
        if self.fault == "takes any stride":
            stride = max(int(stride), 1)
        if isinstance(stride, float) or stride < 1:
            raise ParameterError(f"a kernel expects a stride of 1, 2, ...; got {stride!r}.")
        even = stride % 2 == 0 and self.fault != "one phase for all strides"
        n = 2 * int(self.width) + (0 if even else 1)
        kernel = torch.ones((1, 1, n, n), dtype=torch.float64, device=device)
        if self.fault == "random":
            kernel = torch.rand(kernel.shape, dtype=torch.float64)
        if self.fault == "centred half a pixel off":
            kernel[..., 0] = 0
        kernel = kernel / kernel.sum() * (2 if self.fault == "sums to two" else 1)
        kernel = kernel.to(torch.float32 if self.fault == "wrong dtype" else dtype)
        return kernel[0, 0] if self.fault == "two axes" else kernel


def faulty_kernels(fault: str = NONE) -> st.SearchStrategy[FaultyKernel]:
    """Draw kernels of several sizes."""
    return st.builds(FaultyKernel, width=st.sampled_from([1.0, 2.0, 3.5]), fault=st.just(fault))


# ---- prior --------------------------------------------------------------------------------------

PRIOR_FAULTS: Final = {
    "too large a step": "test_prox_beats_competitors",
    "ignores tau": "test_prox_beats_competitors",
    "expansive": "test_prox_is_firmly_nonexpansive",
    "scaled gradient": "test_gradient_is_that_of_the_value",
    "Lipschitz constant too small": "test_lipschitz_bounds_the_gradient",
    "value of another functional": "test_value_is_that_of_the_analysis",
    "analysis map of another step": "test_analysis_prox_beats_competitors",
    "adjoint of the analysis scaled": "test_analysis_is_an_operator",
    "denoises at zero": "test_denoiser_returns_its_input_at_zero",
    "adds noise": "test_denoiser_removes_noise",
    "tau along the width": "test_takes_a_number_per_sample",
    "mean over the batch": "test_takes_a_number_per_sample",
    "spreads NaN": "test_nan_stays_in_its_sample",
    "one batch axis only": "test_any_number_of_batch_axes",
    "writes into its input": "test_input_is_not_modified",
    "value without a batch": "test_shapes_and_dtypes",
    "double only": "test_shapes_and_dtypes",
    "refuses numbers": "test_number_equals_tensor",
}


@attrs.frozen(eq=False, kw_only=True)
class FaultyPrior(SmoothPrior, ProximalPrior, AnalysisPrior, Denoiser):
    """`R(x) = weight / 2 |x|^2` with every capability, wrong in one way.

    Source: the definition.
    """

    weight: float = param(0.7, doc="multiplies the functional")
    fault: str = param(NONE, doc="what is wrong")

    def value(self, x: Tensor) -> Tensor:
        """Return R(x)."""
        total = 0.5 * self.weight * x.abs().square().sum((-3, -2, -1))
        if self.fault == "value of another functional":
            total = 2 * total
        return total.sum() if self.fault == "value without a batch" else total

    def grad(self, x: Tensor) -> Tensor:
        """Return `weight x`."""
        return self.weight * x * (1.01 if self.fault == "scaled gradient" else 1)

    def lipschitz(self, space: Space) -> float:
        """Return the weight."""
        return self.weight * (0.9 if self.fault == "Lipschitz constant too small" else 1)

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return `v / (1 + tau weight)`."""
        if self.fault == "refuses numbers" and not isinstance(tau, Tensor):
            raise ParameterError("tau must be a tensor.")
        step = 1.0 if self.fault == "ignores tau" else _events(tau)
        along = self.fault == "tau along the width" and isinstance(tau, Tensor)
        if along and tau.ndim == 1 and tau.shape[0] == v.shape[-1]:  # type: ignore[union-attr]
            step = tau
        if self.fault == "too large a step":
            step = 1.1 * step
        p = v / (1 + step * self.weight)
        if self.fault == "expansive":
            p = -p
        if self.fault == "mean over the batch" and v.ndim > 3:
            p = p + 0.01 * v.mean(0, keepdim=True)
        if self.fault == "spreads NaN":
            p = p + 0 * v.sum()
        if self.fault == "one batch axis only" and v.ndim > 4:
            p = p + v.mean()
        if self.fault == "writes into its input":
            v.mul_(0.5)
        return p.double() if self.fault == "double only" and not v.is_complex() else p

    def analysis(self, space: Space) -> ForwardOperator:
        """Return the identity, as a blur of one tap."""
        wrong = self.fault == "adjoint of the analysis scaled"
        kernel = torch.ones((1, 1, 1, 1), dtype=space.dtype)
        fault = "scaled adjoint" if wrong else NONE
        return FaultyBlur(in_shape=space.shape, kernel=kernel, fault=fault)

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return R(u)."""
        return 0.5 * self.weight * u.abs().square().sum((-3, -2, -1))

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return `u / (1 + tau weight)`."""
        factor = 1.1 if self.fault == "analysis map of another step" else 1
        p: Tensor = u / (1 + factor * _events(tau) * self.weight)
        return p

    def denoise(self, v: Tensor, sigma: Tensor | float) -> Tensor:
        """Return the mean of each picture, more of it the more noise there is."""
        level = torch.as_tensor(sigma, dtype=v.abs().dtype)
        if self.fault == "denoises at zero":
            level = level + 0.01
        share: Tensor = _events(level / (level + 0.02))
        mean = v.mean((-3, -2, -1), keepdim=True)
        if self.fault == "adds noise":
            return v + share * (v - mean)
        return v + share * (mean - v)


@st.composite
def faulty_priors(draw: st.DrawFn, fault: str = NONE) -> PriorCase:
    """Draw priors and spaces, real and complex."""
    dtype = draw(st.sampled_from([torch.float64, torch.float64, torch.complex128]))
    weight = draw(st.sampled_from([0.1, 0.7, 3.0]))
    space = Space(draw(image_shapes(most=9)), dtype)
    return PriorCase(prior=FaultyPrior(weight=weight, fault=fault), space=space)


# ---- noise --------------------------------------------------------------------------------------

NOISE_FAULTS: Final = {
    "silent": "test_noise_is_noise",
    "one draw for all samples": "test_noise_is_noise",
    "always the same": "test_noise_is_noise",
    "biased": "test_draws_are_unbiased",
    "global random state": "test_generator_decides",
    "scaled gradient": "test_gradient_is_that_of_the_value",
    "too large a step": "test_prox_beats_competitors",
    "not quadratic": "test_quadratic_is_what_it_says",
    "mean over the batch": "test_batch_equals_loop",
    "value without a batch": "test_shapes_and_dtypes",
}


@attrs.frozen(eq=False, kw_only=True)
class FaultyNoise(Noise):
    """White Gaussian noise, wrong in one way.

    Source: the definition.
    """

    sigma: float = param(0.1, doc="standard deviation")
    fault: str = param(NONE, doc="what is wrong")

    def sample(self, clean: Tensor, generator: torch.Generator | None = None) -> Tensor:
        """Return a noisy copy."""
        shape = clean.shape[-3:] if self.fault == "one draw for all samples" else clean.shape
        if self.fault == "global random state":
            generator = None
        if self.fault == "always the same":
            generator = torch.Generator().manual_seed(0)
        draw = torch.randn(shape, dtype=clean.dtype, generator=generator)
        level = 0.0 if self.fault == "silent" else self.sigma
        return clean + level * draw + (0.1 * level if self.fault == "biased" else 0)

    def value(self, z: Tensor, y: Tensor, space: Space) -> Tensor:
        """Return `1/2 |z - y|^2`."""
        value = 0.5 * space.norm(z - y).square()
        if self.fault == "not quadratic":
            value = value / self.sigma**2
        return value.sum() if self.fault == "value without a batch" else value

    def grad(self, z: Tensor, y: Tensor) -> Tensor:
        """Return `z - y`."""
        return (z - y) * (1.01 if self.fault == "scaled gradient" else 1)

    def prox(self, v: Tensor, y: Tensor, tau: Tensor | float) -> Tensor:
        """Return `(v + tau y) / (1 + tau)`."""
        tau = tau * 1.1 if self.fault == "too large a step" else tau
        p = (v + tau * y) / (1 + tau)
        return p + p.mean() if self.fault == "mean over the batch" else p

    @property
    def is_quadratic(self) -> bool:
        """It is."""
        return True


def faulty_noises(fault: str = NONE) -> st.SearchStrategy[FaultyNoise]:
    """Draw noise of several levels."""
    return st.builds(FaultyNoise, sigma=st.sampled_from([0.05, 0.3]), fault=st.just(fault))


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
