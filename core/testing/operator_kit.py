"""`OperatorKit`: everything that a linear operator promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..operator import ForwardOperator
from .component_checks import ComponentKit
from .coverage import CoverageChecks
from .cuda_checks import CudaChecks
from .engine import Trial
from .operator_batch import BatchChecks
from .operator_errors import ErrorChecks
from .operator_grad import GradientChecks
from .operator_linear import LinearChecks
from .operator_prox import ProxChecks
from .strategies import batch_shapes

__all__ = ["OperatorKit"]


class OperatorKit(
    LinearChecks,
    GradientChecks,
    BatchChecks,
    ProxChecks,
    ErrorChecks,
    CudaChecks[ForwardOperator],
    CoverageChecks,
    ComponentKit[ForwardOperator],
):
    """Checks of a `ForwardOperator`; examples are operators in double precision.

    oracle: a function that returns an independent dense matrix of an operator.
    """

    kind = "operator"

    def batches(self, subject: ForwardOperator) -> list[tuple[int, ...]]:
        """Return what its parameters allow."""
        return batch_shapes(subject.batch_shape, width=subject.in_space.shape[-1])

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return A x, A^H y and A^H A x."""
        x, y = trial.randn(component.in_space), trial.randn(component.out_space, 1)
        return {"A x": component(x), "A^H y": component.H(y), "gram(x)": component.gram(x)}

    def device_outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return these, and the closed form of `data_prox`; without one the host looks on."""
        found = dict(self.outputs(component, trial))
        if component.has_closed_prox:
            x, y = trial.randn(component.in_space), trial.randn(component.out_space, 1)
            found["data_prox"] = component.data_prox(x, y, 0.1)
        return found
