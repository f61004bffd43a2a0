"""Noise is noise, of the stated strength; data terms agree with calculus."""

import pickle

import numpy as np
import pytest
import torch
from scipy import stats
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.noise.gaussian import Gaussian
from wellposed.plugins.noise.none import NoNoise
from wellposed.plugins.noise.poisson import Poisson


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def test_gaussian_noise_is_normal_of_the_given_width():
    clean = torch.full((1, 100, 100), 0.5, dtype=torch.float64)
    noise = (Gaussian(sigma=0.2).sample(clean, generator()) - clean).flatten().numpy() / 0.2
    assert stats.kstest(noise, "norm").pvalue > 0.01
    assert abs(np.corrcoef(noise[1:], noise[:-1])[0, 1]) < 0.03


def test_complex_gaussian_noise_has_unit_variance_in_all():
    clean = torch.zeros(1, 100, 100, dtype=torch.complex128)
    noise = Gaussian(sigma=3.0).sample(clean, generator()) / 3
    assert float(noise.abs().square().mean()) == pytest.approx(1, rel=0.03)
    assert float(noise.real.var()) == pytest.approx(0.5, rel=0.05)
    assert stats.kstest(noise.imag.flatten().numpy() * 2**0.5, "norm").pvalue > 1e-3


@pytest.mark.parametrize("noise", [Gaussian(sigma=0.1), Poisson(gain=50.0)])
def test_a_generator_makes_noise_repeatable(noise):
    clean = torch.rand(2, 1, 8, 8)
    first = noise.sample(clean, generator())
    assert torch.equal(first, noise.sample(clean, generator()))
    assert not torch.equal(first, noise.sample(clean, generator(1)))
    assert not torch.equal(noise.sample(clean), noise.sample(clean))
    assert first.dtype == clean.dtype and not torch.equal(first[0], first[1])


def test_poisson_noise_counts():
    clean = torch.full((1, 150, 150), 0.3, dtype=torch.float64)
    counts = Poisson(gain=20.0).sample(clean, generator()) * 20
    torch.testing.assert_close(counts, counts.round())
    values, seen = np.unique(counts.numpy().round(), return_counts=True)
    expected = stats.poisson(6).pmf(values) * clean.numel()
    common = expected > 20
    chi2 = ((seen - expected) ** 2 / expected)[common].sum()
    assert chi2 < stats.chi2(common.sum()).ppf(0.999)


def test_larger_gain_is_less_noise_and_darkness_has_none():
    clean = torch.full((1, 60, 60), 0.5, dtype=torch.float64)
    for gain in (10.0, 1000.0):
        noise = Poisson(gain=gain).sample(clean, generator()) - clean
        assert float(noise.std()) == pytest.approx((0.5 / gain) ** 0.5, rel=0.05)
    assert Poisson().sample(torch.zeros(1, 4, 4), generator()).abs().max() == 0
    assert Poisson().sample(-torch.ones(1, 4, 4), generator()).abs().max() == 0


def test_strengths_per_sample():
    clean = torch.full((2, 1, 50, 50), 0.5)  # as many samples as a careless broadcast would hide
    widths = Gaussian(sigma=torch.tensor([0.01, 1.0])).sample(clean, generator()).flatten(1).std(1)
    np.testing.assert_allclose(widths, [0.01, 1.0], rtol=0.05)
    counts = Poisson(gain=torch.tensor([10.0, 1e5])).sample(clean, generator()).flatten(1).std(1)
    np.testing.assert_allclose(counts, [0.05**0.5, 5e-6**0.5], rtol=0.05)
    vectors = torch.zeros(2, 5000)
    widths = Gaussian(sigma=torch.tensor([[0.1], [2.0]])).sample(vectors, generator()).std(1)
    np.testing.assert_allclose(widths, [0.1, 2.0], rtol=0.05)
    double = Gaussian(sigma=torch.tensor([0.1, 0.2], dtype=torch.float64))
    assert double.sample(clean, generator()).dtype == torch.float32


def test_no_noise_copies():
    clean = torch.rand(1, 4, 4)
    y = NoNoise().sample(clean)
    assert torch.equal(y, clean) and y is not clean


@pytest.mark.parametrize("noise", [Gaussian(), NoNoise(), Poisson(gain=7.0)])
def test_gradients_are_those_of_the_value(noise):
    space = Space((1, 3, 4), torch.float64)
    z = torch.rand(2, 1, 3, 4, dtype=torch.float64, generator=generator()) + 0.1
    y = torch.rand(2, 1, 3, 4, dtype=torch.float64, generator=generator(1))
    y[0, 0, 0, 0] = 0
    z.requires_grad_()
    value = noise.value(z, y, space)
    assert value.shape == (2,)
    (want,) = torch.autograd.grad(value.sum(), z)
    torch.testing.assert_close(noise.grad(z.detach(), y), want)


@pytest.mark.parametrize("noise", [Gaussian(), NoNoise(), Poisson()])
@pytest.mark.parametrize("scale", [1e-6, 1.0, 1e6])
def test_proximal_maps_minimise(noise, scale):
    v = scale * torch.randn(1, 5, 6, dtype=torch.float64, generator=generator())
    y = scale * torch.rand(1, 5, 6, dtype=torch.float64, generator=generator(1))
    for step in (0.01, 1.0, 100.0):
        tau = step * scale if isinstance(noise, Poisson) else step
        z = noise.prox(v, y, tau)
        residual = noise.grad(z, y) + (z - v) / tau
        size = noise.grad(z, y).abs() + (v / tau).abs() + (z / tau).abs()
        assert (residual.abs() <= 1e-11 * size + 1e-12).all()


