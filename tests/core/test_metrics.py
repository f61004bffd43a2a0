import pytest
import torch
from wellposed import luminance, psnr, sample, ssim
from wellposed.errors import ParameterError, ShapeError

skimage = pytest.importorskip("skimage.metrics")


def pair(seed=0, shape=(2, 3, 24, 31)):
    g = torch.Generator().manual_seed(seed)
    truth = torch.rand(shape, generator=g, dtype=torch.float64)
    return truth + 0.1 * torch.randn(shape, generator=g, dtype=torch.float64), truth


def test_psnr_and_ssim_are_those_of_scikit_image():
    x, truth = pair()
    for i in range(2):
        a, b = x[i].numpy(), truth[i].numpy()
        expected = skimage.peak_signal_noise_ratio(b, a, data_range=1.0)
        assert psnr(x, truth)[i] == pytest.approx(expected, rel=1e-9)
        expected = skimage.structural_similarity(
            b,
            a,
            data_range=1.0,
            channel_axis=0,
            gaussian_weights=True,
            sigma=1.5,
            use_sample_covariance=False,
        )
        assert ssim(x, truth)[i] == pytest.approx(expected, rel=1e-9)


def test_borders_are_cut_and_equal_pictures_are_perfect():
    x, truth = pair()
    torch.testing.assert_close(
        psnr(x, truth, border=3), psnr(x[..., 3:-3, 3:-3], truth[..., 3:-3, 3:-3])
    )
    assert (psnr(truth, truth) == torch.inf).all()
    torch.testing.assert_close(ssim(truth, truth), torch.ones(2, dtype=torch.float64))


def test_complex_pictures_are_compared_with_their_phase():
    truth = torch.ones(1, 12, 12, dtype=torch.complex128)
    assert psnr(1j * truth, truth) == pytest.approx(-3.0103, abs=1e-4)
    assert ssim(1j * truth, truth) == pytest.approx(1.0)


def test_luminance_is_matlabs():
    white = luminance(torch.ones(3, 1, 1, dtype=torch.float64))
    assert white.item() == pytest.approx(235 / 255)
    assert luminance(torch.zeros(3, 1, 1)).item() == pytest.approx(16 / 255)
    with pytest.raises(ShapeError, match=r"luminance expects pictures \(\*batch, 3, H, W\)"):
        luminance(torch.zeros(1, 4, 4))


def test_bad_shapes_are_refused():
    with pytest.raises(ShapeError, match="must have one shape"):
        psnr(torch.zeros(1, 4, 4), torch.zeros(3, 4, 4))
    with pytest.raises(ShapeError, match="a border of 2 leaves nothing"):
        psnr(torch.zeros(1, 4, 4), torch.zeros(1, 4, 4), border=2)
    with pytest.raises(ShapeError, match="ssim needs pictures of 11 x 11 or more"):
        ssim(torch.zeros(1, 10, 12), torch.zeros(1, 10, 12))


def test_samples_are_pictures():
    photo, phantom = sample(), sample("shepp_logan", size=128)
    assert photo.shape == (3, 256, 256) and phantom.shape == (1, 128, 128)
    for picture in (photo, phantom):
        assert picture.dtype == torch.float32
        assert picture.min() == 0 and picture.max() == 1
    assert len(phantom.unique()) > 4
    with pytest.raises(
        ParameterError, match="there is no sample named 'lena'; there are astronaut"
    ):
        sample("lena")


def test_the_phantom_is_that_of_scikit_image():
    from skimage.data import shepp_logan_phantom
    from skimage.transform import resize

    reference = torch.from_numpy(resize(shepp_logan_phantom(), (256, 256), anti_aliasing=True))
    ours = sample("shepp_logan", size=256)[0].double()
    assert ((ours - reference).abs() < 0.05).double().mean() > 0.93
