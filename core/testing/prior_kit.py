"""`PriorKit`: what each capability of a prior promises."""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Mapping
from typing import Any

import attrs
import torch
from torch import Tensor, nn

from ..errors import NotConvergedWarning
from ..moves import fields_of
from ..operator import ForwardOperator
from ..prior import AnalysisPrior, Denoiser, GenerativePrior, Prior, ProximalPrior, SmoothPrior
from ..space import Space
from .cases import PriorCase
from .cuda_checks import CudaChecks, iterates
from .engine import Trial, check, fail
from .functional import check_prox
from .measure import assert_close, assert_same, inner, norm
from .operator_linear import dot_test
from .strategies import batch_shapes

__all__ = ["PriorKit"]

T = Trial[PriorCase]
Method = Callable[[Tensor, Tensor], Tensor]

_EXACT = 1e-9


def _own_batch(component: object) -> tuple[int, ...]:
    """Return `(B,)` when a field, possibly of a nested prior, holds one number per sample."""
    if isinstance(component, Tensor):
        return tuple(component.shape) if component.ndim == 1 else ()
    if isinstance(component, nn.Module):
        return ()
    if isinstance(component, (tuple, list)):
        inside = [_own_batch(item) for item in component]
    elif attrs.has(type(component)) and not isinstance(component, (Space, ForwardOperator)):
        inside = [_own_batch(getattr(component, f.name)) for f in fields_of(component)]
    else:
        return ()
    return next((shape for shape in inside if shape), ())


def _batch_shape(case: PriorCase) -> tuple[int, ...]:
    return _own_batch(case.prior) if case.batch_shape is None else case.batch_shape


def _rtol(case: PriorCase) -> float:
    if case.rtol is not None:
        return case.rtol
    return max(10 * float(getattr(case.prior, "tolerance", None) or 0.0), _EXACT)


def _picture(trial: T, index: int = 0, batch: tuple[int, ...] | None = None) -> Tensor:
    """Return values in and around [0, 1], so that bounds are met."""
    return 0.5 + 0.5 * trial.randn(trial.subject.space, index, batch)


