import pytest
import torch
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.operators.bilinear import (
    CircularConvolution,
    KernelConvolution,
    Multiplication,
    Product,
)
from wellposed.plugins.operators.blur import Blur

F64, C128 = torch.float64, torch.complex128


def random(*shape, dtype=F64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("taps", [(3, 4), (1, 1), (13, 9)])
def test_convolution_is_the_circular_blur(dtype, per_channel, taps):
    op = CircularConvolution(
        in_shape=(2, 6, 5), kernel_shape=taps, per_channel=per_channel, dtype=dtype
    )
    w = random(2 if per_channel else 1, *taps, dtype=dtype)
    x = random(2, 6, 5, dtype=dtype, seed=1)
    blur = Blur(in_shape=(2, 6, 5), kernel=w[None], boundary="circular", method="direct")
    torch.testing.assert_close(op(w, x), blur(x))
    torch.testing.assert_close(op.at_w(w)(x), blur(x))
    torch.testing.assert_close(op.at_x(x)(w), blur(x))
    matrix = op.at_x(x).as_matrix()
    columns = [
        op(e.reshape(op.w_space.shape), x).flatten() for e in torch.eye(w.numel(), dtype=dtype)
    ]
    torch.testing.assert_close(matrix, torch.stack(columns, 1))
    torch.testing.assert_close(op.at_x(x).H.as_matrix(), matrix.mH)


def test_convolution_per_sample():
    op = CircularConvolution(in_shape=(2, 6, 5), kernel_shape=(3, 3), dtype=F64)
    w, x = random(4, 1, 3, 3), random(4, 2, 6, 5, seed=1)
    expected = torch.stack([op(a, b) for a, b in zip(w, x, strict=True)])
    torch.testing.assert_close(op(w, x), expected)
    torch.testing.assert_close(op.at_w(w)(x), expected)
    torch.testing.assert_close(op.at_x(x)(w), expected)
    assert op.at_x(x).batch_shape == op.at_w(w).batch_shape == (4,)


@pytest.mark.parametrize("dtype", [F64, C128])
@pytest.mark.parametrize("per_channel", [False, True])
def test_product(dtype, per_channel):
    op = Product(in_shape=(3, 4, 5), per_channel=per_channel, dtype=dtype)
    w = random(3 if per_channel else 1, 4, 5, dtype=dtype)
    x = random(3, 4, 5, dtype=dtype, seed=1)
    torch.testing.assert_close(op(w, x), w * x)
    for section, given in ((op.at_w(w), x), (op.at_x(x), w)):
        torch.testing.assert_close(section(given), w * x)
        torch.testing.assert_close(section.H.as_matrix(), section.as_matrix().mH)
    assert op.at_w(w).has_closed_prox
    assert op.at_x(x).has_closed_prox == per_channel


@pytest.mark.parametrize(
    "op",
    [
        CircularConvolution(in_shape=(3, 8, 8), kernel_shape=(3, 3), dtype=F64),
        Product(in_shape=(3, 8, 8), dtype=F64),
    ],
    ids=["convolution", "product"],
)
def test_refuses_arguments_of_another_space(op):
    for section, space in ((op.at_w, op.w_space), (op.at_x, op.x_space)):
        with pytest.raises(ShapeError, match="got"):
            section(torch.zeros(2, 2, dtype=F64))
        with pytest.raises(DtypeError, match=r"expects \w of dtype torch.float64"):
            section(torch.zeros(space.shape))
        with pytest.raises(ShapeError, match="with one batch axis; got"):
            section(torch.zeros(2, 2, *space.shape, dtype=F64))


def test_refuses_what_makes_no_operator():
    for kind in (CircularConvolution, Product):
        with pytest.raises(ShapeError, match=r"in_shape expects a picture \(C, H, W\)"):
            kind(in_shape=(8, 8))
        with pytest.raises(ParameterError, match="dtype expects float32, float64"):
            kind(in_shape=(1, 8, 8), dtype=torch.int64)
    with pytest.raises(ParameterError, match=r"kernel_shape expects \(kh, kw\); got \(3,\)"):
        CircularConvolution(in_shape=(1, 8, 8), kernel_shape=(3,))
    with pytest.raises(ShapeError, match=r"picture expects \(C, H, W\) or \(B, C, H, W\)"):
        KernelConvolution(picture=torch.ones(8, 8), kernel_shape=(3, 3))
    for shape, channels in (((8, 8), 1), ((2, 8, 8), 3)):
        with pytest.raises(ShapeError, match=r"factor expects \(C\|1, H, W\) or"):
            Multiplication(factor=torch.ones(shape), channels=channels)


def test_batches_that_do_not_broadcast_are_refused():
    op = CircularConvolution(in_shape=(1, 8, 8), kernel_shape=(3, 3), dtype=F64)
    with pytest.raises(ShapeError, match=r"batches of w and x that broadcast; got \(3,\) and \(2,"):
        op(random(3, 1, 3, 3), random(2, 1, 8, 8))
    assert op(random(3, 1, 1, 3, 3), random(2, 1, 8, 8)).shape == (3, 2, 1, 8, 8)
