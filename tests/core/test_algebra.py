import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from wellposed import Equivariance, Identity, Space, stack
from wellposed.edge import build_operator
from wellposed.errors import DeviceError, DtypeError, ParameterError, ShapeError


def rand(space, batch=(), seed=0):
    return space.randn(batch, generator=torch.Generator().manual_seed(seed))


def same(a, b):
    torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


@given(complex_=st.booleans(), batch=st.sampled_from([(), (3,)]), seed=st.integers(0, 99))
def test_every_node_is_what_its_matrix_says(dense, complex_, batch, seed):
    dtype = torch.complex128 if complex_ else torch.float64
    a = dense(5, 4, batch=batch, dtype=dtype, seed=seed)
    b = dense(5, 4, batch=batch, dtype=dtype, seed=seed + 1)
    c = dense(3, 5, dtype=dtype, seed=seed + 2)
    for op, matrix in [
        (c @ a, c.matrix @ a.matrix),
        (a + b, a.matrix + b.matrix),
        (a - b, a.matrix - b.matrix),
        (2 * a, 2 * a.matrix),
        (-a, -a.matrix),
        (a.H, a.matrix.mH),
        ((c @ a).H, (c.matrix @ a.matrix).mH),
        (stack([a, b]), torch.cat([a.matrix, b.matrix], -2)),
        (3 * (c @ (a + b)).H @ c, 3 * (c.matrix @ (a.matrix + b.matrix)).mH @ c.matrix),
    ]:
        same(op.as_matrix(), matrix.expand(*op.batch_shape, *matrix.shape[-2:]))
        same(op.H.as_matrix(), op.as_matrix().mH)
        assert op.H.H is op or op.H.H.op is op.op
        x = rand(op.in_space, (2, *batch) if op.batch_shape else (2,))
        same(op.gram(x), op.H(op(x)))
        truth = torch.linalg.matrix_norm(op.as_matrix(), 2)
        assert (op.norm_bound() >= truth * (1 - 1e-9)).all()
        assert (op.norm_bound() <= truth * 1.01).all()


def test_compositions_are_flat_and_identities_vanish(dense):
    a, b, c = dense(4, 4), dense(4, 4, seed=1), dense(4, 4, seed=2)
    identity = Identity(a.in_space)
    assert len((a @ (b @ c)).factors) == len(((a @ b) @ c).factors) == 3
    assert identity @ a is a and a @ identity is a
    assert identity @ identity is identity
    assert len((a + (b + c)).terms) == 3
    assert (2 * (3 * a)).factor == 6


@given(
    tau=st.floats(1e-3, 1e3),
    seed=st.integers(0, 99),
    which=st.integers(0, 5),
    per_sample=st.booleans(),
)
def test_data_prox_of_compositions_is_the_minimiser(dense, tau, seed, which, per_sample):
    g = torch.Generator().manual_seed(seed)
    q = torch.linalg.qr(torch.randn(4, 4, dtype=torch.float64, generator=g))[0]
    a, u = dense(5, 4, seed=seed), dense(matrix=q)
    diagonal = dense(matrix=torch.diag(torch.tensor([1.0, 0.0, 2.0, -1.0], dtype=torch.float64)))
    op = [a, 3 * a, a @ u, u @ diagonal @ u, stack([a, 2 * a]), 0 * a][which]
    batch = (5,)
    v, y = rand(op.in_space, batch, seed), rand(op.out_space, batch, seed + 1)
    step = torch.linspace(tau, 2 * tau, 5, dtype=torch.float64) if per_sample else tau
    x = op.data_prox(v, y, step)
    m = op.as_matrix()
    t = torch.as_tensor(step, dtype=torch.float64).expand(5)[:, None, None]
    eye = torch.eye(4, dtype=torch.float64)
    rhs = v.reshape(5, 4, 1) + t * (m.mH @ y.reshape(5, -1, 1))
    same(x.reshape(5, 4, 1), torch.linalg.solve(eye + t * m.mH @ m, rhs))


def test_closed_forms_survive_where_they_can(dense):
    identity = Identity(Space((1, 1, 4), torch.float64))
    a = dense(4, 4)
    assert identity.has_closed_prox and (2 * identity).has_closed_prox
    assert stack([identity, 2 * identity]).has_closed_prox
    assert (stack([identity, 2 * identity]) @ (3 * identity)).has_closed_prox
    assert not a.has_closed_prox and not (a @ a).has_closed_prox
    assert (identity + identity).equivariance() == Equivariance()
    assert stack([identity, 2 * identity]).column_gram() == 5.0


def test_the_initial_estimate_fits_the_data_and_survives_zero(dense):
    a = dense(6, 4)
    y = rand(a.out_space, (3,))
    y[1] = 0
    x = a.initial_estimate(y)
    assert (x[1] == 0).all()
    assert (a.out_space.norm(a(x) - y) <= a.out_space.norm(y)).all()


