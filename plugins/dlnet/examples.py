"""Tiny networks and operators of several kinds for the kit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed import Problem, Space
from wellposed.registry import default_registry
from wellposed.testing import SolverCase

from .recursion import ADAM_FORMS
from .solver import DlNet

__all__ = ["dlnet"]


def _built(kind: str, name: str, **params: Any) -> Any:
    cls: Any = default_registry().load(kind, name)
    return cls(**params)


def _case(
    name: str,
    sides: tuple[int, int],
    channels: int,
    batch: tuple[int, ...],
    per_sample: bool,
    steps: int,
    adam: str,
    seed: int,
) -> SolverCase:
    generator = torch.Generator().manual_seed(seed)
    count = batch[-1] if batch and per_sample else 1

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, dtype=torch.float64, generator=generator)

    scale = {"strided_blur": 2}.get(name, 1)
    if name == "mask":
        sides = (16, 16)
    in_shape = (channels, *(scale * n for n in sides))
    params: dict[str, Any] = {}
    if name == "mask":
        params["mask"] = (random(count, 1, *sides) > 0.4).double()
        network = _built("network", "context_encoder", channels=channels, size=16, width=2)
    else:
        kernel = random(count, 1, 3, 3)
        params["kernel"] = kernel / kernel.sum((-2, -1), keepdim=True)
        network = _built("network", "vdsr", scale=scale, channels=channels, depth=3, width=3)
    if scale > 1:
        params["stride"] = scale
    cls: Any = default_registry().load("operator", name)
    operator = cls.for_image(Space(in_shape, torch.float64), **params)
    trained = network.build(seed=seed, dtype=torch.float64).eval()
    solver = DlNet(
        trained=trained, steps=steps, adam=adam, feed="measurement" if name == "mask" else None
    )
    y = operator(random(*batch, *in_shape))
    return SolverCase(solver=solver, problem=Problem(operator=operator, measurement=y))


def dlnet() -> st.SearchStrategy[SolverCase]:
    """Masks, blurs and strided blurs, with parameters for each sample or for all, K = 1 to 4."""
    return st.builds(
        _case,
        name=st.sampled_from(["mask", "blur", "strided_blur"]),
        sides=st.tuples(st.integers(4, 8), st.integers(4, 8)),
        channels=st.sampled_from([1, 3]),
        batch=st.sampled_from([(), (1,), (3,), (2, 3)]),
        per_sample=st.booleans(),
        steps=st.integers(1, 4),
        adam=st.sampled_from(ADAM_FORMS),
        seed=st.integers(0, 2**16),
    )
