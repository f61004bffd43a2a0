"""`DlNet`: the deep likelihood network."""

from __future__ import annotations

from typing import Any, ClassVar, Self

import attrs
import torch
from torch import Tensor
from wellposed import (
    DirectSolver,
    NetworkSpec,
    NetworkView,
    Problem,
    Reconstruction,
    SplitNetwork,
    param,
    real_number,
    short,
    whole_number,
)
from wellposed.errors import IncompatibleError
from wellposed.training import trained_solver

from .recursion import ADAM_FORMS, refine

__all__ = ["DlNet"]

_FEEDS = ("estimate", "measurement")


@attrs.frozen(eq=False, kw_only=True)
class DlNet(DirectSolver):
    """Restore by a network whose last hidden representation is moved until it fits the measurement.

        z = g(y),    K - 1 times:  z <- z - ADAM of grad_z 1/2 |A h(z) - y|^2,    x = h(z)

    f = h g is any network that is cut in two: h is its last activation and its last layer, g all
    that comes before. Only A and its adjoint are asked for, so any linear operator will do; its
    parameters enter nowhere else, which is how one network serves a whole range of them. The
    gradient is written out with the adjoints of A and h. Training differentiates through the
    steps once; no gradient of a gradient is formed.

    Without `trained` or `weights`, the installed weights are searched for some that were trained
    for operators as hard as this one.

    The paper has K = 5, that is 4 steps, and gamma = 1e-3 (1e-2 for interpolation), the defaults.
    Departures from it, each in `refine`, `NetworkView` or the network:
    - 1 / (2 sigma^2) of equation (2) is 1/2: ADAM does not see the scale, but for its 1e-16.
    - In training, the first step, `rate sign(g)`, is a constant: its derivative is 0, and what
      autograd returns for it is rounding.
    - For a network for [-1, 1], `2 A x - A 1` is compared with `2 y - A 1`, which keeps A linear.
    - The paper's A is a mask, or a blur and a reduction; here it is any linear operator.
    - Known pixels of a picture without noise stay as they are unless told otherwise
      (`keep_measured`), as in tables VI and VII; in II and III they do not.
    - `adam: bias_corrected` is ADAM as its own paper has it; equation (5) divides by 1 - b1 and
      1 - b2 in every step. Luminance PSNR on Set5 x2 for a blur of width u, by the weights
      `super_resolution_x2_small`, trained as printed (`benchmarks dlnet --table XII --params`):

        u                           0     1.3     2.6
        bicubic                 33.66   29.93   26.31 dB
        K = 1                   31.51   31.60   31.78
        printed                 35.51   34.71   32.61
        bias_corrected          34.99   34.27   32.59
        the same, rate 1.41e-3  35.54   34.75   32.64

      so that the printed form is a rate larger by 1.41, as much as its steps are longer in all.

    Shapes: y `(*batch, *out_space.shape)` -> x `(*batch, C, H, W)`, of any size: see
    `NetworkView` for tiles and colour.
    Units: pictures in [0, 1].
    Raises: IncompatibleError, with the command that trains weights, for an operator that no
    weights were trained for; WeightsError.
    Cost: that of the network, and K - 1 times that of A, its adjoint, h and its adjoint. z and
    its moments are kept whole: with 64 features in float32, 1.5 GB for each megapixel of z (1 GB
    for K = 1), as measured with VDSR on a CPU.
    Source: Guo et al., 2021, Deep likelihood network for image restoration with multiple
    degradation levels, equations (4) and (5).
    """

    homogeneous: ClassVar[bool] = False
    takes_conditions: ClassVar[bool] = True

    network: NetworkSpec | None = param(
        None, doc="The network to train; left out, that of the weights."
    )
    trained: SplitNetwork | None = param(
        None, doc="The network itself: used as it is, whatever it was trained for.", repr=short
    )
    weights: str | None = param(
        None,
        doc="Path of a weights file, or the name of installed ones; left out, those that suit the "
        "operator.",
    )
    steps: int | None = param(
        None,
        doc="K, how often h is evaluated; 1 is the network by itself. Left out, as it was trained; "
        "5 for a new network.",
        check=whole_number(1),
    )
    rate: float | None = param(
        None,
        doc="gamma, the rate of ADAM. Left out, as it was trained; 1e-3 for a new network.",
        check=real_number(above=0),
    )
    adam: str | None = param(
        None,
        doc="ADAM as printed in equation (5), whose steps grow, or with its bias correction. Left "
        "out, as it was trained; printed for a new network.",
        choices=ADAM_FORMS,
    )
    feed: str | None = param(
        None,
        doc="What the network is given, the measurement or the operator's initial estimate. Left "
        "out, as it was trained; a new network takes the measurement if it enlarges.",
        choices=_FEEDS,
    )

    keep_measured: bool | None = param(
        None,
        doc="Whether to end with `x + A^H (A A^H)^-1 (y - A x)`, which fits y exactly: known "
        "pixels stay, as in tables VI and VII. For masks and whatever has orthogonal rows. Left "
        "out, where those do not see everything and no noise is told of; in training never.",
    )

    def for_training(self, *, seed: int) -> Self:
        """Return the solver with a new network, its weights drawn from `seed`.

        Raises: IncompatibleError without a network, or with one that is not cut in two.
        """
        if self.network is None:
            raise IncompatibleError(
                "dlnet needs a network to train; give network: {name: vdsr}, or another.",
                where="network",
            )
        built = self.network.build(seed=seed)
        if not isinstance(built, SplitNetwork):
            raise IncompatibleError(
                f"dlnet needs a network that is cut before its last activation, a SplitNetwork; "
                f"{type(built).__name__} is not. Train it by itself, with `network:`.",
                where="network",
            )
        return attrs.evolve(self, trained=built, keep_measured=bool(self.keep_measured))

    def _reconstruct(self, problem: Problem) -> Tensor | Reconstruction:
        if self.trained is not None:
            return self._restored(problem)
        ready = self._loaded(problem)
        return Reconstruction(image=ready._restored(problem), solver=ready)

    def _restored(self, problem: Problem) -> Tensor:
        net = self.trained
        assert net is not None
        view = NetworkView.of(
            net,
            problem.linear,
            problem.measurement,
            feed=self.feed,
            conditions=problem.conditions,
        )
        tiles = refine(
            view.features(),  # with no name here, so that its memory is free after the first step
            net,
            view.tiles_grad,
            updates=(self.steps or 5) - 1,
            rate=self.rate or 1e-3,
            adam=self.adam or ADAM_FORMS[0],
        )
        with torch.autocast(tiles.device.type, enabled=False):
            x = view.picture(view.joined(tiles))
            keep = _is_kept(problem) if self.keep_measured is None else self.keep_measured
            return _kept(problem, x) if keep else x

    def _loaded(self, problem: Problem) -> Self:
        """Return this solver with trained weights, and what else it leaves to them."""
        solver, path = trained_solver("dlnet", problem, self.weights, network=self.network)
        found: Any = solver
        if not isinstance(getattr(found, "trained", None), SplitNetwork):
            raise IncompatibleError(
                f"{path} belongs to {found.name}, whose network is not cut in two. Take "
                "that solver.",
                where="weights",
            )
        names = ("steps", "rate", "adam", "feed")
        mine = {name: getattr(self, name) for name in names}
        kept: dict[str, Any] = {
            n: getattr(found, n, None) if v is None else v for n, v in mine.items()
        }
        return attrs.evolve(self, trained=found.trained, weights=str(path), **kept)


def _is_kept(problem: Problem) -> bool:
    """Whether the measurement is worth more than what a network makes of it, where it says all."""
    op = problem.linear
    gram = op.row_gram()
    sees_less = isinstance(gram, Tensor) or op.out_space.numel < op.in_space.numel
    return problem.noise is None and gram is not None and sees_less


def _kept(problem: Problem, x: Tensor) -> Tensor:
    """Return the picture nearest to x that gives the measurement."""
    op, y = problem.linear, problem.measurement
    gram = op.row_gram()
    if gram is None:
        raise IncompatibleError(
            f"keep_measured needs an operator with orthogonal rows, such as a mask; got {op.name}. "
            "Leave it out.",
            where="keep_measured",
        )
    missing = y - op._apply(x)
    scale = torch.as_tensor(gram, dtype=y.real.dtype, device=y.device)
    seen = scale > 0
    return x + op._adjoint(torch.where(seen, missing / torch.where(seen, scale, 1), 0))
