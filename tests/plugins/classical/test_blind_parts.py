"""The steps of blind deblurring against dense and exhaustive solutions."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest
import torch
from scipy import ndimage, optimize
from torch import Tensor
from wellposed.plugins.classical.blind_kernel import (
    centred,
    dirac,
    fitted,
    on_simplex,
    tidied,
    transfer_of,
)
from wellposed.plugins.classical.blind_latent import (
    Sparsity,
    dark_pixels,
    differences,
    laplacian,
    salient,
    sharpened,
)
from wellposed.plugins.classical.blind_pyramid import enlarged, extended, levels, shrunk

from .blind_pictures import F64, convolution, rand, stream

# ---- the picture ----------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_few_edges_are_those_of_an_exhaustive_search(seed):
    draw = np.random.default_rng(seed)
    jumps = draw.integers(1, 8)
    clean = np.where(np.arange(9) < jumps, 0.2, 0.7)
    y = clean + 0.03 * draw.standard_normal(9)
    weight = 0.02
    best, answer = np.inf, y

    def energy_of(x: Any, edges: Any) -> float:
        return float(((x - y) ** 2).sum() + weight * np.count_nonzero(edges))

    for edges in itertools.product((False, True), repeat=9):  # after pixel i; the last one wraps
        if sum(edges) == 1:
            continue  # a circle cannot be cut once
        group = np.cumsum(np.roll(edges, 1))
        group = np.where(group == group[-1], 0, group) if not edges[-1] else group
        x = np.array([y[group == g].mean() for g in group])
        if energy_of(x, edges) < best:
            best, answer = energy_of(x, edges), x
    found = sharpened(
        torch.from_numpy(y)[None, None, None],
        torch.ones(1, 1, 1, 5, dtype=torch.complex128),
        Sparsity(gradient=weight, dark=0.0, patch=3),
    )
    x = found[0, 0, 0].numpy()
    # The same edges; between them the heights that an early, weak penalty gave.
    edges = np.abs(np.roll(x, -1) - x) > 1e-2
    assert np.array_equal(edges, np.abs(np.roll(answer, -1) - answer) > 0)
    assert energy_of(x, edges) < 1.05 * best


@pytest.mark.parametrize("dark", [0.0, 0.05])
def test_splitting_is_that_of_dense_matrices(dark):
    height, width, weight, patch = 4, 5, 0.02, 3
    n = height * width
    y, kernel = rand(1, 1, height, width), on_simplex(rand(1, 1, 3, 3, seed=1))
    eye = torch.eye(n, dtype=F64).reshape(n, 1, height, width)
    blur = convolution((1, height, width), (3, 3))(kernel, eye).reshape(n, n).T
    gradient = torch.cat([d.reshape(n, n).T for d in differences(eye)])

    def edges(x: Tensor, matrix: Tensor, aim: Tensor) -> Tensor:
        mu = 2 * weight
        while mu < 1e5:
            g = (gradient @ x).reshape(2, n)
            g = (g * (g.square().sum(0) >= weight / mu)).reshape(-1)
            x = torch.linalg.solve(matrix + mu * gradient.T @ gradient, aim + mu * gradient.T @ g)
            mu *= 2
        return x

    x = y.reshape(-1)
    matrix, aim = blur.T @ blur, blur.T @ x
    if dark == 0:
        x = edges(x, matrix, aim)
    else:
        beta = dark / otsu(y[0, 0].square())
        while beta < 8:
            zero = dark_by_loop(x.reshape(height, width), patch, dark / beta).reshape(-1)
            x = edges(x, matrix + beta * torch.eye(n), aim + beta * torch.where(zero, 0, x))
            beta *= 2
    sparsity = Sparsity(gradient=weight, dark=dark, patch=patch)
    found = sharpened(y, transfer_of(kernel, (height, width)), sparsity)
    assert torch.allclose(found.reshape(-1), x, atol=1e-9)


def otsu(x: Tensor) -> float:
    """Return the threshold with the least variance on its two sides."""
    values = (x.flatten() * 255).round()
    within = []
    for t in range(256):
        parts = [values[values <= t], values[values > t]]
        within.append(sum(float(((p - p.mean()) ** 2).sum()) for p in parts if len(p)))
    return max(int(np.argmin(np.round(within, 6))), 1) / 255


def dark_by_loop(x: Tensor, patch: int, least: float) -> Tensor:
    marks, reach = torch.zeros_like(x, dtype=torch.bool), patch // 2
    for i, j in itertools.product(*map(range, x.shape)):
        top, left = max(i - reach, 0), max(j - reach, 0)
        window = x[top : i + reach + 1, left : j + reach + 1]
        if window.min().square() < least:
            at = int(window.argmin())
            marks[top + at // window.shape[1], left + at % window.shape[1]] = True
    return marks


@pytest.mark.parametrize("patch", [1, 3, 35])
def test_dark_pixels_are_those_of_a_loop(patch):
    x = rand(2, 1, 6, 9) - 0.1
    least = torch.tensor([0.02, 0.2], dtype=F64)[:, None, None, None]
    found = dark_pixels(x, patch, least)
    for i in range(2):
        assert torch.equal(found[i, 0], dark_by_loop(x[i, 0], patch, float(least[i])))


def test_the_laplacian_is_that_of_the_differences():
    x = rand(1, 1, 6, 7)
    energy = sum(d.square().sum() for d in differences(x))
    response = laplacian((6, 7), x)
    spectrum = torch.fft.rfft2(x, norm="ortho").abs().square()
    weight = torch.tensor([1, 2, 2, 2], dtype=F64)  # the other half of an odd width
    assert torch.allclose((weight * response * spectrum).sum(), energy)


def test_salient_edges_are_the_largest_of_each_direction():
    x = rand(2, 1, 16, 16)
    down, right, least = salient(x, 10, None)
    full = differences(x)
    length = full[0].square() + full[1].square()
    assert torch.equal(down != 0, length >= least)
    turn = torch.atan2(*full) % np.pi
    for i in range(2):
        counts = torch.histc(turn[i][(right != 0)[i]], 4, 0, np.pi)
        assert counts.min() == 10
    *_, again = salient(0.01 * x, 10, least)
    assert (again < least).all()  # some edge always counts


# ---- the kernel -----------------------------------------------------------------------------


def test_the_transfer_function_is_the_operators():
    kernel, x = rand(2, 1, 4, 3), rand(2, 1, 7, 6, seed=1)
    blurred = torch.fft.irfft2(transfer_of(kernel, (7, 6)) * torch.fft.rfft2(x), s=(7, 6))
    assert torch.allclose(blurred, convolution((1, 7, 6), (4, 3))(kernel, x))


@pytest.mark.parametrize(("height", "width"), [(3, 4), (1, 5), (6, 7)])
def test_the_kernel_is_the_constrained_least_squares_one(height, width):
    y, edges = rand(2, 1, 6, 7), (rand(2, 1, 6, 7, seed=1) - 0.5, rand(2, 1, 6, 7, seed=2) - 0.5)
    weight, taps = 0.5, height * width
    start = dirac(torch.zeros(2, 1, height, width, dtype=F64))
    found = fitted(edges, y, start, weight=weight, steps=4000)
    each = torch.eye(taps, dtype=F64).reshape(taps, 1, height, width)
    op = convolution((1, 6, 7), (height, width))
    for i in range(2):
        rows = [op(each, e[i]).reshape(taps, -1).T.numpy() for e in edges]
        heavy = 1e4 * np.ones((1, taps))
        matrix = np.concatenate([*rows, weight**0.5 * np.eye(taps), heavy])
        aim = np.concatenate([d[i].flatten() for d in differences(y)])
        want, _ = optimize.nnls(matrix, np.concatenate([aim, np.zeros(taps), [1e4]]))
        assert np.abs(found[i].flatten().numpy() - want).max() < 1e-5


def test_the_simplex_is_met_at_the_nearest_point():
    k = torch.randn(3, 1, 2, 3, dtype=F64, generator=stream())
    found = on_simplex(k).flatten(1)
    assert torch.allclose(found.sum(1), torch.ones(3, dtype=F64))
    assert (found >= 0).all()
    for row, given in zip(found, k.flatten(1), strict=True):
        heavy = np.concatenate([np.eye(6), np.full((1, 6), 1e5)])
        want, _ = optimize.nnls(heavy, np.append(given.numpy(), 1e5))
        assert np.abs(row.numpy() - want).max() < 1e-8


def test_small_taps_and_islands_go():
    kernel = torch.where(rand(4, 1, 12, 13) > 0.7, rand(4, 1, 12, 13, seed=1), 0)
    found = tidied(kernel, cut=0.2, least=0.15)
    for got, k in zip(found[:, 0].numpy(), kernel[:, 0].numpy(), strict=True):
        k = np.where(k >= 0.2 * k.max(), k, 0)
        k /= k.sum()
        group, count = ndimage.label(k > 0, np.ones((3, 3)))
        for g in range(1, count + 1):
            if k[group == g].sum() < 0.15:
                k[group == g] = 0
        want = k / k.sum() if k.sum() > 0 else dirac(torch.zeros(12, 13)).numpy()
        assert np.allclose(got, want, atol=1e-9)


def test_nothing_left_is_a_dirac():
    empty = torch.zeros(1, 1, 4, 5, dtype=F64)
    assert torch.equal(tidied(empty, cut=0.05, least=0.1), dirac(empty))
    assert dirac(empty)[0, 0, 2, 2] == 1


def test_the_centre_of_mass_comes_to_the_middle():
    kernel = torch.zeros(2, 1, 8, 9, dtype=F64)
    kernel[0, 0, 0, 1:3] = torch.tensor([0.4, 0.6])
    kernel[1, 0, 7, 8] = 1
    found = centred(kernel)
    assert torch.allclose(found[0, 0, 4, 3:5], kernel[0, 0, 0, 1:3])
    assert found[1, 0, 4, 4] == 1
    flat = torch.full((1, 1, 1, 8), 0.125, dtype=F64)
    assert torch.allclose(centred(flat), flat)  # half a tap off is no reason to move


# ---- the pyramid ----------------------------------------------------------------------------


def test_scales_grow_to_the_full_size():
    found = levels((64, 80), (28, 15))
    assert [level.kernel for level in found] == [(7, 5), (11, 7), (15, 9), (21, 11), (28, 15)]
    assert found[0].size == (16, 20)
    assert found[-1].size == (64, 80)
    assert [level.kernel for level in levels((9, 9), (4, 1))] == [(4, 1)]
    for level in levels((28, 9), (28, 9)):
        assert all(n >= k for n, k in zip(level.size, level.kernel, strict=True))


def test_shrinking_keeps_the_mean_and_commutes_with_shifts():
    x = rand(2, 1, 12, 8)
    small = shrunk(x, (6, 4))
    assert torch.allclose(small.mean((-2, -1)), x.mean((-2, -1)))
    assert torch.allclose(shrunk(x.roll((2, 4), (-2, -1)), (6, 4)), small.roll((1, 2), (-2, -1)))


def test_an_enlarged_kernel_keeps_its_centre_and_shape():
    kernel = torch.zeros(1, 1, 5, 5, dtype=F64)
    kernel[0, 0, 2, 1:4] = torch.tensor([0.25, 0.5, 0.25])
    found = enlarged(kernel, (9, 9), 2.0)
    row = torch.tensor([0, 0.125, 0.25, 0.375, 0.5, 0.375, 0.25, 0.125, 0], dtype=F64)
    assert torch.allclose(found[0, 0, 4], row)
    assert torch.allclose(found[0, 0, 3], row / 2)


def test_an_extended_picture_has_no_jump_at_its_border():
    ramp = torch.linspace(0, 1, 12, dtype=F64).expand(1, 9, 12).clone()
    found = extended(ramp, (3, 6))
    assert found.shape == (1, 12, 18)
    assert torch.equal(found[:, :9, :12], ramp)
    assert differences(found)[1].abs().max() < 0.25
    assert torch.allclose(differences(found)[0], torch.zeros(1, dtype=F64))
