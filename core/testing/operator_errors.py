"""Checks that wrong shapes, dtypes and devices are our errors, naming the argument."""

from __future__ import annotations

import numpy as np
import torch

from ..errors import DeviceError, DtypeError, ShapeError, WellposedError
from ..moves import fields_of
from ..operator import ForwardOperator
from ..space import Space
from .component_checks import ComponentKit
from .engine import Trial, check, fail

__all__ = ["ErrorChecks"]

T = Trial[ForwardOperator]


def wrong_shapes(space: Space) -> list[tuple[int, ...]]:
    """Return event shapes next to the right one, those that would broadcast first."""
    found = []
    for axis, size in enumerate(space.shape):
        for other in {1, 3, size - 1, size + 1} - {size, 0}:
            found.append((*space.shape[:axis], other, *space.shape[axis + 1 :]))
    found.append(space.shape[1:])
    if space.shape[-1:] != space.shape[-2:-1]:
        found.append((*space.shape[:-2], *space.shape[:-3:-1]))
    return found


class ErrorChecks(ComponentKit[ForwardOperator]):
    """Needs `outputs`; see `OperatorKit`."""

    @check(share=0.5)
    def test_refuses_wrong_shapes(self, trial: T) -> None:
        """Neighbouring and broadcastable sizes raise ShapeError and name operator and argument."""
        op = trial.subject
        for f in (op, op.H):
            for shape in wrong_shapes(f.in_space):
                for lead in {trial.batch, op.batch_shape}:
                    given = torch.zeros((*lead, *shape), dtype=f.in_space.dtype)
                    if f.in_space.shape == tuple(given.shape[-f.in_space.ndim :]):
                        continue  # a batch axis fell into the place of the missing one
                    self._call_refused(f, given, ShapeError)

    @check(share=0.5)
    def test_refuses_another_batch_than_its_parameters(self, trial: T) -> None:
        """With parameters per sample, no batch or another size is a ShapeError."""
        op = trial.subject
        if not op.batch_shape:
            return
        (size,) = op.batch_shape
        for f in (op, op.H):
            for lead in ((), (size + 1,), (size, size + 1)):
                self._call_refused(f, f.in_space.zeros(lead), ShapeError)
            if size != 1:
                self._call_refused(f, f.in_space.zeros((1,)), ShapeError)

    @check(share=0.5)
    def test_refuses_wrong_dtypes(self, trial: T) -> None:
        """Another precision, kind or type raises DtypeError; nothing is promoted in silence."""
        op = trial.subject
        for f in (op, op.H):
            space = f.in_space
            for dtype in (torch.float32, torch.float64, torch.complex64, torch.complex128):
                if dtype != space.dtype:
                    given = torch.zeros((*trial.batch, *space.shape), dtype=dtype)
                    self._call_refused(f, given, DtypeError)
            for dtype in (torch.int64, torch.uint8, torch.bool, torch.float16):
                given = torch.zeros((*trial.batch, *space.shape), dtype=dtype)
                self._call_refused(f, given, DtypeError)
            self._call_refused(f, np.zeros((*trial.batch, *space.shape)), DtypeError)

    @check(share=0.2)
    def test_refuses_another_device(self, trial: T) -> None:
        """An argument that does not lie beside the parameters raises DeviceError."""
        op = trial.subject
        if op.device is None:
            return
        for f in (op, op.H):
            self._call_refused(f, f.in_space.zeros(trial.batch, device="meta"), DeviceError)

    @check(share=0.3)
    def test_data_prox_refuses_mismatches(self, trial: T) -> None:
        """Arguments of different batches, or of a wrong shape or dtype, are errors."""
        op = trial.subject
        batch = (2, *op.batch_shape)
        v, y = op.in_space.zeros(batch), op.out_space.zeros(batch)
        more = op.out_space.zeros((3, *op.batch_shape))
        for a, b in ((v, more), (v[..., :0], y), (v, y[..., :0])):
            self._raises(lambda a=a, b=b: op.data_prox(a, b, 0.1), ShapeError, "data_prox")
        other = torch.complex64 if op.in_space.dtype.is_complex else torch.float32
        self._raises(lambda: op.data_prox(v.to(other), y, 0.1), DtypeError, "data_prox")

    @check(share=0.5)
    def test_sized_from_the_measurement(self, trial: T) -> None:
        """`image_space_for` gives a picture size whose operator has the measurement's space."""
        op, cls = trial.subject, type(trial.subject)
        own = {
            f.alias or f.name: getattr(op, f.name)
            for f in fields_of(op)
            if f.init and f.name not in ("in_shape", "dtype")
        }
        try:
            space = cls.image_space_for(op.out_space, **own)
        except WellposedError as error:
            if "in_shape" in str(error):  # any picture could give it: the user is asked
                return
            fail(
                f"{op.name}.image_space_for({op.out_space.shape}) says there is no picture: {error}"
            )
        if not isinstance(space, Space):
            fail(f"{op.name}.image_space_for returned {type(space).__name__}; expected a Space.")
        other = cls.for_image(space, **own)
        if other.out_space != op.out_space:
            fail(
                f"{op.name}: image_space_for({op.out_space.shape}) is {space.shape}, whose "
                f"measurement has the shape {other.out_space.shape}."
            )
        same = cls.for_image(op.in_space, **own)
        if (same.in_space, same.out_space) != (op.in_space, op.out_space):
            fail(f"{op.name}: for_image({op.in_space.shape}) gives pictures of {same.in_space}.")

    def _call_refused(self, f: ForwardOperator, given: object, error: type[Exception]) -> None:
        shown = f"{type(given).__name__} {tuple(given.shape)} {given.dtype}"  # type: ignore[attr-defined]
        self._raises(lambda: f(given), error, shown, f.name.removesuffix(".H"))  # type: ignore[arg-type]

    @staticmethod
    def _raises(call: object, error: type[Exception], shown: str, name: str = "") -> None:
        try:
            call()  # type: ignore[operator]
        except error as raised:
            if name not in str(raised):
                fail(f"the error for {shown} does not name {name}: {raised}")
            return
        except Exception as raised:
            fail(
                f"{name or 'the operator'}: {shown} raised {type(raised).__name__} ({raised}); "
                f"expected {error.__name__}."
            )
        fail(f"{name or 'the operator'} took {shown}; expected {error.__name__}.")
