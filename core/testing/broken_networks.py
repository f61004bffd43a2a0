"""A network with one fault at a time; see `broken`."""

from __future__ import annotations

from typing import Final

import attrs
import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn
from wellposed.registry import param

from ..errors import ParameterError
from ..network import ConvolutionHead, Network, NetworkSpec, SplitNetwork
from .broken import NONE

__all__ = ["NETWORK_FAULTS", "FaultyNetwork", "faulty_networks"]

NETWORK_FAULTS: Final = {
    "crops odd sizes": "test_shapes_and_dtypes",
    "tells another size": "test_shapes_and_dtypes",
    "forgets a bias": "test_starts_from_its_seed",
    "draws globally": "test_starts_from_its_seed",
    "takes the mean over the batch": "test_batch_equals_loop",
    "keeps a plain tensor": "test_state_dict_round_trip",
    "holds a lambda": "test_module_pickles_and_copies",
    "has an idle layer": "test_gradients_are_finite",
    "divides by zero": "test_gradients_are_finite",
    "writes into its input": "test_input_is_not_modified",
    "takes any input": "test_wrong_input_is_refused",
    "adds its base twice": "test_split_is_the_network",
    "adjoint without the mask": "test_head_adjoint_is_that_of_its_jacobian",
    "adjoint flipped": "test_head_adjoint_is_that_of_its_jacobian",
}


@attrs.frozen(eq=False, kw_only=True)
class FaultyNetwork(NetworkSpec):
    """Two convolutions around a skip, wrong in one way.

    Source: the definition.
    """

    width: int = param(
        3, doc="channels of the hidden layer", check=attrs.validators.instance_of(int)
    )
    fault: str = param(NONE, doc="what is wrong")

    def _module(self) -> Network:
        return _FaultyModule(self)


class _FaultyModule(SplitNetwork):
    def __init__(self, spec: FaultyNetwork) -> None:
        super().__init__(channels=2, conditions={"mask": 1})
        self.fault = spec.fault
        self.first = nn.Conv2d(3, spec.width, 3, padding=1)
        self.tail = ConvolutionHead(spec.width, 2, kernel=3, slope=0.1)
        if spec.fault == "has an idle layer":
            self.idle = nn.Conv2d(1, 1, 1)
        if spec.fault == "holds a lambda":
            self.function = lambda x: x
        self.plain = torch.zeros(())

    def initialise(self, generator: torch.Generator) -> None:
        for name, p in self.named_parameters():
            if self.fault == "draws globally":
                p.normal_()
            elif not (self.fault == "forgets a bias" and name == "first.bias"):
                p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=generator))
        self.plain = torch.zeros(())
        if self.fault == "keeps a plain tensor":
            self.plain = torch.randn((), dtype=torch.float64, generator=generator)

    def out_sides(self, height: int, width: int) -> tuple[int, int]:
        swapped = self.fault == "tells another size"
        return (width, height) if swapped else super().out_sides(height, width)

    def forward(self, x: Tensor, **conditions: Tensor) -> Tensor:
        if self.fault == "takes any input":
            try:
                return super().forward(x, **conditions)
            except (ValueError, TypeError, ParameterError):
                return x
        if self.fault == "adds its base twice":
            return super().forward(x, **conditions) + x
        if self.fault == "writes into its input":
            with torch.no_grad():
                x.mul_(0.5)
        out = super().forward(x, **conditions)
        odd = self.fault == "crops odd sizes" and x.shape[-1] % 2 == 1 and x.shape[-1] > 1
        return out[..., :-1] if odd else out

    def _features(self, y: Tensor, **conditions: Tensor) -> Tensor:
        z: Tensor = self.first(torch.cat([y, conditions["mask"]], 1)) + self.plain.to(y.dtype)
        if self.fault == "takes the mean over the batch":
            z = z - z.mean(0)
        if self.fault == "divides by zero":
            z = z + (z * 0).sqrt()
        return z

    def _base(self, y: Tensor) -> Tensor:
        return y

    def _head(self, z: Tensor) -> Tensor:
        return self.tail(z)  # type: ignore[no-any-return]

    def _head_adjoint(self, z: Tensor, v: Tensor, x: Tensor | None) -> Tensor:
        if self.fault == "adjoint without the mask":
            return F.conv_transpose2d(v, self.tail.layer.weight, padding=1)
        if self.fault == "adjoint flipped":
            back = F.conv_transpose2d(v, self.tail.layer.weight.flip(-1), padding=1)
            return torch.where(z > 0, back, 0.1 * back)
        return self.tail.adjoint(z, v, x)


def faulty_networks(fault: str = NONE) -> st.SearchStrategy[FaultyNetwork]:
    """Draw networks of several widths."""
    return st.builds(FaultyNetwork, width=st.sampled_from([1, 3]), fault=st.just(fault))
