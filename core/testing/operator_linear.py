"""Checks of an operator as a linear map: spaces, linearity, adjoint, norm, declared structure."""

from __future__ import annotations

from typing import Any, ClassVar

import torch
from torch import Tensor

from ..operator import ForwardOperator
from ..space import Space
from .component_checks import ComponentKit
from .diagnose import adjoint_trouble
from .engine import Trial, check, fail
from .measure import assert_close, assert_same, eps_of, inner, norm, place_of, shape_of, size_of

__all__ = ["LinearChecks", "dot_test", "is_complex_linear"]

T = Trial[ForwardOperator]

# A dense matrix of more entries than this makes a check slow rather than thorough.
_DENSE = 2**21


def is_complex_linear(op: ForwardOperator) -> bool:
    """Whether complex numbers can be drawn out of the operator: its spaces are both complex."""
    return op.in_space.dtype.is_complex and op.out_space.dtype.is_complex


def _is_small(op: ForwardOperator) -> bool:
    return op.in_space.numel * op.out_space.numel <= _DENSE


def dot_test(op: ForwardOperator, x: Tensor, y: Tensor) -> None:
    """Fail unless `|<Ax,y> - <x,A^H y>| <= 32 eps (|Ax||y| + |x||A^H y|)` for each sample.

    The real part counts when one of the spaces is real.
    """
    ax, back = op(x), op.H(y)
    left, right = inner(ax, y, op.out_space), inner(x, back, op.in_space)
    gap = (left - right).abs() if is_complex_linear(op) else (left.real - right.real).abs()
    size = norm(ax, op.out_space) * norm(y, op.out_space)
    size = size + norm(x, op.in_space) * norm(back, op.in_space)
    eps = eps_of(op.in_space.dtype)
    bad = ~(gap <= 32 * eps * size)
    if bool(bad.any()):
        ratio = float((gap / size).nan_to_num(torch.inf).max())
        fail(
            f"{op.name} {size_of(op.in_space)} -> {size_of(op.out_space)}: <Ax, y> and <x, A^H y> "
            f"differ by {ratio:.1e} of |Ax||y| + |x||A^H y|, {32 * eps:.0e} allowed, in "
            f"{int(bad.sum())} of {bad.numel()} samples. {adjoint_trouble(op)}"
        )


