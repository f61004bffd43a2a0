"""A blur with one fault at a time, and the check that must find it: the test of the kit itself.

Each fault is one that a published library has, or had; without a fault the blur passes every check.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

import attrs
import torch
from hypothesis import strategies as st
from torch import Tensor
from torch.autograd.function import once_differentiable
from wellposed.registry import param

from ..errors import ParameterError
from ..fields import tensor_param
from ..linalg import conjugate_gradient
from ..operator import Equivariance, ForwardOperator
from ..space import Space
from .strategies import image_shapes, kernels, strides

__all__ = ["FAULTS", "FaultyBlur", "faulty_blurs"]

FAULTS: Final = {
    "unflipped kernel in the adjoint": "test_dot_test_in_float64",
    "shifted grid in the adjoint": "test_dot_test_in_float64",
    "missing conjugate": "test_dot_test_in_float64",
    "dropped border": "test_dot_test_in_float64",
    "scaled adjoint": "test_dot_test_in_float64",
    "one pixel 1 % off": "test_dot_test_in_float64",
    "adjoint right for odd sizes only": "test_dot_test_in_float64",
    "half precision inside": "test_dot_test_in_float64",
    "writes into its input": "test_input_is_not_modified",
    "leaks across the batch": "test_batch_equals_loop",
    "spreads NaN": "test_nan_stays_in_its_sample",
    "one batch axis only": "test_any_number_of_batch_axes",
    "needs contiguous memory": "test_memory_layout_does_not_matter",
    "stores its input": "test_call_changes_nothing",
    "counts its calls": "test_call_changes_nothing",
    "prints": "test_prints_nothing",
    "wrong dtype": "test_spaces_are_honest",
    "constant offset": "test_zero_gives_zero",
    "absolute threshold": "test_is_linear",
    "rectified": "test_is_linear",
    "declares a false equivariance": "test_declared_equivariance_is_true",
    "declares a false gram": "test_declared_grams_are_true",
    "first kernel for all samples": "test_parameters_per_sample",
    "norm bound below the norm": "test_norm_bound_is_a_bound",
    "loose norm bound": "test_norm_bound_is_a_bound",
    "gram of another operator": "test_gram_is_adjoint_after_operator",
    "absolute epsilon in data_prox": "test_data_prox_has_no_scale",
    "inexact data_prox": "test_data_prox_is_optimal",
    "tau along the width": "test_data_prox_takes_a_step_per_sample",
    "one sample stops all": "test_data_prox_keeps_samples_apart",
    "options persist": "test_data_prox_forgets_its_options",
    "silent non-convergence": "test_data_prox_reports_failure",
    "detached kernel": "test_gradients_reach_parameters",
    "keeps a graph": "test_backward_works_twice",
    "keeps an inference tensor": "test_inference_mode_then_training",
    "no autograd": "test_autograd_gives_the_adjoint",
    "no double backward": "test_double_backward",
    "looks at values": "test_vmap_equals_loop",
    "leaves the graph": "test_compiles_as_one_graph",
    "broadcasts wrong shapes": "test_refuses_wrong_shapes",
    "promotes dtypes": "test_refuses_wrong_dtypes",
    "drops the imaginary part": "test_single_precision_agrees_with_double",
    "moves in place": "test_to_returns_a_new_object",
    "unknown picture size": "test_sized_from_the_measurement",
    "unpicklable": "test_pickles_and_copies",
    "long repr": "test_repr_is_short",
}
NONE: Final = "none"


def _integer(instance: object, attribute: Any, value: object) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or value < 1:
        raise ParameterError(f"FaultyBlur.{attribute.name} expects a whole number; got {value!r}.")


@attrs.frozen(eq=False, kw_only=True)
class FaultyBlur(ForwardOperator):
    """Circular convolution, then every `stride`-th pixel; wrong in one way.

        y[i, j] = sum_pq k[p, q] x[s i - p + kh // 2, s j - q + kw // 2]

    Shapes: x `(*batch, C, H, W)`, kernel `(B|1, 1, kh, kw)` -> y `(*batch, C, ceil(H / s),
    ceil(W / s))`.
    Source: the definition, tap by tap.
    """

    in_shape: tuple[int, ...] = param(doc="shape (C, H, W) of the picture")
    kernel: Tensor = tensor_param(doc="(B|1, 1, kh, kw)")
    stride: int = param(1, doc="keep one pixel in so many", check=_integer)
    fault: str = param(NONE, doc="what is wrong", check=attrs.validators.in_((NONE, *FAULTS)))

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape`."""
        return Space(self.in_shape, self.kernel.dtype)

    @property
    def out_space(self) -> Space:
        """Every `stride`-th pixel."""
        c, h, w = self.in_shape
        return Space((c, -(-h // self.stride), -(-w // self.stride)), self.kernel.dtype)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """One kernel for all, or one per sample."""
        return () if self.kernel.shape[0] == 1 else (self.kernel.shape[0],)

    def equivariance(self) -> Equivariance | None:
        """Circular, if the stride divides the sides."""
        _, h, w = self.in_shape
        whole = h % self.stride == 0 and w % self.stride == 0
        lie = self._has("declares a false equivariance")
        by_iteration = any(self._has(fault) for fault in _ITERATED)
        return Equivariance(self.stride) if (whole or lie) and not by_iteration else None

    def column_gram(self) -> float | None:
        """None, unless it lies."""
        return 1.0 if self._has("declares a false gram") else None

    @classmethod
    def image_space_for(cls, y_space: Space, **params: Any) -> Space:
        """Return the largest picture with such a measurement."""
        stride = 1 if params["fault"] == "unknown picture size" else params["stride"]
        c, h, w = y_space.shape
        return Space((c, h * stride, w * stride), y_space.dtype)

    @classmethod
    def for_image(cls, space: Space, **params: Any) -> FaultyBlur:
        """Build it for pictures of `space`."""
        return cls(in_shape=space.shape, **params)

    def _has(self, fault: str) -> bool:
        return self.fault == fault

    def _taps(self, x: Tensor, kernel: Tensor, sign: int) -> Tensor:
        kh, kw = kernel.shape[-2:]
        total = torch.zeros_like(x)
        for p in range(kh):
            for q in range(kw):
                moved = x.roll((sign * (p - kh // 2), sign * (q - kw // 2)), (-2, -1))
                total = total + kernel[..., p, q][..., None, None] * moved
        return total

    def _apply(self, x: Tensor) -> Tensor:
        spoil = _BEFORE.get(self.fault)
        x = spoil(self, x) if spoil else x
        y = self._taps(x, _kernel_of(self), 1)[..., :: self.stride, :: self.stride]
        spoil = _AFTER.get(self.fault)
        return spoil(self, y) if spoil else y

    def _adjoint(self, y: Tensor) -> Tensor:
        s = self.stride
        x = y.new_zeros((*y.shape[:-2], y.shape[-2] * s, y.shape[-1] * s))
        x[..., ::s, ::s] = y
        x = x[..., : self.in_shape[1], : self.in_shape[2]]
        kernel = _kernel_of(self)
        kernel = kernel if self._has("missing conjugate") else kernel.conj()
        sign = 1 if self._has("unflipped kernel in the adjoint") else -1
        x = self._taps(x, kernel, sign)
        spoil = _ADJOINT.get(self.fault)
        return spoil(self, x) if spoil else x

    def _gram(self, x: Tensor) -> Tensor:
        factor = 1.01 if self._has("gram of another operator") else 1
        return factor * self._adjoint(self._apply(x))

    def _norm_bound(self) -> Tensor:
        factors = {"norm bound below the norm": 0.99, "loose norm bound": 10.0}
        return ForwardOperator._norm_bound(self) * factors.get(self.fault, 1.0)

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        if not any(self._has(fault) for fault in _ITERATED):
            return ForwardOperator._data_prox(self, v, y, tau, rtol, max_steps)
        return _bad_prox(self, v, y, tau, rtol, max_steps)

    def __call__(self, x: Tensor) -> Tensor:
        """Return A x, checked unless that is the fault."""
        if self._has("broadcasts wrong shapes") and isinstance(x, Tensor):
            return self._apply(x)
        if self._has("promotes dtypes") and isinstance(x, Tensor):
            x = x.to(self.kernel.dtype)
        return ForwardOperator.__call__(self, x)

    def to(self, *, device: Any = None, dtype: Any = None) -> FaultyBlur:
        """Move it, properly unless that is the fault."""
        if self._has("moves in place") and dtype == torch.float32:
            object.__setattr__(self, "kernel", self.kernel.to(torch.float32))
            return self
        if self._has("drops the imaginary part"):
            kernel = self.kernel.real.to(self.kernel.dtype)
            return ForwardOperator.to(attrs.evolve(self, kernel=kernel), device=device, dtype=dtype)
        return ForwardOperator.to(self, device=device, dtype=dtype)

    def __reduce__(self) -> Any:
        """Pickle by the constructor, unless that is the fault."""
        if self._has("unpicklable"):
            raise TypeError("cannot pickle a lambda")
        return _rebuilt, (attrs.asdict(self, recurse=False),)

    def __repr__(self) -> str:
        """Return a short text, unless that is the fault."""
        long = self._has("long repr")
        shown = self.kernel if long else tuple(self.kernel.shape)
        fault = "" if self._has(NONE) else f", fault={self.fault!r}"
        return f"FaultyBlur(in_shape={self.in_shape}, kernel={shown}, stride={self.stride}{fault})"


_ITERATED = (
    "absolute epsilon in data_prox",
    "inexact data_prox",
    "tau along the width",
    "one sample stops all",
    "options persist",
    "silent non-convergence",
)
Spoil = Callable[[FaultyBlur, Tensor], Tensor]


def _rebuilt(fields: dict[str, Any]) -> FaultyBlur:
    return FaultyBlur(**fields)


def _kernel_of(op: FaultyBlur) -> Tensor:
    """Return the kernel as the operator uses it: without a batch axis where one is for all."""
    kernel = op.kernel
    if op.fault == "first kernel for all samples":
        return kernel[:1].expand_as(kernel)
    if op.fault == "detached kernel":
        return kernel.detach()
    if op.fault in ("keeps a graph", "keeps an inference tensor"):
        kept: Tensor | None = getattr(op, "_derived_cache", {}).get("kernel")
        if kept is None:
            kept = kernel.exp().log() if kernel.is_complex() else kernel.abs().sqrt().square()
            object.__setattr__(op, "_derived_cache", {"kernel": kept})
        kernel = kept
    return kernel[0] if kernel.shape[0] == 1 else kernel


def _bad_prox(
    op: FaultyBlur, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
) -> Tensor:
    """Solve the normal equations by conjugate gradients, in one of several wrong ways."""
    steps, tol = max_steps, 1e-12 if rtol is None else rtol
    if op.fault == "tau along the width" and tau.ndim and tau.shape[0] == v.shape[-1]:
        tau = tau.reshape(-1)
    if op.fault == "options persist":
        steps = min(max_steps, getattr(op, "_derived_cache", {}).get("steps", max_steps))
        object.__setattr__(op, "_derived_cache", {"steps": steps})
    if op.fault == "inexact data_prox":
        tol = 1e-4
    b = v + tau * op._adjoint(y)
    if op.fault == "absolute epsilon in data_prox":
        tol = max(tol, 1e-8 / float(b.detach().abs().max() + 1e-300))
    found = conjugate_gradient(
        lambda z: z + tau * op._gram(z), b, op.in_space, rtol=tol, max_steps=steps
    )
    x = found.x
    if op.fault == "one sample stops all" and bool(b.isnan().any()):
        return b
    if op.fault == "options persist" and steps < max_steps:
        return x
    if op.fault != "silent non-convergence" and max_steps < 5:
        return ForwardOperator._data_prox(op, v, y, tau, rtol, max_steps)
    return x


class _Once(torch.autograd.Function):
    """The identity, differentiable once."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        return x.clone()

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, g: Tensor) -> Tensor:
        return g


def _stored(op: FaultyBlur, x: Tensor) -> Tensor:
    object.__setattr__(op, "last_input", x)
    return x


def _counted(op: FaultyBlur, x: Tensor) -> Tensor:
    cache = getattr(op, "_derived_cache", None) or {"calls": 0}
    cache["calls"] += 1
    object.__setattr__(op, "_derived_cache", cache)
    calls: int = cache["calls"]
    return x * (1 + 1e-6 * calls)


def _printed(op: FaultyBlur, x: Tensor) -> Tensor:
    print("convolving")  # the fault
    return x


def _with_odd_sizes_only(op: FaultyBlur, x: Tensor) -> Tensor:
    return x if op.in_shape[1] % 2 and op.in_shape[2] % 2 else x.roll(1, -1)


def _one_pixel(op: FaultyBlur, x: Tensor) -> Tensor:
    x = x.clone()
    x[..., 0, 0, -1] = x[..., 0, 0, -1] * 1.01
    return x


def _no_last_row(op: FaultyBlur, x: Tensor) -> Tensor:
    x = x.clone()
    x[..., -1, :] = 0
    return x


def _leaked(op: FaultyBlur, x: Tensor) -> Tensor:
    lead = x.ndim - 3 - len(op.batch_shape)
    return x + 1e-3 * x.mean(0, keepdim=True) if lead > 0 else x


def _rectified(op: FaultyBlur, x: Tensor) -> Tensor:
    return x if x.is_complex() else x.relu()


def _values_looked_at(op: FaultyBlur, x: Tensor) -> Tensor:
    return x if float(x.detach().abs().sum()) >= 0 else -x


def _out_of_the_graph(op: FaultyBlur, x: Tensor) -> Tensor:
    torch._dynamo.graph_break()
    return x


_BEFORE: dict[str, Spoil] = {
    "half precision inside": lambda op, x: x.to(_half(x.dtype)).to(x.dtype),
    "writes into its input": lambda op, x: x.detach().mul_(2).mul_(0.5) + 0 * x,
    "needs contiguous memory": lambda op, x: x.view(-1).view(x.shape),
    "one batch axis only": lambda op, x: x if x.ndim == 4 else x + x.mean(),
    "stores its input": _stored,
    "counts its calls": _counted,
    "prints": _printed,
    "leaks across the batch": _leaked,
    "spreads NaN": lambda op, x: x + 0 * x.sum(),
    "absolute threshold": lambda op, x: torch.where(x.abs() > 1e-5, x, 0),
    "rectified": _rectified,
    "no autograd": lambda op, x: x.detach(),
    "no double backward": lambda op, x: _Once.apply(x),  # type: ignore[no-untyped-call]
    "looks at values": _values_looked_at,
    "leaves the graph": _out_of_the_graph,
}
_AFTER: dict[str, Spoil] = {
    "constant offset": lambda op, y: y + 1e-9,
    "declares a false equivariance": _no_last_row,
}
_ADJOINT: dict[str, Spoil] = {
    "shifted grid in the adjoint": lambda op, x: x.roll(1, -1),
    "dropped border": _no_last_row,
    "scaled adjoint": lambda op, x: 1.001 * x,
    "one pixel 1 % off": _one_pixel,
    "adjoint right for odd sizes only": _with_odd_sizes_only,
    "wrong dtype": lambda op, x: x.to(_half(x.dtype)),
    "declares a false equivariance": lambda op, x: x,
}


def _half(dtype: torch.dtype) -> torch.dtype:
    """Return the dtype of half the precision."""
    return {torch.float64: torch.float32, torch.complex128: torch.complex64}.get(dtype, dtype)


@st.composite
def faulty_blurs(draw: st.DrawFn, fault: str = NONE) -> FaultyBlur:
    """Draw blurs of all sizes, strides and kinds, real and complex, with one kernel or several."""
    shape = draw(image_shapes(most=9))
    dtype = draw(st.sampled_from([torch.float64, torch.complex128]))
    batch = draw(st.sampled_from([1, 1, 3]))
    kernel = draw(kernels(batch=(batch,), most=4, dtype=dtype))
    return FaultyBlur(in_shape=shape, kernel=kernel, stride=draw(strides()), fault=fault)
