"""Checks of an operator under autograd, torch.func and torch.compile."""

from __future__ import annotations

import contextlib
import copy
import warnings
from collections.abc import Callable, Iterator
from typing import Any

import attrs
import torch
from torch import Tensor

from ..errors import ParameterError, WellposedError
from ..moves import fields_of
from ..operator import ForwardOperator
from .component_checks import ComponentKit
from .engine import Trial, check, fail
from .measure import assert_close, inner

__all__ = ["GradientChecks", "check_gradient", "float_fields", "with_parameter"]

T = Trial[ForwardOperator]

_STEP = 1e-5


def float_fields(op: Any) -> Iterator[tuple[str, Tensor]]:
    """Yield name and value of each field that holds a real or complex tensor."""
    for field in fields_of(op):
        value = getattr(op, field.name)
        if field.init and isinstance(value, Tensor):
            if value.is_floating_point() or value.is_complex():
                yield field.name, value


def with_parameter(op: Any, name: str, value: Tensor) -> Any:
    """Return the component with another tensor in one field; None when it refuses it."""
    alias = next(f.alias or f.name for f in fields_of(op) if f.name == name)
    try:
        return attrs.evolve(op, **{alias: value})
    except WellposedError:
        return None


def check_gradient(
    op: Any, name: str, loss: Callable[[Any], Tensor], trial: Trial[Any], *, rtol: float = 1e-5
) -> None:
    """Fail unless autograd's gradient of `loss` in a field agrees with a difference quotient.

    The parameter is no leaf, as the output of a network is none. A class that refuses tensors
    which require grad is right to say so.
    """
    value = getattr(op, name).detach()
    theta = torch.zeros_like(value, requires_grad=True)
    moved = with_parameter(op, name, value + theta)
    if moved is None:
        return
    what = f"{type(op).__name__}.{name}"
    try:
        total = loss(moved)
    except ParameterError:  # so is one that can use it in some of its modes only
        return
    if not total.requires_grad:
        fail(f"gradients do not reach {what}: the result does not depend on it for autograd.")
    (grad,) = torch.autograd.grad(total, theta, allow_unused=True)
    if grad is None:
        fail(f"gradients do not reach {what}.")
    # Where values off a constraint, such as [0, 1], are refused, a relative change may be allowed.
    for unit in (torch.ones_like(value), value):
        direction = unit * torch.randn(value.shape, generator=trial.generator(7), dtype=value.dtype)
        slope = _difference_quotient(op, name, loss, value, direction)
        if slope is None:
            continue
        got = float((grad.conj() * direction).sum().real)
        size = float(grad.norm() * direction.norm()) + abs(slope)
        if not abs(got - slope) <= rtol * size + 1e-9 * abs(float(total.detach())):
            fail(f"the gradient in {what} is {got:.6g} along a line; differences give {slope:.6g}.")
        return


def _difference_quotient(
    op: Any, name: str, loss: Callable[[Any], Tensor], value: Tensor, direction: Tensor
) -> float | None:
    sides = []
    for h in (_STEP, -_STEP):
        other = with_parameter(op, name, value + h * direction)
        if other is None:
            return None
        sides.append(float(loss(other).detach()))
    return (sides[0] - sides[1]) / (2 * _STEP)


