"""The paper's formulas, written out in NumPy, against autograd through the generators."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
from wellposed.plugins.generative_bilinear.bilinear import GenerativeBilinear

LAMBDA, GAMMA = 0.3, 0.2


class Layers:
    """relu(B2 relu(B1 h)) and its Jacobian, as the paper writes them."""

    def __init__(self, prior):
        self.b1, self.b2 = (
            prior.network[i].weight.detach().numpy().astype(np.float64) for i in (0, 2)
        )

    def __call__(self, z):
        return np.maximum(self.b2 @ np.maximum(self.b1 @ z, 0), 0)

    def jacobian(self, z):
        first = np.diag((self.b1 @ z > 0).astype(float)) @ self.b1
        return np.diag((self.b2 @ (first @ z) > 0).astype(float)) @ self.b2 @ first


class Fourier:
    """Equation (7): 1-D circular convolution of length L by the orthonormal DFT matrix."""

    def __init__(self, length, kernel):
        n = np.arange(length)
        self.length, self.f = length, np.exp(-2j * np.pi * np.outer(n, n) / length) / length**0.5
        # The kernel's centre, index `kernel // 2`, lies on the first pixel.
        self.lay = np.zeros((length, kernel))
        for k in range(kernel):
            self.lay[(k - kernel // 2) % length, k] += 1

    def residual(self, w, x, y):
        return self.length**0.5 * (self.f @ self.lay @ w) * (self.f @ x) - self.f @ y

    def gradients(self, maps, h, m, y):
        """Return the Wirtinger gradients, with the conjugates that the print leaves out."""
        b, c = maps
        w, x = b(h), c(m)
        r, root = self.residual(w, x, y), self.length**0.5
        back = self.f.conj().T
        by_w = self.lay.T @ (back @ (r * (root * (self.f @ x)).conj())).real
        by_x = (back @ (r * (root * (self.f @ self.lay @ w)).conj())).real
        return (
            b.jacobian(h).T @ by_w + LAMBDA * h,
            c.jacobian(m).T @ by_x + GAMMA * m,
        )


@pytest.fixture
def setting(blurred):
    length, kernel = 12, 5
    problem, prior, _ = blurred(batch=(), shape=(1, 1, length), kernel=(1, kernel))
    solver = GenerativeBilinear(
        parameter_prior=prior,
        restarts=1,
        step_size=0.03,
        decay=4.0,
        parameter_penalty=LAMBDA,
        image_penalty=GAMMA,
    )
    maps = Layers(prior), Layers(problem.prior)
    return problem, solver, maps, Fourier(length, kernel)


def codes(state):
    return [p[0].numpy() for p in state.points]


def test_the_loss_is_that_of_the_fourier_domain(setting):
    problem, solver, maps, fourier = setting
    state = solver.init(problem)
    h, m = codes(state)
    y = problem.measurement.flatten().numpy()
    want = np.sum(np.abs(fourier.residual(maps[0](h), maps[1](m), y)) ** 2)
    np.testing.assert_allclose(state.losses.numpy(), [want], rtol=1e-12)


def by_hand(setting, update, steps, weight=1.0):
    problem, solver, maps, fourier = setting
    y = problem.measurement.flatten().numpy()
    points = codes(solver.init(problem))
    seen = [[np.zeros_like(p), np.zeros_like(p)] for p in points]
    for t in range(1, steps + 1):
        rate = 0.03 * np.exp(-t / 4.0)
        before = list(points)
        for i in range(2):
            at = before if update in ("jacobi", "adam") else points
            g = fourier.gradients(maps, *at, y)[i]
            ridge = (LAMBDA, GAMMA)[i] * at[i]
            g = weight * (g - ridge) + ridge
            if update == "normalised":
                g = g / (np.sqrt(np.mean(g**2)) + 1e-5)
            if update == "adam":
                seen[i][0] = 0.9 * seen[i][0] + 0.1 * g
                seen[i][1] = 0.999 * seen[i][1] + 0.001 * g**2
                size = np.sqrt(seen[i][1] / (1 - 0.999**t)) + 1e-8
                g = seen[i][0] / (1 - 0.9**t) / size
            points[i] = before[i] - rate * g
    return points


@pytest.mark.parametrize("update", ["jacobi", "gauss_seidel", "normalised", "adam"])
@pytest.mark.parametrize("weight", [1.0, 12.0])
def test_steps_are_those_by_hand(setting, update, weight):
    problem, solver, *_ = setting
    solver = attrs.evolve(solver, update=update, data_weight=weight)
    state = solver.init(problem)
    for steps in (1, 2, 3):
        state = solver.step(problem, state)
        for got, want in zip(codes(state), by_hand(setting, update, steps, weight), strict=True):
            np.testing.assert_allclose(got, want, rtol=1e-10, atol=1e-13)


def test_the_updates_differ(setting):
    found = [np.concatenate(by_hand(setting, u, 2)) for u in ("jacobi", "gauss_seidel")]
    assert np.abs(found[0] - found[1]).max() > 1e-4


def test_the_authors_scale_of_the_loss_is_a_data_weight(setting):
    """Their unnormalised DFT gives H W times the loss; the penalties stay."""
    problem, _, maps, fourier = setting
    y = problem.measurement.flatten().numpy()
    h, m = codes(setting[1].init(problem))
    w, x = np.fft.fft(fourier.lay @ maps[0](h)), np.fft.fft(maps[1](m))
    theirs = np.sum(np.abs(np.fft.fft(y) - w * x) ** 2)
    mine = np.sum(np.abs(fourier.residual(maps[0](h), maps[1](m), y)) ** 2)
    np.testing.assert_allclose(theirs, 12 * mine, rtol=1e-12)


def test_weights_need_no_gradient_and_get_none(setting):
    problem, solver, *_ = setting
    solver = attrs.evolve(solver, max_steps=3)
    assert all(p.requires_grad for p in problem.prior.network.parameters())
    assert not solver.solve(problem).image.requires_grad
    assert all(p.grad is None for p in problem.prior.network.parameters())
    with torch.inference_mode():
        inside = solver.solve(problem).image
    assert torch.equal(inside, solver.solve(problem).image)
