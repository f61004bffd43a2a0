"""`BilinearKit`: a bilinear operator, and the two linear operators that it leaves."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Tensor

from ..bilinear import BilinearOperator
from ..errors import DtypeError, ShapeError
from ..operator import ForwardOperator
from .cuda_checks import CudaChecks
from .engine import Trial, body_of, check, fail
from .measure import assert_close, assert_same, inner, norm
from .operator_batch import BatchChecks
from .operator_errors import wrong_shapes
from .operator_grad import GradientChecks
from .operator_linear import LinearChecks
from .operator_prox import ProxChecks
from .strategies import batch_shapes

__all__ = ["BilinearKit"]

T = Trial[BilinearOperator]


class BilinearKit(CudaChecks[BilinearOperator]):
    """Checks of a `BilinearOperator`; examples are instances in double precision."""

    kind = "bilinear"

    def batches(self, subject: BilinearOperator) -> list[tuple[int, ...]]:
        """Return any."""
        return batch_shapes(width=subject.x_space.shape[-1])

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return B(w, x)."""
        return {"B(w, x)": component(*_arguments(component, trial))}

    @check()
    def test_spaces_are_honest(self, trial: T) -> None:
        """B(w, x) lies on out_space, for any batch."""
        op = trial.subject
        want = op.out_space.zeros(trial.batch)
        assert_same(op(*_arguments(op, trial)), want, what=f"{op.name}(w, x)")

    @check()
    def test_is_linear_in_each_argument(self, trial: T) -> None:
        """B(a w + b v, x) = a B(w, x) + b B(v, x), and the same in x, from 1e-6 to 1e6."""
        op = trial.subject
        w, x = _arguments(op, trial)
        v, z = trial.randn(op.w_space, 2), trial.randn(op.x_space, 3)
        sections: list[tuple[str, Callable[[Tensor], Tensor], Tensor, Tensor]] = [
            ("w", lambda t: op(t, x), w, v),
            ("x", lambda t: op(w, t), x, z),
        ]
        for name, f, p, q in sections:
            fp, fq = f(p), f(q)
            scale = norm(fp, op.out_space) + norm(fq, op.out_space)
            for a, b in ((0.7, -1.3), (1e6, 0.0), (1e-6, 0.0), (0.0, 0.0)):
                what = f"{op.name} in {name}: {a:g} p + {b:g} q"
                wide = scale * max(abs(a), abs(b))
                got = f(a * p + b * q)
                assert_close(got, a * fp + b * fq, op.out_space, what=what, scale=wide)

    @check(corners=True)
    def test_sections_agree(self, trial: T) -> None:
        """`at_w(w)(x)`, `at_x(x)(w)` and B(w, x) are the same, with one w and with one each."""
        op = trial.subject
        for batch in ((), (3,)):
            w = trial.randn(op.w_space, batch=batch)
            x = trial.randn(op.x_space, 1, batch=batch or trial.batch)
            want = op(w, x)
            what = f"{op.name}.at_w, w of batch {batch}"
            assert_close(op.at_w(w)(x), want, op.out_space, what=what)
            x = x if batch else trial.randn(op.x_space, 1, batch=())
            w = w if batch else trial.randn(op.w_space, batch=trial.batch)
            what = f"{op.name}.at_x, x of batch {batch}"
            assert_close(op.at_x(x)(w), op(w, x), op.out_space, what=what)

    @check(share=0.5)
    def test_sections_have_the_right_spaces(self, trial: T) -> None:
        """`at_w(w)` maps x_space to out_space, `at_x(x)` w_space; batches follow the argument."""
        op = trial.subject
        for section, a_space, batch in _sections(trial):
            if (section.in_space, section.out_space) != (a_space, op.out_space):
                fail(f"{section.name} maps {section.in_space} to {section.out_space}.")
            if section.batch_shape != batch:
                fail(
                    f"{section.name} of an argument with batch {batch} has batch_shape "
                    f"{section.batch_shape}."
                )

    @check(share=0.5)
    def test_sections_pass_the_dot_test_in_float64(self, trial: T) -> None:
        """The adjoints of both linear operators are exact."""
        _on_sections(self, LinearChecks.test_dot_test_in_float64, trial)

    @check(share=0.5)
    def test_sections_pass_the_dot_test_in_float32(self, trial: T) -> None:
        """The adjoints of both linear operators are as exact as single precision allows."""
        _on_sections(self, LinearChecks.test_dot_test_in_float32, trial)

    @check(share=0.3)
    def test_sections_are_declared_truly(self, trial: T) -> None:
        """What the linear operators declare holds."""
        _on_sections(self, LinearChecks.test_declared_grams_are_true, trial)
        _on_sections(self, LinearChecks.test_declared_equivariance_is_true, trial)

    @check(share=0.3)
    def test_sections_bound_their_norm(self, trial: T) -> None:
        """`norm_bound` of the linear operators is a bound."""
        _on_sections(self, LinearChecks.test_norm_bound_is_a_bound, trial)

    @check(share=0.3)
    def test_sections_keep_samples_apart(self, trial: T) -> None:
        """The linear operators treat each sample alone."""
        _on_sections(self, BatchChecks.test_batch_equals_loop, trial)
        _on_sections(self, BatchChecks.test_nan_stays_in_its_sample, trial)

    @check(share=0.3)
    def test_sections_agree_with_autograd(self, trial: T) -> None:
        """Backward through the linear operators is their adjoint."""
        _on_sections(self, GradientChecks.test_autograd_gives_the_adjoint, trial)

    @check(share=0.2)
    def test_sections_have_a_data_prox(self, trial: T) -> None:
        """`data_prox` of the linear operators is optimal."""
        _on_sections(self, ProxChecks.test_data_prox_is_optimal, trial)

    @check()
    def test_autograd_gives_the_sections_adjoints(self, trial: T) -> None:
        """The gradient in w is `at_x(x).H`, that in x `at_w(w).H`; both twice differentiable."""
        op = trial.subject
        w, x = (a.requires_grad_() for a in _arguments(op, trial, batch=(3,)))
        y = trial.randn(op.out_space, 4, batch=(3,))
        for _ in range(2):
            dw, dx = torch.autograd.grad(op(w, x), (w, x), y, create_graph=True)
        what = f"{op.name}: autograd in"
        assert_close(dw, op.at_x(x).H(y), op.w_space, what=f"{what} w", rtol=1e-13)
        assert_close(dx, op.at_w(w).H(y), op.x_space, what=f"{what} x", rtol=1e-13)
        (mixed,) = torch.autograd.grad(inner(dw, w.detach(), op.w_space).real.sum(), x)
        want = op.at_w(w).H(y)
        assert_close(mixed, want, op.x_space, what=f"{what} w, then x", rtol=1e-12)

    @check()
    def test_batch_equals_loop(self, trial: T) -> None:
        """Batches of w and x pair up and broadcast; a NaN stays in its sample."""
        op = trial.subject
        w, x = _arguments(op, trial, batch=(3,))
        together = op(w, x)
        for i in range(3):
            what = f"{op.name}: sample {i} of 3"
            assert_close(together[i], op(w[i], x[i]), op.out_space, what=what)
        one = op(w[:1], x)
        assert_close(one[2], op(w[0], x[2]), op.out_space, what=f"{op.name}: one w for all x")
        x = x.clone()
        x[0] = torch.nan
        what = f"{op.name}: a sample beside one with NaN"
        assert_close(op(w, x)[1:], together[1:], op.out_space, what=what)

    @check(share=0.5)
    def test_input_is_not_modified(self, trial: T) -> None:
        """Neither argument is written to."""
        op = trial.subject
        given = _arguments(op, trial)
        before = [(a.clone(), a._version) for a in given]
        op(*given)
        for name, a, (value, version) in zip("wx", given, before, strict=True):
            if a._version != version or not torch.equal(a, value):
                fail(f"{op.name} changed {name} in place.")

    @check(share=0.3)
    def test_vmap_equals_loop(self, trial: T) -> None:
        """`torch.func.vmap` over both arguments gives the loop."""
        op = trial.subject
        w, x = _arguments(op, trial, batch=(3,))
        got = torch.func.vmap(op)(w, x)
        assert_close(got, op(w, x), op.out_space, what=f"{op.name} under vmap")

    @check(share=0.5)
    def test_refuses_wrong_shapes_and_dtypes(self, trial: T) -> None:
        """Each argument is checked, and the error names it."""
        op = trial.subject
        w, x = op.w_space.zeros(), op.x_space.zeros()
        for shape in wrong_shapes(op.w_space):
            _refused(op, w.new_zeros(shape), x, ShapeError, "w")
        for shape in wrong_shapes(op.x_space):
            _refused(op, w, x.new_zeros(shape), ShapeError, "x")
        other = torch.complex64 if w.is_complex() else torch.float32
        _refused(op, w.to(other), x, DtypeError, "w")
        _refused(op, w, x.to(other), DtypeError, "x")


