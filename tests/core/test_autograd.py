import pytest
import torch
from wellposed import linear_step


class Counted:
    """A matrix that counts how often it and its adjoint are applied."""

    def __init__(self, matrix):
        self.matrix = matrix
        self.calls = []

    def apply(self, x):
        self.calls.append("apply")
        return torch.einsum("...ij,...chj->...chi", self.matrix, x)

    def adjoint(self, y):
        self.calls.append("adjoint")
        return torch.einsum("...ji,...chj->...chi", self.matrix.conj(), y)

    def step(self, x):
        batch = tuple(self.matrix.shape[:-2])
        return linear_step(x, self.apply, self.adjoint, self.matrix, batch=batch)


def counted(*shape, dtype=torch.float64):
    return Counted(torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(0)))


def test_the_gradient_is_the_adjoint():
    a = counted(2, 3)
    x = torch.randn(5, 1, 1, 3, dtype=torch.float64).requires_grad_()
    y = a.step(x)
    (g,) = torch.autograd.grad(y, x, torch.ones_like(y))
    assert a.calls == ["apply", "adjoint"]
    torch.testing.assert_close(g, a.adjoint(torch.ones_like(y)))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_derivatives_of_both_orders_and_both_modes(dtype):
    a = counted(2, 3, dtype=dtype)
    x = torch.randn(2, 1, 1, 3, dtype=dtype).requires_grad_()
    assert torch.autograd.gradcheck(a.step, x, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(a.step, x)


def test_what_nobody_differentiates_is_computed_as_it_is():
    a = counted(2, 3)
    assert a.step(torch.ones(1, 1, 3, dtype=torch.float64)).grad_fn is None
    with torch.no_grad():
        y = a.step(torch.ones(1, 1, 3, dtype=torch.float64, requires_grad=True))
    assert y.grad_fn is None


def test_parameters_that_learn_and_samples_that_broadcast_are_recorded():
    a = counted(4, 2, 3)
    x = torch.randn(1, 1, 3, dtype=torch.float64).requires_grad_()  # one for four matrices
    assert torch.autograd.gradcheck(a.step, x)
    assert "adjoint" not in a.calls
    a = counted(2, 3)
    a.matrix.requires_grad_()
    y = a.step(x)
    y.sum().backward()
    assert a.calls == ["apply"] and a.matrix.grad is not None and x.grad is not None


def test_maps_over_samples():
    a = counted(2, 3)
    x = torch.randn(4, 1, 1, 3, dtype=torch.float64)
    torch.testing.assert_close(torch.func.vmap(a.step)(x), a.apply(x))
    gradient = torch.func.vmap(torch.func.grad(lambda t: a.step(t).sum()))(x)
    torch.testing.assert_close(gradient, a.adjoint(torch.ones(4, 1, 1, 2, dtype=torch.float64)))
