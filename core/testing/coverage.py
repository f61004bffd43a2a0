"""Checks of the examples themselves: an adjoint tested at one size is untested."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import attrs
import torch

from ..errors import WellposedError
from ..moves import fields_of, tensors_in
from ..operator import ForwardOperator
from .component_checks import ComponentKit
from .engine import fail

__all__ = ["CoverageChecks"]

_SIZES: dict[str, Callable[[int, int], bool]] = {
    "odd": lambda h, w: h % 2 == 1 or w % 2 == 1,
    "even": lambda h, w: h % 2 == 0 or w % 2 == 0,
    "square": lambda h, w: h == w,
    "non-square": lambda h, w: h != w,
    "one-wide": lambda h, w: min(h, w) == 1,
}


class CoverageChecks(ComponentKit[ForwardOperator]):
    """Needs `outputs`; see `OperatorKit`."""

    def test_examples_reach_hard_sizes(self) -> None:
        """Examples are odd, even, square, oblong and one pixel wide, unless the class refuses."""
        ops = [op for op in self.pool() if op.in_space.ndim >= 2]
        sizes = {(op.in_space.shape[-2], op.in_space.shape[-1]) for op in ops}
        missing = [
            name
            for name, test in _SIZES.items()
            if not any(test(h, w) for h, w in sizes) and self._accepts(ops, test)
        ]
        if ops and missing:
            fail(
                f"in {len(ops)} examples no picture is {', '.join(missing)}. Draw such sizes, or "
                "refuse them with a ParameterError or ShapeError."
            )

    def test_examples_reach_every_option(self) -> None:
        """Every choice of a `param(choices=...)`, and both values of a switch, is drawn."""
        ops = self.pool()
        for field in fields_of(ops[0]):
            if not field.init:
                continue
            wanted = tuple(field.metadata.get("choices") or ())
            if not wanted and isinstance(getattr(ops[0], field.name), bool):
                wanted = (True, False)
            seen = {getattr(op, field.name) for op in ops} if wanted else set()
            left = [value for value in wanted if value not in seen]
            if left:
                fail(f"in {len(ops)} examples {field.name} is never {', '.join(map(repr, left))}.")

    def test_examples_are_no_identity(self) -> None:
        """With parameters, some example is far from a multiple of the identity."""
        ops = [op for op in self.pool() if tensors_in(op)]
        same = [op for op in ops if op.in_space == op.out_space]
        if ops and len(same) == len(ops) and all(_is_scalar(op) for op in same):
            fail("every example is a multiple of the identity, which tests nothing.")

    def test_examples_have_parameters_per_sample(self) -> None:
        """A class whose parameters may be given per sample has examples with B of 1 and more."""
        ops = self.pool()
        seen = {op.batch_shape for op in ops}
        if seen != {()} and max((b[0] for b in seen if b), default=0) < 2:
            fail(f"in {len(ops)} examples the batch shapes are {sorted(seen)}; draw B of 3, too.")

    @staticmethod
    def _accepts(ops: list[ForwardOperator], test: Callable[[int, int], bool]) -> bool:
        """Whether the class can be built for a missing size at all, as far as can be tried."""
        op = min(ops, key=lambda o: o.in_space.numel)
        if "in_shape" not in {f.alias for f in fields_of(op)}:
            return True
        tried = [(h, w) for h in (1, 3, 4, 6, 8) for w in (1, 3, 4, 6, 8) if test(h, w)]
        return any(_builds(op, size) for size in tried)


def _builds(op: Any, size: tuple[int, int]) -> bool:
    shape = (*op.in_space.shape[:-2], *size)
    try:
        other = attrs.evolve(op, in_shape=shape)
        return bool(other.in_space.shape == shape)
    except (WellposedError, ValueError, TypeError):
        return False


def _is_scalar(op: ForwardOperator) -> bool:
    x = op.in_space.randn(op.batch_shape, generator=torch.Generator().manual_seed(0))
    y = op(x)
    ratio = (x.conj() * y).sum() / (x.conj() * x).sum()
    return bool((y - ratio * x).norm() <= 1e-6 * y.norm())
