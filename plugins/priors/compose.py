"""Sums of priors, and priors within bounds.

Small on purpose: a class is here only where its proximal map, or its gradient, is exact or
iterated to a guaranteed error. Splitting schemes for anything else belong to solvers.
"""

from __future__ import annotations

import functools
import operator as _operator
from typing import Any

import attrs
import torch
from torch import Tensor
from wellposed import AnalysisPrior, Equivariance, ForwardOperator, SmoothPrior, Space, param
from wellposed.errors import IncompatibleError, ParameterError

from .bounded import BoundedProx, Bounds, check_order, clamp, meet
from .differences import identity_operator
from .dual import Accuracy, prox_by_dual
from .separable import Box
from .values import above, finite, picture_space

__all__ = ["Concatenated", "Constrained", "SmoothSum", "SumOfPriors"]


def _not_empty(instance: object, attribute: Any, value: tuple[object, ...]) -> None:
    base = SmoothPrior if isinstance(instance, SmoothSum) else AnalysisPrior
    if not isinstance(value, tuple):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects a tuple of priors; "
            f"got {type(value).__name__}."
        )
    wrong = [type(p).__name__ for p in value if not isinstance(p, base)]
    if not value or wrong:
        got = f"got {', '.join(wrong)}" if wrong else "got none"
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects at least one prior, each a "
            f"{base.__name__}; {got}."
        )


def _shown(value: object) -> str:
    """Name the priors inside; their parameters would make a long line."""
    names = [p.name for p in value] if isinstance(value, tuple) else [getattr(value, "name", "?")]
    return ", ".join(names)


def _is_analysis(instance: object, attribute: Any, value: object) -> None:
    if not isinstance(value, AnalysisPrior):
        raise ParameterError(
            f"{type(instance).__name__}.{attribute.name} expects an AnalysisPrior such as TV, L1 "
            f"or WaveletL1; got {type(value).__name__}."
        )


@attrs.frozen(eq=False, kw_only=True)
class SmoothSum(SmoothPrior):
    """A sum of differentiable priors: values, gradients and Lipschitz constants add.

    Each term has its own weight.
    Shapes: pictures `(*batch, C, H, W)`.
    Raises: ParameterError for no term, or one that is no SmoothPrior.
    Source: the definition, by linearity of the gradient.
    """

    priors: tuple[SmoothPrior, ...] = param(doc="The terms.", check=_not_empty, repr=_shown)

    def value(self, x: Tensor) -> Tensor:
        """Return the sum of the values for each sample; shape `batch`."""
        return functools.reduce(_operator.add, (p.value(x) for p in self.priors))

    def grad(self, x: Tensor) -> Tensor:
        """Return the sum of the gradients."""
        return functools.reduce(_operator.add, (p.grad(x) for p in self.priors))

    def lipschitz(self, space: Space) -> float:
        """Return the sum of the constants."""
        return sum(p.lipschitz(space) for p in self.priors)


