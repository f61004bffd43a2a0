"""Blur and StridedBlur against a dense matrix written straight from the formula."""

import attrs
import numpy as np
import pytest
import scipy.ndimage
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.kernels.bicubic import Bicubic
from wellposed.plugins.operators.blur import Blur
from wellposed.plugins.operators.boundary import BOUNDARIES
from wellposed.plugins.operators.convolution import chosen_method
from wellposed.plugins.operators.strided_blur import StridedBlur

REAL, COMPLEX = torch.float64, torch.complex128
METHODS = ("direct", "separable", "fft", "auto")


def random(*shape, dtype=REAL, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def source(place, size, boundary):
    """Return the pixel that stands at `place`, or None."""
    if boundary in ("zero", "valid"):
        return place if 0 <= place < size else None
    if boundary == "replicate":
        return min(max(place, 0), size - 1)
    if boundary == "circular":
        return place % size
    while not 0 <= place < size:  # mirror once, and again
        if boundary == "symmetric":
            place = -1 - place if place < 0 else 2 * size - 1 - place
        elif size == 1:
            place = 0
        else:
            place = -place if place < 0 else 2 * size - 2 - place
    return place


def axis_matrix(taps, size, stride, offset, boundary):
    """Return rows `sum_j k[j] x[p + n // 2 - j]` for the kept pixels p, as `(kept, j, size)`."""
    rows = []
    for p in range(offset, size, stride):
        places = [p + taps // 2 - j for j in range(taps)]
        if boundary == "valid" and not all(0 <= q < size for q in places):
            continue
        row = torch.zeros(taps, size, dtype=REAL)
        for j, q in enumerate(places):
            found = source(q, size, boundary)
            if found is not None:
                row[j, found] = 1
        rows.append(row)
    return torch.stack(rows) if rows else torch.zeros(0, taps, size, dtype=REAL)


def dense(op):
    """Return the matrix of one channel, `(h w, H W)`, from the formula in the docstring."""
    stride, offset = getattr(op, "stride", 1), getattr(op, "offset", 0)
    kernel = op.kernel[0, 0]
    rows = axis_matrix(kernel.shape[0], op.in_shape[1], stride, offset, op.boundary)
    columns = axis_matrix(kernel.shape[1], op.in_shape[2], stride, offset, op.boundary)
    matrix = torch.einsum("ab,iam,jbn->ijmn", kernel, rows.to(kernel), columns.to(kernel))
    return matrix.flatten(0, 1).flatten(1)


@settings(max_examples=60)
@given(
    st.sampled_from(BOUNDARIES),
    st.tuples(*[st.sampled_from([1, 2, 3, 5, 8, 9, 12])] * 2),
    st.tuples(*[st.sampled_from([1, 2, 3, 4, 5, 13])] * 2),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from(METHODS),
    st.sampled_from([REAL, COMPLEX]),
)
def test_equals_the_formula(boundary, size, taps, stride, offset, method, dtype):
    kernel = random(taps[0], 1, dtype=dtype) * random(1, taps[1], dtype=dtype, seed=1)
    try:
        op = StridedBlur(
            in_shape=(1, *size),
            stride=stride,
            offset=offset % stride,
            kernel=kernel[None, None],
            boundary=boundary,
            method=method,
        )
    except ShapeError:  # nothing is kept
        return
    expected = dense(op)
    torch.testing.assert_close(op.as_matrix(), expected)
    torch.testing.assert_close(op.H.as_matrix(), expected.mH)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("lead", [(1, 1), (1, 3), (2, 1), (2, 3)])
def test_each_picture_has_its_kernel(method, boundary, lead):
    column, row = random(*lead, 4, 1), random(*lead, 1, 3, seed=1)
    op = StridedBlur(
        in_shape=(3, 9, 8), stride=2, kernel=column * row, boundary=boundary, method=method
    )
    x = random(5, *op.batch_shape, 3, 9, 8, seed=2)
    y = op(x)
    assert op.batch_shape == (() if lead[0] == 1 else (2,))
    for b in range(lead[0]):
        for c in range(3):
            kernel = op.kernel[b : b + 1, min(c, lead[1] - 1)][:, None]
            one = StridedBlur(in_shape=(1, 9, 8), stride=2, kernel=kernel, boundary=boundary)
            samples = x[:, b] if lead[0] > 1 else x
            got = y[:, b] if lead[0] > 1 else y
            torch.testing.assert_close(got[:, c], one(samples[:, c, None])[:, 0])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(64, 17), (83, 20), (100, 5)])
