"""Tiny networks and operators of several kinds for the kit."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed import Problem, Space
from wellposed.registry import default_registry
from wellposed.testing import SolverCase

from .solver import InverseNet

__all__ = ["inversenet"]


def _built(kind: str, name: str, **params: Any) -> Any:
    cls: Any = default_registry().load(kind, name)
    return cls(**params)


def _network(half: str, name: str, channels: int, seed: int) -> Any:
    params: dict[str, Any] = {"channels": channels}
    params |= {
        "inversenet_unet": {"depth": 2, "width": 2},
        "inversenet_dae": {"width": 4, "shuffle": 2},
        "vdsr": {"depth": 3, "width": 3, "scale": 2 if half == "enlarging" else 1},
        "dncnn": {"depth": 3, "width": 3},
    }[name]
    network = _built("network", name, **params).build(seed=seed, dtype=torch.float64)
    return network.eval()


def _case(
    name: str,
    first: str,
    second: str,
    sides: tuple[int, int],
    channels: int,
    batch: tuple[int, ...],
    per_sample: bool,
    tile: int | None,
    seed: int,
) -> SolverCase:
    generator = torch.Generator().manual_seed(seed)
    count = batch[-1] if batch and per_sample else 1

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, dtype=torch.float64, generator=generator)

    scale = 2 if name == "strided_blur" else 1
    in_shape = (channels, *(scale * n for n in sides))
    kernel = random(count, 1, 3, 3)
    params: dict[str, Any] = {"kernel": kernel / kernel.sum((-2, -1), keepdim=True)}
    if name == "mask":
        params = {"mask": (random(count, 1, *in_shape[1:]) > 0.4).double()}
    cls: Any = default_registry().load("operator", name)
    operator = cls.for_image(Space(in_shape, torch.float64), **params)
    half = "enlarging" if scale > 1 else ""
    solver = InverseNet(
        inverting=_network(half, first, channels, seed),
        denoising=_network("", second, channels, seed + 1),
        tile=tile,
    )
    return SolverCase(
        solver=solver,
        problem=Problem(operator=operator, measurement=operator(random(*batch, *in_shape))),
    )


def inversenet() -> st.SearchStrategy[SolverCase]:
    """Masks, blurs and strided blurs; each half by two kinds of network."""
    return st.builds(
        _case,
        name=st.sampled_from(["mask", "blur", "strided_blur"]),
        first=st.sampled_from(["inversenet_unet", "vdsr"]),
        second=st.sampled_from(["inversenet_dae", "dncnn"]),
        sides=st.tuples(st.integers(4, 8), st.integers(4, 8)),
        channels=st.sampled_from([1, 3]),
        batch=st.sampled_from([(), (1,), (3,), (2, 3)]),
        per_sample=st.booleans(),
        tile=st.sampled_from([None, 32]),
        seed=st.integers(0, 2**16),
    )
