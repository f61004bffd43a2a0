import pytest
import torch
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError

SPACE = Space((2, 3, 4), torch.float64)


def test_a_tensor_with_any_leading_axes_belongs_to_the_space():
    for batch in ((), (5,), (2, 5)):
        x = SPACE.zeros(batch)
        assert SPACE.check(x, who="op", name="x") is x
        assert SPACE.batch_of(x) == batch


@pytest.mark.parametrize("shape", [(3, 4), (2, 3, 5), (1, 3, 4), (7, 1, 3, 4), (2, 3, 4, 1)])
def test_other_shapes_are_refused_even_where_they_would_broadcast(shape):
    with pytest.raises(ShapeError, match=r"op expects x of shape \(\*batch, 2, 3, 4\); got"):
        SPACE.check(torch.zeros(shape, dtype=torch.float64), who="op", name="x")


def test_trailing_batch_axes_are_those_of_the_parameters():
    SPACE.check(SPACE.zeros((7, 5)), who="op", name="x", batch=(5,))
    for batch in ((), (4,), (5, 4)):
        with pytest.raises(ShapeError, match=r"parameters for a batch of \(5,\)"):
            SPACE.check(SPACE.zeros(batch), who="op", name="x", batch=(5,))


def test_other_dtypes_and_other_objects_are_refused():
    with pytest.raises(DtypeError, match=r"dtype torch.float64; got torch.float32"):
        SPACE.check(SPACE.zeros().float(), who="op", name="x")
    with pytest.raises(DtypeError, match=r"as a torch.Tensor; got list"):
        SPACE.check([1.0], who="op", name="x")


@pytest.mark.parametrize("shape", [3, "abc", (1.5, 2), (True, 2)])
def test_a_shape_is_a_tuple_of_whole_numbers(shape):
    with pytest.raises(ParameterError, match="a tuple of whole numbers"):
        Space(shape)


@pytest.mark.parametrize("shape", [(0, 2), (3, -1), ()])
def test_a_shape_has_positive_sizes(shape):
    with pytest.raises(ParameterError, match="one axis or more, each of size 1 or more"):
        Space(shape)


def test_inner_products_and_norms_are_per_sample_and_conjugate_the_first_argument():
    space = Space((2, 3), torch.complex128)
    a, b = space.randn((4,)), space.randn((4,))
    expected = torch.stack(
        [torch.vdot(p.flatten(), q.flatten()) for p, q in zip(a, b, strict=True)]
    )
    torch.testing.assert_close(space.inner(a, b), expected)
    torch.testing.assert_close(space.norm(a) ** 2, space.inner(a, a).real)


def test_one_value_per_sample_never_spreads_along_the_width():
    space = Space((1, 3, 4), torch.float64)
    x = torch.ones(4, 1, 3, 4, dtype=torch.float64)  # batch of 4, width 4
    tau = torch.arange(4, dtype=torch.float64)
    torch.testing.assert_close((space.expand(tau, x, name="tau", who="op") * x)[:, 0, 0, 0], tau)
    with pytest.raises(ShapeError, match=r"op expects tau as a number or one value per sample"):
        space.expand(tau[:3], x, name="tau", who="op")
    with pytest.raises(ShapeError, match="one value per sample"):
        space.expand(torch.ones(1, 1, 3, 4), x, name="tau", who="op")


def test_precision_changes_keep_the_kind():
    assert Space((1,), torch.complex64).to(torch.float64) == Space((1,), torch.complex128)
    assert Space((1,), torch.float64).to(torch.complex64) == Space((1,), torch.float32)
