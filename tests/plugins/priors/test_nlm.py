import math

import numpy as np
import pytest
import torch
from torch import Tensor
from wellposed import psnr, sample
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.priors.nlm import NonLocalMeans


def picture(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_loops(v: np.ndarray, sigma: float, prior: NonLocalMeans) -> np.ndarray:
    """The definition, pair by pair."""
    _, height, width = v.shape
    p, reach = prior.patch, prior.search

    def mirrored(i: int, n: int) -> int:
        period = 2 * (n - 1) or 1
        i %= period
        return min(i, period - i) if n > 1 else 0

    def patch(i: int, j: int) -> np.ndarray:
        rows = [mirrored(i + k, height) for k in range(-p, p + 1)]
        columns = [mirrored(j + k, width) for k in range(-p, p + 1)]
        return v[:, rows][:, :, columns]

    def weight(i: int, j: int, k: int, m: int) -> float:
        distance = np.mean(np.abs(patch(i, j) - patch(k, m)) ** 2)
        return math.exp(-max(distance - 2 * sigma**2, 0) / (prior.strength * sigma) ** 2)

    def inside(i: int, j: int) -> bool:
        return 0 <= i < height and 0 <= j < width

    out = np.zeros_like(v)
    for i, j in np.ndindex(height, width):
        total, norm = v[:, i, j] + 0, 1.0
        for a in range(-reach, reach + 1):
            for b in range(-reach, reach + 1):
                if (a, b) == (0, 0) or not inside(i + a, j + b):
                    continue
                if prior.aggregate:
                    offsets = [(s, t) for s in range(-p, p + 1) for t in range(-p, p + 1)]
                    w = sum(
                        weight(i + s, j + t, i + s + a, j + t + b)
                        for s, t in offsets
                        if inside(i + s, j + t) and inside(i + s + a, j + t + b)
                    ) / len(offsets)
                else:
                    w = weight(i, j, i + a, j + b)
                total, norm = total + w * v[:, i + a, j + b], norm + w
        out[:, i, j] = total / norm
    return out


@pytest.mark.parametrize("shape", [(1, 4, 5), (3, 5, 4), (2, 1, 6), (1, 1, 1)])
@pytest.mark.parametrize(("patch", "aggregate"), [(0, False), (1, False), (1, True), (2, True)])
def test_against_loops(shape: tuple[int, int, int], patch: int, aggregate: bool) -> None:
    prior = NonLocalMeans(patch=patch, search=2, aggregate=aggregate)
    for dtype in (torch.float64, torch.complex128):
        v = 0.3 * picture(*shape, dtype=dtype)
        want = by_loops(v.numpy(), 0.25, prior)
        np.testing.assert_allclose(prior.denoise(v, 0.25).numpy(), want, rtol=1e-10)


def test_a_sigma_per_sample_with_as_many_samples_as_columns() -> None:
    v = 0.5 + 0.1 * picture(4, 2, 5, 4)
    sigma = torch.tensor([0.0, 0.05, 0.1, 0.3], dtype=torch.float64)
    prior = NonLocalMeans(search=2)
    got = prior.denoise(v, sigma)
    assert torch.equal(got[0], v[0])
    for i in range(1, 4):
        torch.testing.assert_close(got[i], prior.denoise(v[i], float(sigma[i])))
    assert prior.denoise(v, 0.0) is v


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scale_equivariance(scale: float, dtype: torch.dtype) -> None:
    v = 0.5 + 0.1 * picture(2, 6, 6, dtype=dtype)
    prior = NonLocalMeans(search=3)
    torch.testing.assert_close(prior.denoise(scale * v, 0.1 * scale) / scale, prior.denoise(v, 0.1))


def test_differentiable_twice_vmapped_and_compiled_alike() -> None:
    v = (0.3 * picture(1, 3, 4)).requires_grad_()
    sigma = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    prior = NonLocalMeans(search=2)
    assert torch.autograd.gradcheck(prior.denoise, (v, sigma))
    assert torch.autograd.gradgradcheck(prior.denoise, (v, sigma))
    batch = 0.3 * picture(3, 1, 3, 4)
    got = torch.func.vmap(lambda x: prior.denoise(x, 0.2))(batch)
    torch.testing.assert_close(got, prior.denoise(batch, 0.2))


def test_photograph() -> None:
    clean = sample()[:, 40:120, 80:160]
    noise = torch.randn(clean.shape, generator=torch.Generator().manual_seed(0))
    noisy = clean + 0.1 * noise
    assert float(psnr(NonLocalMeans().denoise(noisy, 0.1), clean)) > float(psnr(noisy, clean)) + 6


def test_errors() -> None:
    with pytest.raises(
        ParameterError, match=r"NonLocalMeans.patch expects a whole number above -1"
    ):
        NonLocalMeans(patch=-1)
    with pytest.raises(
        ParameterError, match=r"NonLocalMeans.search expects a whole number above 0"
    ):
        NonLocalMeans(search=1.5)  # type: ignore[arg-type]
    with pytest.raises(
        ParameterError, match=r"expects sigma to be finite and at least 0; got -0.1"
    ):
        NonLocalMeans().denoise(picture(1, 3, 3), -0.1)
    with pytest.raises(ShapeError, match=r"expects sigma as a number or one value per sample"):
        NonLocalMeans().denoise(picture(2, 1, 3, 3), torch.ones(3))


def test_vmap_over_the_noise_level_alone() -> None:
    v = torch.rand(2, 6, 5, dtype=torch.float64)
    sigmas = torch.tensor([0.05, 0.2, 0.4], dtype=torch.float64)
    prior = NonLocalMeans(search=2)
    got = torch.func.vmap(lambda sigma: prior.denoise(v, sigma))(sigmas)
    torch.testing.assert_close(got, torch.stack([prior.denoise(v, float(s)) for s in sigmas]))
