import pytest
import torch
from torch import Tensor
from wellposed import Space, psnr, sample
from wellposed.errors import ParameterError
from wellposed.plugins.priors.wavelet import CycleSpinning, WaveletL1


def picture(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def haar(x: Tensor) -> dict[str, Tensor]:
    """One level of the Haar transform from its definition: sums and differences of 2 x 2 blocks."""
    a, b = x[..., ::2, ::2], x[..., ::2, 1::2]
    c, d = x[..., 1::2, ::2], x[..., 1::2, 1::2]
    return {
        "a": (a + b + c + d) / 2,
        "h": (a - b + c - d) / 2,
        "v": (a + b - c - d) / 2,
        "d": (a - b - c + d) / 2,
    }


def inverse_haar(parts: dict[str, Tensor]) -> Tensor:
    a, h, v, d = (parts[k] for k in "ahvd")
    rows = [
        torch.stack(((a + h + v + d) / 2, (a - h + v - d) / 2), -1).flatten(-2),
        torch.stack(((a + h - v - d) / 2, (a - h - v + d) / 2), -1).flatten(-2),
    ]
    return torch.stack(rows, -2).flatten(-3, -2)


def soft(u: Tensor, t: float) -> Tensor:
    return u * (1 - t / u.abs()).clamp_min(0)


@pytest.mark.parametrize("free", [True, False])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_one_haar_level_against_the_definition(free: bool, dtype: torch.dtype) -> None:
    x = picture(2, 3, 4, 6, dtype=dtype)
    prior = WaveletL1(
        weight=0.4, wavelet="haar", levels=1, free_approximation=free, joint_channels=False
    )
    parts = haar(x)
    details = sum(parts[k].abs().sum((-3, -2, -1)) for k in "hvd")
    value = 0.4 * (details + (0 if free else parts["a"].abs().sum((-3, -2, -1))))
    torch.testing.assert_close(prior.value(x), value)
    kept = {k: u if k == "a" and free else soft(u, 0.4 * 0.5) for k, u in parts.items()}
    torch.testing.assert_close(prior.prox(x, 0.5), inverse_haar(kept))


def test_joint_channels_share_one_length() -> None:
    x = picture(3, 4, 4)
    prior = WaveletL1(weight=0.4, wavelet="haar", levels=1)
    parts = haar(x)
    want = 0.4 * sum(parts[k].square().sum(-3).sqrt().sum() for k in "hvd")
    torch.testing.assert_close(prior.value(x), want)
    kept = {
        k: u if k == "a" else u * (1 - 0.4 / u.norm(dim=-3, keepdim=True)).clamp_min(0)
        for k, u in parts.items()
    }
    torch.testing.assert_close(prior.prox(x, 1.0), inverse_haar(kept))


def test_prox_satisfies_moreau() -> None:
    # (v - p) / tau is a subgradient: its coefficients are weight times the sign, or below weight
    v = picture(2, 1, 9, 7)
    prior = WaveletL1(weight=0.3, wavelet="db2", joint_channels=False, free_approximation=False)
    op = prior.analysis(Space((1, 9, 7), torch.float64))
    p = prior.prox(v, 0.8)
    dual, u = op((v - p) / 0.8), op(p)
    assert bool((dual.abs() <= 0.3 + 1e-12).all())
    active = u.abs() > 1e-10
    torch.testing.assert_close(dual[active], 0.3 * u[active].sign())


def test_the_mean_stays_when_the_approximation_is_free() -> None:
    v = 0.5 + 0.1 * picture(1, 16, 16)
    free = WaveletL1(weight=1e3, wavelet="haar", levels=4)
    torch.testing.assert_close(free.prox(v, 1.0), v.mean().expand_as(v))
    held = WaveletL1(weight=1e3, wavelet="haar", levels=4, free_approximation=False)
    assert not bool(held.prox(v, 1.0).any())


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale_equivariance(scale: float) -> None:
    v = 0.5 + 0.2 * picture(2, 8, 9)
    got = WaveletL1(weight=1.0).prox(scale * v, 0.1 * scale) / scale
    torch.testing.assert_close(got, WaveletL1(weight=1.0).prox(v, 0.1))
    got = CycleSpinning(shifts=2).denoise(scale * v, 0.1 * scale) / scale
    torch.testing.assert_close(got, CycleSpinning(shifts=2).denoise(v, 0.1))


def test_per_sample_with_as_many_samples_as_columns() -> None:
    v, tau = picture(6, 2, 5, 6), torch.linspace(0, 1, 6, dtype=torch.float64)
    spin = CycleSpinning(shifts=2, threshold="soft")
    together = WaveletL1(weight=1.0).prox(v, tau), spin.denoise(v, tau)
    weighted = WaveletL1(weight=tau).prox(v, 1.0)
    for i in range(6):
        alone = WaveletL1(weight=1.0).prox(v[i], float(tau[i]))
        torch.testing.assert_close(together[0][i], alone)
        torch.testing.assert_close(weighted[i], alone)
        torch.testing.assert_close(together[1][i], spin.denoise(v[i], float(tau[i])))


def test_cycle_spinning_is_the_mean_over_shifts() -> None:
    v = picture(1, 5, 8)
    for rule in ("hard", "soft"):
        prior = CycleSpinning(threshold=rule, shifts=2, wavelet="haar", levels=1)
        one = CycleSpinning(threshold=rule, shifts=1, wavelet="haar", levels=1)
        want = torch.zeros_like(v)
        for a, b in ((0, 0), (0, 1), (1, 0), (1, 1)):
            want += one.denoise(v.roll((a, b), (-2, -1)), 0.3).roll((-a, -b), (-2, -1)) / 4
        torch.testing.assert_close(prior.denoise(v, 0.3), want)
    soft_prior = WaveletL1(weight=1.0, wavelet="haar", levels=1)
    one = CycleSpinning(threshold="soft", shifts=1, wavelet="haar", levels=1, strength=1.0)
    torch.testing.assert_close(one.denoise(v, 0.3), soft_prior.prox(v, 0.3))


def test_full_cycle_spinning_commutes_with_shifts() -> None:
    v = picture(1, 8, 8)
    prior = CycleSpinning(shifts=4, wavelet="haar", levels=2)
    shifted = prior.denoise(v.roll((1, 3), (-2, -1)), 0.5).roll((-1, -3), (-2, -1))
    torch.testing.assert_close(shifted, prior.denoise(v, 0.5))


def test_photograph() -> None:
    clean = sample()[:, 40:136, 80:176]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = clean + 0.1 * noise
    before = float(psnr(noisy, clean))
    assert float(psnr(WaveletL1(weight=0.2).prox(noisy, 1.0), clean)) > before + 4
    assert float(psnr(CycleSpinning().denoise(noisy, 0.1), clean)) > before + 6


def test_differentiable_and_vmapped() -> None:
    v = picture(1, 5, 4).requires_grad_()
    tau = torch.tensor(0.3, dtype=torch.float64, requires_grad=True)
    prior = WaveletL1(weight=1.0)
    assert torch.autograd.gradcheck(prior.prox, (v, tau))
    batch = picture(3, 1, 5, 4)
    for f in (lambda x: prior.prox(x, 0.2), lambda x: CycleSpinning(shifts=2).denoise(x, 0.2)):
        torch.testing.assert_close(torch.func.vmap(f)(batch), f(batch))


def test_errors() -> None:
    with pytest.raises(ParameterError, match=r"WaveletL1.wavelet is not one that"):
        WaveletL1(wavelet="mexican_hat")
    with pytest.raises(ParameterError, match=r"CycleSpinning.levels expects a whole number"):
        CycleSpinning(levels=0)
    with pytest.raises(ParameterError, match=r"CycleSpinning.shifts expects a whole number"):
        CycleSpinning(shifts=0)


def test_normal_equations_with_an_orthonormal_transform_are_closed() -> None:
    from wellposed import solve_normal
    from wellposed.plugins.priors.tv import TV

    space = Space((1, 6, 8), torch.float64)
    w = WaveletL1().analysis(space)
    d = TV(boundary="circular").analysis(space)
    rhs = picture(3, 1, 6, 8)
    tau = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)[:, None, None, None]
    assert w.has_closed_prox
    alone = solve_normal([(tau, w)], rhs, shift=1.0)
    torch.testing.assert_close(alone, rhs / (1 + tau), rtol=1e-14, atol=0)
    # one step is not enough for conjugate gradients: this is a closed form
    both = solve_normal([(tau, w), (0.3, d)], rhs, max_steps=1)
    torch.testing.assert_close(tau * both + 0.3 * d.gram(both), rhs)
