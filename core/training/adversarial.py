"""An adversarial loss: restored pictures shall not be told from real ones."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Literal, final

import attrs
import torch
import torch.nn.functional as F
import wellposed.registry as reg
from torch import Tensor, nn
from wellposed.registry import param

from ..errors import ParameterError
from ..network import Network, NetworkSpec
from .averages import RunningMean, average_gradients, clip_gradients
from .discriminator import Discriminator
from .restored import PICTURE
from .runtime import mixed_precision
from .strategy import Outcome, Strategy

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from .recipe import Recipe

__all__ = ["Adversarial", "AdversarialRecipe"]


@attrs.frozen(kw_only=True)
class AdversarialRecipe:
    """The adversarial part of a loss, and its discriminator, which is trained by Adam."""

    of: tuple[str, ...] = param(
        (PICTURE,), doc="what shall not be told from real pictures: the picture, and parts of the "
        "solver by name; one discriminator for all of them",
    )  # fmt: skip

    weight: float = param(1e-3, doc="factor of the adversarial loss", check=attrs.validators.gt(0))
    loss: Literal["non_saturating", "least_squares"] = param(
        "non_saturating", doc="non_saturating: binary cross-entropy; least_squares"
    )
    real_label: float = param(
        1.0, doc="target of the discriminator for real pictures; 0.9, say, smooths it",
        check=attrs.validators.and_(attrs.validators.gt(0), attrs.validators.le(1)),
    )  # fmt: skip
    fake_label: float = param(
        0.0, doc="its target for restored pictures",
        check=attrs.validators.and_(attrs.validators.ge(0), attrs.validators.lt(1)),
    )  # fmt: skip
    wanted_label: float = param(
        1.0, doc="what restored pictures are to be taken for",
        check=attrs.validators.and_(attrs.validators.gt(0), attrs.validators.le(1)),
    )  # fmt: skip
    every: int = param(
        1, doc="the discriminator learns in each so many-th step of what it judges, as in DCGANs "
        "whose generator takes two steps for each of its own",
        check=attrs.validators.ge(1),
    )  # fmt: skip
    clip: float | None = param(
        None, doc="largest 2-norm of the discriminator's gradient; default: unbounded",
        check=attrs.validators.optional(attrs.validators.gt(0)),
    )  # fmt: skip
    rate: float = param(
        2e-4, doc="learning rate of the discriminator; the recipe's schedule multiplies it",
        check=attrs.validators.gt(0),
    )  # fmt: skip
    betas: tuple[float, float] = param((0.5, 0.999), doc="decay of Adam's two moments")
    width: int = param(
        64, doc="channels of the first layer of the default discriminator",
        check=attrs.validators.ge(1),
    )  # fmt: skip
    batch_norm: bool = param(True, doc="normalise in the default discriminator")
    discriminator: Any = param(
        None,
        doc="a network instead, each pixel of whose output is a logit: a name, or a mapping of "
        "name and params",
    )

    def __attrs_post_init__(self) -> None:
        if not all(0 <= beta < 1 for beta in self.betas):
            raise ParameterError(
                f"expected two numbers from 0 to below 1; got {list(self.betas)}", where="betas"
            )
        if not self.of or len(set(self.of)) < len(self.of):
            raise ParameterError(
                f"expected names, each once, such as [{PICTURE}]; got {list(self.of)}", where="of"
            )
        if self.fake_label >= self.real_label:
            raise ParameterError(
                f"expected less than real_label, {self.real_label:g}; got {self.fake_label:g}",
                where="fake_label",
            )
        if not isinstance(self.discriminator, str | Mapping | None):
            raise ParameterError(
                "expected a name, or a mapping of name and params, so that the recipe can be kept; "
                f"got {type(self.discriminator).__name__}",
                where="discriminator",
            )


@final
class Adversarial(Strategy):
    """Adds the loss of a discriminator D that is trained beside the learner f.

        D: l(x, r) + sum_v l(v, s)      f: sum_v l(v, t)

        non_saturating   l(v, t) = -t log p(v) - (1 - t) log(1 - p(v)),   p = 1 / (1 + exp(-D))
        least_squares    l(v, t) = (D(v) - t)^2 / 2

    each a mean over samples; r, s, t are `real_label`, `fake_label`, `wanted_label`, and v is the
    restored picture f(y), or every part of it that `of` names. In each step, or each `every`-th, D
    learns first, from what f restores in this step, and then f is told by the new D. D stays in the
    checkpoint; it is no part of the weights. Losses are float32 in any precision. Several processes
    share one D; with batch normalisation each takes its statistics from its own samples.

    Source: Goodfellow et al., 2014, Generative adversarial nets, NIPS; Mao et al., 2017, Least
    squares generative adversarial networks, ICCV; soft labels, and one D for z and x: Fan et al.,
    2017, InverseNet, equations (9) to (12). For restored pictures Pathak et al., 2016,
    Context encoders, CVPR, section 3.2 and equation 3: 0.999 of the l2 loss on [-1, 1] and 0.001
    of this. As l2 is four times smaller on [0, 1], that ratio is a weight of
    0.001 / 0.999 / 4 = 2.5e-4 here; the default is their figure as it is written.
    """

    columns = ("adversarial", "discriminator")

    def __init__(
        self,
        recipe: Recipe,
        given: AdversarialRecipe,
        fabric: Fabric,
        shape: tuple[int, int, int],
    ) -> None:
        """Make the discriminator for crops of a shape, its weights drawn from the seed."""
        self._recipe, self._given, self._fabric = recipe, given, fabric
        self.discriminator = _discriminator(given, shape, recipe.seed).to(fabric.device)
        self._optimiser = torch.optim.Adam(self.discriminator.parameters(), given.rate, given.betas)
        self._means = {name: RunningMean(fabric) for name in self.columns}

    def objective(self, so_far: Tensor, outcome: Outcome) -> Tensor:
        """Let the discriminator learn, and add what it says of the restored pictures."""
        assert outcome.truth is not None
        found = [outcome.restored.like(name, outcome.truth) for name in self._given.of]
        if outcome.step % self._given.every == 0:
            self._learn(outcome.truth, [v.detach() for v in found], outcome.step)
        # D's weights enter as constants: no gradient is computed for them, and none is left.
        fixed = {name: p.detach() for name, p in self.discriminator.named_parameters()}
        wanted = self._given.wanted_label
        loss = torch.stack([self._loss(self._logits(v, fixed), wanted) for v in found]).sum()
        self._means["adversarial"].add(loss)
        return so_far + self._given.weight * loss

    def figures(self) -> Mapping[str, float]:
        """Return the mean losses of f, unweighted, and of D where it has learnt."""
        found = {n: float(mean.value()) for n, mean in self._means.items() if not mean.empty}
        for mean in self._means.values():
            mean.reset()
        return found

    def state(self) -> dict[str, Any]:
        """Return the discriminator and its optimiser."""
        return {
            "discriminator": self.discriminator.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            "means": {name: mean.state() for name, mean in self._means.items()},
        }

    def load(self, state: Mapping[str, Any]) -> None:
        """Take up the discriminator and its optimiser."""
        self.discriminator.load_state_dict(state["discriminator"])
        self._optimiser.load_state_dict(state["optimiser"])
        for name, mean in self._means.items():
            mean.load(state["means"][name])

    def _learn(self, real: Tensor, restored: Sequence[Tensor], step: int) -> None:
        recipe = self._recipe
        for group in self._optimiser.param_groups:
            group["lr"] = self._given.rate * recipe.schedule.fraction(step, recipe.steps)
        own = dict(self.discriminator.named_parameters())
        loss = self._loss(self._logits(real, own), self._given.real_label)
        for v in restored:
            loss = loss + self._loss(self._logits(v, own), self._given.fake_label)
        self._optimiser.zero_grad()
        loss.backward()
        average_gradients(self._fabric, self.discriminator.parameters())
        if self._given.clip is not None:
            clip_gradients([self.discriminator], self._given.clip)
        self._optimiser.step()
        self._means["discriminator"].add(loss)

    def _logits(self, x: Tensor, parameters: Mapping[str, Tensor]) -> Tensor:
        net = self.discriminator
        seen = net.from_picture(x) if isinstance(net, Network) else x
        with mixed_precision(self._fabric.device, self._recipe.precision):
            logits: Tensor = torch.func.functional_call(net, dict(parameters), (seen.float(),))
        return logits.float()

    def _loss(self, logits: Tensor, label: float) -> Tensor:
        wanted = torch.full_like(logits, label)
        if self._given.loss == "least_squares":
            return 0.5 * F.mse_loss(logits, wanted)
        return F.binary_cross_entropy_with_logits(logits, wanted)


def _discriminator(given: AdversarialRecipe, shape: tuple[int, int, int], seed: int) -> nn.Module:
    if given.discriminator is None:
        made = Discriminator(
            shape[0], min(shape[1:]), width=given.width, batch_norm=given.batch_norm
        )
        made.initialise(torch.Generator().manual_seed(seed))
        return made
    built = reg.build(None, "network", given.discriminator, path="adversarial.discriminator")
    if isinstance(built, NetworkSpec):
        return built.build(seed=seed)
    if not isinstance(built, nn.Module):
        raise ParameterError(
            f"expected a network; {type(built).__name__} is neither a NetworkSpec nor an nn.Module",
            where="adversarial.discriminator",
        )
    return built