def test_the_poisson_map_is_accurate_for_dark_pixels_and_stays_positive():
    v = torch.tensor([-1e8, -1e3, 0.0, 1e8], dtype=torch.float64)
    y = torch.full((4,), 0.5, dtype=torch.float64)
    z = Poisson().prox(v, y, 1.0)
    exact = [0.5 / (1e8 + 1), None, None, 1e8 - 1]
    assert (z > 0).all()
    assert float(z[0]) == pytest.approx(exact[0], rel=1e-8)
    assert float(z[3]) == pytest.approx(exact[3], rel=1e-12)
    torch.testing.assert_close(1 - y / z + z - v, torch.zeros(4).double(), atol=1e-6, rtol=0)
    dark = Poisson().prox(torch.tensor([-1.0, 0.5, 3.0]), torch.zeros(3), 1.0)
    assert dark.tolist() == [0, 0, 2]


def test_poisson_divergence_and_its_domain():
    space = Space((4,), torch.float64)
    y = torch.tensor([0.0, 1.0, 2.0, 0.5], dtype=torch.float64)
    z = torch.tensor([0.3, 1.5, 1.0, 0.5], dtype=torch.float64)
    want = float(np.sum(z.numpy() - y.numpy()) + 1 * np.log(1 / 1.5) + 2 * np.log(2 / 1.0))
    assert float(Poisson().value(z, y, space)) == pytest.approx(want)
    assert float(Poisson().value(y, y, space)) == 0
    for outside in ([-0.1, 1, 1, 1], [0, 0, 1, 1]):
        z = torch.tensor(outside, dtype=torch.float64)
        assert float(Poisson().value(z, y, space)) == float("inf")
    assert float(Poisson().grad(torch.zeros(1), torch.ones(1))) == -float("inf")
    negative = torch.tensor([-0.2, 1.0, 2.0, 0.5], dtype=torch.float64)
    z = torch.ones(4, dtype=torch.float64)
    assert Poisson().value(z, negative, space) == Poisson().value(z, y, space)


def test_only_gaussian_data_terms_are_quadratic():
    assert Gaussian().is_quadratic and NoNoise().is_quadratic and not Poisson().is_quadratic
    z, y = torch.rand(2, 3, 1, 2, 2, dtype=torch.float64).unbind()
    value = Gaussian(sigma=9.0).value(z, y, Space((1, 2, 2), torch.float64))
    torch.testing.assert_close(value, 0.5 * (z - y).square().sum((1, 2, 3)))


def test_models_pickle():
    noise = pickle.loads(pickle.dumps(Gaussian(sigma=torch.tensor([0.1, 0.2]))))
    assert torch.equal(noise.sigma, torch.tensor([0.1, 0.2]))


def test_refusals():
    with pytest.raises(ParameterError, match=r"Gaussian.sigma expects a finite non-negative.*-1"):
        Gaussian(sigma=-1.0)
    with pytest.raises(ParameterError, match=r"Poisson.gain expects a finite positive.*got 0"):
        Poisson(gain=0)
    with pytest.raises(ParameterError, match=r"Gaussian.sigma expects.*got nan"):
        Gaussian(sigma=float("nan"))
    with pytest.raises(ParameterError, match=r"sigma expects non-negative values; some are not"):
        Gaussian(sigma=torch.tensor([0.1, -0.1]))
    with pytest.raises(ParameterError, match=r"of shape \(B,\) or .*got \(2, 3\)"):
        Gaussian(sigma=torch.ones(2, 3))
    with pytest.raises(ShapeError, match=r"one value for each of 3 samples.*got .*\(2, 1, 4, 4\)"):
        Gaussian(sigma=torch.ones(3)).sample(torch.zeros(2, 1, 4, 4))
    with pytest.raises(DtypeError, match=r"Poisson expects real measurements"):
        Poisson().sample(torch.zeros(1, 2, 2, dtype=torch.complex64))


def test_the_divergence_has_a_gradient_where_nothing_is_counted_and_nothing_expected():
    z = torch.tensor([[[0.0, 0.0, 0.3, 0.2]]], dtype=torch.float64, requires_grad=True)
    y = torch.tensor([[[0.0, -0.1, 0.0, 0.4]]], dtype=torch.float64)
    space = Space((1, 1, 4), torch.float64)
    (slope,) = torch.autograd.grad(Poisson().value(z, y, space), z)
    torch.testing.assert_close(slope, torch.tensor([[[1.0, 1.0, 1.0, -1.0]]], dtype=torch.float64))
    torch.testing.assert_close(slope, Poisson().grad(z.detach(), y))


def test_a_pixel_that_cannot_be_counted_leaves_the_others():
    clean = torch.full((2, 1, 50, 50), 0.5)
    clean[0, 0, 0, :3] = torch.tensor([torch.nan, torch.inf, 1e20])
    y = Poisson(gain=100.0).sample(clean, generator())
    assert y[0, 0, 0, 0].isnan()
    assert y[0, 0, 0, 1:3].tolist() == clean[0, 0, 0, 1:3].tolist()
    assert float(y[1].mean()) == pytest.approx(0.5, rel=0.01)
