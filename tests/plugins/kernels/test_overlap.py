"""Motion and a Gaussian on each other, against the two kernels by themselves and SciPy."""

from __future__ import annotations

import numpy as np
import pytest
import scipy.signal
import torch
from wellposed.errors import ParameterError
from wellposed.plugins.kernels.gaussian import Gaussian
from wellposed.plugins.kernels.lines import Motion
from wellposed.plugins.kernels.overlap import MotionGaussian

F64 = torch.float64
STRIDES = [1, 2, 3]


def variance(k):
    """Return the covariance matrices of kernels `(B, 1, h, w)`."""
    k = k[:, 0]
    at = torch.meshgrid(*(torch.arange(n, dtype=F64) for n in k.shape[-2:]), indexing="ij")
    at = torch.stack(at)
    away = at - torch.einsum("bij,aij->ba", k, at)[..., None, None]
    return torch.einsum("bij,baij,bcij->bac", k, away, away)


@pytest.mark.parametrize("stride", STRIDES)
@pytest.mark.parametrize(("length", "width"), [(10.0, 0.5), (3.0, 1.5)])
def test_the_sum_holds_both_in_equal_parts(stride, length, width):
    k = MotionGaussian(length=length, angle=35.0, width=width).tensor(stride=stride, dtype=F64)
    parts = [
        Motion(length=length, angle=35.0).tensor(stride=stride, dtype=F64)[0, 0].numpy(),
        Gaussian(width=width).tensor(stride=stride, dtype=F64)[0, 0].numpy(),
    ]
    want = np.zeros(k.shape[-2:])
    for part in parts:
        top, left = ((a - b) // 2 for a, b in zip(want.shape, part.shape, strict=True))
        want[top : top + part.shape[0], left : left + part.shape[1]] += part / 2
    np.testing.assert_allclose(k[0, 0].numpy(), want, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("stride", STRIDES)
def test_the_convolution_is_scipys(stride):
    given = {"length": torch.tensor([10.0, 2.3]), "angle": 20.0, "width": torch.tensor([0.6, 1.4])}
    k = MotionGaussian(**given, combination="convolution").tensor(stride=stride, dtype=F64)
    motion = Motion(length=given["length"], angle=20.0).tensor(dtype=F64)[:, 0].numpy()
    gaussian = Gaussian(width=given["width"]).tensor(stride=stride, dtype=F64)[:, 0].numpy()
    for got, a, b in zip(k[:, 0].numpy(), motion, gaussian, strict=True):
        np.testing.assert_allclose(got, scipy.signal.convolve2d(a, b), atol=1e-14)
    assert k.shape[-1] % 2 == stride % 2


def test_a_convolution_adds_variances_and_a_sum_takes_their_mean():
    motion, gaussian = (
        variance(kernel.tensor(dtype=F64))
        for kernel in (Motion(length=10.0, angle=60.0), Gaussian(width=1.2))
    )
    given = {"length": 10.0, "angle": 60.0, "width": 1.2}
    both = MotionGaussian(**given, combination="convolution").tensor(dtype=F64)
    torch.testing.assert_close(variance(both), motion + gaussian)
    both = MotionGaussian(**given).tensor(dtype=F64)
    torch.testing.assert_close(variance(both), (motion + gaussian) / 2)


@pytest.mark.parametrize("combination", ["sum", "convolution"])
def test_each_sample_has_its_own(combination):
    length, angle, width = torch.tensor([[10.0, 4.0, 7.0], [0.0, 50.0, 130.0], [0.5, 1.5, 1.0]])
    three = MotionGaussian(length=length, angle=angle, width=width, combination=combination)
    got = three.tensor(dtype=F64)
    assert got.shape[0] == 3
    one = MotionGaussian(length=4.0, angle=50.0, width=1.5, combination=combination)
    want = one.tensor(dtype=F64)
    rows, columns = ((a - b) // 2 for a, b in zip(got.shape[2:], want.shape[2:], strict=True))
    inner = got[1:2, :, rows : got.shape[2] - rows, columns : got.shape[3] - columns]
    # The largest of the batch sets the size, and so how much of each Gaussian is kept.
    torch.testing.assert_close(inner, want, atol=1e-4, rtol=0)


@pytest.mark.parametrize("combination", ["sum", "convolution"])
def test_gradients_reach_all_three(combination):
    values = torch.tensor([[6.3, 4.1], [20.0, 75.0], [0.8, 1.3]], dtype=F64)

    def second_moments(length, angle, width):
        kernel = MotionGaussian(length=length, angle=angle, width=width, combination=combination)
        return variance(kernel.tensor(dtype=F64))

    inputs = [row.clone().requires_grad_() for row in values]
    assert torch.autograd.gradcheck(second_moments, inputs, eps=1e-6, atol=1e-5)


def test_errors():
    with pytest.raises(ParameterError, match=r"MotionGaussian.width expects a positive number"):
        MotionGaussian(width=0.0)
    with pytest.raises(ParameterError, match=r"MotionGaussian.length expects a positive number"):
        MotionGaussian(length=torch.tensor([3.0, -1.0]))
    with pytest.raises(ParameterError, match="expected one of 'sum', 'convolution'"):
        MotionGaussian(combination="product")
