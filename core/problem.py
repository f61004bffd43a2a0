"""`Problem`: everything a solver is given, in one argument."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Self

import attrs
import torch
from torch import Tensor

from .bilinear import BilinearOperator
from .conditions import check_conditions
from .errors import ParameterError
from .moves import move
from .noise import Noise
from .nonlinear import NonlinearOperator
from .operator import ForwardOperator
from .prior import Prior
from .space import Space

__all__ = ["AnyOperator", "Problem"]

AnyOperator = ForwardOperator | NonlinearOperator | BilinearOperator


def _own_copy(given: Any) -> Any:
    return dict(given) if isinstance(given, Mapping) else given  # else: refused below


def _shapes(conditions: Mapping[str, Tensor]) -> str:
    return str({name: tuple(value.shape) for name, value in conditions.items()})


@attrs.frozen(eq=False, kw_only=True)
class Problem:
    """Find x with `operator(x)` close to `measurement`, and likely under `prior`.

    The objective of the variational solvers is `D(A x) + R(x)`, with the data term D of `noise`
    (`1/2 |A x - y|^2` for Gaussian noise, and when there is none) and the prior's own weight in R.

    conditions: by name, what else is known and a network may use: a map of the picture's edges,
    the frames before and after. A solver that takes none refuses them.

    Shapes: measurement `(*batch, *operator.out_space.shape)`; initial, where to start,
    `(*batch, *operator.in_space.shape)`; conditions `(*batch, C, H, W)`, or fewer batch axes, for
    all samples: how large, the network says (see `NetworkView`).
    Raises: ShapeError, DtypeError, DeviceError from the operator's own checks, and those of the
    conditions; ParameterError.
    """

    operator: AnyOperator
    measurement: Tensor = attrs.field(repr=lambda t: str(tuple(t.shape)))
    noise: Noise | None = None
    prior: Prior | None = None
    initial: Tensor | None = attrs.field(default=None, repr=False)
    seed: int | None = None
    conditions: Mapping[str, Tensor] = attrs.field(factory=dict, converter=_own_copy, repr=_shapes)

    def __attrs_post_init__(self) -> None:
        op = self.operator
        if isinstance(op, ForwardOperator):
            op.check(self.measurement, op.out_space, "measurement")
            if self.initial is not None:
                op.check(self.initial, op.in_space, "initial")
        elif isinstance(op, (BilinearOperator, NonlinearOperator)):
            op.out_space.check(self.measurement, who=op.name, name="measurement")
        else:
            raise ParameterError(
                f"Problem.operator expects an operator; got {type(op).__name__}. "
                "wellposed.solve() takes names."
            )
        check_conditions(self.conditions, self.measurement, self.batch)

    @property
    def image_space(self) -> Space:
        """Space of the picture that is sought."""
        op = self.operator
        return op.x_space if isinstance(op, BilinearOperator) else op.in_space

    @property
    def batch(self) -> tuple[int, ...]:
        """Batch shape of the measurement."""
        return self.operator.out_space.batch_of(self.measurement)

    @property
    def linear(self) -> ForwardOperator:
        """The operator, which the solver's needs have been checked to be linear."""
        assert isinstance(self.operator, ForwardOperator)
        return self.operator

    @property
    def is_quadratic(self) -> bool:
        """Whether the data term is `1/2 |A x - y|^2`."""
        return self.noise is None or self.noise.is_quadratic

    def data_value(self, x: Tensor) -> Tensor:
        """Return D(A x) for each sample; shape `batch`."""
        op, y = self.linear, self.measurement
        z = op._apply(x)
        if self.noise is None:
            return 0.5 * op.out_space.norm(z - y).square()
        return self.noise.value(z, y, op.out_space)

    def data_grad(self, x: Tensor) -> Tensor:
        """Return the gradient of D(A x) in x."""
        op, y = self.linear, self.measurement
        z = op._apply(x)
        return op._adjoint(z - y if self.noise is None else self.noise.grad(z, y))

    def start(self) -> Tensor:
        """Return `initial`, or else the operator's own initial estimate."""
        if self.initial is not None:
            return self.initial
        return self.linear.initial_estimate(self.measurement)

    def generator(self) -> torch.Generator:
        """Return a random generator on the measurement's device, seeded by `seed` (0 if None)."""
        return torch.Generator(self.measurement.device).manual_seed(self.seed or 0)

    def to(
        self, *, device: torch.device | str | None = None, dtype: torch.dtype | None = None
    ) -> Self:
        """Return the problem on another device or in another precision."""
        return move(self, device=device, dtype=dtype)
