import math
import pickle

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from wellposed import DenoiserAsProx, psnr, sample
from wellposed.errors import (
    DtypeError,
    IncompatibleError,
    ParameterError,
    ShapeError,
)
from wellposed.plugins.priors.arrays import BM3D, SkimageNLM, SkimageTV
from wellposed.plugins.priors.examples import MeanNetwork, mean_of_neighbours
from wellposed.plugins.priors.functions import CallableDenoiser, NetworkDenoiser, ProxDenoiser
from wellposed.plugins.priors.nlm import NonLocalMeans
from wellposed.plugins.priors.separable import L1
from wellposed.plugins.priors.tv import TV


def picture(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def add_sigma(v: NDArray[np.float64], sigma: float) -> NDArray[np.float64]:
    """Adds sigma, and the index of the last axis when there are channels."""
    return v + sigma + (np.arange(v.shape[2]) if v.ndim == 3 else 0)


# ---- functions ---------------------------------------------------------------------------------


def test_numpy_function_sees_one_sample_with_channels_last() -> None:
    prior = CallableDenoiser(function=add_sigma, arrays="numpy")
    for channels, dtype in ((1, torch.float64), (3, torch.float32), (5, torch.float64)):
        v = picture(2, 2, channels, 3, 4, dtype=dtype)
        sigma = torch.tensor([[0.5, 1.0], [0.0, 2.0]])
        offset = sigma[..., None, None, None].to(dtype) + torch.arange(channels)[:, None, None]
        want = torch.where(sigma[..., None, None, None] > 0, v + offset, v)
        torch.testing.assert_close(prior.denoise(v, sigma), want)
    z = picture(1, 3, 4, dtype=torch.complex128)
    want = z + complex(1, 1) / math.sqrt(2)
    torch.testing.assert_close(prior.denoise(z, 1.0), want)
    assert isinstance(pickle.loads(pickle.dumps(prior)), CallableDenoiser)


def test_torch_function_sees_a_flat_batch() -> None:
    seen = []

    def f(v: Tensor, sigma: Tensor) -> Tensor:
        seen.append((v.shape, sigma.flatten().tolist()))
        return v * sigma

    v = picture(2, 3, 1, 4, 3).requires_grad_()
    sigma = torch.tensor([[0.0, 1.0, 2.0], [3.0, 4.0, 5.0]], dtype=torch.float64)
    got = CallableDenoiser(function=f).denoise(v, sigma)
    assert seen == [((6, 1, 4, 3), [0.0, 1.0, 2.0, 3.0, 4.0, 5.0])]
    factor = sigma.clone()
    factor[0, 0] = 1  # sigma 0 returns v
    torch.testing.assert_close(got, factor[..., None, None, None] * v)
    (grad,) = torch.autograd.grad(got.sum(), v)
    torch.testing.assert_close(grad, factor[..., None, None, None].expand_as(v))


def test_errors_of_functions() -> None:
    v = picture(2, 1, 3, 3)
    with pytest.raises(ParameterError, match=r"CallableDenoiser.function expects a function f\(v"):
        CallableDenoiser(function=3)  # type: ignore[arg-type]
    with pytest.raises(
        ShapeError, match=r"return a tensor of shape \(2, 1, 3, 3\).*got \(1, 3, 3\)"
    ):
        CallableDenoiser(function=lambda v, s: v[0]).denoise(v, 0.1)
    with pytest.raises(ShapeError, match=r"that of its input; got NoneType"):
        CallableDenoiser(function=lambda v, s: None).denoise(v, 0.1)
    with pytest.raises(DtypeError, match=r"return torch.float64, the dtype of its input"):
        CallableDenoiser(function=lambda v, s: v.float()).denoise(v, 0.1)
    bad = CallableDenoiser(function=lambda v, s: v[1:], arrays="numpy")
    with pytest.raises(ShapeError, match=r"return an array of shape \(1, 3, 3\)"):
        bad.denoise(v, 0.1)


# ---- networks ----------------------------------------------------------------------------------


class Recorder(nn.Module):
    """Returns what it is given, halved, and remembers it."""

    def __init__(self) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.full((), 0.5, dtype=torch.float64))
        self.seen: tuple[Tensor, Tensor | None] | None = None

    def forward(self, v: Tensor, sigma: Tensor | None = None) -> Tensor:
        self.seen = v, sigma
        return self.gain * v[:, :1]


