import pytest
import torch
from torch import Tensor
from wellposed import Space
from wellposed.errors import ParameterError
from wellposed.plugins.priors.tikhonov import Tikhonov

CASES = [("identity", "zero"), ("gradient", "zero"), ("gradient", "circular")]


def picture(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def normal_matrix(operator: str, boundary: str, height: int, width: int) -> Tensor:
    """L^T L of one channel, from the matrices of the differences along each axis."""
    if operator == "identity":
        return torch.eye(height * width, dtype=torch.float64)

    def along(n: int) -> Tensor:
        d = torch.eye(n, dtype=torch.float64).roll(1, 1) - torch.eye(n, dtype=torch.float64)
        if boundary == "zero":
            d[-1] = 0
        return d.T @ d

    eye_h, eye_w = torch.eye(height, dtype=torch.float64), torch.eye(width, dtype=torch.float64)
    return torch.kron(along(height), eye_w) + torch.kron(eye_h, along(width))


@pytest.mark.parametrize(("operator", "boundary"), CASES)
@pytest.mark.parametrize("size", [(1, 1), (1, 5), (4, 1), (4, 5), (6, 6)])
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_against_dense_matrices(
    operator: str, boundary: str, size: tuple[int, int], dtype: torch.dtype
) -> None:
    x = picture(2, 3, *size, dtype=dtype)
    prior = Tikhonov(weight=0.7, operator=operator, boundary=boundary)
    normal = normal_matrix(operator, boundary, *size)
    flat = x.flatten(-2)
    grad = 0.7 * flat @ normal.to(dtype)
    torch.testing.assert_close(prior.grad(x).flatten(-2), grad)
    value = 0.5 * (flat.conj() * grad).real.sum((-2, -1))
    torch.testing.assert_close(prior.value(x), value)
    system = torch.eye(len(normal), dtype=torch.float64) + 0.3 * 0.7 * normal
    want = torch.linalg.solve(system.to(dtype), flat.mT).mT
    torch.testing.assert_close(prior.prox(x, 0.3).flatten(-2), want, rtol=1e-10, atol=1e-10)
    top = 0.7 * float(torch.linalg.eigvalsh(normal)[-1])
    bound = prior.lipschitz(Space((3, *size), dtype))
    assert top * (1 - 1e-12) <= bound <= top * 1.03 + 1e-12


def test_gradient_is_that_of_autograd() -> None:
    x = picture(3, 2, 4, 5).requires_grad_()
    weight = torch.tensor([0.1, 1.0, 3.0], dtype=torch.float64)
    for operator, boundary in CASES:
        prior = Tikhonov(weight=weight, operator=operator, boundary=boundary)
        (want,) = torch.autograd.grad(prior.value(x).sum(), x)
        torch.testing.assert_close(prior.grad(x.detach()), want)


def test_prox_within_bounds_is_optimal() -> None:
    # projected gradient for the same problem, independently and to the end
    v = 0.5 + picture(1, 4, 4)
    for boundary in ("zero", "circular"):
        prior = Tikhonov(weight=2.0, boundary=boundary, tolerance=1e-9, max_steps=20_000)
        normal = normal_matrix("gradient", boundary, 4, 4)
        x = v.flatten(-2).clone()
        for _ in range(4000):
            x = (x - 0.05 * (2.0 * x @ normal + (x - v.flatten(-2)) / 0.6)).clamp(0.2, 0.8)
        got = prior.prox_within(v, 0.6, (0.2, 0.8))
        torch.testing.assert_close(got.flatten(-2), x, atol=1e-8, rtol=0)


def test_lipschitz_is_the_largest_over_the_samples() -> None:
    space = Space((1, 4, 4), torch.float64)
    one = Tikhonov(weight=1.0).lipschitz(space)
    assert Tikhonov(weight=torch.tensor([0.5, 3.0])).lipschitz(space) == pytest.approx(3 * one)


def test_solvers_find_the_normal_equations() -> None:
    space = Space((1, 4, 5), torch.float64)
    prior = Tikhonov(weight=0.3)
    x = picture(1, 4, 5)
    torch.testing.assert_close(0.3 * prior.analysis(space).gram(x), prior.grad(x))
    assert prior.analysis(space) is prior.analysis(space)  # its spectrum is computed once


def test_prox_is_differentiable() -> None:
    v = picture(1, 3, 4).requires_grad_()
    tau = torch.tensor(0.4, dtype=torch.float64, requires_grad=True)
    for operator, boundary in CASES:
        prior = Tikhonov(operator=operator, boundary=boundary, weight=0.5)
        assert torch.autograd.gradcheck(prior.prox, (v, tau))


def test_errors() -> None:
    with pytest.raises(ParameterError, match=r"expected one of 'identity', 'gradient'"):
        Tikhonov(operator="laplacian")
    with pytest.raises(ParameterError, match=r"Tikhonov expects tau to be finite"):
        Tikhonov().prox(picture(1, 2, 2), float("inf"))