class LinearChecks(ComponentKit[ForwardOperator]):
    """Needs `outputs`; see `OperatorKit`."""

    oracle: ClassVar[Any] = None
    """A static method: an independent dense matrix of an operator."""

    @check(corners=True)
    def test_spaces_are_honest(self, trial: T) -> None:
        """A x lies on out_space and A^H y on in_space, for any batch."""
        op, batch = trial.subject, trial.batch
        x, y = trial.randn(op.in_space), trial.randn(op.out_space)
        what = f"{op.name} on {shape_of(batch)}:"
        assert_same(op(x), y, what=f"{what} A x")
        assert_same(op.H(y), x, what=f"{what} A^H y")

    @check(share=0.5)
    def test_zero_gives_zero(self, trial: T) -> None:
        """A 0 = 0 and A^H 0 = 0, exactly."""
        op = trial.subject
        for what, f, a in (("A", op, op.in_space), ("A^H", op.H, op.out_space)):
            answer = f(a.zeros(trial.batch))
            if bool(answer.abs().ne(0).any()) or bool(answer.isnan().any()):
                fail(f"{op.name}: {what} 0 is not 0 (up to {float(answer.abs().max()):.1e}).")

    @check()
    def test_is_linear(self, trial: T) -> None:
        """A (a x + b z) = a A x + b A z, also for numbers from 1e-6 to 1e6; so is A^H."""
        op = trial.subject
        pairs = ((op, op.in_space, op.out_space), (op.H, op.out_space, op.in_space))
        for f, a_space, b_space in pairs:
            x, z = trial.randn(a_space), trial.randn(a_space, 1)
            fx, fz = f(x), f(z)
            scale = norm(fx, b_space) + norm(fz, b_space)
            for a, b in ((0.7, -1.3), (1e6, 0.0), (1e-6, 0.0)):
                wide = scale * max(abs(a), abs(b))
                what = f"{f.name}: {a:g} x + {b:g} z"
                assert_close(f(a * x + b * z), a * fx + b * fz, b_space, what=what, scale=wide)
            if is_complex_linear(op):
                what = f"{f.name}: i x"
                assert_close(f(1j * x), 1j * fx, b_space, what=what, scale=scale)

    @check(corners=True)
    def test_dot_test_in_float64(self, trial: T) -> None:
        """The hand-written adjoint is exact in double precision, for each sample."""
        op = trial.subject
        dot_test(op, trial.randn(op.in_space), trial.randn(op.out_space, 1))

    @check()
    def test_dot_test_in_float32(self, trial: T) -> None:
        """The adjoint is as exact as single precision allows."""
        op = trial.subject.to(dtype=torch.float32)
        dot_test(op, trial.randn(op.in_space), trial.randn(op.out_space, 1))

    @check(share=0.2)
    def test_adjoint_of_adjoint_is_the_operator(self, trial: T) -> None:
        """`op.H.H is op`."""
        op = trial.subject
        if op.H.H is not op:
            fail(f"{op.name}.H.H is another object.")

    @check(share=0.5)
    def test_single_precision_agrees_with_double(self, trial: T) -> None:
        """`.to(dtype=float32)` loses digits only: no imaginary part, no mask, no index."""
        op = trial.subject
        single = op.to(dtype=torch.float32)
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        for f, g, v, a, b in (
            (op, single, x, single.in_space, op.out_space),
            (op.H, single.H, y, single.out_space, op.in_space),
        ):
            got, want = g(v.to(a.dtype)), f(v)
            assert_close(got.to(b.dtype), want, b, what=f"{f.name} in float32", rtol=2e-5)

    @check(share=0.5)
    def test_matrix_and_scipy_agree(self, trial: T) -> None:
        """`as_matrix`, `op.H.as_matrix` and `as_scipy` are the operator that is called."""
        op = trial.subject
        if not _is_small(op) or (op.in_space.dtype.is_complex and not is_complex_linear(op)):
            return
        matrix = op.as_matrix()
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        lead = trial.batch
        product = (matrix @ x.reshape(*lead, -1, 1).to(matrix.dtype)).reshape(y.shape)
        assert_close(product, op(x), op.out_space, what=f"{op.name}.as_matrix() @ x")
        back = matrix.mH @ y.reshape(*lead, -1, 1).to(matrix.dtype)
        back = back.reshape(x.shape)
        if back.is_complex() and not x.is_complex():
            back = back.real
        assert_close(back, op.H(y), op.in_space, what=f"{op.name}.as_matrix().mH @ y")
        if not op.batch_shape:
            _scipy_agrees(op, trial)

    @check(corners=True)
    def test_gram_is_adjoint_after_operator(self, trial: T) -> None:
        """`gram(x) = A^H A x`."""
        op = trial.subject
        x = trial.randn(op.in_space)
        ax = op(x)
        want = op.H(ax)
        assert_close(op.gram(x), want, op.in_space, what=f"{op.name}.gram", rtol=1e-13)

    @check(share=0.5)
    def test_norm_bound_is_a_bound(self, trial: T) -> None:
        """Never below the spectral norm, and (unless the author has a cheap one) within 5 %."""
        op = trial.subject
        if not _is_small(op):
            return
        bound = op.norm_bound()
        if tuple(bound.shape) != op.batch_shape or bound.is_complex():
            fail(
                f"{op.name}.norm_bound() has shape {tuple(bound.shape)} and dtype {bound.dtype}; "
                f"expected a real tensor of shape {op.batch_shape}."
            )
        truth = torch.linalg.matrix_norm(op.as_matrix(), 2)
        if bool((bound < truth * (1 - 1e-12)).any()):
            ratio = float((bound / truth).min())
            fail(f"{op.name}.norm_bound() is below the spectral norm: {ratio:.6f} of it.")
        own = type(op)._norm_bound is not ForwardOperator._norm_bound
        allowed = 4.0 if own else 1.05
        if bool((bound > allowed * truth + 1e-12 * bound.max()).any()):
            ratio = (
                float((bound / truth)[truth > 0].max()) if bool((truth > 0).any()) else torch.inf
            )
            fail(f"{op.name}.norm_bound() is {ratio:.3f} times the norm; {allowed:g} allowed.")

    @check(corners=True)
    def test_declared_grams_are_true(self, trial: T) -> None:
        """What `row_gram` and `column_gram` declare is what A A^H and A^H A are."""
        op = trial.subject
        row, column = op.row_gram(), op.column_gram()
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        if row is not None:
            claim = row * y
            size = norm(y, op.out_space) * float(torch.as_tensor(row).abs().max())
            what = f"{op.name} declares row_gram, but A A^H y"
            assert_close(op(op.H(y)), claim, op.out_space, what=what, scale=size)
        if column is not None:
            what = f"{op.name} declares column_gram {column:g}, but A^H A x"
            size = norm(x, op.in_space) * column
            assert_close(op.H(op(x)), column * x, op.in_space, what=what, scale=size)

    @check(corners=True)
    def test_declared_equivariance_is_true(self, trial: T) -> None:
        """Moving x by `stride` pixels moves y by one; `channelwise` keeps channels apart."""
        op = trial.subject
        known = op.equivariance()
        if known is None:
            return
        if op.in_space.ndim < 2 or op.out_space.ndim < 2:
            fail(f"{op.name} declares equivariance on {op.in_space.shape}; it needs pictures.")
        x = trial.randn(op.in_space)
        ax = op(x)
        for axis in (-2, -1):
            what = f"{op.name} declares {known}, but moving x along axis {axis}"
            moved, want = op(x.roll(known.stride, axis)), ax.roll(1, axis)
            assert_close(moved, want, op.out_space, what=what, rtol=1e-12)
        if known.channelwise and op.in_space.ndim == 3:
            _keeps_channels_apart(op, x)

    @check(share=0.5)
    def test_initial_estimate_is_a_picture(self, trial: T) -> None:
        """It lies on in_space, scales with y, and is finite for y = 0."""
        op = trial.subject
        y = trial.randn(op.out_space)
        x = op.initial_estimate(y)
        like: Space = op.in_space
        assert_same(x, like.zeros(trial.batch), what=f"{op.name}.initial_estimate(y)")
        for s in (1e-6, 1e6):
            what = f"{op.name}.initial_estimate({s:g} y)"
            assert_close(op.initial_estimate(s * y), s * x, like, what=what, rtol=1e-10)
        if not bool(torch.isfinite(op.initial_estimate(torch.zeros_like(y)).abs()).all()):
            fail(f"{op.name}.initial_estimate(0) is not finite.")

    @check(share=0.5)
    def test_composes(self, trial: T) -> None:
        """`2 A`, `A + A`, `A.H @ A` and `stack([A, A])` pass the dot test."""
        from ..algebra import stack

        op = trial.subject
        for node in (2.0 * op, op + op, op.H @ op, stack([op, -op])):
            dot_test(node, trial.randn(node.in_space), trial.randn(node.out_space, 1))

    @check()
    def test_matches_the_oracle(self, trial: T) -> None:
        """The matrix is the one that the kit's `oracle` gives; nothing to check without one."""
        if self.oracle is None:
            return
        op = trial.subject
        got = op.as_matrix()
        want = torch.as_tensor(self.oracle(op)).to(got.dtype)
        flat = Space((got.shape[-2] * got.shape[-1],), got.dtype)
        got, want = got.reshape(-1, flat.numel), want.reshape(-1, flat.numel)
        assert_close(got, want, flat, what=f"{op.name}.as_matrix() against the oracle", rtol=1e-11)


