import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wellposed import Space, conjugate_gradient, spd_solve
from wellposed.errors import NotConvergedWarning
from wellposed.linalg import identity_plus, lanczos_norm_bound


def spd(n, batch=(), seed=0, dtype=torch.float64):
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(*batch, n, n, generator=g, dtype=dtype)
    return a @ a.mH / n + torch.eye(n, dtype=dtype)


def apply_of(k):
    return lambda x: (k @ x.unsqueeze(-1)).squeeze(-1)


@given(st.integers(1, 12), st.integers(1, 4), st.integers(0, 99), st.booleans())
def test_every_sample_is_solved_to_its_tolerance(n, batch, seed, complex_):
    dtype = torch.complex128 if complex_ else torch.float64
    k, space = spd(n, (batch,), seed, dtype), Space((n,), dtype)
    b = space.randn((batch,), generator=torch.Generator().manual_seed(seed))
    found = conjugate_gradient(apply_of(k), b, space)
    assert found.converged.all()
    torch.testing.assert_close(found.x, torch.linalg.solve(k, b), rtol=1e-9, atol=1e-11)


@given(st.floats(-6, 6), st.integers(0, 9))
def test_the_answer_scales_with_the_right_hand_side(power, seed):
    scale = 10.0**power
    k, space = spd(7, seed=seed), Space((7,), torch.float64)
    b = space.randn((2,), generator=torch.Generator().manual_seed(seed))
    one = conjugate_gradient(apply_of(k), b, space).x
    many = conjugate_gradient(apply_of(k), scale * b, space).x
    torch.testing.assert_close(many / scale, one, rtol=1e-9, atol=0)


def test_samples_do_not_influence_each_other():
    k, space = spd(6), Space((6,), torch.float64)
    b = space.randn((3,), generator=torch.Generator().manual_seed(1))
    b[0] = 0
    b[1, 0] = torch.nan
    found = conjugate_gradient(apply_of(k), b, space)
    assert (found.x[0] == 0).all()
    assert found.converged.tolist() == [True, False, True]
    torch.testing.assert_close(found.x[2], torch.linalg.solve(k, b[2]), rtol=1e-9, atol=1e-12)


def test_an_unconverged_solve_is_not_silent():
    k, space = spd(30), Space((30,), torch.float64)
    with pytest.warns(
        NotConvergedWarning, match=r"stopped after 2 steps at a relative residual of"
    ):
        spd_solve(apply_of(k), space.randn((2,)), space, max_steps=2)


def test_gradients_are_implicit_and_reach_what_the_operator_closes_over():
    space = Space((5,), torch.float64)
    theta = torch.randn(5, 5, dtype=torch.float64, requires_grad=True)
    b = torch.randn(3, 5, dtype=torch.float64, requires_grad=True)

    def through(theta, b):
        k = torch.softmax(theta, -1)
        return spd_solve(lambda x: x + (x @ k.mT) @ k, b, space)

    assert torch.autograd.gradcheck(through, (theta, b), atol=1e-6)


def test_a_second_derivative_is_an_error_and_not_a_wrong_value():
    space = Space((3,), torch.float64)
    b = torch.randn(3, dtype=torch.float64, requires_grad=True)
    x = spd_solve(lambda x: 2 * x, b, space)
    (g,) = torch.autograd.grad((x**2 * b).sum(), b, create_graph=True)
    with pytest.raises(NotImplementedError, match="can be differentiated only once"):
        torch.autograd.grad(g.sum(), b)


@given(st.integers(1, 40), st.integers(0, 200), st.booleans())
def test_the_norm_bound_is_never_below_the_truth_and_not_far_above(n, seed, single):
    dtype = torch.float32 if single else torch.float64
    g = torch.Generator().manual_seed(seed)
    a = torch.randn(2, n, n, dtype=dtype, generator=g)
    bound = lanczos_norm_bound(apply_of(a.mH @ a), Space((n,), dtype), batch=(2,))
    truth = torch.linalg.matrix_norm(a.double(), 2)
    assert (bound >= truth * (1 - 1e-6)).all()
    assert (bound <= 1.02 * truth).all()


def test_the_norm_bound_of_zero_is_zero():
    bound = lanczos_norm_bound(torch.zeros_like, Space((4,), torch.float64))
    assert bound == 0


def test_under_vmap_every_sample_has_its_own_system_and_norm():
    space = Space((5,), torch.float64)
    ks, b = spd(5, (3,)), torch.randn(3, 5, dtype=torch.float64)
    found = torch.func.vmap(lambda k, b: spd_solve(apply_of(k), b, space))(ks, b)
    torch.testing.assert_close(found, torch.linalg.solve(ks, b), rtol=1e-9, atol=1e-12)
    bounds = torch.func.vmap(lambda k: lanczos_norm_bound(apply_of(k), space))(ks)
    one_by_one = torch.stack([lanczos_norm_bound(apply_of(k), space) for k in ks])
    torch.testing.assert_close(bounds, one_by_one, rtol=1e-6, atol=0)


def test_implicit_gradients_go_through_torch_func():
    space = Space((5,), torch.float64)
    ks, b = spd(5, (3,)), torch.randn(3, 5, dtype=torch.float64)

    def loss(k, b):
        return spd_solve(apply_of(k), b, space).square().sum()

    def exact(k, b):
        return torch.linalg.solve(k, b).square().sum()

    by_sample = torch.func.vmap(torch.func.grad(loss))(ks, b)
    wanted = torch.stack([torch.func.grad(exact)(k, x) for k, x in zip(ks, b, strict=True)])
    torch.testing.assert_close(by_sample, wanted, rtol=1e-8, atol=1e-10)
    jacobian = torch.func.jacrev(lambda b: spd_solve(apply_of(ks[0]), b, space))(b[0])
    torch.testing.assert_close(jacobian, torch.linalg.inv(ks[0]), rtol=1e-8, atol=1e-10)


@pytest.mark.parametrize("dtype", [torch.float32, torch.complex64])
@pytest.mark.parametrize("n", [2, 30, 300])
def test_a_singular_gram_can_be_factorised_beside_any_step(dtype, n):
    g = torch.Generator().manual_seed(n)
    a = torch.randn(n, 1, dtype=dtype, generator=g) @ torch.randn(1, 9, dtype=dtype, generator=g)
    gram = a @ a.mH
    for step in (1e-3, 1.0, 1e4, 1e12):
        system = identity_plus(torch.tensor(step), gram)
        assert torch.linalg.cholesky_ex(system).info == 0
    plain = torch.eye(n, dtype=dtype) + 1e-3 * gram
    torch.testing.assert_close(identity_plus(torch.tensor(1e-3), gram), plain)
