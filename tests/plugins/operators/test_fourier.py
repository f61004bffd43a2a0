"""Fourier sampling against NumPy's transforms, and the masks against their definition."""

import attrs
import numpy as np
import pytest
import torch
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.operators.fourier import (
    Complexify,
    FourierSampling,
    MulticoilFourier,
    birdcage_maps,
)
from wellposed.plugins.operators.sampling_patterns import cartesian_mask

C128 = torch.complex128


def numpy_fft(x):
    shifted = np.fft.fft2(np.fft.ifftshift(x, axes=(-2, -1)), norm="ortho")
    return np.fft.fftshift(shifted, axes=(-2, -1))


@pytest.mark.parametrize("size", [(4, 6), (5, 7), (1, 8), (3, 4)])
def test_the_transform_is_numpy_centred_and_orthonormal(size):
    x = torch.randn(2, 3, *size, dtype=C128)
    op = FourierSampling(in_shape=(3, *size), mask=torch.ones(size).double(), dtype=C128)
    np.testing.assert_allclose(op(x).numpy(), numpy_fft(x.numpy()), atol=1e-13)
    torch.testing.assert_close(op.H(op(x)), x)


def test_frequency_zero_stands_at_the_middle():
    for size in [(4, 6), (5, 7)]:
        op = FourierSampling(in_shape=(1, *size), acceleration=1.0, dtype=C128)
        y = op(torch.ones(1, *size, dtype=C128))[0]
        assert abs(y[size[0] // 2, size[1] // 2]) == pytest.approx((size[0] * size[1]) ** 0.5)
        impulse = torch.zeros(1, *size, dtype=C128)
        impulse[0, size[0] // 2, size[1] // 2] = 1
        assert op(impulse).imag.abs().max() < 1e-15  # the origin of x is there, too


@pytest.mark.parametrize("batched", [False, True])
def test_the_proximal_map_is_closed_and_solves_the_dense_system(batched):
    mask = torch.randn(*(2, 1) if batched else (), 3, 4, dtype=torch.float64)
    op = FourierSampling(in_shape=(1, 3, 4), mask=mask, dtype=C128)
    assert op.has_closed_prox
    a = op.as_matrix().expand(2, 12, 12)
    v, y = torch.randn(2, 2, 1, 3, 4, dtype=C128).unbind()
    tau = torch.tensor([0.2, 9.0], dtype=torch.float64)
    got = op.data_prox(v, y, tau)
    system = torch.eye(12, dtype=C128) + tau[:, None, None] * a.mH @ a
    rhs = v.flatten(1) + tau[:, None] * (a.mH @ y.flatten(1)[..., None])[..., 0]
    torch.testing.assert_close(got.flatten(1), torch.linalg.solve(system, rhs))


@pytest.mark.parametrize("pattern", ["random", "equispaced"])
def test_cartesian_masks_measure_the_asked_share(pattern):
    shares = []
    for seed in range(40):
        mask = cartesian_mask(320, acceleration=4, centre_fraction=0.08, pattern=pattern, seed=seed)
        assert mask[147:173].all()  # round(0.08 * 320) = 26 columns around 160
        shares.append(float(mask.double().mean()))
    assert np.mean(shares) == pytest.approx(1 / 4, rel=0.04)
    spread = np.std(shares)
    assert spread < 0.005 if pattern == "equispaced" else 0.005 < spread < 0.04


@pytest.mark.parametrize("pattern", ["random", "equispaced"])
@pytest.mark.parametrize("width", [1, 2, 7, 64])
def test_an_acceleration_of_one_measures_every_column(pattern, width):
    for fraction in (0.0, 0.08, 1.0):
        mask = cartesian_mask(
            width, acceleration=1, centre_fraction=fraction, pattern=pattern, seed=3
        )
        assert mask.all()


def test_equispaced_columns_are_evenly_spaced():
    mask = cartesian_mask(256, acceleration=8, centre_fraction=0.0, pattern="equispaced", seed=1)
    places = np.flatnonzero(mask.numpy())
    steps = np.diff(places[places != 128])
    assert set(steps) <= {8, 9, 16, 17, 18}


def test_a_mask_is_whole_columns_drawn_from_the_seed():
    op = FourierSampling(in_shape=(1, 16, 64), acceleration=3.0, seed=5)
    assert (op.sampled() == op.sampled()[:1]).all()
    assert torch.equal(op.sampled(), attrs.evolve(op).sampled())
    assert not torch.equal(op.sampled(), attrs.evolve(op, seed=6).sampled())
    assert attrs.evolve(op, acceleration=1.0).sampled().all()


def test_multicoil_is_one_transform_per_coil():
    maps = torch.randn(2, 3, 5, 4, dtype=C128)
    mask = torch.rand(5, 4, dtype=torch.float64)
    x = torch.randn(2, 1, 5, 4, dtype=C128)
    op = MulticoilFourier(in_shape=(1, 5, 4), sensitivities=maps, mask=mask, dtype=C128)
    assert op.batch_shape == (2,) and op.out_space.shape == (3, 5, 4)
    want = mask.numpy() * numpy_fft((maps * x).numpy())
    np.testing.assert_allclose(op(x).numpy(), want, atol=1e-13)


def test_birdcage_maps_are_normalised_smooth_and_apart():
    maps = birdcage_maps(8, 33, 48)
    torch.testing.assert_close(maps.abs().square().sum(0), torch.ones(33, 48).double())
    assert maps.diff(dim=-1).abs().max() < 0.1 and maps.diff(dim=-2).abs().max() < 0.1
    brightest = {int(m.abs().argmax()) for m in maps}
    assert len(brightest) == 8
    op = MulticoilFourier(in_shape=(1, 33, 48), acceleration=1.0, dtype=C128)
    x = torch.randn(1, 33, 48, dtype=C128)
    torch.testing.assert_close(op.H(op(x)), x)  # all samples, sum of squares 1


def test_real_pictures_are_measured_through_complexify():
    real = Complexify(in_shape=(1, 6, 5), dtype=torch.float64)
    op = FourierSampling(in_shape=(1, 6, 5), dtype=C128) @ real
    x, y = torch.randn(1, 6, 5, dtype=torch.float64), torch.randn(1, 6, 5, dtype=C128)
    assert op(x).dtype == C128 and op.H(y).dtype == torch.float64
    left, right = (op(x).conj() * y).sum().real, (x * op.H(y)).sum()
    torch.testing.assert_close(left, right)
    got = op.data_prox(x, y, 2.0)
    torch.testing.assert_close(got + 2 * op.H(op(got)), x + 2 * op.H(y))
    assert Complexify.image_space_for(Space((1, 6, 5), C128)).dtype == torch.float64


def test_a_real_picture_is_measured_as_a_complex_one_by_name():
    for cls in (FourierSampling, MulticoilFourier):
        op = cls.for_image(Space((1, 6, 5), torch.float64), acceleration=2.0)
        assert op.in_space.dtype == C128 and op.sampled().dtype == torch.float64


def test_refusals():
    ones = torch.ones(4, 4)
    with pytest.raises(ParameterError, match=r"a mask or an acceleration.*got both"):
        FourierSampling(in_shape=(1, 4, 4), mask=ones, acceleration=2.0)
    with pytest.raises(ShapeError, match=r"mask expects \(H, W\).*got \(2, 4, 4\)"):
        FourierSampling(in_shape=(2, 4, 4), mask=torch.ones(2, 4, 4))
    with pytest.raises(DtypeError, match=r"mask expects torch.float32 or bool.*got torch.float64"):
        FourierSampling(in_shape=(1, 4, 4), mask=ones.double())
    with pytest.raises(DtypeError, match=r"expects complex64 or complex128.*complexify"):
        FourierSampling(in_shape=(1, 4, 4), dtype=torch.float32)
    with pytest.raises(ParameterError, match=r"acceleration expects a number of at least 1"):
        FourierSampling(in_shape=(1, 4, 4), acceleration=0.5)
    with pytest.raises(ParameterError, match=r"Complexify.dtype expects float32, float64.*None"):
        Complexify(in_shape=(1, 4, 4), dtype=None)
    with pytest.raises(ParameterError, match=r"pattern"):
        FourierSampling(in_shape=(1, 4, 4), pattern="spiral")
    with pytest.raises(ShapeError, match=r"one channel \(1, H, W\)"):
        MulticoilFourier(in_shape=(3, 4, 4))
    maps = torch.ones(2, 4, 4, dtype=torch.complex64)
    with pytest.raises(ParameterError, match=r"sensitivities or a number of coils; got both"):
        MulticoilFourier(in_shape=(1, 4, 4), sensitivities=maps, coils=2)
    with pytest.raises(ShapeError, match=r"sensitivities expects \(K, H, W\)"):
        MulticoilFourier(in_shape=(1, 5, 4), sensitivities=maps)
    with pytest.raises(DtypeError, match=r"sensitivities expects torch.complex64"):
        MulticoilFourier(in_shape=(1, 4, 4), sensitivities=maps.to(C128))
    with pytest.raises(ShapeError, match=r"one batch size"):
        MulticoilFourier(
            in_shape=(1, 4, 4), sensitivities=maps.expand(2, 2, 4, 4), mask=ones.expand(3, 1, 4, 4)
        )
    with pytest.raises(ShapeError, match=r"measures coils \(K, H, W\)"):
        MulticoilFourier.image_space_for(Space((4, 4), C128))
    with pytest.raises(DtypeError, match=r"Complexify.dtype expects float32 or float64"):
        Complexify(in_shape=(1, 4, 4), dtype=C128)
