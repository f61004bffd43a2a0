"""`GenerativeBilinear`: two unknowns, a generator for each, and one measurement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

import attrs
import torch
from torch import Tensor
from wellposed import (
    BilinearOperator,
    ComposedBilinear,
    ForwardOperator,
    GenerativePrior,
    Identity,
    Needs,
    Problem,
    param,
    real_number,
    whole_number,
)
from wellposed.errors import IncompatibleError

from . import fields
from .descent import Block, LatentDescent
from .parts import (
    bilinear_of,
    image_block,
    normalised,
    operator_at,
    parameter_block,
    squared_residual,
)
from .projection import GenerativeProjection
from .updates import UPDATES

__all__ = ["GenerativeBilinear"]


@attrs.frozen(eq=False, kw_only=True)
class GenerativeBilinear(LatentDescent):
    """Recover w and x from `y = A(w, x)`, with a generator for each: blind deblurring and others.

        argmin_{h, m}  data_weight |y - A(B(h), C(m))|^2 + lambda |h|^2 + gamma |m|^2

    by gradient descent from random starts, with w = B(h) and x = C(m). B is `parameter_prior`, C
    the problem's prior; A is any bilinear operator (`convolution`, `product`), or known operators
    after one: `mask @ convolution`. The restart with the smallest `|y - A(w, x)|^2` wins.

    What the paper uses (all with 10 restarts; the defaults are those for MNIST):

        data     step_size  decay  max_steps  parameter_penalty  image_penalty
        MNIST    0.01       250    1500       0.1                0.1
        SVHN     0.01       1000   6000       0.1                0.1
        CelebA   0.001      None   10000      0.001              0.001

    `update`: "jacobi", algorithm 1 of the paper: both gradients at the old point; "gauss_seidel":
    h moves first, and m sees it; "normalised", the authors' code: likewise, with the gradient of
    each code divided by its root mean square (plus 1e-5); "adam": both at the old point.
    The authors' code uses "normalised", 0.01 e^(-t / 1000) and penalties of 0.01 throughout.

    `halve_every`, beyond the paper: most restarts are behind for good long before the last step.
    After every so many steps the worse half of each picture's restarts, by their loss, comes to
    rest; of 10 go on 5, 3, 2, 1. A fifth of `max_steps` (300 of the 1500 for MNIST) does 0.42 of
    the work, and of 100 digits 92 succeed instead of 93, 0.01 dB lower on average (`benchmarks
    generative_bilinear --count 100 --halve-every 300`). A restart at rest may still win, and takes
    the place of one that diverges.

    Scale of the loss: here the squares are summed over the pixels and channels of y, as in
    equation (6), and in (7) with its orthonormal DFT. The authors' code sums those of an
    unnormalised DFT, which are H W times as large; beside them its penalties of 0.01 weigh as
    0.01 / 4096 for 64 x 64 pixels (CelebA), and 0.01 / 1024 for 32 x 32 (SVHN). For what it
    minimises, set data_weight to H W; plain steps must then be so many times smaller, those of
    "normalised" and "adam" need not.

    Ambiguities: `(a w, x / a)` fits as well as (w, x), and for a circular convolution so does a
    shift of w against x. Only the two generators decide. The picture and the kernel are returned
    as they were estimated; extras hold the kernel with a sum of one as well. Compare with a truth
    by `aligned`, which takes out the best shift and scale.

    Shapes: y `(*batch, *out_space.shape)` -> x `(*batch, C, H, W)`. The solution's operator is the
    linear one at w (several batch axes made one). extras: `parameter` and `parameter_normalised`,
    w `(*batch, *w_space.shape)`; `losses (*batch, restarts)`, the squared residuals, infinite
    where a restart diverged; `best`, the index of the winner; `latents`, codes of all restarts.
    Each picture has the same starts, whatever else is in the batch, and a diverged restart is
    left behind. No gradient goes through the solution.
    Units: pictures as C makes them; a generator of [-1, 1] says so (see `generator`).
    Raises: IncompatibleError when a generator does not fit the operator, or for an initial picture.
    Cost: one forward and one backward pass of both generators for each step of each restart; taking
    turns costs one more forward pass of B on CUDA, where a step keeps nothing for the next one.
    Source: Asim, Shamshad and Ahmed, 2018, Solving bilinear inverse problems using deep generative
    priors, equations (5) to (7) and algorithm 1. As the paper's Wirtinger gradients do, the step
    goes along half the real gradient. They are printed without the conjugates of F B(h) and
    F C(m), and the one for m with one sqrt(L) too many; here they are those of equation (6).
    """

    needs: ClassVar[Needs] = Needs(operators=(BilinearOperator,), priors=(GenerativePrior,))
    homogeneous: ClassVar[bool] = False

    parameter_prior: GenerativePrior = fields.parameter_prior()
    restarts: int = param(10, doc="Random starts; the best one wins.", check=whole_number(1))
    halve_every: int | None = fields.halve_every()
    max_steps: int = param(1500, doc="Number of steps.", check=whole_number(1))
    tolerance: float = fields.tolerance()
    step_size: float = fields.step_size(0.01)
    decay: float | None = fields.decay(250.0)
    parameter_penalty: float = param(
        0.1,
        doc="lambda, the weight of |h|^2.",
        check=real_number(least=0),
        repr=False,
    )
    image_penalty: float = param(
        0.1, doc="gamma, the weight of |m|^2.", check=real_number(least=0), repr=False
    )
    data_weight: float = param(
        1.0,
        doc="Weight of the squared residual, summed over pixels and channels; the authors' code "
        "amounts to H W.",
        check=real_number(above=0),
        repr=False,
    )
    update: str = param("jacobi", doc="How the two codes move.", choices=UPDATES)
    start: str = param(
        "normal",
        doc="Where m starts: drawn from N(0, I), as h is; or, from there, the projection of y: "
        "fitted to y as if w were not there (the first line of algorithm 1).",
        choices=("normal", "projection"),
    )
    start_steps: int = param(
        100,
        doc="Steps of that projection, of the first step's size.",
        check=whole_number(1),
        repr=False,
    )

    def _blocks(self, problem: Problem) -> Sequence[Block]:
        return (
            parameter_block(self.name, self.parameter_prior, problem, self.parameter_penalty),
            image_block(self.name, problem, self.image_penalty),
        )

    def _energy(self, problem: Problem, parts: Sequence[Tensor]) -> tuple[Tensor, Tensor]:
        squares = squared_residual(problem, bilinear_of(problem)(*parts))
        return 0.5 * self.data_weight * squares, squares

    def _starts(self, problem: Problem, points: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        if self.start == "normal":
            return points
        h, m = points
        alone = GenerativeProjection(
            restarts=self.restarts,
            step_size=self.step_size,
            update=self.update if self.update in ("normalised", "adam") else "gradient",
        )
        after = attrs.evolve(problem, operator=_after(self.name, problem))
        state = attrs.evolve(alone.init(after), points=(m,))
        for _ in range(self.start_steps):
            state = alone.step(after, state)
        good = state.points[0].isfinite().flatten(state.losses.ndim).all(-1)
        good = good[(...,) + (None,) * (m.ndim - good.ndim)]
        return h, torch.where(good, state.points[0], m)

    def _operator(self, problem: Problem, shown: Sequence[Tensor]) -> ForwardOperator:
        return operator_at(problem, shown[0])

    def _extras(self, shown: Sequence[Tensor]) -> Mapping[str, Any]:
        return {"parameter": shown[0], "parameter_normalised": normalised(shown[0])}


def _after(who: str, problem: Problem) -> ForwardOperator:
    """Return the known operators that come after the bilinear one."""
    inner = bilinear_of(problem)
    total: ForwardOperator = Identity(inner.out_space)
    while isinstance(inner, ComposedBilinear):
        total, inner = total @ inner.outer, inner.inner
    if inner.out_space != problem.image_space:
        raise IncompatibleError(
            f"{who}.start='projection' compares the measurement with pictures; {inner.name} turns "
            f"pictures of shape {inner.x_space.shape} into {inner.out_space.shape}. Take "
            "start='normal'."
        )
    return total
