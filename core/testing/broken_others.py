"""A kernel, a prior, a noise model and a condition with one fault at a time; see `broken`."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

import attrs
import torch
from hypothesis import strategies as st
from torch import Tensor
from wellposed.registry import param

from ..conditions import ConditionMaker
from ..errors import ParameterError
from ..kernel import Kernel
from ..noise import Noise
from ..operator import ForwardOperator
from ..prior import AnalysisPrior, Denoiser, ProximalPrior, SmoothPrior
from ..space import Space
from .broken import NONE, FaultyBlur
from .cases import PriorCase
from .strategies import image_shapes

if TYPE_CHECKING:
    from ..training.distributions import Draws

__all__ = [
    "CONDITION_FAULTS",
    "KERNEL_FAULTS",
    "NOISE_FAULTS",
    "PRIOR_FAULTS",
    "FaultyCondition",
    "FaultyKernel",
    "FaultyNoise",
    "FaultyPrior",
    "faulty_conditions",
    "faulty_kernels",
    "faulty_noises",
    "faulty_priors",
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


# ---- condition ----------------------------------------------------------------------------------

CONDITION_FAULTS: Final = {
    "one for the batch": "test_has_four_axes",
    "wrong dtype": "test_has_four_axes",
    "divides by zero": "test_has_four_axes",
    "drawn for its own samples": "test_processes_share_the_batch",
    "mean over the batch": "test_samples_are_on_their_own",
    "writes into its input": "test_input_is_not_modified",
    "random": "test_call_changes_nothing",
}


@attrs.frozen(eq=False, kw_only=True)
class FaultyCondition(ConditionMaker):
    """The picture times a number drawn for each sample, measured; wrong in one way.

    Source: the definition.
    """

    most: float = param(1.0, doc="the largest number")
    fault: str = param(NONE, doc="what is wrong")

    def make(self, x: Tensor, *, measure: Callable[[Tensor], Tensor], draws: Draws) -> Tensor:
        """Return it."""
        own = self.fault == "drawn for its own samples"
        numbers = torch.from_numpy(draws.numbers.random(len(x) if own else draws.batch))
        numbers = self.most * (numbers if own else draws.here(numbers))
        if self.fault == "random":
            numbers = torch.rand(len(x), dtype=torch.float64)
        if self.fault == "writes into its input":
            x.mul_(0.5)
        found = measure(_events(numbers) * x)
        if self.fault == "mean over the batch":
            found = found - found.mean()
        if self.fault == "divides by zero":
            found = found / 0
        found = found.to(torch.float16 if self.fault == "wrong dtype" else x.dtype)
        return found.mean(0) if self.fault == "one for the batch" else found


def faulty_conditions(fault: str = NONE) -> st.SearchStrategy[FaultyCondition]:
    """Draw small and large numbers."""
    return st.builds(FaultyCondition, most=st.sampled_from([0.5, 3.0]), fault=st.just(fault))
