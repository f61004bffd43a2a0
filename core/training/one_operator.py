"""Whether an operator does what the one does that a recipe without random parameters names."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from typing import Any, Final

import torch
import wellposed.registry as reg
from torch import Tensor

from ..cache import derived
from ..errors import WellposedError
from ..moves import fields_of, tensors_in
from ..operator import ForwardOperator
from ..space import real_partner
from .degradations import Degradation
from .distributions import draws_for, is_random

__all__ = ["is_another", "is_the_same"]

# Of two blurs: the relative difference of their kernels; 0.13 for a Gaussian wider by a tenth.
_FARTHEST: Final = 0.15


def is_another(operator: ForwardOperator, given: Any) -> Mapping[str, str]:
    """Say in words that an operator is not the one that a recipe names; empty if it is.

        max over samples of |A v - B v| / |B v| > 0.15

    for white noise v that fades towards the frame, so that the boundary has no part in it. Levels
    (see `degradation_levels`) do not tell a motion from one in another direction. A recipe with
    random parameters names no single operator, and is left to them.
    """
    degradation = Degradation.from_data(given, None)
    if is_random(list(degradation.operators)):
        return {}
    key = f"distance {reg.dump_yaml({'operator': given})}"
    compute = functools.partial(_distance, operator, degradation)
    distance = derived(operator, key, compute, *tensors_in(operator))
    if isinstance(distance, str):
        return {"operator": f"not to be compared with the one trained for ({distance})"}
    if distance <= _FARTHEST:
        return {}
    return {"operator": f"{distance:.2g} away from the one trained for, more than {_FARTHEST:g}"}


def is_the_same(operator: ForwardOperator, given: Any) -> bool:
    """Tell whether an operator is, field by field, the one that a recipe names: known at once."""
    degradation = Degradation.from_data(given, None)
    if is_random(list(degradation.operators)):
        return False
    try:
        trained = _trained(operator, degradation)
    except WellposedError:
        return False
    return type(trained) is type(operator) and all(
        _equal(getattr(operator, field.name), getattr(trained, field.name))
        for field in fields_of(operator)
        if field.init
    )


def _equal(a: Any, b: Any) -> bool:
    if isinstance(a, Tensor) and isinstance(b, Tensor):
        return a.shape == b.shape and a.dtype == b.dtype and bool(torch.equal(a, b))
    return not isinstance(a, Tensor | ForwardOperator) and type(a) is type(b) and bool(a == b)


def _trained(operator: ForwardOperator, degradation: Degradation) -> ForwardOperator:
    device = operator.device or torch.device("cpu")  # without tensors it belongs to any
    draws = draws_for(0, 0, stream=3, batch=1, device=device)
    return degradation.operator(operator.in_space, draws)


def _distance(operator: ForwardOperator, degradation: Degradation) -> float | str:
    """Return the relative difference, or why there is none."""
    space, batch = operator.in_space, operator.batch_shape or (1,)
    try:
        trained = _trained(operator, degradation)
    except WellposedError as error:
        return str(error)
    if trained.out_space != operator.out_space:
        return f"it measures {trained.out_space.shape} there, and not {operator.out_space.shape}"
    v = _noise((*batch, *space.shape)).to(real_partner(space.dtype))
    v = v.to(operator.device or torch.device("cpu")).to(space.dtype)
    with torch.no_grad():
        mine, theirs = operator._apply(v).flatten(1), trained._apply(v).flatten(1)
        away = (mine - theirs).norm(dim=1) / theirs.norm(dim=1).clamp_min(1e-30)
        return float(away.max())


def _noise(shape: tuple[int, ...]) -> Tensor:
    v = torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    for dim in (-2, -1):
        window = torch.hann_window(shape[dim] + 2, periodic=False, dtype=torch.float64)[1:-1]
        window = window.square()  # or 9 x 9 blurs of 16 x 16 pixels differ by their boundaries
        v = v * (window if dim == -1 else window[:, None])
    return v
