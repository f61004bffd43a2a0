"""An operator seen by SciPy: flat vectors in, flat vectors out."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from .errors import ParameterError

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    from .operator import ForwardOperator
    from .space import Space

__all__ = ["as_scipy"]


def as_scipy(op: ForwardOperator) -> LinearOperator:
    """Return `op` as a `scipy.sparse.linalg.LinearOperator` of shape (rows, columns).

    Raises: ParameterError for an operator with per-sample parameters.
    """
    from scipy.sparse.linalg import LinearOperator

    if op.batch_shape:
        raise ParameterError(
            f"{op.name} has parameters for a batch of {op.batch_shape}; SciPy's operators have no "
            "batch. Convert the operator of one sample."
        )
    dtype = torch.empty((), dtype=torch.promote_types(op.in_space.dtype, op.out_space.dtype))

    def run(function: Any, space: Space, vector: np.ndarray) -> np.ndarray:
        x = torch.from_numpy(np.ascontiguousarray(vector))
        if x.is_complex() and not space.dtype.is_complex:
            x = x.real
        x = x.to(dtype=space.dtype, device=op.device).reshape(space.shape)
        with torch.no_grad():
            flat: np.ndarray = function(x).reshape(-1).cpu().numpy()
        return flat

    return LinearOperator(
        shape=(op.out_space.numel, op.in_space.numel),
        dtype=dtype.numpy().dtype,
        matvec=lambda x: run(op._apply, op.in_space, x),
        rmatvec=lambda y: run(op._adjoint, op.out_space, y),
    )
