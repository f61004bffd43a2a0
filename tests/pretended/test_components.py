"""Every component's checks on CUDA, on a device that is not there; and what they must catch."""

from __future__ import annotations

import attrs
import pytest
import torch
from torch import Tensor
from wellposed import ForwardOperator, Space
from wellposed.registry import default_registry
from wellposed.testing import CheckFailure, OperatorKit, check_names, kit_for
from wellposed.testing.runner import KITS

# The package behind it takes half a second for the smallest picture.
OURS = [
    s
    for s in default_registry().specs()
    if s.dist == "wellposed" and s.kind in KITS and s.name != "bm3d"
]
CHECKS = [
    pytest.param(spec, check, id=f"{spec.kind}-{spec.name}-{check}")
    for spec in OURS
    for check in check_names(spec.kind)
    if "cuda" in check
]


@pytest.mark.parametrize(("spec", "check"), CHECKS)
def test_component(spec, check, waits):
    for extra in spec.extras:
        pytest.importorskip(extra)
    kit = kit_for(spec.kind, spec.name, max_examples=5)
    type(kit).max_seconds = 3.0
    getattr(kit, check)()


@attrs.frozen(eq=False, kw_only=True)
class _Halved(ForwardOperator):
    """Half of each value, computed in a way that no device likes."""

    space: Space = attrs.field(default=Space((1, 2, 3), torch.float64))

    @property
    def in_space(self) -> Space:
        return self.space

    @property
    def out_space(self) -> Space:
        return self.space

    def _adjoint(self, y: Tensor) -> Tensor:
        return self._apply(y)


class _OnTheCpu(_Halved):
    def _apply(self, x: Tensor) -> Tensor:
        return x * torch.full(self.space.shape, 0.5, dtype=torch.float64)


class _AsksTheDevice(_Halved):
    def _apply(self, x: Tensor) -> Tensor:
        return 0.5 * x if float(x.flatten()[0]) else x / 2


class _ReturnsToTheHost(_Halved):
    def _apply(self, x: Tensor) -> Tensor:
        return 0.5 * x.cpu()


@pytest.mark.parametrize(
    ("broken", "check", "error", "match"),
    [
        (_OnTheCpu, "test_cuda_agrees_with_cpu", RuntimeError, "cuda:0 and cpu"),
        (_AsksTheDevice, "test_cuda_does_not_synchronise", RuntimeError, "synchronizing"),
        (_ReturnsToTheHost, "test_cuda_agrees_with_cpu", CheckFailure, "A x is on cpu"),
    ],
)
def test_what_no_device_likes_is_caught(broken, check, error, match, waits):
    class Kit(OperatorKit):
        examples = (broken(),)

    with pytest.raises(error, match=match):
        getattr(Kit(), check)()
