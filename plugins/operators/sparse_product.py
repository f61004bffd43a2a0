"""Products with a large sparse matrix and its transpose, differentiable and batched.

torch multiplies a CSR matrix with 32-bit indices at nearly the speed of memory, but its autograd,
`vmap` and compiler know little of sparse tensors. So the product is one opaque operation on
dense tensors, whose derivative is the product with the stored transpose.
"""

from __future__ import annotations

import contextlib
import functools
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import attrs
import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

__all__ = ["SparsePair"]

# Row starts, column indices, values; then, where the matrix acts on copies: the entry that each
# slot reads, the slots that read none, and the slots whose products each entry of the result sums.
Factor = tuple[Tensor, ...]
Indices = NDArray[np.int64]


@attrs.frozen(eq=False)
class SparsePair:
    """A real matrix and its transpose, both as CSR with 32-bit indices.

    With slots, the matrix A acts on copies of x, between a selection of entries before and after:

        y = sum_m R_m A S_m x,   (S_m x)[j] = x[inputs[j, m]],   (R_m z)[outputs[i, m]] = z[i]

    where an index equal to the size of x or y stands for no entry. All copies share one pass over
    the weights, which is what a product costs.
    """

    matrix: Factor
    transpose: Factor

    @classmethod
    def of(
        cls,
        matrix: sparse.csr_matrix,
        dtype: torch.dtype,
        device: torch.device | None,
        slots: tuple[Indices, Indices] | None = None,
        sizes: tuple[int, int] | None = None,
    ) -> SparsePair:
        """Return the pair of a SciPy matrix; `slots` and `sizes` are of the inputs and outputs."""
        forward, backward = _arrays(matrix), _arrays(matrix.T.tocsr())
        if slots is not None and sizes is not None:
            (inputs, outputs), (n, m) = slots, sizes
            forward += *_reads(inputs, n), _inverse(outputs, m)
            backward += *_reads(outputs, m), _inverse(inputs, n)
        # Tensors made in inference mode, or inside torch.func.grad, could not be used afterwards.
        with torch.inference_mode(False), torch._C._DisableFuncTorch():
            return cls(_tensors(forward, dtype, device), _tensors(backward, dtype, device))

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


def _arrays(matrix: sparse.csr_matrix) -> tuple[NDArray[Any], ...]:
    return matrix.indptr, matrix.indices, matrix.data


def _reads(slots: Indices, size: int) -> tuple[Indices, Indices]:
    """Return which of `size` entries each flat slot reads, and the slots that read none."""
    flat = slots.ravel()
    return np.minimum(flat, size - 1), np.flatnonzero(flat == size)


def _inverse(slots: Indices, size: int) -> Indices:
    """Return which flat slot holds each of `size` entries, `(parts, size)`: one part per copy.

    Where no entry is in two copies, one part tells all.
    """
    flat = np.arange(slots.size).reshape(slots.shape)
    found = np.full((slots.shape[1], size), slots.size)
    for part, entries, places in zip(found, slots.T, flat.T, strict=True):
        used = entries < size
        part[entries[used]] = places[used]
    once = (found < slots.size).sum(0).max() <= 1
    return found.min(0, keepdims=True) if once else found


def _tensors(
    arrays: tuple[NDArray[Any], ...], dtype: torch.dtype, device: torch.device | None
) -> Factor:
    dtypes = (torch.int32, torch.int32, dtype, torch.int32, torch.int64, torch.int32)
    parts = zip(arrays, dtypes, strict=False)
    return tuple(torch.from_numpy(np.ascontiguousarray(a)).to(device, d) for a, d in parts)


def _product(a: Factor, a_transposed: Factor, x: Tensor) -> Tensor:
    if x.is_complex():
        both = torch.stack((x.real, x.imag))
        real, imag = _product(a, a_transposed, both)
        return torch.complex(real, imag)
    batch = x.shape[:-1]
    flat = x.reshape(-1, x.shape[-1])
    if torch.compiler.is_compiling():
        y: Tensor = _csr_product(a, a_transposed, flat)
    else:
        y = _Differentiable.apply(flat, *a, *a_transposed)  # type: ignore[no-untyped-call]
    return y.reshape(*batch, y.shape[-1])


