"""The Radon transform against scikit-image, its inverse, and its matrix's travels."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from wellposed import Space, psnr, sample
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.operators import radon_matrix
from wellposed.plugins.operators.radon import Radon

skimage = pytest.importorskip("skimage.transform")

ANGLES = (0.0, 13.5, 45.0, 90.0, 101.3, 135.0, 179.0, 200.0, -30.0)


def reference(picture, angles, circle):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # "must be zero outside the reconstruction circle"
        return skimage.radon(picture, np.array(angles), circle=circle)


@pytest.mark.parametrize("circle", [True, False])
@pytest.mark.parametrize("size", [(31, 31), (32, 32), (20, 31), (32, 21), (2, 2), (5, 4)])
def test_sinograms_are_those_of_scikit_image(size, circle):
    picture = np.random.default_rng(0).random(size)
    op = Radon(in_shape=(1, *size), angles=ANGLES, circle=circle, dtype=torch.float64)
    want = reference(picture, ANGLES, circle)
    got = op(torch.from_numpy(picture)[None])[0].numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * want.max())
    single = op.to(dtype=torch.float32)(torch.from_numpy(picture)[None].float())[0]
    np.testing.assert_allclose(single.numpy(), want, rtol=0, atol=2e-6 * want.max())


def test_channels_batches_and_complex_pictures_share_the_matrix():
    op = Radon(in_shape=(2, 9, 9), angles=7, dtype=torch.float64)
    x = torch.randn(4, 3, 2, 9, 9, dtype=torch.float64)
    one = Radon(in_shape=(1, 9, 9), angles=7, dtype=torch.float64)
    torch.testing.assert_close(op(x)[3, 1, 1:], one(x[3, 1, 1:]))
    turned = Radon(in_shape=(2, 9, 9), angles=7, dtype=torch.complex128)
    torch.testing.assert_close(turned(x + 2j * x), op(x) + 2j * op(x))


def test_more_and_fewer_detectors_keep_the_centre():
    x = torch.rand(1, 12, 12, dtype=torch.float64)
    full = Radon(in_shape=(1, 12, 12), angles=5, circle=False, dtype=torch.float64)
    count = full.out_space.shape[1]
    for n in (5, 6, count, count + 4):
        y = Radon(in_shape=(1, 12, 12), angles=5, circle=False, detectors=n, dtype=torch.float64)(x)
        shared = min(n, count)
        a, b = n // 2 - shared // 2, count // 2 - shared // 2
        torch.testing.assert_close(y[:, a : a + shared], full(x)[:, b : b + shared])


def test_the_adjoint_is_the_transposed_matrix():
    for circle in (True, False):
        op = Radon(in_shape=(1, 7, 6), angles=ANGLES, circle=circle, dtype=torch.float64)
        assert torch.equal(op.H.as_matrix(), op.as_matrix().T)


@pytest.mark.parametrize("name", ["ramp", "shepp-logan", "cosine", "hamming", "hann", "none"])
@pytest.mark.parametrize("circle", [True, False])
@pytest.mark.parametrize("n", [31, 32])
def test_filtered_back_projection_is_that_of_scikit_image(n, circle, name):
    op = Radon(in_shape=(1, n, n), angles=ANGLES, circle=circle, dtype=torch.float64)
    sinogram = reference(np.random.default_rng(0).random((n, n)), ANGLES, circle)
    want = skimage.iradon(
        sinogram,
        np.array(ANGLES),
        output_size=n,
        filter_name=None if name == "none" else name,
        circle=circle,
    )
    got = op.fbp(torch.from_numpy(sinogram)[None], name)[0].numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * np.abs(want).max())


def test_filtered_back_projection_inverts_many_angles():
    phantom = sample("shepp_logan", size=64)
    op = Radon(in_shape=(1, 64, 64), angles=120)
    assert psnr(op.fbp(op(phantom)), phantom) > 20
    assert torch.equal(op.initial_estimate(op(phantom)), op.fbp(op(phantom)))


def test_the_matrix_does_not_travel_and_is_shared():
    op = Radon(in_shape=(1, 40, 40), angles=20)
    x = torch.rand(1, 40, 40)
    y = op(x)
    assert len(pickle.dumps(op)) < 4000
    for other in (pickle.loads(pickle.dumps(op)), copy.deepcopy(op)):
        assert torch.equal(other(x), y)
        assert other._system(x.device) is op._system(x.device)
    double = op.to(dtype=torch.float64)
    torch.testing.assert_close(double(x.double()).float(), y)


def test_large_matrices_are_kept_on_disk(tmp_path, monkeypatch):
    monkeypatch.setenv("WELLPOSED_CACHE", str(tmp_path))
    monkeypatch.setattr(radon_matrix, "_TOO_SMALL_FOR_DISK", 100)
    monkeypatch.setattr(radon_matrix, "_recent", type(radon_matrix._recent)())
    x = torch.rand(1, 20, 20)
    y = Radon(in_shape=(1, 20, 20), angles=11)(x)
    assert len(list(tmp_path.glob("*.npz"))) == 1
    radon_matrix._recent.clear()
    monkeypatch.setattr(radon_matrix, "build_matrix", None)  # would fail if called
    assert torch.equal(Radon(in_shape=(1, 20, 20), angles=11)(x), y)


def test_second_derivatives_and_vmap_pass_through_the_product():
    op = Radon(in_shape=(1, 6, 6), angles=4, dtype=torch.float64)
    x = torch.randn(1, 6, 6, dtype=torch.float64)

    def energy(x):
        return 0.5 * op(x).square().sum()

    hessian = torch.func.hessian(energy)(x).reshape(36, 36)
    a = op.as_matrix()
    torch.testing.assert_close(hessian, a.T @ a)
    grads = torch.func.vmap(torch.func.grad(energy))(torch.stack((x, 2 * x)))
    torch.testing.assert_close(grads[1], 2 * op.H(op(x)))


def test_angles_by_number_are_evenly_spaced():
    assert Radon(in_shape=(1, 4, 4), angles=4).degrees == (0.0, 45.0, 90.0, 135.0)
    assert len(repr(Radon(in_shape=(1, 4, 4), angles=tuple(range(180))))) < 200


def test_sizes_from_sinograms():
    assert Radon.image_space_for(Space((2, 32, 60))).shape == (2, 32, 32)
    for n in range(1, 80):
        out = Radon(in_shape=(1, n, n), angles=1, circle=False).out_space
        assert Radon.image_space_for(out, circle=False).shape == (1, n, n)


def test_refusals():
    for angles in (0, True, (), (float("nan"),), "all"):
        with pytest.raises(ParameterError, match=r"Radon.angles expects how many"):
            Radon(in_shape=(1, 4, 4), angles=angles)
    with pytest.raises(ParameterError, match=r"detectors expects a whole number"):
        Radon(in_shape=(1, 4, 4), detectors=0)
    with pytest.raises(ParameterError, match=r"would need a matrix of about"):
        Radon(in_shape=(1, 4096, 4096), angles=720)
    with pytest.raises(ShapeError, match=r"sinograms \(C, detectors, angles\)"):
        Radon.image_space_for(Space((4, 4)))
    op = Radon(in_shape=(1, 4, 4), angles=3)
    with pytest.raises(ParameterError, match=r"fbp expects a filter among ramp.*got 'ham'"):
        op.fbp(torch.zeros(1, 4, 3), "ham")
    with pytest.raises(ShapeError, match=r"Radon expects y"):
        op.fbp(torch.zeros(1, 4, 4))