def _arguments(
    op: BilinearOperator, trial: Trial[Any], batch: tuple[int, ...] | None = None
) -> tuple[Tensor, Tensor]:
    return trial.randn(op.w_space, 0, batch), trial.randn(op.x_space, 1, batch)


def _sections(trial: T) -> Iterator[tuple[ForwardOperator, Any, tuple[int, ...]]]:
    op = trial.subject
    for batch in ((), (3,)):
        w, x = _arguments(op, trial, batch)
        yield op.at_w(w), op.x_space, batch
        yield op.at_x(x), op.w_space, batch


def _on_sections(kit: Any, method: Callable[[Any], None], trial: T) -> None:
    body = body_of(method)
    for section, _, batch in _sections(trial):
        body(kit, Trial(section, batch or trial.batch, trial.seed))


def _refused(op: BilinearOperator, w: Tensor, x: Tensor, error: type[Exception], name: str) -> None:
    try:
        op(w, x)
    except error as raised:
        if f" {name} " not in str(raised):
            fail(f"{op.name}: the error for a wrong {name} does not name it: {raised}")
        return
    except Exception as raised:
        fail(f"{op.name}: a wrong {name} raised {type(raised).__name__}: {raised}")
    fail(f"{op.name} took {name} of shape {tuple((w if name == 'w' else x).shape)}.")
