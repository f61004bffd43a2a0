"""Checks of `data_prox`: optimal, per sample, of no scale, differentiable, honest about failure."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from torch import Tensor

from ..errors import NotConvergedWarning, ShapeError
from ..operator import ForwardOperator
from .component_checks import ComponentKit
from .engine import Trial, check, fail
from .measure import assert_close, assert_same, inner, norm
from .operator_grad import check_gradient, float_fields

__all__ = ["ProxChecks"]

T = Trial[ForwardOperator]

_RESIDUAL = {torch.float64: 1e-10, torch.float32: 1e-4}


def _norm_of(op: ForwardOperator) -> float:
    size = float(op.norm_bound().max())
    return size if size > 0 else 1.0


def _steps(op: ForwardOperator, trial: T, scale: float = 1.0) -> Tensor:
    """Return a step per sample, some `scale / |A|^2`."""
    real = torch.zeros((), dtype=op.in_space.dtype).abs().dtype
    return trial.steps(scale / _norm_of(op) ** 2, real)


def residual_of(
    op: ForwardOperator, x: Tensor, v: Tensor, y: Tensor, tau: Tensor | float
) -> Tensor:
    """Return `|(I + tau A^H A) x - (v + tau A^H y)|` of each sample, relative to its parts."""
    step = op.in_space.expand(tau, v, name="tau", who="residual_of")
    gap = x - v + step * (op.H(op(x) - y))
    size = norm(v, op.in_space) + norm(step * op.H(y), op.in_space)
    size = size + norm(step * op.H(op(x)), op.in_space)
    error = norm(gap, op.in_space)
    return torch.where(error > 0, error / torch.where(size > 0, size, 1), 0)


class ProxChecks(ComponentKit[ForwardOperator]):
    """Needs `outputs`; see `OperatorKit`."""

    @check(corners=True)
    def test_data_prox_is_optimal(self, trial: T) -> None:
        """The optimality residual is at most 1e-10 in float64 and 1e-4 in float32."""
        for dtype, allowed in _RESIDUAL.items():
            op = trial.subject.to(dtype=dtype)
            v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
            for scale in (0.01, 1.0, 100.0):
                tau = float(scale / _norm_of(op) ** 2)
                x = op.data_prox(v, y, tau)
                assert_same(x, v, what=f"{op.name}.data_prox")
                worst = float(residual_of(op, x, v, y, tau).max())
                if not worst <= allowed:
                    how = "closed form" if op.has_closed_prox else "conjugate gradients"
                    fail(
                        f"{op.name}.data_prox ({how}, {dtype}, tau {tau:.3g}) leaves a relative "
                        f"optimality residual of {worst:.1e}; {allowed:.0e} allowed."
                    )

    @check(corners=True)
    def test_data_prox_takes_a_step_per_sample(self, trial: T) -> None:
        """`tau` of the batch shape is one step per sample, also for as many samples as columns."""
        op = trial.subject
        v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        tau = _steps(op, trial)
        got = op.data_prox(v, y, tau)
        worst = float(residual_of(op, got, v, y, tau).max())
        if not worst <= 1e-10:
            fail(
                f"{op.name}.data_prox with tau of shape {tuple(tau.shape)} leaves a residual of "
                f"{worst:.1e}; is tau taken for values along an axis of the picture?"
            )
        if len(trial.batch) > len(op.batch_shape):
            for i in range(trial.batch[0]):
                what = f"{op.name}.data_prox: sample {i} of a batch {trial.batch}"
                one = op.data_prox(v[i], y[i], tau[i])
                assert_close(got[i], one, op.in_space, what=what, rtol=1e-9)

    @check(share=0.5)
    def test_data_prox_refuses_steps_along_the_width(self, trial: T) -> None:
        """A tau that fits the picture's columns but not the batch is an error naming tau."""
        op = trial.subject
        width = op.in_space.shape[-1]
        batch = (width + 1, *op.batch_shape)
        v, y = trial.randn(op.in_space, batch=batch), trial.randn(op.out_space, 1, batch=batch)
        if batch[-1] == width:
            return
        try:
            op.data_prox(v, y, torch.ones(width, dtype=torch.float64))
        except ShapeError as error:
            if "tau" not in str(error):
                fail(f"{op.name}.data_prox: the error for a wrong tau does not name it: {error}")
            return
        fail(f"{op.name}.data_prox took a tau of shape ({width},) for a batch {batch}.")

    @check()
    def test_data_prox_has_no_scale(self, trial: T) -> None:
        """For s v and s y the answer is s times as large, from 1e-6 to 1e6."""
        op = trial.subject
        v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        tau = _steps(op, trial)
        x = op.data_prox(v, y, tau)
        for s in (1e-6, 1e6):
            got = op.data_prox(s * v, s * y, tau)
            what = f"{op.name}.data_prox({s:g} v, {s:g} y)"
            assert_close(got, s * x, op.in_space, what=what, rtol=1e-9)

    @check(share=0.5)
    def test_data_prox_keeps_samples_apart(self, trial: T) -> None:
        """A sample of zeros gives zeros, one with NaN harms no other."""
        op = trial.subject
        batch = (3, *op.batch_shape)
        v = trial.randn(op.in_space, batch=batch)
        y = trial.randn(op.out_space, 1, batch=batch)
        tau = 1.0 / _norm_of(op) ** 2
        want = op.data_prox(v, y, tau)[2]
        v, y = v.clone(), y.clone()
        v[0], y[0] = 0, 0
        y[1] = torch.nan
        with warnings.catch_warnings():  # it is right to say that the sample with NaN failed
            warnings.simplefilter("ignore", NotConvergedWarning)
            got = op.data_prox(v, y, tau)
        if not bool((got[0] == 0).all()):
            fail(f"{op.name}.data_prox(0, 0) is not 0.")
        what = f"{op.name}.data_prox: a sample beside one of zeros and one with NaN"
        assert_close(got[2], want, op.in_space, what=what, rtol=1e-9)

    @check(share=0.5)
    def test_data_prox_forgets_its_options(self, trial: T) -> None:
        """One call's tolerance and budget do not persist."""
        op = trial.subject
        v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        tau = 10.0 / _norm_of(op) ** 2
        want = op.data_prox(v, y, tau)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", NotConvergedWarning)
            op.data_prox(v, y, tau, rtol=1e-2, max_steps=1)
        again = op.data_prox(v, y, tau)
        what = f"{op.name}.data_prox after a call with max_steps=1"
        assert_close(again, want, op.in_space, what=what)

    @check(share=0.5)
    def test_data_prox_reports_failure(self, trial: T) -> None:
        """A budget that is spent before the tolerance is met is a NotConvergedWarning."""
        op = trial.subject
        v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        tau = 10.0 / _norm_of(op) ** 2
        with warnings.catch_warnings(record=True) as caught:
            warnings.simplefilter("always")
            rough = op.data_prox(v, y, tau, max_steps=1)
        reported = any(issubclass(w.category, NotConvergedWarning) for w in caught)
        worst = float(residual_of(op, rough, v, y, tau).max())
        if worst > 1e-9 and not reported:
            fail(
                f"{op.name}.data_prox(max_steps=1) left a residual of {worst:.1e} without a "
                "NotConvergedWarning."
            )

    @check(share=0.3)
    def test_data_prox_passes_gradients(self, trial: T) -> None:
        """Gradients reach v, y and tau, and every tensor field, also as a non-leaf."""
        op = trial.subject
        self._gradients_of_arguments(op, trial)

        def loss(other: Any) -> Tensor:
            v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
            x = other.data_prox(v, y, 1.0 / _norm_of(op) ** 2)
            return inner(x, trial.randn(op.in_space, 2), op.in_space).real.sum()

        for name, _ in float_fields(op):
            check_gradient(op, name, loss, trial, rtol=1e-4)

    @staticmethod
    def _gradients_of_arguments(op: ForwardOperator, trial: T) -> None:
        v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        tau = _steps(op, trial)
        w = trial.randn(op.in_space, 2)
        given = [v.requires_grad_(), y.requires_grad_(), tau.requires_grad_()]
        total = inner(op.data_prox(v, y, tau), w, op.in_space).real.sum()
        grads = torch.autograd.grad(total, given, allow_unused=True)
        for i, name in enumerate(("v", "y", "tau")):
            value, grad = given[i].detach(), grads[i]
            if grad is None:
                fail(f"{op.name}.data_prox: gradients do not reach {name}.")
            d = torch.randn(value.shape, generator=trial.generator(5 + i), dtype=value.dtype)
            h = 1e-5 * (float(tau.min().detach()) if name == "tau" else 1.0)
            sides = []
            for sign in (1, -1):
                moved = [g.detach() for g in given]
                moved[i] = value + sign * h * d
                with torch.no_grad():
                    sides.append(float(inner(op.data_prox(*moved), w, op.in_space).real.sum()))
            slope = (sides[0] - sides[1]) / (2 * h)
            got = float((grad.conj() * d).sum().real)
            size = abs(slope) + float(grad.norm() * d.norm())
            if not abs(got - slope) <= 1e-4 * size + 1e-11 / h * abs(float(total.detach())):
                fail(
                    f"{op.name}.data_prox: the gradient in {name} is {got:.6g} along a line; "
                    f"differences give {slope:.6g}."
                )

    @check(share=0.3)
    def test_cuda_data_prox_agrees_with_cpu(self, trial: T) -> None:
        """On CUDA it is what it is on the CPU, also where it is found by iterations."""
        if not torch.cuda.is_available():
            return
        op = trial.subject

        def found(trial: T) -> Tensor:
            v, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
            return trial.subject.data_prox(v, y, 0.1)

        what = f"{op.name}.data_prox on CUDA"
        assert_close(found(trial.to("cuda")).cpu(), found(trial), op.in_space, what=what, rtol=1e-9)
