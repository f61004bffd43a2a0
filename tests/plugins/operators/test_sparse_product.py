"""The sparse product on copies of its input, against its formula in dense tensors."""

import numpy as np
import pytest
import torch
from scipy import sparse
from wellposed.plugins.operators.sparse_product import SparsePair

INPUTS, OUTPUTS = 9, 7


def drawn(copies, seed=0):
    """Return a pair with slots, and the dense matrix of its formula."""
    random = np.random.default_rng(seed)
    a = sparse.random(6, 8, 0.4, format="csr", random_state=seed)
    # No entry twice in a copy; an index equal to the size stands for no entry.
    inputs = np.stack([random.permutation(INPUTS + 1)[:8] for _ in range(copies)], axis=1)
    outputs = np.stack([random.permutation(OUTPUTS + 1)[:6] for _ in range(copies)], axis=1)
    pair = SparsePair.of(a, torch.float64, None, slots=(inputs, outputs), sizes=(INPUTS, OUTPUTS))
    dense = np.zeros((OUTPUTS + 1, INPUTS + 1))
    for m in range(copies):
        for i, j in zip(*a.nonzero(), strict=True):
            dense[outputs[i, m], inputs[j, m]] += a[i, j]
    return pair, torch.from_numpy(dense[:OUTPUTS, :INPUTS].copy())


@pytest.mark.parametrize("copies", [1, 2, 4])
@pytest.mark.parametrize("batch", [(), (1,), (3,), (2, 3)])
def test_copies_follow_the_formula(copies, batch):
    pair, dense = drawn(copies)
    x = torch.randn(*batch, INPUTS, dtype=torch.float64)
    y = torch.randn(*batch, OUTPUTS, dtype=torch.complex128)
    torch.testing.assert_close(pair.apply(x), x @ dense.T)
    torch.testing.assert_close(pair.adjoint(y), y @ dense.to(y.dtype))


@pytest.mark.parametrize("copies", [1, 3])
def test_copies_are_differentiable(copies):
    pair, dense = drawn(copies)
    x = torch.randn(2, INPUTS, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(pair.apply, x)
    assert torch.autograd.gradgradcheck(pair.adjoint, (pair.apply(x.detach()).requires_grad_(),))
    jacobian = torch.func.vmap(torch.func.jacfwd(pair.apply))(x.detach())
    torch.testing.assert_close(jacobian, dense.expand(2, -1, -1))


def test_copies_compile_with_gradients():
    pair, dense = drawn(2)
    x = torch.randn(INPUTS, dtype=torch.float64, requires_grad=True)
    compiled = torch.compile(pair.apply, fullgraph=True, backend="aot_eager")
    y = compiled(x)
    torch.testing.assert_close(y, dense @ x)
    (g,) = torch.autograd.grad(y.square().sum(), x)
    torch.testing.assert_close(g, 2 * dense.T @ dense @ x)
