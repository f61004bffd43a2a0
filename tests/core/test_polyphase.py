"""Fourier forms against the operators that they come from."""

import attrs
import pytest
import torch
from wellposed import Equivariance, ForwardOperator, Space
from wellposed.polyphase import ChannelSpectra
from wellposed.prox import spectra_of

DTYPES = [torch.float64, torch.complex128]


def random(*shape, dtype=torch.float64, seed=0):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@attrs.frozen(eq=False, kw_only=True)
class Dense(ForwardOperator):
    """Strided circular correlation with impulses `(O, C, H, W)`, summed over pixels one by one."""

    impulses: torch.Tensor
    stride: int
    mixing: bool

    @property
    def in_space(self):
        return Space(tuple(self.impulses.shape[-3:]), self.impulses.dtype)

    @property
    def out_space(self):
        o, _, h, w = self.impulses.shape
        return Space((o, h // self.stride, w // self.stride), self.impulses.dtype)

    def equivariance(self):
        return Equivariance(stride=self.stride, channelwise=not self.mixing)

    def _each(self):
        s, (_, h, w) = self.stride, self.out_space.shape
        for i in range(h):
            for j in range(w):
                yield i, j, self.impulses.roll((s * i, s * j), (-2, -1))

    def _apply(self, x):
        y = x.new_zeros(*x.shape[:-3], *self.out_space.shape)
        for i, j, g in self._each():
            y[..., i, j] = torch.einsum("ochw,...chw->...o", g.conj(), x)
        return y

    def _adjoint(self, y):
        return sum(torch.einsum("ochw,...o->...chw", g, y[..., i, j]) for i, j, g in self._each())


def operator(stride, dtype, mixing, size=(2, 3)):
    impulses = random(2, 2, size[0] * stride, size[1] * stride, dtype=dtype)
    if not mixing:
        impulses = impulses * torch.eye(2)[..., None, None]
    return Dense(impulses=impulses, stride=stride, mixing=mixing)


@pytest.mark.parametrize("dtype", DTYPES)
@pytest.mark.parametrize("stride", [1, 2, 3, 4])
@pytest.mark.parametrize("mixing", [False, True])
@pytest.mark.parametrize("size", [(1, 1), (2, 3), (3, 2)])
def test_spectra_compute_the_operator(stride, dtype, mixing, size):
    op = operator(stride, dtype, mixing, size)
    x = random(3, *op.in_space.shape, dtype=dtype, seed=1)
    y = random(3, *op.out_space.shape, dtype=dtype, seed=2)
    spectra = spectra_of(op)
    torch.testing.assert_close(spectra.apply(x), op(x))
    torch.testing.assert_close(spectra.adjoint(y), op.H(y))
    tau = torch.tensor([0.1, 1.0, 7.0], dtype=torch.float64)
    p = op.data_prox(x, y, tau)
    residual = op.H(op(p) - y) + (p - x) / tau[:, None, None, None]
    assert float(residual.abs().max()) <= 1e-10 * float(op.H(y).abs().max())
    norm = torch.linalg.matrix_norm(op.as_matrix(), ord=2)
    torch.testing.assert_close(op.norm_bound(), norm)
    if isinstance(spectra, ChannelSpectra):
        torch.testing.assert_close(spectra.gram(x), op.H(op(x)))


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_spectra_are_differentiable_twice_and_map(stride):
    op = operator(stride, torch.float64, False)
    spectra = spectra_of(op)
    x = random(2, *op.in_space.shape).requires_grad_()
    y = random(2, *op.out_space.shape).requires_grad_()
    assert torch.autograd.gradcheck(spectra.apply, x)
    assert torch.autograd.gradgradcheck(spectra.apply, x)
    assert torch.autograd.gradcheck(spectra.adjoint, y, check_forward_ad=True)
    assert torch.autograd.gradgradcheck(spectra.adjoint, y)
    many = random(4, 2, *op.in_space.shape, seed=3)
    torch.testing.assert_close(
        torch.func.vmap(spectra.apply, in_dims=1)(many), spectra.apply(many.movedim(1, 0))
    )


@pytest.mark.parametrize("stride", [1, 2])
def test_the_input_is_left_alone(stride):
    spectra = spectra_of(operator(stride, torch.float64, False))
    x = random(2, 2 * stride, 3 * stride)
    y = random(2, 2, 3, seed=1)
    tau = torch.tensor(0.5, dtype=torch.float64)
    before = x.clone(), y.clone()
    first = spectra.apply(x), spectra.adjoint(y), spectra.prox(x, y, tau)
    again = spectra.apply(x), spectra.adjoint(y), spectra.prox(x, y, tau)
    for one, other in zip(first, again, strict=True):
        assert torch.equal(one, other)
    assert torch.equal(x, before[0]) and torch.equal(y, before[1])


@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("shape", [(5, 2), (2, 3, 2)])
def test_many_pictures_are_computed_in_pieces(stride, shape, monkeypatch):
    shared = random(1, 2 * stride, 3 * stride)
    spectra = ChannelSpectra.of_impulse(shared, stride)
    x = random(*shape, 2 * stride, 3 * stride, seed=1)
    y = random(*shape, 2, 3, seed=2)
    tau = torch.rand(*shape[:-1], 1, 1, 1, dtype=torch.float64) + 0.1
    whole = spectra.apply(x), spectra.adjoint(y), spectra.gram(x), spectra.prox(x, y, tau)
    fixed = spectra.prox(x, y, tau.flatten()[0])
    for name in ("_PIECE", "_PIECE_OF_PHASES"):
        monkeypatch.setattr(f"wellposed.polyphase.{name}", 12 * stride**2)
    pieces = spectra.apply(x), spectra.adjoint(y), spectra.gram(x), spectra.prox(x, y, tau)
    for one, other in zip(whole, pieces, strict=True):
        torch.testing.assert_close(one, other)
    torch.testing.assert_close(spectra.prox(x, y, tau.flatten()[0]), fixed)
    leaf = x.clone().requires_grad_()
    (gradient,) = torch.autograd.grad(spectra.apply(leaf), leaf, y)
    torch.testing.assert_close(gradient, spectra.adjoint(y))


@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("per_sample", [False, True])
def test_many_outputs_keep_their_digits_at_a_large_step(stride, per_sample):
    impulses = random(6, 1, 4, 6, seed=1)
    op = Dense(impulses=impulses, stride=stride, mixing=True)
    a = op.as_matrix()
    v, y = random(2, *op.in_space.shape, seed=2), random(2, *op.out_space.shape, seed=3)
    tau = torch.tensor([1e6, 1e-6], dtype=torch.float64) if per_sample else 1e6
    found = op.data_prox(v, y, tau).flatten(1)
    for x, v_i, y_i, t in zip(found, v.flatten(1), y.flatten(1), [1e6, 1e-6], strict=True):
        t = t if per_sample else 1e6
        eye = torch.eye(a.shape[1], dtype=torch.float64)
        want = torch.linalg.solve(eye + t * a.T @ a, v_i + t * a.T @ y_i)
        torch.testing.assert_close(x, want, rtol=1e-12, atol=1e-13)
