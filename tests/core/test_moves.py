import copy
import pickle

import attrs
import pytest
import torch
from torch import Tensor, nn
from wellposed import Space, tensor_param
from wellposed.cache import derived
from wellposed.errors import DtypeError, ParameterError
from wellposed.fields import short
from wellposed.moves import device_of, move, tensors_in


@attrs.frozen(eq=False, kw_only=True)
class Inner:
    mask: Tensor = tensor_param(doc="a tensor")
    index: Tensor = tensor_param(doc="a tensor")


@attrs.frozen(eq=False, kw_only=True)
class Outer:
    spectrum: Tensor = tensor_param(doc="a tensor")
    parts: tuple[Inner, ...]
    net: nn.Module
    space: Space
    dtype: torch.dtype = torch.float32
    scale: Tensor | None = tensor_param(doc="a tensor", default=None)


def example() -> Outer:
    inner = Inner(mask=torch.tensor([True, False]), index=torch.tensor([1, 2]))
    return Outer(
        spectrum=torch.ones(2, dtype=torch.complex64),
        parts=(inner,),
        net=nn.Linear(2, 2),
        space=Space((1,), torch.complex64),
    )


def test_a_move_follows_the_kind_of_each_tensor_and_leaves_the_original_alone():
    old = example()
    new = move(old, dtype=torch.float64)
    assert new.spectrum.dtype == torch.complex128
    assert new.parts[0] is old.parts[0]  # bools and integers stay as they are
    assert new.net.weight.dtype == torch.float64
    assert new.space.dtype == torch.complex128
    assert new.dtype == torch.float64
    assert old.spectrum.dtype == torch.complex64
    assert old.net.weight.dtype == torch.float32


def test_nothing_to_change_returns_the_same_object():
    inner = Inner(mask=torch.tensor([True]), index=torch.tensor([1]))
    assert move(inner, dtype=torch.float64, device="cpu") is inner


def test_only_floating_point_dtypes_are_taken():
    with pytest.raises(DtypeError, match=r"expects a floating-point dtype .*; got torch.int32"):
        move(example(), dtype=torch.int32)


def test_devices_and_tensors_are_found_in_nested_fields():
    assert device_of(example()) == torch.device("cpu")
    assert device_of(Space((1,))) is None
    assert len(tensors_in(example())) == 5


def test_tensor_fields_are_checked_and_shown_short():
    assert short(torch.zeros(4, 1, 5, dtype=torch.float64)) == "f64[4, 1, 5]"
    assert "mask=bool[2]" in repr(example().parts[0])
    with pytest.raises(ParameterError, match=r"Inner.mask expects a torch.Tensor; got list"):
        Inner(mask=[1], index=torch.tensor(1))
    with pytest.raises(
        DtypeError, match=r"Inner.mask expects float32 or float64.*got torch.float16"
    ):
        Inner(mask=torch.zeros(1).half(), index=torch.tensor(1))


class Owner:
    def __init__(self, parameter: Tensor) -> None:
        self.parameter = parameter
        self.calls = 0

    def double(self) -> Tensor:
        def compute() -> Tensor:
            self.calls += 1
            return 2 * self.parameter

        return derived(self, "double", compute, self.parameter)


def test_a_derived_value_is_computed_once():
    owner = Owner(torch.ones(2))
    assert owner.double() is owner.double()
    assert owner.calls == 1


def test_a_derived_value_that_needs_grad_is_computed_anew():
    owner = Owner(torch.ones(2, requires_grad=True))
    for _ in range(2):  # a remembered graph would be freed by the first backward pass
        owner.double().sum().backward()
    assert owner.calls == 2


def test_a_remembered_value_is_not_used_once_its_parameter_needs_grad():
    owner = Owner(torch.ones(2))
    owner.double()
    owner.parameter.requires_grad_()
    assert owner.double().requires_grad


def test_nothing_is_remembered_in_inference_mode_or_inside_a_transform():
    owner = Owner(torch.ones(3))
    with torch.inference_mode():
        owner.double()
    assert not owner.double().is_inference()

    def through(p: Tensor) -> Tensor:
        fresh = Owner(p)
        fresh.double()
        return fresh.double()

    torch.testing.assert_close(torch.func.vmap(through)(torch.ones(3, 2)), 2 * torch.ones(3, 2))
    assert owner.calls == 2


def test_the_cache_does_not_travel(dense):
    op = dense()
    op.norm_bound()
    for other in (pickle.loads(pickle.dumps(op)), copy.deepcopy(op), attrs.evolve(op)):
        assert not hasattr(other, "_derived_cache") or "norm_bound" not in other._derived_cache


def test_a_tensor_that_was_changed_in_place_gives_a_new_value():
    owner = Owner(torch.ones(3))
    owner.double()
    owner.parameter.mul_(3)
    torch.testing.assert_close(owner.double(), 6 * torch.ones(3))
    owner.double()
    assert owner.calls == 2
