"""The Radon transform against scikit-image, its inverse, and its matrix's travels."""

import copy
import pickle
import warnings

import numpy as np
import pytest
import torch
from wellposed import Space, psnr, sample
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.operators import radon_matrix, radon_symmetry
from wellposed.plugins.operators.radon import Radon

skimage = pytest.importorskip("skimage.transform")

ANGLES = (0.0, 13.5, 45.0, 90.0, 101.3, 135.0, 179.0, 200.0, -30.0)


def half_turn(n):
    return tuple(180 * k / n for k in range(n))


# Sets that quarter turns and mirroring map to themselves, in part, or not at all.
SETS = {
    "half turn, multiple of 4": half_turn(12),
    "half turn, even": half_turn(6),
    "half turn, odd": half_turn(7),
    "both ends": (*half_turn(4), 180.0),
    "whole turn": tuple(22.5 * k for k in range(16)),
    "whole turn, shuffled": tuple(22.5 * ((5 * k) % 16) - 360 for k in range(16)),
    "limited": tuple(10.0 * k for k in range(12)),
    "repeated": (0.0, 0.0, 90.0, 45.0, 45.0, 135.0, 20.0, 20.0, 70.0),
    "no partners": (3.0, 17.1, 40.2, 99.9),
}


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


@pytest.mark.parametrize("angles", SETS.values(), ids=SETS)
@pytest.mark.parametrize("circle", [True, False])
@pytest.mark.parametrize("size", [(16, 16), (15, 15), (12, 17)])
def test_moved_pictures_give_the_sinograms_of_scikit_image(size, circle, angles):
    picture = np.random.default_rng(1).random(size)
    op = Radon(in_shape=(1, *size), angles=angles, circle=circle, dtype=torch.float64)
    want = reference(picture, angles, circle)
    got = op(torch.from_numpy(picture)[None])[0].numpy()
    np.testing.assert_allclose(got, want, rtol=0, atol=1e-12 * want.max())


@pytest.fixture
def plain(monkeypatch):
    """Return a function that gives the dense matrix of a Radon without its symmetries."""

    def dense(op):
        with monkeypatch.context() as patch:
            patch.setattr(radon_symmetry, "MOVES", radon_symmetry.MOVES[:1])
            patch.setattr(radon_matrix, "_recent", type(radon_matrix._recent)())
            return op.to(dtype=op.dtype).as_matrix()

    return dense


@pytest.mark.parametrize("angles", SETS.values(), ids=SETS)
@pytest.mark.parametrize("circle", [True, False])
@pytest.mark.parametrize("size", [(8, 8), (7, 7), (1, 1), (2, 2), (5, 8), (6, 1)])
def test_symmetries_do_not_change_the_matrix(size, circle, angles, plain):
    for detectors in (None, 3, 4, 15):
        op = Radon(
            in_shape=(1, *size),
            angles=angles,
            circle=circle,
            detectors=detectors,
            dtype=torch.float64,
        )
        a = op.as_matrix()
        torch.testing.assert_close(a, plain(op), rtol=0, atol=1e-13)
        assert torch.equal(op.H.as_matrix(), a.T)


def test_partners_are_stored_once():
    def stored(angles):
        return [(len(b.moves), len(b.angles)) for b in radon_symmetry.blocks(angles)]

    assert stored(half_turn(180)) == [(4, 46)]
    assert stored(half_turn(181)) == [(2, 91)]
    assert stored(tuple(360 * k / 720 for k in range(720))) == [(8, 91)]
    assert stored((3.0, 17.1, 40.2, 99.9)) == [(1, 4)]
    assert stored((10.0, 80.0, 10.0, 80.0)) == [(2, 2)]
    assert stored((10.0, 80.0 + 1e-9)) == [(1, 2)]  # nearly the same is not the same
    for angles in SETS.values():
        places = [k for b in radon_symmetry.blocks(angles) for row in b.places for k in row]
        assert sorted(k for k in places if k >= 0) == list(range(len(angles)))
    full = radon_matrix.Geometry(
        height=16, width=16, angles=half_turn(60), detectors=16, circle=True
    )
    built = radon_matrix.system(full, torch.float32, None).pairs
    weights = sum(pair.matrix[2].numel() for pair in built)
    assert weights == pytest.approx(full.entries, rel=0.3)
    assert full.entries == 2 * 16 * 16 * 16


@pytest.mark.parametrize("angles", [8, 7, 6, (3.0, 17.1, 40.2, 99.9)])
def test_a_batch_is_its_pictures_one_by_one(angles):
    op = Radon(in_shape=(2, 10, 9), angles=angles, circle=False, dtype=torch.float64)
    x = torch.randn(3, 2, 10, 9, dtype=torch.float64)
    y = op(x)
    torch.testing.assert_close(y, torch.stack([op(one) for one in x]), rtol=0, atol=1e-12)
    back = torch.stack([op.H(one) for one in y])
    torch.testing.assert_close(op.H(y), back, rtol=0, atol=1e-11)
    assert op(x[:0]).shape == (0, *op.out_space.shape)


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


def test_each_block_has_a_file_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("WELLPOSED_CACHE", str(tmp_path))
    monkeypatch.setattr(radon_matrix, "_TOO_SMALL_FOR_DISK", 100)
    monkeypatch.setattr(radon_matrix, "_recent", type(radon_matrix._recent)())
    angles = tuple(2.0 * k for k in range(60))
    assert len(radon_symmetry.blocks(angles)) == 2
    op = Radon(in_shape=(1, 12, 12), angles=angles, dtype=torch.float64)
    a = op.as_matrix()
    assert len(list(tmp_path.glob("*.npz"))) == 2
    radon_matrix._recent.clear()
    assert torch.equal(
        Radon(in_shape=(1, 12, 12), angles=angles, dtype=torch.float64).as_matrix(), a
    )
    first, second = radon_symmetry.blocks(angles)
    assert op._geometry.key(first) != op._geometry.key(second)


def test_second_derivatives_and_vmap_pass_through_the_product():
    op = Radon(in_shape=(1, 6, 6), angles=(0.0, 30.0, 60.0, 101.0), dtype=torch.float64)
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
