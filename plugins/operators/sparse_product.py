"""Products with a large sparse matrix and its transpose, differentiable and batched.

torch multiplies a CSR matrix with 32-bit indices at nearly the speed of memory, but its autograd,
`vmap` and compiler know little of sparse tensors. So the product is one opaque operation on
dense tensors, whose derivative is the product with the stored transpose.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator
from typing import Any

import attrs
import numpy as np
import torch
from scipy import sparse
from torch import Tensor

__all__ = ["SparsePair"]


@attrs.frozen(eq=False)
class SparsePair:
    """A real matrix `(rows, columns)` and its transpose, both as CSR with 32-bit indices."""

    matrix: tuple[Tensor, Tensor, Tensor]  # row starts, column indices, values
    transpose: tuple[Tensor, Tensor, Tensor]

    @classmethod
    def of(
        cls, matrix: sparse.csr_matrix, dtype: torch.dtype, device: torch.device | None
    ) -> SparsePair:
        """Return the pair of a SciPy matrix."""
        # Tensors made in inference mode, or inside torch.func.grad, could not be used afterwards.
        with torch.inference_mode(False), torch._C._DisableFuncTorch():
            forward = _tensors(matrix, dtype, device)
            return cls(forward, _tensors(matrix.T.tocsr(), dtype, device))

    @property
    def nbytes(self) -> int:
        """Memory that both matrices take."""
        return sum(t.numel() * t.element_size() for t in (*self.matrix, *self.transpose))

    def apply(self, x: Tensor) -> Tensor:
        """Return the matrix times x, `(*batch, columns)` -> `(*batch, rows)`, real or complex."""
        return _product(self.matrix, self.transpose, x)

    def adjoint(self, y: Tensor) -> Tensor:
        """Return the transpose times y."""
        return _product(self.transpose, self.matrix, y)


def _tensors(
    matrix: sparse.csr_matrix, dtype: torch.dtype, device: torch.device | None
) -> tuple[Tensor, Tensor, Tensor]:
    starts = torch.from_numpy(matrix.indptr.astype(np.int32))
    columns = torch.from_numpy(matrix.indices.astype(np.int32))
    values = torch.from_numpy(np.ascontiguousarray(matrix.data)).to(dtype)
    return starts.to(device), columns.to(device), values.to(device)


Csr = tuple[Tensor, Tensor, Tensor]


def _product(a: Csr, a_transposed: Csr, x: Tensor) -> Tensor:
    if x.is_complex():
        both = torch.stack((x.real, x.imag))
        real, imag = _product(a, a_transposed, both)
        return torch.complex(real, imag)
    batch = x.shape[:-1]
    product: Any = _csr_product if torch.compiler.is_compiling() else _Differentiable.apply
    y: Tensor = product(*a, *a_transposed, x.reshape(-1, x.shape[-1]))
    return y.reshape(*batch, y.shape[-1])


@torch.library.custom_op("wellposed::csr_product", mutates_args=())
def _csr_product(
    starts: Tensor,
    columns: Tensor,
    values: Tensor,
    starts_t: Tensor,
    columns_t: Tensor,
    values_t: Tensor,
    x: Tensor,
) -> Tensor:
    """Return `A x` for each row of x, `(n, columns of A)` -> `(n, rows of A)`."""
    matrix = _csr(starts, columns, values, (starts.numel() - 1, starts_t.numel() - 1))
    if x.shape[0] == 1:  # one vector has a faster routine
        return torch.mv(matrix, x[0])[None]
    return torch.mm(matrix, x.T).T.contiguous()


@_csr_product.register_fake
def _(
    starts: Tensor,
    columns: Tensor,
    values: Tensor,
    starts_t: Tensor,
    columns_t: Tensor,
    values_t: Tensor,
    x: Tensor,
) -> Tensor:
    return x.new_empty((x.shape[0], starts.shape[0] - 1))


def _remember(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[:6])


def _backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
    saved = ctx.saved_tensors
    return (*(None,) * 6, _csr_product(*saved[3:], *saved[:3], g.contiguous()))


# For the compiler; torch.func does not follow an operation's own registration.
_csr_product.register_autograd(_backward, setup_context=_remember)


class _Differentiable(torch.autograd.Function):
    """The product outside the compiler: both derivatives of any order, and `vmap`."""

    generate_vmap_rule = False

    @staticmethod
    def forward(*inputs: Tensor) -> Tensor:
        product: Tensor = _csr_product(*inputs)
        return product

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[:6])
        ctx.save_for_forward(*inputs[:6])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        saved = ctx.saved_tensors
        back: Tensor = _Differentiable.apply(*saved[3:], *saved[:3], g)  # type: ignore[no-untyped-call]
        return (*(None,) * 6, back)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        product: Tensor = _Differentiable.apply(*ctx.saved_tensors, tangents[6])  # type: ignore[no-untyped-call]
        return product

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        # The matrix is a constant, so that only x can have a further axis.
        x = inputs[6].movedim(in_dims[6], 0)  # type: ignore[arg-type]
        y: Tensor = _Differentiable.apply(*inputs[:6], x.flatten(0, 1))  # type: ignore[no-untyped-call]
        return y.unflatten(0, x.shape[:2]), 0


def _csr(starts: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    _let_torch_warn_once()
    if torch.is_warn_always_enabled():
        with _without_beta_warning():
            return torch.sparse_csr_tensor(
                starts, columns, values, size=size, check_invariants=False
            )
    return torch.sparse_csr_tensor(starts, columns, values, size=size, check_invariants=False)


@functools.cache
def _let_torch_warn_once() -> None:
    """Let torch say once, unheard, that its CSR tensors are in beta: it does not say so again."""
    with _without_beta_warning():
        index = torch.tensor([0, 1], dtype=torch.int32)
        torch.sparse_csr_tensor(index, index[:1], torch.ones(1), size=(1, 1), check_invariants=True)


@contextlib.contextmanager
def _without_beta_warning() -> Iterator[None]:
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Sparse CSR tensor support")
        yield
