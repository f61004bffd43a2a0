"""`OperatorKit`: everything that a linear operator promises."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from hypothesis import strategies as st
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
from .strategies import batch_shapes, seeds

__all__ = ["OperatorKit", "operator_trials"]


@st.composite
def operator_trials(
    draw: st.DrawFn, operators: st.SearchStrategy[ForwardOperator]
) -> Trial[ForwardOperator]:
    """Draw an operator, a seed, and a batch shape that its parameters allow."""
    op = draw(operators)
    batch = draw(batch_shapes(op.batch_shape, width=op.in_space.shape[-1]))
    return Trial(op, batch, draw(seeds()))


class OperatorKit(
    LinearChecks,
    GradientChecks,
    BatchChecks,
    ProxChecks,
    ErrorChecks,
    CudaChecks,
    CoverageChecks,
    ComponentKit[ForwardOperator],
):
    """Checks of a `ForwardOperator`; examples are operators in double precision.

    oracle: a function that returns an independent dense matrix of an operator.
    """

    kind = "operator"

    def trials(self) -> st.SearchStrategy[Trial[ForwardOperator]]:
        """Draw operators and batches."""
        return operator_trials(self.instances())

    def outputs(self, component: Any, trial: Trial[Any]) -> Mapping[str, Tensor]:
        """Return A x, A^H y and A^H A x."""
        x, y = trial.randn(component.in_space), trial.randn(component.out_space, 1)
        return {"A x": component(x), "A^H y": component.H(y), "gram(x)": component.gram(x)}
