"""Checks that samples are independent: batch = loop, per-sample parameters, memory layouts."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import attrs
import torch
from torch import Tensor

from ..errors import WellposedError
from ..moves import fields_of
from ..operator import ForwardOperator
from .component_checks import ComponentKit
from .engine import Trial, check, fail
from .measure import assert_close, shape_of

__all__ = ["BatchChecks", "operator_of_sample"]

T = Trial[ForwardOperator]


def operator_of_sample(op: ForwardOperator, index: int) -> ForwardOperator | None:
    """Return the operator with the parameters of one sample of `batch_shape`; None if unclear.

    Per-sample parameters have the shape `(B, ...)`, but so may others by chance: of the fields
    that could be meant, the largest set that leaves one sample and the same spaces is taken.
    """
    (size,) = op.batch_shape
    found = [
        f
        for f in fields_of(op)
        if f.init
        and isinstance(getattr(op, f.name), Tensor)
        and getattr(op, f.name).shape[:1] == (size,)
    ]
    for count in range(len(found), 0, -1):
        for chosen in itertools.combinations(found, count):
            changes: dict[str, Any] = {
                f.alias or f.name: getattr(op, f.name)[index : index + 1] for f in chosen
            }
            try:
                one = attrs.evolve(op, **changes)  # type: ignore[misc]
            except (WellposedError, ValueError, TypeError):
                continue
            spaces = (one.in_space, one.out_space) == (op.in_space, op.out_space)
            if spaces and one.batch_shape in ((), (1,)):
                return one
    return None


class BatchChecks(ComponentKit[ForwardOperator]):
    """Needs `outputs`; see `OperatorKit`."""

    @check(corners=True)
    def test_batch_equals_loop(self, trial: T) -> None:
        """Each sample of a batch is what the operator gives for it alone."""
        op = trial.subject
        batch = trial.batch if len(trial.batch) > len(op.batch_shape) else (3, *op.batch_shape)
        for f in (op, op.H):
            x = trial.randn(f.in_space, batch=batch)
            together = f(x)
            for i in range(batch[0]):
                what = f"{f.name}: sample {i} of a batch {batch}"
                assert_close(together[i], f(x[i]), f.out_space, what=what)

    @check(corners=True)
    def test_any_number_of_batch_axes(self, trial: T) -> None:
        """No batch axis (where parameters allow), one, or several give the same numbers."""
        op = trial.subject
        for f in (op, op.H):
            x = trial.randn(f.in_space, batch=(2, 2, *op.batch_shape))
            flat = f(x.flatten(0, 1))
            got = f(x)
            want = flat.unflatten(0, (2, 2))
            assert_close(got, want, f.out_space, what=f"{f.name}: batch (2, 2) against (4,)")
            one = f(x[0, 0])
            assert_close(one[None], flat[:1], f.out_space, what=f"{f.name}: no batch against (1,)")

    @check(corners=True)
    def test_parameters_per_sample(self, trial: T) -> None:
        """With parameters `(B, ...)`, sample b is treated by the operator of its own parameters."""
        op = trial.subject
        if not op.batch_shape:
            return
        if len(op.batch_shape) != 1:
            fail(f"{op.name}.batch_shape is {op.batch_shape}; expected () or (B,).")
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        ax, back = op(x), op.H(y)
        for i in range(op.batch_shape[0]):
            one = operator_of_sample(op, i)
            if one is None:
                return
            xi = x.select(len(trial.batch) - 1, i).unsqueeze(len(trial.batch) - 1)
            yi = y.select(len(trial.batch) - 1, i).unsqueeze(len(trial.batch) - 1)
            what = f"{op.name}: sample {i} of {shape_of(trial.batch)} against its own operator"
            at = (slice(None),) * (len(trial.batch) - 1) + (slice(i, i + 1),)
            assert_close(ax[at], one(xi), op.out_space, what=what)
            assert_close(back[at], one.H(yi), op.in_space, what=f"{what} (adjoint)")

    @check()
    def test_nan_stays_in_its_sample(self, trial: T) -> None:
        """A NaN in one sample leaves the others as they are."""
        op = trial.subject
        batch = (2, *op.batch_shape)
        for f in (op, op.H):
            x = trial.randn(f.in_space, batch=batch)
            want = f(x)
            x = x.clone()
            x.view(2, -1)[0, -1] = torch.nan
            last = (1,) * len(batch)
            got = f(x)
            what = f"{f.name}: a sample beside one with NaN"
            assert_close(got[1], want[1], f.out_space, what=what)
            if op.batch_shape and op.batch_shape[0] > 1:
                index = (0, *((0,) * (len(last) - 1)))
                assert_close(got[index], want[index], f.out_space, what=what)

    @check(share=0.5)
    def test_memory_layout_does_not_matter(self, trial: T) -> None:
        """Expanded, transposed and sliced tensors give what contiguous ones do."""
        op = trial.subject
        for f in (op, op.H):
            x = trial.randn(f.in_space, batch=(2, *op.batch_shape))
            want = f(x)
            far = torch.stack([x, x], -1)[..., 0]
            turned = x.transpose(0, -1).contiguous().transpose(0, -1)
            for how, other in (("sliced", far), ("transposed", turned)):
                assert_close(f(other), want, f.out_space, what=f"{f.name} of a {how} tensor")
            one = x[:1].expand(2, *x.shape[1:])
            both = torch.cat([want[:1], want[:1]])
            assert_close(f(one), both, f.out_space, what=f"{f.name} of an expanded tensor")

    @check()
    def test_input_is_not_modified(self, trial: T) -> None:
        """No method writes into its argument."""
        op = trial.subject
        x, y = trial.randn(op.in_space), trial.randn(op.out_space, 1)
        calls: dict[str, tuple[Callable[[], Tensor], Tensor]] = {
            "A x": (lambda: op(x), x),
            "A^H y": (lambda: op.H(y), y),
            "gram(x)": (lambda: op.gram(x), x),
            "initial_estimate(y)": (lambda: op.initial_estimate(y), y),
            "data_prox(v, y), v": (lambda: op.data_prox(x, y, 0.1), x),
            "data_prox(v, y), y": (lambda: op.data_prox(x, y, 0.1), y),
        }
        for what, (call, given) in calls.items():
            before, version = given.clone(), given._version
            call()
            if given._version != version or not torch.equal(given, before):
                fail(f"{op.name}: {what} changed its argument in place.")