@torch.library.custom_op("wellposed::csr_product", mutates_args=())
def _csr_product(a: Sequence[Tensor], a_transposed: Sequence[Tensor], x: Tensor) -> Tensor:
    """Return `A x` for each row of x, `(n, inputs)` -> `(n, outputs)`."""
    matrix = _csr(a[0], a[1], a[2], (a[0].numel() - 1, a_transposed[0].numel() - 1))
    n = x.shape[0]
    if len(a) == 3:
        return _times(matrix, x.T.contiguous(), x.new_empty(len(matrix), n)).T.contiguous()
    *_, reads, absent, sums = a
    rows, columns = matrix.shape
    copies = reads.numel() // columns
    slots = _rows(x.T.contiguous(), reads).index_fill_(0, absent, 0)
    z = x.new_empty(rows + 1, copies * n)
    _times(matrix, slots.view(columns, copies * n), z[:-1])
    z[-1] = 0
    parts = _rows(z.view((rows + 1) * copies, n), sums.flatten()).view(*sums.shape, n)
    return (parts[0] if len(parts) == 1 else parts.sum(0)).T.contiguous()


def _times(matrix: Tensor, x: Tensor, out: Tensor) -> Tensor:
    # Row by row, what is read for one weight lies together. With beta = 0, `out` need not be filled
    # first, as `mm` does: by threads for which those of the product then wait on a busy machine.
    if x.shape[1] == 1:  # one vector has a faster routine
        vector = out[:, 0]
        torch.addmv(vector, matrix, x[:, 0], beta=0, out=vector)
        return out
    return torch.addmm(out, matrix, x, beta=0, out=out)


def _rows(x: Tensor, index: Tensor) -> Tensor:
    if x.shape[1] == 1:  # far faster on one axis
        return x[:, 0].index_select(0, index)[:, None]
    return x.index_select(0, index)


@_csr_product.register_fake
def _(a: Sequence[Tensor], a_transposed: Sequence[Tensor], x: Tensor) -> Tensor:
    outputs = a[-1].shape[1] if len(a) > 3 else a[0].shape[0] - 1
    return x.new_empty((x.shape[0], outputs))


def _remember(ctx: Any, inputs: tuple[Any, ...], output: Tensor) -> None:
    ctx.save_for_backward(*inputs[0], *inputs[1])


def _backward(ctx: Any, g: Tensor) -> tuple[Any, ...]:
    a, a_transposed = _halves(ctx.saved_tensors)
    nothing = [None] * len(a)
    return nothing, nothing, _csr_product(a_transposed, a, g.contiguous())


def _halves(tensors: tuple[Tensor, ...]) -> tuple[Factor, Factor]:
    return tensors[: len(tensors) // 2], tensors[len(tensors) // 2 :]


# For the compiler; torch.func does not follow an operation's own registration.
_csr_product.register_autograd(_backward, setup_context=_remember)


class _Differentiable(torch.autograd.Function):
    """The product outside the compiler: both derivatives of any order, and `vmap`."""

    generate_vmap_rule = False

    @staticmethod
    def forward(x: Tensor, *factors: Tensor) -> Tensor:
        product: Tensor = _csr_product(*_halves(factors), x)
        return product

    @staticmethod
    def setup_context(ctx: Any, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        ctx.save_for_backward(*inputs[1:])
        ctx.save_for_forward(*inputs[1:])

    @staticmethod
    def backward(ctx: Any, g: Tensor) -> tuple[Tensor | None, ...]:
        a, a_transposed = _halves(ctx.saved_tensors)
        back: Tensor = _Differentiable.apply(g, *a_transposed, *a)  # type: ignore[no-untyped-call]
        return back, *(None for _ in ctx.saved_tensors)

    @staticmethod
    def jvp(ctx: Any, *tangents: Tensor) -> Tensor:
        product: Tensor = _Differentiable.apply(tangents[0], *ctx.saved_tensors)  # type: ignore[no-untyped-call]
        return product

    @staticmethod
    def vmap(info: Any, in_dims: tuple[int | None, ...], *inputs: Tensor) -> tuple[Tensor, int]:
        # The matrix is a constant, so that only x can have a further axis.
        x = inputs[0].movedim(in_dims[0], 0)  # type: ignore[arg-type]
        y: Tensor = _Differentiable.apply(x.flatten(0, 1), *inputs[1:])  # type: ignore[no-untyped-call]
        return y.unflatten(0, x.shape[:2]), 0


def _csr(starts: Tensor, columns: Tensor, values: Tensor, size: tuple[int, int]) -> Tensor:
    if torch.is_warn_always_enabled():
        with _without_beta_warning():
            return torch.sparse_csr_tensor(
                starts, columns, values, size=size, check_invariants=False
            )
    _let_torch_warn_once()
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
