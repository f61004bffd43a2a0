"""`ForwardOperator`: what an author writes, and what everybody may call."""

from __future__ import annotations

from abc import abstractmethod
from typing import TYPE_CHECKING, Any, NamedTuple, Self, overload

import attrs
import torch
from torch import Tensor

from . import prox
from .cache import derived
from .component import Component, params_for
from .errors import DeviceError, ParameterError, ShapeError
from .linalg import lanczos_norm_bound
from .moves import tensors_in
from .space import Space

if TYPE_CHECKING:
    from scipy.sparse.linalg import LinearOperator

    from .bilinear import BilinearOperator
    from .nonlinear import NonlinearOperator

__all__ = ["Adjoint", "Equivariance", "ForwardOperator"]

_MATRIX_LIMIT = 2**28


class Equivariance(NamedTuple):
    """The operator commutes with circular shifts: moving x by `stride` pixels moves y by one.

    `channelwise` says that channels do not mix: A^H A maps each channel to itself. Both together
    give closed forms in the Fourier domain (see `wellposed.prox`).
    """

    stride: int = 1
    channelwise: bool = True


class ForwardOperator(Component):
    """A linear map from one `Space` to another, with its exact adjoint.

    An author writes `in_space`, `out_space`, `_apply` and `_adjoint`, in a final
    `@attrs.frozen(eq=False, kw_only=True)` class, and may declare structure (`row_gram`,
    `column_gram`, `equivariance`, `batch_shape`), which the conformance kit verifies and which
    gives closed forms, also in compositions. Everything else is derived.
    """

    @property
    @abstractmethod
    def in_space(self) -> Space:
        """Space of the picture x."""

    @property
    @abstractmethod
    def out_space(self) -> Space:
        """Space of the measurement y = A x."""

    @abstractmethod
    def _apply(self, x: Tensor) -> Tensor:
        """Return A x; `x` has been checked."""

    @abstractmethod
    def _adjoint(self, y: Tensor) -> Tensor:
        """Return A^H y, exactly; `y` has been checked."""

    # ---- structure that an author may declare -------------------------------------------------

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` when there is one set of parameters per sample, else `()`."""
        return ()

    def row_gram(self) -> Tensor | float | None:
        """Return the diagonal of A A^H (broadcastable to y) if A A^H is diagonal; else None."""
        return None

    def column_gram(self) -> float | None:
        """Return c if A^H A = c I; else None."""
        return None

    def equivariance(self) -> Equivariance | None:
        """Return how the operator commutes with circular shifts; None when it does not."""
        return None

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the space of the picture when only the measurement's is known.

        Raises: ShapeError when no picture gives such a measurement.
        """
        return y_space

    @classmethod
    def for_image(cls, space: Space, **params: Any) -> Self:
        """Build the operator for pictures of `space`; `params` are the other fields.

        Tensors among `params` follow the precision of `space`, since here they come from text or
        files; constructors never convert.
        """
        return cls(**params_for(cls, space, params))

    # ---- what everybody calls -----------------------------------------------------------------

    def __call__(self, x: Tensor) -> Tensor:
        """Return A x. Shapes: x `(*batch, *in_space.shape)` -> `(*batch, *out_space.shape)`.

        Raises: ShapeError, DtypeError, DeviceError.
        """
        self.check(x, self.in_space, "x")
        return self._apply(x) if x.numel() else _no_samples(x, self.in_space, self.out_space)

    @property
    def H(self) -> ForwardOperator:
        """The adjoint operator; `op.H.H is op`."""
        return Adjoint(self)

    def check(self, x: object, space: Space, name: str) -> Tensor:
        """Return `x` if it belongs to `space`, fits the parameters' batch and lies beside them.

        Raises: ShapeError, DtypeError, DeviceError.
        """
        x = space.check(x, who=self.name, name=name, batch=self.batch_shape)
        device = self.device
        if device is not None and x.device != device:
            raise DeviceError(
                f"{self.name} has its parameters on {device}; got {name} on {x.device}. "
                "Move one of them: x.to(device), or op.to(device=...)."
            )
        return x

    def data_prox(
        self,
        v: Tensor,
        y: Tensor,
        tau: Tensor | float,
        *,
        rtol: float | None = None,
        max_steps: int = 500,
    ) -> Tensor:
        """Return `argmin_x 1/2 |A x - y|^2 + 1/(2 tau) |x - v|^2` for each sample.

        A closed form is used where the declared structure gives one (`has_closed_prox`);
        otherwise conjugate gradients started at `v`, whose gradients are implicit.

        Shapes: v `(*batch, *in_space.shape)`, y `(*batch, *out_space.shape)`, tau a positive
        number or `(*batch,)`; infinite tau is not allowed.
        Raises: ShapeError, DtypeError, DeviceError; ParameterError for a tau that is not positive.
        Warns: NotConvergedWarning.
        Cost: closed form: two or three operator calls; otherwise two per step.
        """
        self.check(v, self.in_space, "v")
        self.check(y, self.out_space, "y")
        if self.in_space.batch_of(v) != self.out_space.batch_of(y):
            raise ShapeError(
                f"{self.name}.data_prox expects v and y of one batch; got "
                f"{tuple(v.shape)} and {tuple(y.shape)}."
            )
        if not isinstance(tau, Tensor) and not 0 < tau < float("inf"):
            raise ParameterError(f"{self.name}.data_prox expects a positive step tau; got {tau}.")
        step = self.in_space.expand(tau, v, name="tau", who=f"{self.name}.data_prox")
        return self._data_prox(v, y, step, rtol, max_steps) if v.numel() else v

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        """Compute `data_prox`; tau broadcasts against v. Authors may override with their own."""
        return prox.data_prox(self, v, y, tau, rtol=rtol, max_steps=max_steps)

    @property
    def has_closed_prox(self) -> bool:
        """Whether `data_prox` needs no iteration."""
        return prox.is_closed(self)

    def gram(self, x: Tensor) -> Tensor:
        """Return A^H A x. Shapes: as x. Authors override `_gram` where it is cheaper."""
        self.check(x, self.in_space, "x")
        return self._gram(x) if x.numel() else x

    def _gram(self, x: Tensor) -> Tensor:
        return self._adjoint(self._apply(x))

    def norm_bound(self) -> Tensor:
        """Return an upper bound of the operator norm, of shape `batch_shape`; remembered.

        Exact where the structure gives the norm, otherwise by Lanczos, within about 1 %.
        Cost: at most 80 operator calls, once.
        """
        return derived(self, "norm_bound", self._norm_bound, *tensors_in(self))

    def _norm_bound(self) -> Tensor:
        with torch.no_grad():
            known = prox.exact_norm(self)
            if known is not None:
                return known
            return lanczos_norm_bound(
                self._gram, self.in_space, batch=self.batch_shape, device=self.device
            )

    def initial_estimate(self, y: Tensor) -> Tensor:
        """Return a picture to start from: the adjoint, scaled to fit the data as well as it can.

        `x = c A^H y` with `c = |A^H y|^2 / |A A^H y|^2` for each sample.
        Shapes: y `(*batch, *out_space.shape)` -> `(*batch, *in_space.shape)`.
        """
        self.check(y, self.out_space, "y")
        if not y.numel():
            return _no_samples(y, self.out_space, self.in_space)
        return self._initial_estimate(y)

    def _initial_estimate(self, y: Tensor) -> Tensor:
        back = self._adjoint(y)
        top = self.in_space.norm(back).square()
        bottom = self.out_space.norm(self._apply(back)).square()
        scale = torch.where(bottom > 0, top / torch.where(bottom > 0, bottom, 1), 0)
        return self.in_space.expand(scale, back, name="scale", who=self.name) * back

    def as_matrix(self) -> Tensor:
        """Return the dense matrix, `(*batch_shape, out_space.numel, in_space.numel)`.

        Raises: ParameterError above 2^28 entries. Cost: one call on `in_space.numel` pictures.
        """
        rows, columns = self.out_space.numel, self.in_space.numel
        if rows * columns > _MATRIX_LIMIT:
            raise ParameterError(
                f"{self.name} as a dense matrix would have {rows} x {columns} entries, more than "
                f"{_MATRIX_LIMIT}. Use as_scipy(), or a smaller picture."
            )
        basis = torch.eye(columns, dtype=self.in_space.dtype, device=self.device)
        basis = basis.reshape(columns, *(1,) * len(self.batch_shape), *self.in_space.shape)
        x = basis.expand(columns, *self.batch_shape, *self.in_space.shape)
        y = self._apply(x).reshape(columns, *self.batch_shape, rows)
        return y.movedim(0, -1)

    def as_scipy(self) -> LinearOperator:
        """Return a `scipy.sparse.linalg.LinearOperator` on flat vectors.

        Raises: ParameterError for an operator with per-sample parameters.
        """
        from .scipy_bridge import as_scipy

        return as_scipy(self)

    # ---- algebra ------------------------------------------------------------------------------

    @overload
    def __matmul__(self, other: ForwardOperator) -> ForwardOperator: ...
    @overload
    def __matmul__(self, other: BilinearOperator) -> BilinearOperator: ...
    @overload
    def __matmul__(self, other: NonlinearOperator) -> NonlinearOperator: ...
    def __matmul__(self, other: object) -> object:
        """Compose: `(A @ B)(x) == A(B(x))`; also with a bilinear or nonlinear operator."""
        from .algebra import compose

        return compose(self, other)

    def __add__(self, other: ForwardOperator) -> ForwardOperator:
        from .algebra import add

        return add(self, other)

    def __sub__(self, other: ForwardOperator) -> ForwardOperator:
        return self + (-1.0) * other if isinstance(other, ForwardOperator) else NotImplemented

    def __mul__(self, factor: float) -> ForwardOperator:
        from .algebra import scale

        return scale(factor, self)

    __rmul__ = __mul__

    def __neg__(self) -> ForwardOperator:
        return self * -1.0


@attrs.frozen(eq=False, init=False)
class Adjoint(ForwardOperator):
    """The adjoint of any operator, as an operator."""

    op: ForwardOperator

    def __init__(self, op: ForwardOperator) -> None:
        # As attrs would, in a form that torch.compile can trace: `op.H(y)` is made in hot paths.
        object.__setattr__(self, "op", op)

    @property
    def in_space(self) -> Space:
        """Space of y."""
        return self.op.out_space

    @property
    def out_space(self) -> Space:
        """Space of x."""
        return self.op.in_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """That of the operator itself."""
        return self.op.batch_shape

    @property
    def name(self) -> str:
        """The operator's name with .H."""
        return f"{self.op.name}.H"

    @property
    def H(self) -> ForwardOperator:
        """The operator itself."""
        return self.op

    def row_gram(self) -> float | None:
        """A^H A, when it is a multiple of the identity."""
        return self.op.column_gram()

    def column_gram(self) -> float | None:
        """A A^H, when it is a multiple of the identity."""
        diagonal = self.op.row_gram()
        return diagonal if isinstance(diagonal, float) else None

    def equivariance(self) -> Equivariance | None:
        """That of the operator, unless it has a stride."""
        known = self.op.equivariance()
        return known if known is not None and known.stride == 1 else None

    def _apply(self, x: Tensor) -> Tensor:
        return self.op._adjoint(x)

    def _adjoint(self, y: Tensor) -> Tensor:
        return self.op._apply(y)

    def _norm_bound(self) -> Tensor:
        return self.op.norm_bound()


def _no_samples(x: Tensor, space: Space, other: Space) -> Tensor:
    """Return an empty batch of another space, in the graph of an empty batch of `space`.

    FFTs and convolutions refuse empty batches, so authors of operators never get one.
    """
    nothing = x.sum() if other.dtype.is_complex else x.sum().real
    return nothing.to(other.dtype).expand(*space.batch_of(x), *other.shape)