@pytest.mark.parametrize("lead", [(1, 1), (1, 2), (2, 1)])
def test_large_pictures_are_cut_into_bands_or_blocks_and_put_together(stride, size, lead):
    op = StridedBlur(
        in_shape=(2, *size), stride=stride, kernel=random(*lead, 5, 4), method="direct"
    )
    by_fft = attrs.evolve(op, method="fft")
    x = random(*op.batch_shape, 2, *size, seed=1)
    y = random(*op.batch_shape, *op.out_space.shape, seed=2)
    torch.testing.assert_close(op(x), by_fft(x))
    torch.testing.assert_close(op.H(y), by_fft.H(y))


@pytest.mark.parametrize(
    ("boundary", "mode"),
    [
        ("circular", "wrap"),
        ("reflect", "mirror"),
        ("symmetric", "reflect"),
        ("replicate", "nearest"),
        ("zero", "constant"),
    ],
)
@pytest.mark.parametrize("taps", [(3, 5), (7, 1), (21, 19)])
def test_boundaries_have_the_names_of_scipy(boundary, mode, taps):
    x, kernel = random(1, 12, 10), random(*taps, seed=1)
    got = Blur(in_shape=(1, 12, 10), kernel=kernel[None, None], boundary=boundary)(x)
    expected = scipy.ndimage.convolve(x[0].numpy(), kernel.numpy(), mode=mode)
    np.testing.assert_allclose(got[0].numpy(), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_valid_is_a_crop_of_every_other_boundary(stride):
    kernel, x = random(1, 1, 4, 5), random(1, 17, 16, seed=1)

    def measured(boundary):
        op = StridedBlur(in_shape=(1, 17, 16), stride=stride, kernel=kernel, boundary=boundary)
        return op, op(x)

    op, y = measured("valid")
    offset = op.offset
    # Four taps reach one pixel before their centre and two after it, five taps two and two.
    rows = [i for i, p in enumerate(range(offset, 17, stride)) if 1 <= p <= 17 - 1 - 2]
    columns = [j for j, p in enumerate(range(offset, 16, stride)) if 2 <= p <= 16 - 1 - 2]
    for boundary in ("circular", "zero", "reflect"):
        torch.testing.assert_close(y, measured(boundary)[1][:, rows][:, :, columns])


def keys(t):
    t = np.abs(t)
    inner = 1.5 * t**3 - 2.5 * t**2 + 1
    outer = -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2
    return np.where(t <= 1, inner, np.where(t < 2, outer, 0))


def imresize_axis(size, stride):
    """Return the matrix of MATLAB's antialiased bicubic imresize by 1 / stride."""
    matrix = np.zeros((size // stride, size))
    for i in range(size // stride):
        centre = (i + 0.5) * stride - 0.5
        first = int(np.floor(centre - 2 * stride))
        places = np.arange(first, first + 4 * stride + 2)
        weights = keys((centre - places) / stride)
        mirrored = np.mod(places, 2 * size)
        mirrored = np.minimum(mirrored, 2 * size - 1 - mirrored)
        np.add.at(matrix[i], mirrored, weights / weights.sum())
    return matrix


@pytest.mark.parametrize("stride", [2, 3, 4])
def test_bicubic_is_imresize(stride):
    height, width = 7 * stride, 5 * stride
    x = random(2, 3, height, width)
    kernel = Bicubic().tensor(stride=stride, dtype=REAL)
    op = StridedBlur(
        in_shape=(3, height, width), stride=stride, kernel=kernel, boundary="symmetric"
    )
    rows, columns = imresize_axis(height, stride), imresize_axis(width, stride)
    expected = rows @ x.numpy() @ columns.T
    np.testing.assert_allclose(op(x).numpy(), expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("lead", [(1, 1), (2, 3)])
@pytest.mark.parametrize("dtype", [REAL, COMPLEX])
@pytest.mark.parametrize("method", ["direct", "fft"])
def test_data_prox_in_closed_form_equals_the_dense_solution(stride, lead, dtype, method):
    op = StridedBlur(
        in_shape=(3, 2 * stride, 3 * stride),
        stride=stride,
        kernel=random(*lead, 4, 3, dtype=dtype),
        boundary="circular",
        method=method,
    )
    assert op.has_closed_prox
    v = random(2, *op.batch_shape, *op.in_shape, dtype=dtype, seed=1)
    y = random(2, *op.batch_shape, *op.out_space.shape, dtype=dtype, seed=2)
    tau = torch.linspace(0.1, 9, v[..., 0, 0, 0].numel(), dtype=REAL).reshape(v.shape[:-3])
    matrix = op.as_matrix()
    step = tau.flatten(1).to(dtype) if op.batch_shape else tau.to(dtype)
    left = torch.eye(v[0].numel() // (lead[0]), dtype=dtype) + step[..., None, None] * (
        matrix.mH @ matrix
    )
    flat_y, flat_v = y.flatten(-3)[..., None], v.flatten(-3)[..., None]
    right = flat_v + step[..., None, None] * (matrix.mH @ flat_y)
    expected = torch.linalg.solve(left, right).reshape(v.shape)
    torch.testing.assert_close(op.data_prox(v, y, tau), expected, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("boundary", ["reflect", "circular", "valid"])
def test_without_a_closed_form_data_prox_iterates(boundary):
    op = StridedBlur(in_shape=(1, 9, 7), stride=2, kernel=random(1, 1, 3, 2), boundary=boundary)
    assert not op.has_closed_prox
    v, y = random(1, 9, 7), random(*op.out_space.shape, seed=1)
    x = op.data_prox(v, y, 0.5)
    residual = op.H(op(x) - y) + (x - v) / 0.5
    assert residual.norm() <= 1e-10 * op.H(y).norm()


@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("offset", [0, None])
def test_the_initial_estimate_has_the_phase_of_the_kernel(stride, offset):
    """A linear ramp comes back exactly, wherever the boundary is far."""
    down, right = torch.meshgrid(torch.arange(48), torch.arange(40), indexing="ij")
    ramp = (0.3 * down.double() - 0.7 * right.double())[None]
    given = {} if offset is None else {"offset": offset}
    kernel = torch.rand(1, 1, 5, 4, dtype=REAL, generator=torch.Generator().manual_seed(0))
    op = StridedBlur(in_shape=(1, 48, 40), stride=stride, kernel=3 * kernel, **given)
    inside = (..., slice(4 * stride, -4 * stride), slice(4 * stride, -4 * stride))
    estimate = op.initial_estimate(op(ramp))
    torch.testing.assert_close(estimate[inside], ramp[inside], rtol=0, atol=1e-11)


def test_the_initial_estimate_works_for_every_shape_and_kernel():
    for shape, kernel in [
        ((1, 1, 1), random(1, 1, 3, 3)),
        ((2, 5, 1), random(2, 2, 1, 9)),
        ((1, 3, 4), torch.zeros(1, 1, 2, 2, dtype=REAL)),
        ((1, 3, 4), torch.tensor([[[[1.0, -1.0]]]], dtype=REAL)),
    ]:
        op = StridedBlur(in_shape=shape, stride=3, offset=0, kernel=kernel)
        y = random(*op.batch_shape, *op.out_space.shape)
        estimate = op.initial_estimate(y)
        assert estimate.shape == (*op.batch_shape, *shape)
        assert torch.isfinite(estimate).all()


def test_defaults():
    op = StridedBlur(in_shape=(3, 16, 12), stride=4)
    assert (op.offset, op.boundary, op.method) == (1, "reflect", "auto")
    torch.testing.assert_close(op.kernel, Bicubic().tensor(stride=4))
    assert [StridedBlur(in_shape=(1, 9, 9), stride=s).offset for s in (1, 2, 3, 5)] == [0, 0, 1, 2]
    blur = Blur(in_shape=(3, 16, 12))
    assert blur.kernel.shape == (1, 1, 15, 15)
    torch.testing.assert_close(blur(torch.ones(3, 16, 12)), torch.ones(3, 16, 12))


def test_named_kernels_come_in_the_precision_of_the_picture():
    op = StridedBlur.for_image(Space((1, 8, 8), REAL), stride=2)
    torch.testing.assert_close(op.kernel, Bicubic().tensor(stride=2, dtype=REAL), rtol=0, atol=0)
    op = Blur.for_image(Space((1, 8, 8), COMPLEX), kernel=torch.ones(3, 2))
    assert op.kernel.dtype == COMPLEX and op.kernel.shape == (1, 1, 3, 2)


@pytest.mark.parametrize("boundary", BOUNDARIES)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [(1, 1), (2, 7), (6, 5)])
def test_the_picture_is_sized_from_the_measurement(boundary, stride, size):
    space = Space((2, *size), REAL)
    params = {"kernel": random(5, 4), "boundary": boundary}
    strided = StridedBlur.image_space_for(space, stride=stride, **params)
    assert StridedBlur.for_image(strided, stride=stride, **params).out_space == space
    if boundary == "valid":  # nothing smaller gives that measurement
        smaller = Space((2, strided.shape[1] - 1, strided.shape[2]), REAL)
        try:
            fewer = StridedBlur.for_image(smaller, stride=stride, **params).out_space.shape[1]
        except ShapeError:
            fewer = 0
        assert fewer < size[0]
    assert Blur.for_image(Blur.image_space_for(space, **params), **params).out_space == space


def test_auto_takes_the_cheapest():
    line = torch.ones(1, 1, 9, 1)
    small = Blur(in_shape=(1, 16, 16), kernel=line)
    assert chosen_method(small, torch.zeros(1, 16, 16)) == "separable"
    large = Blur(in_shape=(3, 512, 512), kernel=torch.rand(1, 1, 65, 65), boundary="circular")
    assert chosen_method(large, torch.zeros(3, 512, 512)) == "fft"
    learned = attrs.evolve(small, kernel=line.clone().requires_grad_())
    assert chosen_method(learned, torch.zeros(1, 16, 16)) != "separable"
    # One that learns may cost twenty times as much directly.
    wide = Blur(in_shape=(3, 512, 512), kernel=torch.rand(1, 1, 13, 13), boundary="circular")
    assert chosen_method(wide, torch.zeros(3, 512, 512)) == "direct"
    learned = attrs.evolve(wide, kernel=wide.kernel.clone().requires_grad_())
    assert chosen_method(learned, torch.zeros(3, 512, 512)) == "fft"
    with torch.no_grad():
        assert chosen_method(learned, torch.zeros(3, 512, 512)) == "direct"
    # No kernel of higher rank is ever taken for a separable one.
    nearly = torch.eye(3)[None, None] * 1e-5 + 1
    assert (
        chosen_method(Blur(in_shape=(1, 8, 8), kernel=nearly), torch.zeros(1, 8, 8)) != "separable"
    )


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"stride": 1.5}, ParameterError, "stride expects a whole number of at least 1; got 1.5"),
        ({"stride": 0}, ParameterError, "stride expects a whole number of at least 1; got 0"),
        ({"offset": -1}, ParameterError, "offset expects a whole number of at least 0; got -1"),
        ({"offset": 4}, ParameterError, r"expects 0 <= offset < stride = 4; got offset 4"),
        ({"boundary": "mirror"}, ParameterError, "expected one of 'circular'.*; got 'mirror'"),
        ({"method": "magic"}, ParameterError, "expected one of 'auto'.*; got 'magic'"),
        ({"kernel": Bicubic()}, ParameterError, r"got Bicubic; call its .tensor\(stride=...\)"),
        ({"kernel": "gaussian"}, ParameterError, "expects its kernel as a torch.Tensor; got str"),
        ({"kernel": torch.ones(3, 3)}, ShapeError, r"got \(3, 3\). Add the missing axes"),
        ({"kernel": torch.ones(1, 2, 3, 3)}, ShapeError, "for 1 or 3 channels; got one for 2"),
        ({"kernel": torch.ones(1, 1, 3, 3, dtype=torch.int64)}, DtypeError, "floating-point"),
        ({"in_shape": (16, 16)}, ShapeError, r"expects in_shape as \(C, H, W\)"),
        ({"boundary": "valid", "in_shape": (3, 5, 5)}, ShapeError, "keeps no pixel of a picture"),
        ({"in_shape": (3, 1, 9)}, ShapeError, "keeps no pixel of a picture of 1 x 9"),
    ],
)
def test_refuses(changes, error, message):
    with pytest.raises(error, match=message):
        StridedBlur(**{"in_shape": (3, 16, 16), "stride": 4, **changes})


def test_measures_pictures_only():
    with pytest.raises(ShapeError, match=r"Blur measures pictures of shape \(C, H, W\)"):
        Blur.image_space_for(Space((8, 8)))


def test_a_batch_of_kernels_wants_a_batch_of_pictures():
    op = Blur(in_shape=(1, 4, 4), kernel=torch.ones(3, 1, 2, 2))
    with pytest.raises(ShapeError, match=r"parameters for a batch of \(3,\)"):
        op(torch.zeros(2, 1, 4, 4))


@pytest.mark.parametrize(
    ("stride", "boundary", "method"),
    [
        (1, "circular", "fft"),
        (2, "reflect", "fft"),
        (3, "circular", "fft"),
        (2, "reflect", "direct"),
    ],
)
def test_gradients_reach_kernel_and_picture_twice(stride, boundary, method):
    x = random(1, 1, 4, 3).requires_grad_()
    kernel = random(1, 1, 2, 3, seed=1).requires_grad_()
    op = StridedBlur(
        in_shape=(1, 4, 3), stride=stride, kernel=kernel.detach(), boundary=boundary, method=method
    )

    def of_kernel(k):
        return attrs.evolve(op, kernel=k)(x.detach())

    assert torch.autograd.gradcheck(op, x)
    assert torch.autograd.gradgradcheck(op, x)
    assert torch.autograd.gradcheck(of_kernel, kernel)


def test_pictures_that_start_at_an_odd_place_in_memory():
    op = StridedBlur(in_shape=(1, 4, 4), stride=2, kernel=random(1, 1, 3, 3), boundary="circular")
    storage = random(33)
    shifted = storage[1:].reshape(2, 1, 4, 4)
    torch.testing.assert_close(op(shifted), op(shifted.clone()))


def test_a_kernel_that_is_not_a_number_stops_no_other_sample():
    kernel = torch.rand(3, 1, 3, 3, dtype=torch.float64)
    kernel[1, 0, 1, 1] = torch.nan
    x = torch.rand(3, 1, 9, 9, dtype=torch.float64)
    y = Blur(in_shape=(1, 9, 9), kernel=kernel)(x)
    for i in (0, 2):
        alone = Blur(in_shape=(1, 9, 9), kernel=kernel[i : i + 1])
        torch.testing.assert_close(y[i : i + 1], alone(x[i : i + 1]))
    assert bool(y[1].isnan().any())


@pytest.mark.parametrize("boundary", ["reflect", "circular", "zero"])
@pytest.mark.parametrize("batch", [1, 2])
def test_channels_that_are_alike_have_one_norm(boundary, batch):
    kernel = random(batch, 1, 3, 4)
    one, three = (
        Blur(in_shape=(c, 9, 7), kernel=kernel, boundary=boundary).norm_bound() for c in (1, 3)
    )
    truth = torch.linalg.matrix_norm(
        Blur(in_shape=(3, 9, 7), kernel=kernel, boundary=boundary).as_matrix(), 2
    )
    assert (three >= truth * (1 - 1e-12)).all()
    torch.testing.assert_close(one, three, rtol=0, atol=0)