def test_network_is_told_the_noise_in_its_own_way() -> None:
    v, sigma = picture(2, 1, 3, 4), torch.tensor([0.1, 0.2], dtype=torch.float64)
    for how in ("none", "argument", "map"):
        net = Recorder()
        prior = NetworkDenoiser(network=net, noise_input=how, scale=255.0)
        torch.testing.assert_close(prior.denoise(v, sigma), v / 2)
        assert net.seen is not None
        given, level = net.seen
        torch.testing.assert_close(given[:, :1], 255 * v)
        assert given.shape[1] == (2 if how == "map" else 1)
        if how == "map":
            torch.testing.assert_close(given[:, 1], (255 * sigma)[:, None, None].expand(2, 3, 4))
        if how == "argument":
            assert level is not None
            torch.testing.assert_close(level, (255 * sigma)[:, None, None, None])
    residual = NetworkDenoiser(network=Recorder(), predicts="noise")
    torch.testing.assert_close(residual.denoise(v, 0.1), v / 2)
    assert residual.denoise(v, 0.1).requires_grad  # gradients reach the weights


def test_network_on_complex_pictures() -> None:
    z, net = picture(2, 1, 3, 4, dtype=torch.complex128), Recorder()
    prior = NetworkDenoiser(network=net, noise_input="argument")
    torch.testing.assert_close(prior.denoise(z, 0.2), z / 2)
    assert net.seen is not None and net.seen[1] is not None
    torch.testing.assert_close(net.seen[1].flatten(), torch.full((4,), 0.2 / math.sqrt(2)).double())


def test_network_moves_as_a_copy() -> None:
    net = Recorder()
    prior = NetworkDenoiser(network=net)
    single = prior.to(dtype=torch.float32)
    assert net.gain.dtype == torch.float64
    assert single.denoise(picture(1, 3, 3, dtype=torch.float32), 0.1).dtype == torch.float32
    with pytest.raises(DtypeError, match=r"has a network of torch.float64; got v of torch.float32"):
        prior.denoise(picture(1, 3, 3, dtype=torch.float32), 0.1)
    assert repr(prior).startswith("NetworkDenoiser(network=Recorder, noise_input='none'")


def test_errors_of_networks() -> None:
    with pytest.raises(ParameterError, match=r"expects a torch.nn.Module; got function"):
        NetworkDenoiser(network=mean_of_neighbours)  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"return a tensor of shape \(1, 3, 4, 4\)"):
        NetworkDenoiser(network=MeanNetwork(1, 3)).denoise(picture(3, 4, 4), 0.1)
    with pytest.raises(ParameterError, match=r"expected one of 'none', 'argument', 'map'"):
        NetworkDenoiser(network=Recorder(), noise_input="both")
    from wellposed.errors import DeviceError

    with pytest.raises(DeviceError, match=r"has its network on meta; got v on cpu"):
        NetworkDenoiser(network=Recorder().to("meta")).denoise(picture(1, 3, 3), 0.1)


# ---- priors as denoisers, denoisers as priors ----------------------------------------------------


def test_prox_denoiser() -> None:
    v = picture(3, 1, 4, 5)
    sigma = torch.tensor([0.0, 0.1, 0.2], dtype=torch.float64)
    prior = ProxDenoiser(prior=L1(weight=1.0), strength=2.0)
    want = torch.stack(
        [L1(weight=1.0).prox(x, 2 * float(s)) for x, s in zip(v, sigma, strict=True)]
    )
    torch.testing.assert_close(prior.denoise(v, sigma), want)
    assert prior.denoise(v, 0.0) is v
    with pytest.raises(ParameterError, match="prior expects a ProximalPrior such as TV"):
        ProxDenoiser(prior=NonLocalMeans())  # type: ignore[arg-type]


def test_denoiser_as_prox_asks_for_the_root_of_the_step() -> None:
    asked = []

    def f(v: Tensor, sigma: Tensor) -> Tensor:
        asked.append(sigma.flatten())
        return v

    prior = DenoiserAsProx(denoiser=CallableDenoiser(function=f), weight=0.5)
    v = picture(2, 1, 3, 3)
    prior.prox(v, 0.3)
    prior.prox(v, torch.tensor([0.3, 0.6], dtype=torch.float64))
    torch.testing.assert_close(
        asked[0], torch.full((2,), math.sqrt(0.15), dtype=torch.float64), rtol=1e-15, atol=0
    )
    torch.testing.assert_close(asked[1], torch.tensor([0.15, 0.3], dtype=torch.float64).sqrt())
    assert bool(prior.value(v).isnan().all())


