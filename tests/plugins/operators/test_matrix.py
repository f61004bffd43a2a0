"""Operators given by a matrix: dense, sparse, random."""

import attrs
import numpy as np
import pytest
import torch
from scipy import sparse
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.operators.matrix import Matrix
from wellposed.plugins.operators.sensing import GaussianSensing
from wellposed.plugins.operators.sparse_matrix import SparseMatrix


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
@pytest.mark.parametrize("lead", [(), (1,), (3,)])
@pytest.mark.parametrize("rows", [4, 20])
def test_a_dense_matrix_multiplies_flat_pictures(dtype, lead, rows):
    matrix = torch.randn(*lead, rows, 12, dtype=dtype)
    x = torch.randn(2, 3, 1, 3, 4, dtype=dtype)
    op = Matrix(in_shape=(1, 3, 4), matrix=matrix, out_shape=(2, rows // 2))
    want = np.einsum("bij,abj->abi", matrix.expand(3, rows, 12).numpy(), x.flatten(2).numpy())
    np.testing.assert_allclose(op(x).flatten(2).numpy(), want, atol=1e-12)
    v, y = torch.randn_like(x), torch.randn_like(op(x))
    tau = torch.tensor([0.1, 2.0, 300.0], dtype=torch.float64).expand(2, 3)
    got = op.data_prox(v, y, tau)
    step = tau[..., None, None, None]
    residual = got - v + step * op.H(op(got) - y)
    assert residual.abs().max() < 1e-11 * (step * op.H(y)).abs().max()


def test_a_large_dense_matrix_goes_by_conjugate_gradients(monkeypatch):
    from wellposed.plugins.operators import matrix as module

    op = Matrix(in_shape=(12,), matrix=torch.randn(9, 12, dtype=torch.float64))
    v, y = torch.randn(12, dtype=torch.float64), torch.randn(9, dtype=torch.float64)
    closed = op.data_prox(v, y, 0.5)
    monkeypatch.setattr(module, "_LARGEST_SYSTEM", 8)
    assert not op.has_closed_prox
    torch.testing.assert_close(op.data_prox(v, y, 0.5), closed)


def test_sparse_entries_scipy_torch_and_files_agree(tmp_path):
    matrix = sparse.random(7, 12, 0.3, format="csr", random_state=0)
    sparse.save_npz(tmp_path / "m.npz", matrix)
    x = torch.randn(5, 1, 3, 4, dtype=torch.float64)
    want = torch.from_numpy((matrix @ x.flatten(1).numpy().T).T)
    tensor = torch.from_numpy(matrix.toarray()).to_sparse()
    for op in (
        SparseMatrix.of(matrix, in_shape=(1, 3, 4)),
        SparseMatrix.of(tensor, in_shape=(1, 3, 4)),
        SparseMatrix(in_shape=(1, 3, 4), file=str(tmp_path / "m.npz"), dtype=torch.float64),
    ):
        torch.testing.assert_close(op(x), want)
        assert torch.equal(op.as_matrix(), torch.from_numpy(matrix.toarray()))
        assert torch.equal(op.H.as_matrix(), op.as_matrix().T)


def test_repeated_entries_add_up_and_gradients_reach_them():
    rows, columns = torch.tensor([0, 0, 2, 0]), torch.tensor([1, 1, 3, 0])
    values = torch.tensor([1.0, 2.0, 3.0, 4.0], dtype=torch.float64)
    op = SparseMatrix(in_shape=(4,), rows=rows, columns=columns, values=values)
    assert op.as_matrix().tolist() == [[4, 3, 0, 0], [0, 0, 0, 0], [0, 0, 0, 3]]
    x = torch.randn(2, 4, dtype=torch.float64)
    learned = attrs.evolve(op, values=values.clone().requires_grad_())
    torch.testing.assert_close(learned(x), op(x))
    (grad,) = torch.autograd.grad(learned(x).sum(), learned.values)
    torch.testing.assert_close(grad, x.sum(0)[columns])
    y = torch.randn(2, 3, dtype=torch.float64)
    torch.testing.assert_close(learned.H(y), op.H(y))


def test_gaussian_rows_are_gaussian_seeded_and_scaled():
    op = GaussianSensing(in_shape=(1, 20, 20), measurements=100, dtype=torch.float64)
    a = op.as_matrix()
    assert a.shape == (100, 400)
    assert float(a.mean()) == pytest.approx(0, abs=0.002)
    assert float(a.var()) == pytest.approx(1 / 100, rel=0.03)
    kurtosis = float((a**4).mean() / a.var() ** 2)
    assert kurtosis == pytest.approx(3, abs=0.15)
    assert torch.equal(a, attrs.evolve(op).as_matrix())
    assert not torch.equal(a, attrs.evolve(op, seed=1).as_matrix())
    assert GaussianSensing(in_shape=(1, 20, 20)).out_space.shape == (100,)


def test_orthonormal_rows_span_the_same_space():
    plain = GaussianSensing(in_shape=(1, 4, 5), measurements=7, dtype=torch.float64)
    op = attrs.evolve(plain, orthonormal=True)
    a, b = plain.as_matrix(), op.as_matrix()
    torch.testing.assert_close(b @ b.T, torch.eye(7, dtype=torch.float64))
    torch.testing.assert_close(a @ b.T @ b, a)
    assert op.has_closed_prox and not plain.has_closed_prox


@pytest.mark.parametrize("cls", [Matrix, SparseMatrix, GaussianSensing])
def test_the_picture_cannot_be_told_from_the_measurement(cls):
    with pytest.raises(ShapeError, match=rf"{cls.__name__} cannot tell.*in_shape"):
        cls.image_space_for(Space((9,)))


def test_refusals_of_dense_matrices():
    with pytest.raises(ShapeError, match=r"Matrix.matrix expects .* n = 12.*got \(3, 11\)"):
        Matrix(in_shape=(1, 3, 4), matrix=torch.ones(3, 11))
    with pytest.raises(ShapeError, match=r"out_shape expects 3 values.*got \(2, 2\)"):
        Matrix(in_shape=(1, 3, 4), matrix=torch.ones(3, 12), out_shape=(2, 2))
    with pytest.raises(ParameterError, match=r"Matrix.matrix expects float32.*got torch.int64"):
        Matrix(in_shape=(1, 3, 4), matrix=torch.ones(3, 12, dtype=torch.int64))


def test_refusals_of_sparse_matrices(tmp_path):
    one, ones = torch.zeros(1, dtype=torch.int64), torch.ones(1)

    def build(**given):
        return SparseMatrix(**{"in_shape": (4,), "rows": one, "columns": one, **given})

    with pytest.raises(ParameterError, match=r"expects rows, columns and values, or a file"):
        build()
    with pytest.raises(ParameterError, match=r"expects entries or a file; got both"):
        build(file="m.npz")
    with pytest.raises(ShapeError, match=r"of one length; got \(1,\), \(1,\) and \(2,\)"):
        build(values=torch.ones(2))
    with pytest.raises(DtypeError, match=r"rows expects torch.int64; got torch.float32"):
        build(rows=ones, values=ones)
    with pytest.raises(DtypeError, match=r"values expects torch.float64; got torch.float32"):
        build(values=ones, dtype=torch.float64)
    with pytest.raises(ParameterError, match=r"from 0 on; got negatives"):
        build(rows=one - 1, values=ones)
    with pytest.raises(ShapeError, match=r"expects a matrix of 4 columns.*got 6"):
        build(columns=one + 5, values=ones)
    with pytest.raises(ShapeError, match=r"expects rows below 2.*got 3"):
        build(rows=one + 3, values=ones, out_shape=(2,))
    (tmp_path / "text.npz").write_text("no matrix")
    for name in ("text.npz", "missing.npz"):
        with pytest.raises(ParameterError, match=rf"cannot read .*{name}"):
            SparseMatrix(in_shape=(4,), file=str(tmp_path / name))
    sparse.save_npz(tmp_path / "m.npz", sparse.eye(3, format="csr"))
    with pytest.raises(ShapeError, match=r"expects a matrix of 4 columns.*got 3"):
        SparseMatrix(in_shape=(4,), file=str(tmp_path / "m.npz"))


def test_refusals_of_random_matrices():
    with pytest.raises(ParameterError, match=r"at most 20 orthonormal measurements.*got 21"):
        GaussianSensing(in_shape=(1, 4, 5), measurements=21, orthonormal=True)
    with pytest.raises(ParameterError, match=r"more than 268435456"):
        GaussianSensing(in_shape=(3, 256, 256))


@pytest.mark.parametrize("rows", [3, 40])
def test_a_matrix_that_repeats_its_rows_has_a_proximal_map_at_any_scale(rows):
    g = torch.Generator().manual_seed(rows)
    row = torch.randn(1, 12, dtype=torch.float64, generator=g)
    matrix = 1e4 * torch.randn(rows, 1, dtype=torch.float64, generator=g) @ row
    v, y = torch.randn(1, 3, 4, generator=g), torch.randn(rows, generator=g)
    for tau in (1.0, 1e4):
        got = Matrix(in_shape=(1, 3, 4), matrix=matrix.float()).data_prox(v, y, tau)
        # Along the row alone: one equation for one number.
        u, norm = row[0] / row.norm(), torch.linalg.matrix_norm(matrix, 2)
        side = (matrix @ u) / norm
        along = (side @ y.double() - norm * (u @ v.double().flatten())) / norm
        off = got.double().flatten() - (v.double().flatten() + along * u)
        assert abs(off @ u) < 1e-3
        assert off.norm() < 0.1 * v.norm()  # what single precision leaves of the other directions


def test_a_sample_that_is_not_finite_leaves_the_others():
    matrix = torch.randn(2, 3, 12, dtype=torch.float64)
    v, y = torch.randn(2, 1, 3, 4, dtype=torch.float64), torch.randn(2, 3, dtype=torch.float64)
    want = Matrix(in_shape=(1, 3, 4), matrix=matrix).data_prox(v, y, 0.3)
    broken = matrix.clone()
    broken[0, 0, 0] = torch.nan
    got = Matrix(in_shape=(1, 3, 4), matrix=broken).data_prox(v, y, 0.3)
    assert got[0].isnan().any()
    torch.testing.assert_close(got[1], want[1])


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"indices": [0, 1, 10**8]}, "indices must be < 3"),
        ({"indices": [0, -1, 1]}, "indices must be >= 0"),
        ({"indptr": [0, 5, 2, 3]}, "indptr must be a non-decreasing sequence"),
        ({"data": [1j, 1j, 1j]}, "its entries are complex128, expected real numbers"),
    ],
)
def test_a_file_whose_entries_lie_outside_its_matrix_is_refused(tmp_path, changes, message):
    parts = {"data": [1.0, 2.0, 3.0], "indices": [0, 1, 2], "indptr": [0, 1, 2, 3], **changes}
    arrays = {k: np.array(v, None if k == "data" else np.int32) for k, v in parts.items()}
    np.savez(tmp_path / "m.npz", format=b"csr", shape=np.array([3, 3]), **arrays)
    op = SparseMatrix(in_shape=(1, 1, 3), file=str(tmp_path / "m.npz"))
    with pytest.raises(ParameterError, match=message):
        op(torch.ones(1, 1, 3))


def test_entries_moved_in_place_are_seen():
    rows, columns = torch.tensor([0, 1]), torch.tensor([0, 1])
    op = SparseMatrix(in_shape=(1, 1, 2), rows=rows, columns=columns, values=torch.ones(2))
    x = torch.tensor([[[3.0, 5.0]]])
    assert op(x).tolist() == [3.0, 5.0]
    columns.copy_(torch.tensor([1, 0]))
    assert op(x).tolist() == [5.0, 3.0]