class PriorKit(CudaChecks[PriorCase]):
    """Checks of a `Prior`; examples are `PriorCase`s in double precision."""

    kind = "prior"

    def batches(self, subject: PriorCase) -> list[tuple[int, ...]]:
        """Return what its parameters allow."""
        if not isinstance(subject, PriorCase):
            fail(f"an example of a prior is a PriorCase; got {type(subject).__name__}.")
        return batch_shapes(_batch_shape(subject), width=subject.space.shape[-1])

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return what each capability gives for one picture."""
        x, tau = _picture(trial), trial.steps(0.1)
        space = trial.subject.space
        return {name: f(x, tau) for name, f in self._methods(component, space).items()}

    def accuracy(self, trial: Trial[Any]) -> float:
        """Return the case's own, where it has one: a wrapped denoiser may not be deterministic."""
        return trial.subject.rtol or 0.0

    def device_accuracy(self, trial: Trial[Any]) -> float:
        """Return how exact its proximal map is."""
        return max(_rtol(trial.subject), 1e-9)

    def may_wait(self, trial: Trial[Any]) -> bool:
        """Whether it says so, or iterates until a tolerance is met."""
        return trial.subject.waits or iterates(trial.subject.prior)

    @staticmethod
    def _methods(prior: Prior, space: Space) -> dict[str, Method]:
        """Return the capabilities as functions of a picture and a number per sample."""
        found: dict[str, Method] = {}
        if isinstance(prior, SmoothPrior):
            found["grad"] = lambda x, tau: prior.grad(x)
        if isinstance(prior, (SmoothPrior, ProximalPrior)):
            found["value"] = lambda x, tau: prior.value(x)
        if isinstance(prior, ProximalPrior):
            found["prox"] = lambda x, tau: prior.prox(x, tau)
        if isinstance(prior, AnalysisPrior):
            op = prior.analysis(space)
            found["analysis_value"] = lambda x, tau: prior.analysis_value(op(x))
            found["analysis_prox"] = lambda x, tau: prior.analysis_prox(op(x), tau)
        if isinstance(prior, Denoiser):
            found["denoise"] = lambda x, tau: prior.denoise(x, tau)
        if isinstance(prior, GenerativePrior):
            found["decode"] = lambda x, tau: prior.decode(_codes(prior, x, space))
        return found

    @check(share=0.2)
    def test_has_a_capability(self, trial: T) -> None:
        """A prior is smooth, proximal, of analysis form, a denoiser or a generator."""
        if not self._methods(trial.subject.prior, trial.subject.space):
            fail(f"{trial.subject.prior.name} has none of the capabilities of wellposed.prior.")

    @check(share=0.1)
    def test_names_its_units(self, trial: T) -> None:
        """A step is called `tau`, a noise standard deviation `sigma`."""
        prior = trial.subject.prior
        for method, name in (("prox", "tau"), ("analysis_prox", "tau"), ("denoise", "sigma")):
            if hasattr(prior, method):
                given = list(inspect.signature(getattr(prior, method)).parameters)
                if len(given) < 2 or given[1] != name:
                    fail(f"{prior.name}.{method}{tuple(given)}: the second argument is {name}.")

    @check(corners=True)
    def test_shapes_and_dtypes(self, trial: T) -> None:
        """Values have the batch shape and are real; pictures stay what they are."""
        case = trial.subject
        for dtype in (torch.float64, torch.float32):
            prior, space = case.prior.to(dtype=dtype), case.space.to(dtype)
            x = _picture(trial).to(space.dtype)
            tau = trial.steps(0.1, dtype)
            for name, f in self._methods(prior, space).items():
                got = f(x, tau)
                if name in ("value", "analysis_value"):
                    want = torch.zeros(trial.batch, dtype=dtype)
                elif name == "analysis_prox":
                    want = prior.analysis(space)(x)  # type: ignore[attr-defined]
                elif name == "decode":
                    want = prior.out_space.zeros(trial.batch)  # type: ignore[attr-defined]
                else:
                    want = x
                assert_same(got, want, what=f"{prior.name}.{name}")

    @check(corners=True)
    def test_prox_beats_competitors(self, trial: T) -> None:
        """The proximal point is the best; if convex, by the square of the distance."""
        case = trial.subject
        prior = case.prior
        if not isinstance(prior, ProximalPrior):
            return
        v = _picture(trial)
        for scale in (0.01, 1.0, 100.0):
            tau = trial.steps(scale)
            check_prox(
                prior.value,
                prior.prox(v, tau),
                v,
                tau,
                case.space,
                trial,
                convex=case.convex,
                rtol=_rtol(case),
                what=f"{prior.name}.prox",
            )

    @check()
    def test_prox_is_firmly_nonexpansive(self, trial: T) -> None:
        """For a convex functional, `<p - q, v - w> >= |p - q|^2` for the proximal points."""
        case = trial.subject
        prior, space = case.prior, case.space
        if not isinstance(prior, ProximalPrior) or not case.convex:
            return
        v, w, tau = _picture(trial), _picture(trial, 1), trial.steps(1.0)
        p, q = prior.prox(v, tau), prior.prox(w, tau)
        missing = norm(p - q, space).square() - inner(p - q, v - w, space).real
        size = norm(v - w, space).square() + norm(v, space).square()
        if not bool((missing <= _rtol(case) * size).all()):
            worst = float((missing / size).nan_to_num(torch.inf).max())
            fail(f"{prior.name}.prox is not firmly nonexpansive, by {worst:.1e} relative.")

    @check()
    def test_analysis_prox_beats_competitors(self, trial: T) -> None:
        """The proximal map of g is one, on the range space of L."""
        case = trial.subject
        prior = case.prior
        if not isinstance(prior, AnalysisPrior):
            return
        op = prior.analysis(case.space)
        u, tau = trial.randn(op.out_space), trial.steps(1.0)
        check_prox(
            prior.analysis_value,
            prior.analysis_prox(u, tau),
            u,
            tau,
            op.out_space,
            trial,
            convex=case.convex,
            rtol=_EXACT,
            what=f"{prior.name}.analysis_prox",
        )

    @check()
    def test_analysis_is_an_operator(self, trial: T) -> None:
        """L maps the pictures' space, with an exact adjoint."""
        case = trial.subject
        if not isinstance(case.prior, AnalysisPrior):
            return
        op = case.prior.analysis(case.space)
        if not isinstance(op, ForwardOperator) or op.in_space != case.space:
            fail(f"{case.prior.name}.analysis({case.space}) is no operator on that space.")
        dot_test(op, trial.randn(op.in_space), trial.randn(op.out_space, 1))

    @check()
    def test_value_is_that_of_the_analysis(self, trial: T) -> None:
        """`R(x) = g(L x)` where both are given."""
        case = trial.subject
        prior = case.prior
        if not isinstance(prior, AnalysisPrior) or not hasattr(prior, "value"):
            return
        x = _picture(trial)
        got, want = prior.value(x), prior.analysis_value(prior.analysis(case.space)(x))
        if not torch.allclose(got, want, rtol=1e-10, atol=0, equal_nan=True):
            fail(f"{prior.name}: value(x) is not analysis_value(L x).")

    @check()
    def test_gradient_is_that_of_the_value(self, trial: T) -> None:
        """`grad` agrees with autograd through `value`."""
        case = trial.subject
        prior = case.prior
        if not isinstance(prior, SmoothPrior):
            return
        x = _picture(trial).requires_grad_()
        total = prior.value(x).sum()
        if not total.requires_grad:
            fail(f"{prior.name}.value cannot be differentiated by autograd.")
        (want,) = torch.autograd.grad(total, x)
        got = prior.grad(x.detach())
        assert_close(got, want, case.space, what=f"{prior.name}.grad", rtol=1e-9)

    @check()
    def test_lipschitz_bounds_the_gradient(self, trial: T) -> None:
        """`|grad(x) - grad(z)| <= L |x - z|`, near and far."""
        case = trial.subject
        prior, space = case.prior, case.space
        if not isinstance(prior, SmoothPrior):
            return
        bound = float(prior.lipschitz(space))
        x = _picture(trial)
        for scale in (1e-3, 1.0, 1e3):
            z = x + scale * trial.randn(space, 1)
            change = norm(prior.grad(x) - prior.grad(z), space)
            size = norm(x - z, space)
            slack = 1e-12 * norm(prior.grad(x), space)
            if not bool((change <= bound * size * (1 + 1e-9) + slack).all()):
                worst = float((change / size).max())
                fail(f"{prior.name}.lipschitz is {bound:.6g}; the gradient changes by {worst:.6g}.")

    @check()
    def test_denoiser_returns_its_input_at_zero(self, trial: T) -> None:
        """`denoise(v, 0)` is v, for a number, and for the samples whose sigma is zero."""
        case = trial.subject
        prior = case.prior
        if not isinstance(prior, Denoiser):
            return
        v = trial.rand(case.space)
        for sigma in (0.0, torch.zeros(trial.batch, dtype=torch.float64)):
            got = prior.denoise(v, sigma)
            assert_close(got, v, case.space, what=f"{prior.name}.denoise(v, 0)", rtol=1e-12)

    @check(share=0.5)
    def test_denoiser_removes_noise(self, trial: T) -> None:
        """On a flat picture of more than 36 pixels, less noise is left than there was."""
        case = trial.subject
        prior, space = case.prior, case.space
        if not isinstance(prior, Denoiser) or min(space.shape[-2:]) < 6:
            return
        clean = torch.full((*trial.batch, *space.shape), 0.5, dtype=space.dtype)
        noisy = clean + 0.1 * trial.randn(space)
        left = norm(prior.denoise(noisy, 0.1) - clean, space) / norm(noisy - clean, space)
        if not bool((left < 0.9).all()):
            fail(f"{prior.name}.denoise leaves {float(left.max()):.2f} of the noise.")

    @check(corners=True)
    def test_takes_a_number_per_sample(self, trial: T) -> None:
        """Steps of the batch shape are one per sample, also for as many samples as columns."""
        case = trial.subject
        own = _batch_shape(case)
        for batch in {trial.batch, (case.space.shape[-1], *own)}:
            here = attrs.evolve(trial, batch=batch)
            x, tau = _picture(here), here.steps(0.1)
            for name, f in self._methods(case.prior, case.space).items():
                if len(batch) <= len(own):
                    continue
                together = f(x, tau)
                for i in range(batch[0]):
                    alone = f(x[i], tau[i])
                    what = f"{case.prior.name}.{name}: sample {i} of a batch {batch}"
                    self._same(together[i], alone, case, what)

    @check(share=0.5)
    def test_number_equals_tensor(self, trial: T) -> None:
        """A Python number, a tensor without axes, and one value per sample give the same."""
        case = trial.subject
        x = _picture(trial)
        for name, f in self._methods(case.prior, case.space).items():
            want = f(x, torch.full(trial.batch, 0.25, dtype=torch.float64))
            for given in (0.25, torch.tensor(0.25, dtype=torch.float64)):
                what = f"{case.prior.name}.{name} with {type(given).__name__} 0.25"
                self._same(f(x, given), want, case, what)  # type: ignore[arg-type]

    @check()
    def test_any_number_of_batch_axes(self, trial: T) -> None:
        """Several batch axes give what one gives."""
        case = trial.subject
        own = _batch_shape(case)
        here = attrs.evolve(trial, batch=(2, 2, *own))
        x, tau = _picture(here), here.steps(0.1)
        for name, f in self._methods(case.prior, case.space).items():
            got = f(x, tau)
            want = f(x.flatten(0, 1), tau.flatten(0, 1)).unflatten(0, (2, 2))
            self._same(got, want, case, f"{case.prior.name}.{name}: batch (2, 2)")

    @check(share=0.5)
    def test_nan_stays_in_its_sample(self, trial: T) -> None:
        """A NaN in one sample leaves the others as they are."""
        case = trial.subject
        batch = (2, *_batch_shape(case))
        x = _picture(trial, batch=batch)
        tau = torch.full(batch, 0.25, dtype=torch.float64)
        bad = x.clone()
        bad[0] = torch.nan
        for name, f in self._methods(case.prior, case.space).items():
            if name == "decode":
                continue
            want = f(x, tau)[1]
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", NotConvergedWarning)
                got = f(bad, tau)[1]
            what = f"{case.prior.name}.{name}: a sample beside one with NaN"
            self._same(got, want, case, what)

    @check()
    def test_input_is_not_modified(self, trial: T) -> None:
        """No method writes into the picture or the step."""
        case = trial.subject
        x, tau = _picture(trial), trial.steps(0.1)
        kept = x.clone(), tau.clone()
        for name, f in self._methods(case.prior, case.space).items():
            f(x, tau)
            if not torch.equal(x, kept[0]) or not torch.equal(tau, kept[1]):
                fail(f"{case.prior.name}.{name} changed its argument in place.")

    @check(share=0.5)
    def test_generator_is_differentiable(self, trial: T) -> None:
        """Gradients reach the codes."""
        prior = trial.subject.prior
        if not isinstance(prior, GenerativePrior):
            return
        z = torch.randn((*trial.batch, *prior.latent_shape), dtype=torch.float64)
        z = z.to(prior.out_space.dtype).requires_grad_()
        picture = prior.decode(z)
        if not picture.requires_grad:
            fail(f"{prior.name}.decode does not pass gradients to the codes.")

    @staticmethod
    def _same(got: Tensor, want: Tensor, case: PriorCase, what: str) -> None:
        """Compare pictures by their norm, numbers one by one; iterated results to their rtol."""
        rtol = max(_rtol(case), 1e-10)
        got, want = got.detach(), want.detach()
        if got.shape != want.shape or got.dtype != want.dtype:
            fail(f"{what}: {tuple(got.shape)} {got.dtype}, not {tuple(want.shape)} {want.dtype}.")
        close = torch.isclose(got, want, rtol=0, atol=0, equal_nan=True)
        gap = torch.where(close, 0, got - want).abs().max() if got.numel() else torch.tensor(0.0)
        size = want.abs()[want.abs().isfinite()]
        largest = float(size.max()) if size.numel() else 0.0
        if not float(gap) <= rtol * largest:
            fail(f"{what} differs by {float(gap):.1e} (values up to {largest:.1e}).")


def _codes(prior: GenerativePrior, x: Tensor, space: Space) -> Tensor:
    """Return codes made of a picture's values, so that they follow its batch and its NaN."""
    flat = x.flatten(-space.ndim)
    count = int(torch.Size(prior.latent_shape).numel())
    repeats = -(-count // flat.shape[-1])
    longer = flat.repeat(*(1,) * (flat.ndim - 1), repeats)[..., :count]
    return longer.reshape(*flat.shape[:-1], *prior.latent_shape)
