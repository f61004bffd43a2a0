"""Operators that are not linear, and those linear in each of two arguments."""

import attrs
import pytest
import torch
from torch import Tensor
from wellposed import BilinearOperator, NonlinearOperator, Space, tensor_param
from wellposed.errors import ShapeError


@attrs.frozen(eq=False, kw_only=True)
class Square(NonlinearOperator):
    """Squared modulus, as a camera without phase sees it."""

    mask: Tensor = tensor_param(doc="weights")

    @property
    def in_space(self):
        return Space((1, 1, 4), self.mask.dtype)

    @property
    def out_space(self):
        return self.in_space

    def _apply(self, x):
        return self.mask * x**2


def square():
    return Square(mask=torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64))


def test_a_linearization_is_the_derivative_with_an_exact_adjoint(dense):
    f = square()
    points = f.in_space.randn((3,))
    jacobian = f.linearize(points)
    assert jacobian.batch_shape == (3,)
    expected = torch.diag_embed(2 * f.mask * points.squeeze(-2).squeeze(-2))
    torch.testing.assert_close(jacobian.as_matrix(), expected)
    torch.testing.assert_close(jacobian.H.as_matrix(), expected.mT)
    assert f.linearize(points[0]).batch_shape == ()


def test_a_linear_operator_composes_after_a_nonlinear_one(dense):
    a, f = dense(5, 4), square()
    both = a @ f
    x = f.in_space.randn((2,))
    torch.testing.assert_close(both(x), a(f(x)))
    expected = a.matrix @ f.linearize(x).as_matrix()
    torch.testing.assert_close(both.linearize(x).as_matrix(), expected)
    assert both.name == "Dense @ Square" and both.in_space == f.in_space
    with pytest.raises(ShapeError, match="Square expects x of shape"):
        f(torch.ones(1, 1, 5, dtype=torch.float64))
    with pytest.raises(ShapeError, match="Square expects x of shape"):
        f.linearize(torch.ones(1, 1, 5, dtype=torch.float64))
    with pytest.raises(ShapeError, match="cannot form Dense @ Square"):
        dense(4, 5) @ f


def test_moves_return_new_operators():
    f = square()
    assert f.to(dtype=torch.float32).in_space.dtype == torch.float32
    assert f.in_space.dtype == torch.float64 and f.device == torch.device("cpu")


def test_a_bilinear_operator_gives_linear_ones_and_composes(dense):
    from wellposed.registry import default_registry

    product = default_registry().load("bilinear", "product")
    bilinear: BilinearOperator = product.for_image(Space((1, 1, 4), torch.float64))
    a = dense(5, 4)
    both = a @ bilinear
    w, x = bilinear.w_space.randn((2,)), bilinear.x_space.randn((2,))
    torch.testing.assert_close(both(w, x), a(w * x))
    torch.testing.assert_close(both.at_w(w)(x), both(w, x))
    torch.testing.assert_close(both.at_x(x)(w), both(w, x))
    assert both.out_space == a.out_space and both.w_space == bilinear.w_space
    assert both.x_space == bilinear.x_space and both.name.startswith("Dense @ ")
    with pytest.raises(ShapeError, match="expects w of shape"):
        both.inner(w[..., :3], x)