class GradientChecks(ComponentKit[ForwardOperator]):
    """Needs `outputs`; see `OperatorKit`."""

    @check(corners=True)
    def test_autograd_gives_the_adjoint(self, trial: T) -> None:
        """Backward through A x is A^H, and backward through A^H y is A."""
        op = trial.subject
        for f in (op, op.H):
            x = trial.randn(f.in_space).requires_grad_()
            y = trial.randn(f.out_space, 1)
            out = f(x)
            want = f.H(y)
            if not out.requires_grad:
                if bool((want != 0).any()):
                    fail(f"{f.name}: the result does not depend on its argument for autograd.")
                continue
            (got,) = torch.autograd.grad(out, x, y)
            what = f"{f.name}: autograd's transpose against the adjoint"
            assert_close(got, want, f.in_space, what=what, rtol=1e-13)

    @check(share=0.5)
    def test_gradients_reach_parameters(self, trial: T) -> None:
        """Every real or complex tensor field gets its gradient, also as a non-leaf."""
        op = trial.subject
        loss = self._loss(trial)
        for name, _ in float_fields(op):
            check_gradient(op, name, loss, trial)

    @check(share=0.5)
    def test_backward_works_twice(self, trial: T) -> None:
        """Nothing of one backward pass is left over for the next; nor of a call without grad."""
        op = trial.subject
        loss = self._loss(trial)
        for name, value in float_fields(op):
            leaf = value.clone().requires_grad_()
            learned = with_parameter(op, name, leaf)
            if learned is None:
                continue
            try:
                with torch.no_grad():
                    loss(learned)
            except ParameterError:  # refused, as in `check_gradient`
                continue
            grads = [torch.autograd.grad(loss(learned), leaf)[0] for _ in range(2)]
            if not torch.allclose(grads[0], grads[1], rtol=1e-10, atol=0):
                fail(f"{op.name}.{name}: the second backward pass gives another gradient.")
        x = trial.randn(op.in_space).requires_grad_()
        for _ in range(2):
            out = op(x)
            if out.requires_grad:
                torch.autograd.grad(out, x, trial.randn(op.out_space, 1))

    @check(share=0.5)
    def test_double_backward(self, trial: T) -> None:
        """The gradient of `1/2 |A x|^2` has itself a gradient: A^H A, also in the parameters."""
        op = trial.subject
        x = trial.randn(op.in_space).requires_grad_()
        v = trial.randn(op.in_space, 2)
        ax = op(x)
        if not ax.requires_grad:
            return
        half = 0.5 * inner(ax, ax, op.out_space).real.sum()
        (first,) = torch.autograd.grad(half, x, create_graph=True)
        (second,) = torch.autograd.grad(first, x, v)
        want = op.H(op(v))
        assert_close(second, want, op.in_space, what=f"{op.name}: double backward", rtol=1e-12)
        for name, _ in float_fields(op):
            check_gradient(op, name, self._slope(trial, v), trial)

    @check(share=0.3)
    def test_vmap_equals_loop(self, trial: T) -> None:
        """`torch.func.vmap` gives the loop, on a fresh operator and on a used one."""
        op = trial.subject
        x = trial.randn(op.in_space, batch=(3, *op.batch_shape))
        y = trial.randn(op.out_space, 1, batch=(3, *op.batch_shape))
        fresh = copy.deepcopy(op)
        for one in (fresh, fresh):
            got = torch.func.vmap(one)(x)
            assert_close(got, op(x), op.out_space, what=f"{op.name} under vmap")
            back = torch.func.vmap(one.H)(y)
            assert_close(back, op.H(y), op.in_space, what=f"{op.name}.H under vmap")

    @check(share=0.3)
    def test_inference_mode_then_training(self, trial: T) -> None:
        """What was first used inside `inference_mode` can be trained afterwards."""
        op = copy.deepcopy(trial.subject)
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        with torch.inference_mode():
            op(x), op.H(y), op.gram(x), op.norm_bound(), op.data_prox(x, y, 0.1)
        x = x.requires_grad_()
        for out in (op(x), op.gram(x), op.data_prox(x, y, 0.1)):
            if out.requires_grad:
                out.abs().square().sum().backward()

    @check(most=2)
    def test_compiles_as_one_graph(self, trial: T) -> None:
        """`torch.compile(fullgraph=True)` of A and A^H equals eager mode."""
        op = trial.subject
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        want = op(x), op.H(y)

        def both(x: Tensor, y: Tensor) -> tuple[Tensor, Tensor]:
            return op(x), op.H(y)

        with _compiler():
            got = torch.compile(both, fullgraph=True, backend="aot_eager")(x, y)
        assert_close(got[0], want[0], op.out_space, what=f"{op.name} compiled", rtol=1e-13)
        assert_close(got[1], want[1], op.in_space, what=f"{op.name}.H compiled", rtol=1e-13)

    @staticmethod
    def _loss(trial: T) -> Callable[[ForwardOperator], Tensor]:
        """Return `Re <A x, y> + Re <A^H y', x'>`, a function of the operator."""

        def loss(op: ForwardOperator) -> Tensor:
            x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
            z, w = trial.randn(op.out_space, 2), trial.randn(op.in_space, 3)
            ahead = inner(op(x), y, op.out_space).real.sum()
            return ahead + inner(op.H(z), w, op.in_space).real.sum()

        return loss

    @staticmethod
    def _slope(trial: T, v: Tensor) -> Callable[[ForwardOperator], Tensor]:
        """Return the directional derivative of `1/2 |A x|^2` along v, by autograd."""

        def slope(op: ForwardOperator) -> Tensor:
            x = trial.randn(op.in_space).requires_grad_()
            ax = op(x)
            half = 0.5 * inner(ax, ax, op.out_space).real.sum()
            (first,) = torch.autograd.grad(half, x, create_graph=True)
            return inner(first, v, op.in_space).real.sum()

        return slope


@contextlib.contextmanager
def _compiler() -> Iterator[None]:
    """Forget compiled code before and after, and leave the compiler's own warnings to torch."""
    torch._dynamo.reset()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        torch._dynamo.reset()