def test_spaces_that_do_not_meet_are_refused(dense):
    a, b = dense(5, 4), dense(3, 4)
    with pytest.raises(ShapeError, match=r"cannot form Dense @ Dense: the shapes .* do not meet"):
        a @ b
    with pytest.raises(ShapeError, match=r"cannot form Dense \+ Dense"):
        a + b
    with pytest.raises(ShapeError, match=r"cannot form stack\(\[Dense, Dense\]\)"):
        stack([a, b])
    with pytest.raises(DtypeError, match=r"dtypes torch.float64 and torch.float32 do not meet"):
        a.H @ a.to(dtype=torch.float32)
    with pytest.raises(ShapeError, match=r"need one batch; got Dense \(2,\), Dense \(3,\)"):
        dense(4, 4, batch=(2,)) @ dense(4, 4, batch=(3,))
    with pytest.raises(ParameterError, match="at least one operator; got none"):
        stack([])


def test_operators_multiply_by_finite_real_numbers_only(dense):
    a = dense()
    with pytest.raises(ParameterError, match="finite number only; got nan"):
        float("nan") * a
    for wrong in ("2", None, True, torch.ones(2)):
        with pytest.raises(TypeError):
            a * wrong
    with pytest.raises(TypeError):
        a @ torch.ones(4)
    with pytest.raises(TypeError):
        a + 1
    with pytest.raises(TypeError):
        a - 1


def test_calls_check_shape_dtype_and_device(dense):
    a = dense()
    with pytest.raises(ShapeError, match=r"Dense expects x of shape \(\*batch, 1, 1, 4\)"):
        a(torch.ones(1, 1, 5, dtype=torch.float64))
    with pytest.raises(DtypeError, match=r"Dense expects x of dtype torch\.float64"):
        a(torch.ones(1, 1, 4))
    with pytest.raises(ShapeError, match=r"Dense.H expects x of shape \(\*batch, 1, 1, 5\)"):
        a.H(torch.ones(1, 1, 4, dtype=torch.float64))
    with pytest.raises(DeviceError, match=r"parameters on cpu; got x on meta"):
        a(torch.ones(1, 1, 4, dtype=torch.float64, device="meta"))
    with pytest.raises(ShapeError, match=r"expects v and y of one batch"):
        a.data_prox(rand(a.in_space, (2,)), rand(a.out_space, (3,)), 1.0)
    with pytest.raises(ParameterError, match=r"expects a positive step tau; got 0"):
        a.data_prox(rand(a.in_space), rand(a.out_space), 0)
    with pytest.raises(ShapeError, match="expects tau as a number or one value per sample"):
        a.data_prox(rand(a.in_space, (2,)), rand(a.out_space, (2,)), torch.ones(3))


def test_a_matrix_too_large_is_refused_before_it_is_made():
    with pytest.raises(ParameterError, match="as a dense matrix would have 65536 x 65536 entries"):
        Identity(Space((1, 256, 256))).as_matrix()


def test_scipy_sees_the_same_matrix(dense):
    import numpy as np
    from scipy.sparse.linalg import lsqr

    a = dense(7, 4)
    y = rand(a.out_space)
    x = lsqr(a.as_scipy(), y.flatten().numpy(), atol=1e-14, btol=1e-14)[0]
    expected = np.linalg.lstsq(a.matrix.numpy(), y.flatten().numpy(), rcond=None)[0]
    np.testing.assert_allclose(x, expected, rtol=1e-8)
    with pytest.raises(ParameterError, match="SciPy's operators have no batch"):
        dense(batch=(2,)).as_scipy()


NAMES = ("blur", "strided_blur", "fourier_sampling", "complexify", "mask", "resize", "radon")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("options", [{}, {"boundary": "circular"}])
@pytest.mark.parametrize("batch", [(0,), (2, 0)])
def test_an_empty_batch_gives_an_empty_batch(name, options, batch):
    options = options if "blur" in name else {}
    if name == "mask":
        options = {"mask": torch.ones(8, 8)}
    op = build_operator(name, options, x_space=Space((1, 8, 8)))
    x, y = op.in_space.zeros(batch).requires_grad_(), op.out_space.zeros(batch)
    for found, space in (
        (op(x), op.out_space),
        (op.H(y), op.in_space),
        (op.gram(x), op.in_space),
        (op.data_prox(x, y, 0.1), op.in_space),
        (op.initial_estimate(y), op.in_space),
        ((0.5 * op)(x), op.out_space),
    ):
        assert found.shape == (*batch, *space.shape)
        assert found.dtype == space.dtype
    op(x).abs().sum().backward()
    assert x.grad is not None
    assert x.grad.shape == x.shape