@attrs.frozen(eq=False, kw_only=True)
class SumOfPriors(BoundedProx, AnalysisPrior):
    """A sum of analysis priors, such as total variation and a wavelet norm.

        R(x) = sum_i g_i(L_i x)

    Each term has its own weight. `L x` has the `L_i x` one after the other along its first axis,
    and its g is separable over them. The proximal map of a single term is its own; that of
    several is iterated until the dual gap guarantees `|x - exact| <= tolerance |v|`.

    Shapes: pictures `(*batch, C, H, W)`; L x `(*batch, n, C, H, W)`, n = 2 for a gradient, 1 for
    the identity or a wavelet transform.
    Raises: ParameterError for no term, or one that is no AnalysisPrior; IncompatibleError when an
    L_i x is not made of pictures of the size of x.
    Warns: NotConvergedWarning when the proximal map stops at max_steps.
    Cost: the proximal map: one L_i and one L_i^H of every term per step.
    Source: Lustig, Donoho, Pauly, 2007, Sparse MRI, MRM 58(6), equation (5), for such a sum;
    Beck and Teboulle, 2009, IEEE TIP 18(11), section IV, for the proximal map.
    """

    priors: tuple[AnalysisPrior, ...] = param(doc="The terms.", check=_not_empty, repr=_shown)
    tolerance: float = param(
        3e-3, doc="Guaranteed error of the proximal map, relative to |v|.", check=above(0)
    )
    max_steps: int = param(1000, doc="Budget of the proximal map.", check=above(0, whole=True))

    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample; shape `batch`."""
        space = picture_space(x, who=self.name)
        values = (p.analysis_value(p.analysis(space)._apply(x)) for p in self.priors)
        return functools.reduce(_operator.add, values)

    def analysis(self, space: Space) -> ForwardOperator:
        """Return the L_i, one after the other."""
        return Concatenated(tuple(p.analysis(space) for p in self.priors))

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return the sum of the g_i for each sample."""
        op = self._analysis_of(u)
        values = (p.analysis_value(part) for p, part in zip(self.priors, op.split(u), strict=True))
        return functools.reduce(_operator.add, values)

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return the proximal maps of the g_i, each of its own part."""
        op = self._analysis_of(u)
        parts = zip(self.priors, op.split(u), strict=True)
        return op.join([p.analysis_prox(part, tau) for p, part in parts])

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return `argmin_x R(x) + 1/(2 tau) |x - v|^2`."""
        return self.prox_within(v, tau, (None, None))

    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return `argmin over lower <= x <= upper of R(x) + 1/(2 tau) |x - v|^2`."""
        space = picture_space(v, who=self.name)
        first = self.priors[0]
        if len(self.priors) == 1 and isinstance(first, BoundedProx):
            return first.prox_within(v, tau, bounds)
        terms = [(p, p.analysis(space)) for p in self.priors]
        accuracy = Accuracy(self.tolerance, self.max_steps, self.name)
        return prox_by_dual(terms, v, tau, bounds=bounds, accuracy=accuracy)

    def _analysis_of(self, u: Tensor) -> Concatenated:
        op = self.analysis(Space(tuple(u.shape[-3:]), u.dtype))
        assert isinstance(op, Concatenated)
        op.out_space.check(u, who=self.name, name="u")
        return op


@attrs.frozen(eq=False, kw_only=True)
class Constrained(BoundedProx, AnalysisPrior):
    """A prior, with pixels kept within bounds.

        R(x) = prior(x) if lower <= x_i <= upper for all i, else infinity

    The proximal map is exact for `l1`, `zero` and `tikhonov` of the identity (the prior's own,
    then the clip); for any other, it is iterated with the projection inside, until the dual gap
    guarantees its error (for `tv` and `tikhonov`, with their own tolerance and budget). As an
    analysis prior, L is that of the prior followed by the identity.

    Shapes: pictures `(*batch, C, H, W)`, real; L x `(*batch, n + 1, C, H, W)`.
    Units: lower, upper: picture units; None is no bound.
    Raises: ParameterError for lower > upper, or a prior that is no AnalysisPrior; DtypeError for
    complex pictures.
    Warns: NotConvergedWarning when the proximal map stops at max_steps.
    Source: Beck and Teboulle, 2009, Fast gradient-based algorithms for constrained total variation
    image denoising and deblurring problems, IEEE TIP 18(11), equation (4.1).
    """

    prior: AnalysisPrior = param(
        doc="The prior inside the bounds.", check=_is_analysis, repr=_shown
    )
    lower: float | None = param(0.0, doc="Least value; none if None.", check=finite)
    upper: float | None = param(1.0, doc="Largest value; none if None.", check=finite)
    tolerance: float = param(
        3e-3,
        doc="Guaranteed error, relative to |v|, of a proximal map that the prior has no way for.",
        check=above(0),
    )
    max_steps: int = param(1000, doc="Budget of that proximal map.", check=above(0, whole=True))

    def __attrs_post_init__(self) -> None:
        check_order(self.lower, self.upper, who=self.name)

    def value(self, x: Tensor) -> Tensor:
        """Return R(x) for each sample, infinite outside the bounds; shape `batch`."""
        space = picture_space(x, who=self.name)
        inside = self.prior.analysis_value(self.prior.analysis(space)._apply(x))
        return inside + self._box.value(x)

    def analysis(self, space: Space) -> ForwardOperator:
        """Return L of the prior, then the identity."""
        return Concatenated((self.prior.analysis(space), identity_operator(space)))

    def analysis_value(self, u: Tensor) -> Tensor:
        """Return g of the first part, infinite when the second leaves the bounds."""
        inner, pixels = self._analysis_of(u).split(u)
        return self.prior.analysis_value(inner) + self._box.value(pixels)

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        """Return the prior's own of the first part, and the second moved within the bounds."""
        op = self._analysis_of(u)
        inner, pixels = op.split(u)
        return op.join([self.prior.analysis_prox(inner, tau), self._box.prox(pixels, tau)])

    def prox(self, v: Tensor, tau: Tensor | float) -> Tensor:
        """Return `argmin over lower <= x <= upper of R(x) + 1/(2 tau) |x - v|^2`."""
        return self.prox_within(v, tau, (None, None))

    def prox_within(self, v: Tensor, tau: Tensor | float, bounds: Bounds) -> Tensor:
        """Return the same within narrower bounds."""
        space = picture_space(v, who=self.name)
        bounds = meet((self.lower, self.upper), bounds, who=self.name)
        clamp(v, bounds, who=self.name)
        if isinstance(self.prior, BoundedProx):
            return self.prior.prox_within(v, tau, bounds)
        terms = [(self.prior, self.prior.analysis(space))]
        accuracy = Accuracy(self.tolerance, self.max_steps, self.name)
        return prox_by_dual(terms, v, tau, bounds=bounds, accuracy=accuracy)

    @property
    def _box(self) -> Box:
        return Box(lower=self.lower, upper=self.upper)

    def _analysis_of(self, u: Tensor) -> Concatenated:
        op = self.analysis(Space(tuple(u.shape[-3:]), u.dtype))
        assert isinstance(op, Concatenated)
        op.out_space.check(u, who=self.name, name="u")
        return op


