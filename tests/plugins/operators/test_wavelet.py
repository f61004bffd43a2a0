"""The wavelet transform: orthonormal at every size, and PyWavelets' where that is orthonormal."""

import warnings

import numpy as np
import pytest
import torch
from wellposed import sample
from wellposed.errors import ParameterError
from wellposed.plugins.operators.wavelet import Wavelet
from wellposed.plugins.operators.wavelet_filters import FILTERS


@pytest.mark.parametrize("name", list(FILTERS))
def test_filters_are_orthonormal_with_vanishing_moments(name):
    h = np.array(FILTERS[name])
    moments = 1 if name == "haar" else int(name.lstrip("dbsym"))
    assert len(h) == 2 * moments
    assert h.sum() == pytest.approx(2**0.5, abs=1e-15)
    for shift in range(moments):
        product = h[2 * shift :] @ h[: len(h) - 2 * shift]
        assert product == pytest.approx(float(shift == 0), abs=2e-15)
    g = (-1.0) ** np.arange(len(h)) * h[::-1]
    places = np.linspace(-1, 1, len(h))
    for degree in range(moments):
        assert abs(g @ places**degree) < 1e-11


@pytest.mark.parametrize("name", list(FILTERS))
def test_coefficients_are_those_of_pywavelets(name):
    pywt = pytest.importorskip("pywt")
    x = torch.rand(1, 32, 48, dtype=torch.float64)
    y = Wavelet(in_shape=(1, 32, 48), wavelet=name, levels=2, dtype=torch.float64)(x)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "level value of 2 is too high" for long filters
        parts = pywt.wavedec2(x[0].numpy(), name, mode="periodization", level=2)
    want, _ = pywt.coeffs_to_array(parts)
    np.testing.assert_allclose(y[0].numpy(), want, atol=1e-11)  # its symlets have 12 digits


@pytest.mark.parametrize("size", [(8, 8), (7, 5), (1, 6), (3, 3), (2, 1), (13, 16), (1, 1)])
@pytest.mark.parametrize("name", ["haar", "db2", "db4", "sym8"])
def test_every_size_is_orthonormal(size, name):
    for levels in (1, 2, 4):
        op = Wavelet(in_shape=(1, *size), wavelet=name, levels=levels, dtype=torch.float64)
        a = op.as_matrix()
        identity = torch.eye(len(a), dtype=torch.float64)
        torch.testing.assert_close(a @ a.T, identity, rtol=0, atol=1e-14)
        torch.testing.assert_close(op.H.as_matrix(), a.T, rtol=0, atol=1e-15)


@pytest.mark.parametrize("size", [(32, 32), (31, 45), (33, 1)])
def test_a_flat_picture_has_no_detail_after_one_level(size):
    op = Wavelet(in_shape=(1, *size), levels=1, dtype=torch.float64)
    y = op(torch.ones(1, *size, dtype=torch.float64))
    height, width = op.approximation
    y[:, :height, :width] = 0
    assert y.abs().max() < 1e-14


@pytest.mark.parametrize("crop", [(256, 256), (255, 181)])
def test_few_coefficients_hold_a_photograph(crop):
    x = sample().mean(0, keepdim=True)[:, : crop[0], : crop[1]]
    op = Wavelet(in_shape=(1, *crop))
    y = op(x)
    keep = y.abs() >= y.abs().flatten().kthvalue(int(0.9 * y.numel())).values
    error = (op.H(y * keep) - x).norm() / x.norm()
    assert error < 0.06


def test_levels_and_refusals():
    assert Wavelet(in_shape=(1, 256, 256)).depth == 5
    assert Wavelet(in_shape=(1, 256, 40)).depth == 2
    assert Wavelet(in_shape=(1, 4, 4)).depth == 1
    assert Wavelet(in_shape=(1, 31, 40), levels=3).approximation == (3, 5)
    with pytest.raises(ParameterError, match=r"levels expects a whole number of at least 1"):
        Wavelet(in_shape=(1, 4, 4), levels=0)
    with pytest.raises(ParameterError, match=r"wavelet"):
        Wavelet(in_shape=(1, 4, 4), wavelet="db40")


def test_more_levels_than_there_are_pixels_change_nothing():
    x = torch.rand(1, 5, 9, dtype=torch.float64)
    few, many = (Wavelet(in_shape=(1, 5, 9), levels=n, dtype=torch.float64) for n in (4, 10**9))
    torch.testing.assert_close(many(x), few(x), rtol=0, atol=0)
    torch.testing.assert_close(many.H(many(x)), x)
