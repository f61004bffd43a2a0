"""Operators given by their sparse matrix."""

from __future__ import annotations

import zipfile
from typing import Any, Self

import attrs
import numpy as np
import torch
from scipy import sparse
from torch import Tensor
from wellposed import ForwardOperator, Space, derived, param, tensor_param
from wellposed.errors import DtypeError, ParameterError, ShapeError

from .checks import field_dtype, real_dtype
from .matrix import measurement_space, unknown_picture
from .sparse_product import SparsePair

__all__ = ["SparseMatrix"]


def _default_dtype(op: SparseMatrix) -> torch.dtype:
    real = isinstance(op.values, Tensor) and op.values.is_floating_point()
    return op.values.dtype if real else torch.float32  # type: ignore[union-attr]


@attrs.frozen(eq=False, kw_only=True)
class SparseMatrix(ForwardOperator):
    """Any sparse matrix, applied to the flattened picture: `y = M x`.

    Given by its entries (`M[rows[k], columns[k]] = values[k]`; repeated ones add up), by a SciPy
    matrix (`SparseMatrix.of`), or by a file that `scipy.sparse.save_npz` wrote.

    Shapes: x `(*batch, *in_shape)` -> y `(*batch, *out_shape)`; rows, columns, values `(entries,)`.
    Raises: ShapeError, DtypeError, ParameterError.
    Cost: one pass over the entries for all pictures of a batch; the matrix and its transpose are
    kept in memory as CSR. Values that require grad go a slower way.
    Source: the definition.
    """

    in_shape: tuple[int, ...] = param(doc="shape of the picture")
    rows: Tensor | None = tensor_param(default=None, doc="row of each entry, int64")
    columns: Tensor | None = tensor_param(default=None, doc="column of each entry, int64")
    values: Tensor | None = tensor_param(default=None, doc="entries, real")
    file: str | None = param(None, doc="matrix written by scipy.sparse.save_npz, instead")
    out_shape: tuple[int, ...] | None = param(
        None, doc="shape of y; default: the rows of the file's matrix, or up to the last entry"
    )
    dtype: torch.dtype = param(
        attrs.Factory(_default_dtype, takes_self=True),
        doc="dtype of the picture, real or complex; default: that of the values, else float32",
        check=field_dtype,
    )
    _spaces: tuple[Space, Space] = attrs.field(init=False, repr=False)

    @_spaces.default
    def _make_spaces(self) -> tuple[Space, Space]:
        attrs.validate(self)  # attrs itself does so only after this default
        space = Space(self.in_shape, self.dtype)
        rows, columns = self._shape_in_file() if self.file is not None else self._shape_of_entries()
        if self.file is None and self.out_shape is not None:
            rows, least = Space(self.out_shape).numel, rows
            if least > rows:
                raise ShapeError(
                    f"SparseMatrix.rows expects rows below {rows}, the values of out_shape "
                    f"{tuple(self.out_shape)}; got {least - 1}."
                )
        if columns > space.numel or (self.file is not None and columns != space.numel):
            raise ShapeError(
                f"SparseMatrix expects a matrix of {space.numel} columns, the values of a picture "
                f"{space.shape}; got {columns}."
            )
        return space, measurement_space("SparseMatrix", self.out_shape, rows, self.dtype)

    @classmethod
    def of(cls, matrix: Any, *, in_shape: tuple[int, ...], **params: Any) -> Self:
        """Return the operator of a SciPy sparse matrix or array, or of a 2-D sparse tensor."""
        if isinstance(matrix, Tensor):
            entries = matrix.detach().to_sparse_coo().coalesce()
            rows, columns = entries.indices()
            values = entries.values()
        else:
            entries = sparse.coo_array(matrix)
            rows, columns = (torch.from_numpy(np.asarray(i, np.int64)) for i in entries.coords)
            values = torch.from_numpy(entries.data)
        params.setdefault("out_shape", (int(matrix.shape[0]),))
        return cls(in_shape=in_shape, rows=rows, columns=columns, values=values, **params)

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return self._spaces[0]

    @property
    def out_space(self) -> Space:
        """Measurements of `out_shape`."""
        return self._spaces[1]

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Raise ShapeError: y does not tell."""
        raise unknown_picture("SparseMatrix")

    def _apply(self, x: Tensor) -> Tensor:
        flat = x.flatten(-self.in_space.ndim)
        if self._learns():
            y = self._gathered(flat, self.columns, self.rows, self.out_space.numel)
        else:
            y = self._pair(x.device).apply(flat)
        return y.reshape(*flat.shape[:-1], *self.out_space.shape)

    def _adjoint(self, y: Tensor) -> Tensor:
        flat = y.flatten(-self.out_space.ndim)
        if self._learns():
            x = self._gathered(flat, self.rows, self.columns, self.in_space.numel)
        else:
            x = self._pair(y.device).adjoint(flat)
        return x.reshape(*flat.shape[:-1], *self.in_space.shape)

    def _learns(self) -> bool:
        values = self.values
        if values is None or torch.compiler.is_compiling():
            return values is not None and values.requires_grad
        wrapped: bool = torch._C._functorch.is_functorch_wrapped_tensor(values)
        return values.requires_grad or wrapped

    def _gathered(
        self, x: Tensor, source: Tensor | None, target: Tensor | None, size: int
    ) -> Tensor:
        assert source is not None and target is not None and self.values is not None
        products = x.index_select(-1, source) * self.values
        return x.new_zeros((*x.shape[:-1], size)).index_add(-1, target, products)

    def _pair(self, device: torch.device) -> SparsePair:
        def compute() -> SparsePair:
            return SparsePair.of(self._csr(), real_dtype(self.dtype), device)

        inputs = (t for t in (self.rows, self.columns, self.values) if t is not None)
        return derived(self, f"pair {device}", compute, *inputs)

    def _csr(self) -> sparse.csr_matrix:
        if self.file is not None:
            return self._read(self._load)
        assert self.rows is not None and self.columns is not None and self.values is not None
        places = (self.rows.cpu().numpy(), self.columns.cpu().numpy())
        shape = (self.out_space.numel, self.in_space.numel)
        entries = (self.values.detach().cpu().numpy(), places)
        return sparse.coo_matrix(entries, shape=shape).tocsr()

    def _shape_in_file(self) -> tuple[int, int]:
        if any(t is not None for t in (self.rows, self.columns, self.values)):
            raise ParameterError("SparseMatrix expects entries or a file; got both.")

        def shape(file: str) -> tuple[int, int]:
            with open(file, "rb") as stream, np.load(stream, allow_pickle=False) as data:
                rows, columns = (int(n) for n in data["shape"])
            return rows, columns

        found: tuple[int, int] = self._read(shape)
        return found

    def _load(self, file: str) -> sparse.csr_matrix:
        found = sparse.load_npz(file)
        # SciPy and torch trust indices: those outside the matrix would end the process.
        if hasattr(found, "check_format"):
            found.check_format(full_check=True)
        if found.dtype.kind not in "biuf":
            raise ValueError(f"its entries are {found.dtype}, expected real numbers")
        return sparse.csr_matrix(found)

    def _read(self, load: Any) -> Any:
        try:
            return load(self.file)
        except (OSError, ValueError, KeyError, TypeError, zipfile.BadZipFile) as error:
            raise ParameterError(
                f"SparseMatrix.file expects a matrix written by scipy.sparse.save_npz; "
                f"cannot read {self.file}: {error}"
            ) from None

    def _shape_of_entries(self) -> tuple[int, int]:
        rows, columns, values = self.rows, self.columns, self.values
        if rows is None or columns is None or values is None:
            raise ParameterError("SparseMatrix expects rows, columns and values, or a file.")
        if not rows.shape == columns.shape == values.shape or rows.ndim != 1:
            raise ShapeError(
                "SparseMatrix expects rows, columns and values of one length; got "
                f"{tuple(rows.shape)}, {tuple(columns.shape)} and {tuple(values.shape)}."
            )
        for name, value, wanted in (
            ("rows", rows, torch.int64),
            ("columns", columns, torch.int64),
            ("values", values, real_dtype(self.dtype)),
        ):
            if value.dtype != wanted:
                raise DtypeError(f"SparseMatrix.{name} expects {wanted}; got {value.dtype}.")
        if not rows.numel():
            return 1, 1
        if int(rows.min()) < 0 or int(columns.min()) < 0:
            raise ParameterError("SparseMatrix expects rows and columns from 0 on; got negatives.")
        return int(rows.max()) + 1, int(columns.max()) + 1