def _keeps_channels_apart(op: ForwardOperator, x: Tensor) -> None:
    for channel in range(op.in_space.shape[0]):
        one = torch.zeros_like(x)
        one[..., channel, :, :] = x[..., channel, :, :]
        answer = op.H(op(one))
        mixed = answer.clone()
        mixed[..., channel, :, :] = 0
        if bool((norm(mixed, op.in_space) > 1e-12 * norm(answer, op.in_space)).any()):
            fail(
                f"{op.name} declares channelwise equivariance, but A^H A mixes channels. "
                f"{place_of(mixed, op.in_space)}"
            )


def _scipy_agrees(op: ForwardOperator, trial: T) -> None:
    flat = op.as_scipy()
    x, y = trial.randn(op.in_space, batch=()), trial.randn(op.out_space, 1, batch=())
    ax = torch.as_tensor(flat.matvec(x.reshape(-1).numpy())).reshape(op.out_space.shape)
    aty = torch.as_tensor(flat.rmatvec(y.reshape(-1).numpy())).reshape(op.in_space.shape)
    assert_close(ax.to(y.dtype), op(x), op.out_space, what=f"{op.name}.as_scipy().matvec")
    if aty.is_complex() and not x.is_complex():
        aty = aty.real
    assert_close(aty, op.H(y), op.in_space, what=f"{op.name}.as_scipy().rmatvec")