@attrs.frozen(eq=False)
class Concatenated(ForwardOperator):
    """Operators from pictures to stacks of pictures of that size, one after the other.

    Shapes: x `(*batch, C, H, W)` -> `(*batch, n_1 + n_2 + ..., C, H, W)`, where an output
    `(C, H, W)` counts as n = 1.
    Raises: IncompatibleError when an output is of another shape.
    """

    ops: tuple[ForwardOperator, ...]

    def __attrs_post_init__(self) -> None:
        picture = self.in_space.shape
        for op in self.ops:
            shape = op.out_space.shape
            if shape[-3:] != picture or len(shape) > 4 or op.out_space.dtype != self.in_space.dtype:
                raise IncompatibleError(
                    f"a sum of priors needs analysis operators to pictures of the size of x, "
                    f"{picture}, or stacks of them; {op.name} gives {shape}."
                )

    @property
    def in_space(self) -> Space:
        """The common one."""
        return self.ops[0].in_space

    @property
    def out_space(self) -> Space:
        """A stack of pictures."""
        return Space((sum(self._counts), *self.in_space.shape), self.in_space.dtype)

    def equivariance(self) -> Equivariance | None:
        """That of the operators when none has a stride."""
        known = [op.equivariance() for op in self.ops]
        if any(k is None or k.stride != 1 for k in known):
            return None
        return Equivariance(channelwise=all(k.channelwise for k in known if k))

    def split(self, u: Tensor) -> list[Tensor]:
        """Return the part of each operator, in its own shape."""
        parts = u.split(self._counts, -4)
        return [
            p if op.out_space.ndim == 4 else p.squeeze(-4)
            for op, p in zip(self.ops, parts, strict=True)
        ]

    def join(self, parts: list[Tensor]) -> Tensor:
        """Return the stack of the parts."""
        stacks = (
            p if op.out_space.ndim == 4 else p.unsqueeze(-4)
            for op, p in zip(self.ops, parts, strict=True)
        )
        return torch.cat(list(stacks), -4)

    def _apply(self, x: Tensor) -> Tensor:
        return self.join([op._apply(x) for op in self.ops])

    def _adjoint(self, y: Tensor) -> Tensor:
        parts = zip(self.ops, self.split(y), strict=True)
        return functools.reduce(_operator.add, (op._adjoint(part) for op, part in parts))

    def _gram(self, x: Tensor) -> Tensor:
        return functools.reduce(_operator.add, (op._gram(x) for op in self.ops))

    @property
    def _counts(self) -> list[int]:
        return [op.out_space.shape[0] if op.out_space.ndim == 4 else 1 for op in self.ops]
