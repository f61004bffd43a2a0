"""Tikhonov and Wiener against dense algebra, and the weights they find against brute force."""

import numpy as np
import pytest
import torch
from wellposed import Problem, Space
from wellposed.errors import IncompatibleError
from wellposed.plugins.classical.fourier import SpectralFilter
from wellposed.plugins.classical.tikhonov import Tikhonov
from wellposed.plugins.classical.wiener import Wiener
from wellposed.registry import default_registry

F64 = torch.float64


def low_pass(shape: tuple[int, int, int], *, stride: int = 1):
    """Return a circular low-pass filter, and one pixel in `stride` of it."""
    down = torch.fft.fftfreq(shape[1], dtype=F64)[:, None]
    across = torch.fft.fftfreq(shape[2], dtype=F64)[None]
    response = 1 / (1 + 30 * (down**2 + across**2))
    op = SpectralFilter(response=response, space=Space(shape, F64))
    if stride == 1:
        return op
    strided = default_registry().load("operator", "strided_blur")
    one = torch.ones(1, 1, 1, 1, dtype=F64)
    return strided(in_shape=shape, kernel=one, stride=stride, boundary="circular") @ op


def differences(shape: tuple[int, int, int]) -> torch.Tensor:
    """Return circular differences as a matrix."""
    cls = default_registry().load("operator", "finite_difference")
    return cls(in_shape=shape, boundary="circular", dtype=F64).as_matrix()


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("shape", [(1, 4, 6), (2, 2, 4)])
def test_tikhonov_in_closed_form(stride, shape, worst) -> None:
    op = low_pass(shape, stride=stride)
    matrix, gradient = op.as_matrix(), differences(shape)
    y = torch.randn(2, *op.out_space.shape, dtype=F64)
    eye = torch.eye(matrix.shape[1], dtype=F64)
    for penalty, gram in (("gradient", gradient.T @ gradient + 8e-6 * eye), ("identity", eye)):
        found = Tikhonov(weight=0.1, penalty=penalty).solve(Problem(operator=op, measurement=y))
        expected = torch.linalg.solve(
            matrix.T @ matrix + 0.1 * gram, matrix.T @ y.flatten(-3)[..., None]
        )
        assert worst(found.image, expected.reshape(found.image.shape)) < 1e-9
        assert found.extras["weight"].shape == (2,)


def test_wiener_with_a_natural_spectrum_is_the_linear_estimate(worst) -> None:
    shape = (1, 6, 8)
    op = low_pass(shape)
    y = torch.randn(3, *shape, dtype=F64)
    down, across = np.fft.fftfreq(6)[:, None], np.fft.fftfreq(8)[None]
    power = 1 / np.maximum(down**2 + across**2, 1 / 64)
    power /= (power.sum() - power[0, 0]) / 47
    prior = SpectralFilter(response=torch.from_numpy(power), space=Space(shape, F64)).as_matrix()
    matrix = op.as_matrix()
    inner = matrix @ prior @ matrix.T + 0.05 * torch.eye(48, dtype=F64)
    expected = prior @ matrix.T @ torch.linalg.solve(inner, y.flatten(-3)[..., None])
    found = Wiener(nsr=0.05).solve(Problem(operator=op, measurement=y))
    assert worst(found.image, expected.reshape(y.shape)) < 1e-10


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("sigma", [None, 0.05])
def test_the_weight_has_the_least_score(stride, sigma) -> None:
    """On dense matrices: generalised cross-validation, and the unbiased estimate of the risk."""
    op = low_pass((1, 8, 8), stride=stride)
    generator = torch.Generator().manual_seed(0)
    y = op(torch.randn(3, 1, 8, 8, dtype=F64, generator=generator).cumsum(-1).cumsum(-2))
    y = y + 0.05 * torch.randn(y.shape, dtype=F64, generator=generator)
    noise = None if sigma is None else default_registry().load("noise", "gaussian")(sigma=sigma)
    problem = Problem(operator=op, measurement=y, noise=noise)
    found = Tikhonov(penalty="identity").solve(problem).extras["weight"]
    matrix = op.as_matrix()
    gram = matrix @ matrix.T
    top = float(torch.linalg.eigvalsh(gram).max())
    for i in range(3):
        column = y[i].flatten()

        def score(w: float, column=column) -> float:
            influence = gram @ torch.linalg.inv(gram + w * torch.eye(len(column), dtype=F64))
            rest = float((column - influence @ column).norm() ** 2)
            if sigma is None:
                return rest / (len(column) - float(influence.trace())) ** 2
            return rest + 2 * sigma**2 * float(influence.trace())

        grid = [score(w) for w in top * np.logspace(-7, 3, 200)]
        assert score(float(found[i])) <= min(grid) * 1.01 + 1e-12


def test_the_weight_of_other_operators_follows_their_norm(make) -> None:
    problem = make(14)
    found = Tikhonov().solve(problem).extras["weight"]
    torch.testing.assert_close(found, 1e-3 / 8 * problem.linear.norm_bound().square())


@pytest.mark.parametrize("solver", [Wiener(), Wiener(nsr=0.1), Tikhonov(weight=0.1), Tikhonov()])
@pytest.mark.parametrize("factor", [1e-6, 1e6])
def test_scaling_the_measurement_scales_the_picture(solver, factor, worst) -> None:
    op = low_pass((1, 6, 5))
    y = torch.randn(2, 1, 6, 5, dtype=F64)
    one = solver.solve(Problem(operator=op, measurement=y)).image
    other = solver.solve(Problem(operator=op, measurement=factor * y)).image
    assert worst(other, factor * one) < 1e-10


def test_wiener_says_what_would_fit(make) -> None:
    with pytest.raises(IncompatibleError, match=r"circular shifts.*strided_blur.*tikhonov"):
        Wiener().solve(make())