# ---- packages ----------------------------------------------------------------------------------


def photograph() -> tuple[Tensor, Tensor]:
    clean = sample()[:, 40:104, 80:144].double()
    return clean, clean + 0.1 * picture(*clean.shape)


@pytest.mark.parametrize("prior", [SkimageTV(), SkimageNLM(), SkimageNLM(fast_mode=False)])
def test_skimage_denoises_gray_colour_and_many_channels(prior: SkimageTV | SkimageNLM) -> None:
    pytest.importorskip("skimage")
    clean, noisy = photograph()
    for channels in (1, 3, 4):
        c, v = (t[:channels] if channels < 4 else torch.cat((t, t[:1])) for t in (clean, noisy))
        for dtype in (torch.float64, torch.float32):
            got = prior.denoise(v.to(dtype), 0.1)
            assert got.dtype == dtype and got.shape == v.shape
            assert float(psnr(got.double(), c)) > float(psnr(v, c)) + 3
    together = prior.denoise(torch.stack((noisy, noisy)), torch.tensor([0.1, 0.0]))
    torch.testing.assert_close(together[0], prior.denoise(noisy, float(torch.tensor(0.1))))
    assert torch.equal(together[1], noisy)


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_skimage_at_any_scale(scale: float) -> None:
    pytest.importorskip("skimage")
    _, noisy = photograph()
    for prior in (SkimageTV(), SkimageNLM()):
        got = prior.denoise(scale * noisy, 0.1 * scale) / scale
        torch.testing.assert_close(got, prior.denoise(noisy, 0.1), rtol=1e-6, atol=1e-8)


def test_our_tv_is_at_least_as_near_to_the_minimum_as_skimage() -> None:
    pytest.importorskip("skimage")
    _, noisy = photograph()
    ours = TV(weight=0.1, joint_channels=False)

    def objective(x: Tensor) -> float:
        return float(ours.value(x) + 0.5 * (x - noisy).square().sum())

    theirs = SkimageTV(eps=1e-7, max_steps=20_000).denoise(noisy, 0.1)
    got = ours.prox(noisy, 1.0)
    assert objective(got) <= objective(theirs) * (1 + 1e-6)
    assert float(psnr(got, theirs)) > 55


def test_complex_pictures_go_by_parts() -> None:
    pytest.importorskip("skimage")
    _, noisy = photograph()
    z = torch.complex(noisy[:1], noisy[1:2])
    got = SkimageTV().denoise(z, 0.1 * math.sqrt(2))
    torch.testing.assert_close(got.real, SkimageTV().denoise(noisy[:1], 0.1))


def test_numpy_denoisers_refuse_gradients_and_transforms() -> None:
    v = picture(1, 4, 4).requires_grad_()
    prior = CallableDenoiser(function=add_sigma, arrays="numpy")
    with pytest.raises(IncompatibleError, match=r"runs in NumPy and has no gradient"):
        prior.denoise(v, 0.1)
    with torch.no_grad():
        prior.denoise(v, 0.1)
    with pytest.raises(IncompatibleError, match=r"cannot be transformed by torch.func"):
        torch.func.vmap(lambda x: prior.denoise(x, 0.1))(picture(2, 1, 4, 4))


def test_a_nan_spoils_its_own_sample_only() -> None:
    v = picture(2, 1, 4, 4)
    v[0, 0, 1, 1] = torch.nan
    got = CallableDenoiser(function=add_sigma, arrays="numpy").denoise(v, 0.1)
    assert bool(got[0].isnan().all())
    torch.testing.assert_close(got[1], v[1] + 0.1)


def test_bm3d() -> None:
    pytest.importorskip("bm3d")
    clean, noisy = photograph()
    clean, noisy = clean[:, :40, :40], noisy[:, :40, :40]
    colour = BM3D().denoise(noisy.float(), 0.1)
    assert colour.dtype == torch.float32
    assert float(psnr(colour.double(), clean)) > float(psnr(noisy, clean)) + 6
    tiny = noisy[:1, :9, :5]
    scaled = BM3D().denoise(1e-6 * tiny, 1e-7) * 1e6
    torch.testing.assert_close(scaled, BM3D().denoise(tiny, 0.1), atol=1e-4, rtol=0)
    assert BM3D().denoise(tiny, 0.0) is not None
    assert torch.equal(BM3D().denoise(tiny, 0.0), tiny)
