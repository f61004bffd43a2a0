"""The ways to compute a strided convolution and its adjoint: direct, separable, by FFT.

Everywhere, `y[i] = sum_j k[j] x[offset + stride i + n // 2 - j]` along each axis, for a kernel of
n taps; equally `y[i] = sum_m r[m] e[stride i + m]` with the reversed kernel r and the extended
picture e (see `geometry.Axis`). Every way gives the same numbers up to rounding.
"""

from __future__ import annotations

import math
from typing import Any, cast

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor
from wellposed import ChannelSpectra, Equivariance, ForwardOperator, Space, derived

from .boundary import extend, fold
from .convolution_cost import cheapest
from .direct import direct, direct_adjoint, is_shared
from .estimate import gain_of, interpolation
from .geometry import Axis, Geometry

__all__ = ["Convolution", "chosen_method", "place", "spectra"]


class Convolution(ForwardOperator):
    """What `Blur` and `StridedBlur` share; both hold a kernel, its geometry and a method."""

    kernel: Tensor
    plan: Geometry
    method: str

    @property
    def in_space(self) -> Space:
        """Pictures of `in_shape` and the kernel's dtype."""
        return self.plan.in_space

    @property
    def out_space(self) -> Space:
        """Pictures of the kept pixels."""
        return self.plan.out_space

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """`(B,)` for one kernel per sample."""
        return (self.kernel.shape[0],) if self.kernel.shape[0] > 1 else ()

    def equivariance(self) -> Equivariance | None:
        """Commutes with shifts by the stride, when circular and a whole number of strides wide."""
        return Equivariance(stride=self.plan.stride) if self.plan.periodic else None

    def _apply(self, x: Tensor) -> Tensor:
        method = chosen_method(self, x)
        if method == "direct":
            return direct(self, x)
        return _separable(self, x) if method == "separable" else _fft(self, x)

    def _adjoint(self, y: Tensor) -> Tensor:
        method = chosen_method(self, y, adjoint=True)
        if method == "direct":
            return direct_adjoint(self, y)
        return _separable_adjoint(self, y) if method == "separable" else _fft_adjoint(self, y)

    def _gram(self, x: Tensor) -> Tensor:
        if self.plan.periodic and chosen_method(self, x) == "fft":
            return spectra(self).gram(x)
        return self._adjoint(self._apply(x))

    def _data_prox(
        self, v: Tensor, y: Tensor, tau: Tensor, rtol: float | None, max_steps: int
    ) -> Tensor:
        if self.plan.periodic:
            transform = spectra(self)
            if self.plan.stride == 1 or chosen_method(self, v) == "fft":
                return transform.prox(v, y, tau)
            return v + self._adjoint(transform.damped(y - self._apply(v), tau))
        return super()._data_prox(v, y, tau, rtol, max_steps)

    def _initial_estimate(self, y: Tensor) -> Tensor:
        """Interpolate: unlike a scaled adjoint, that blurs no further and keeps the brightness."""
        kernel, g = self.kernel, self.plan

        def compute() -> tuple[Tensor, Tensor, Tensor]:
            circular = g.periodic
            rows = interpolation(kernel, -2, g.rows, circular=circular)
            columns = interpolation(kernel, -1, g.columns, circular=circular)
            return rows, columns, gain_of(kernel)

        rows, columns, gain = derived(self, "interpolation", compute, kernel)
        return rows @ (y / gain) @ columns.mT

    def _norm_bound(self) -> Tensor:
        if not self.plan.periodic:
            _, height, width = self.in_space.shape
            if self.kernel.shape[1] == 1 and self.in_space.shape[0] > 1:  # all channels are alike
                one: Convolution = attrs.evolve(cast(Any, self), in_shape=(1, height, width))
                return one.norm_bound()
            return super()._norm_bound()
        with torch.no_grad():
            return spectra(self).squared_norm().sqrt().expand(self.batch_shape)


def chosen_method(op: Convolution, like: Tensor, *, adjoint: bool = False) -> str:
    """Return the method of the operator, or the cheapest one for a batch as that of `like`."""
    if op.method in ("direct", "fft"):
        return op.method
    factors = _factors(op)
    if op.method == "separable":
        return "direct" if factors is None else "separable"
    return cheapest(
        op.plan,
        math.prod(like.shape[:-3]),
        adjoint=adjoint,
        separable=factors is not None,
        shared=is_shared(op),
        dtype=op.kernel.dtype,
        learned=op.kernel.requires_grad and torch.is_grad_enabled(),
        on_cuda=like.is_cuda,
    )


# ---- separable ------------------------------------------------------------------------------


def _separable(op: Convolution, x: Tensor) -> Tensor:
    rows, columns = _matrices(op)
    h, w = op.plan.out_space.shape[1:]
    # The axis that shrinks more goes first.
    if h * op.plan.columns.size < w * op.plan.rows.size:
        return (rows @ x) @ columns.mT
    return rows @ (x @ columns.mT)


def _separable_adjoint(op: Convolution, y: Tensor) -> Tensor:
    rows, columns = _matrices(op)
    return rows.mH @ (y @ columns.conj())


def _matrices(op: Convolution) -> tuple[Tensor, Tensor]:
    """Return the matrices of the two passes, boundary included, `(*, h, H)` and `(*, w, W)`."""
    factors = _factors(op)
    assert factors is not None

    def compute() -> tuple[Tensor, Tensor]:
        g = op.plan
        return (
            _banded(factors[0], g.rows, g.boundary),
            _banded(factors[1], g.columns, g.boundary),
        )

    return derived(op, "matrices", compute, op.kernel)


def _banded(taps: Tensor, axis: Axis, boundary: str) -> Tensor:
    """Return the matrix of a one-dimensional convolution with taps `(B, C, n)`."""
    identity = torch.eye(axis.size, dtype=taps.dtype, device=taps.device)
    extended = extend(identity, axis.margin, (0, 0), boundary)
    weight = taps.flip(-1).reshape(-1, 1, axis.taps)
    matrix = F.conv1d(extended.T[:, None], weight, stride=axis.stride)  # (size, B C, count)
    matrix = matrix.permute(1, 2, 0).reshape(*taps.shape[:2], axis.count, axis.size)
    if taps.shape[0] == 1:
        return matrix[0, 0] if taps.shape[1] == 1 else matrix[0]
    return matrix


def _factors(op: Convolution) -> tuple[Tensor, Tensor] | None:
    """Return a column `(B, C, kh)` and a row `(B, C, kw)` whose products are the kernel; or None.

    Looked for once; never in a kernel that is being learned, whose rank may change at any step.
    """
    kernel = op.kernel
    return derived(op, "factors", lambda: _rank_one(kernel), kernel)


def _rank_one(kernel: Tensor) -> tuple[Tensor, Tensor] | None:
    if _is_open(kernel):
        return None
    with torch.no_grad():
        if not bool(torch.isfinite(kernel).all()):  # one sample's, which must not stop the others
            return None
        u, s, vh = torch.linalg.svd(kernel, full_matrices=False)
        if s.shape[-1] > 1:
            limit = 8 * torch.finfo(kernel.dtype).eps * s[..., 0]
            if not bool((s[..., 1] <= limit).all()):
                return None
        root = s[..., :1].sqrt()
        return u[..., 0] * root, vh[..., 0, :] * root


def _is_open(kernel: Tensor) -> bool:
    """Whether the kernel is being differentiated or traced, so that its rank may not be used."""
    wrapped = torch._C._functorch.is_functorch_wrapped_tensor(kernel)
    return kernel.requires_grad or wrapped or torch.compiler.is_compiling()


# ---- FFT ------------------------------------------------------------------------------------


def _fft(op: Convolution, x: Tensor) -> Tensor:
    g, transform = op.plan, spectra(op)
    if g.periodic:
        return transform.apply(x)
    # What lies beyond the reach of the kept outputs is not read by them, whatever it is.
    rows, columns = g.rows.fft_margin, g.columns.fft_margin
    y = transform.apply(extend(x, rows, columns, g.boundary))
    return y[..., : g.rows.count, : g.columns.count]


def _fft_adjoint(op: Convolution, y: Tensor) -> Tensor:
    g, transform = op.plan, spectra(op)
    if g.periodic:
        return transform.adjoint(y)
    h, w = transform.size
    x = transform.adjoint(F.pad(y, (0, w - y.shape[-1], 0, h - y.shape[-2])))
    x = x[..., : g.rows.reach, : g.columns.reach]
    return fold(x, g.rows.margin, g.columns.margin, g.boundary)


def spectra(op: Convolution) -> ChannelSpectra:
    """Return the Fourier form, remembered; of the extended picture unless that is periodic."""
    g, kernel = op.plan, op.kernel
    key = "spectra" if g.periodic else "spectra of the extended picture"
    return derived(
        op, key, lambda: ChannelSpectra.of_impulse(_impulse(g, kernel), g.stride), kernel
    )


def _impulse(g: Geometry, kernel: Tensor) -> Tensor:
    """Return the adjoint's answer to a pixel at the origin, `(1|C, H, W)` or `(B, 1|C, H, W)`."""
    reverse = kernel.conj().resolve_conj().flip(-2, -1)
    reverse = reverse[0] if kernel.shape[0] == 1 else reverse
    if g.periodic:
        reverse = place(reverse, -1, g.columns.size, g.columns.first - g.columns.left)
        return place(reverse, -2, g.rows.size, g.rows.first - g.rows.left)
    height, width = (axis.fft_count * g.stride for axis in (g.rows, g.columns))
    return F.pad(reverse, (0, width - reverse.shape[-1], 0, height - reverse.shape[-2]))


def place(taps: Tensor, dim: int, size: int, start: int) -> Tensor:
    """Lay taps along a periodic axis of `size` from `start` on; they wrap around and add up."""
    turns = -(-taps.shape[dim] // size)
    missing = turns * size - taps.shape[dim]
    padded = F.pad(taps, (0, missing) if dim == -1 else (0, 0, 0, missing))
    if turns > 1:
        padded = padded.unflatten(dim, (turns, size)).sum(dim - 1)
    return padded.roll(start % size, dim)
