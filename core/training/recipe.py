"""Recipes: everything that decides what a training run learns, in one YAML file.

    network: {name: vdsr, params: {scale: 2, channels: 1}}
    feed: measurement
    operator: {name: strided_blur, params: {stride: 2,
      kernel: {name: gaussian, params: {width: {uniform: [0, 3]}, size: 15}}}}
    noise: {name: gaussian, params: {sigma: {uniform: [0, 0.02]}}}
    data: {crop: 48, colour: luminance, flips: true, rotations: true}
    loss: l1
    optimiser: {name: adam, rate: 1e-3}
    schedule: {name: cosine}
    batch: 32
    steps: 100000

`wellposed.training.distributions` lists what `{uniform: [0, 3]}` may be instead. Training for one
level is a recipe with constants; rigid-joint training, one with distributions. `conditions` says
how what a network needs beside the measurement is made of the true pictures. On top of that:

    conditions: {edges: canny}
    levels: {parameter: operator.params.kernel.params.width, count: 5, sampling: on_demand}
    levels: {count: 30, weighting: uncertainty}
    loss: [{norm: l2}, {norm: l2, on: measurement, weight: 0.5}]
    adversarial: {weight: 1e-3}
    comparator: {network: {name: squeezenet_features, params: {weights: FILE}}, weight: 0.1}
    watch: [z]
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from typing import Any, Final, Literal

import attrs
import wellposed.registry as reg
from wellposed.registry import param
from wellposed.registry.building import construct

from ..edge import register_types
from ..errors import ParameterError
from .adversarial import AdversarialRecipe
from .comparator import ComparatorRecipe
from .degradations import Degradation
from .distributions import is_random
from .levels import Levels, LevelsRecipe
from .losses import LossTerm, loss_terms, needs
from .optimisers import OptimiserRecipe, ScheduleRecipe

__all__ = ["DataRecipe", "Recipe", "load_recipe", "recipe_from"]

_CHANGEABLE: Final = ("steps", "log_every", "save_every", "licence", "notes")
_positive = attrs.validators.ge(1)


@attrs.frozen(kw_only=True)
class DataRecipe:
    """How training samples are cut from the pictures."""

    kind: Literal["pictures", "pairs", "measurements", "kernels"] = param(
        "pictures",
        doc="pictures: x, and y is simulated; pairs: folders x/ and y/ with equal names; "
        "measurements: y alone; kernels: drawn ones, for a prior, with no files at all",
    )
    kernel: Any = param(
        None, doc="of kind kernels: a name, or a mapping of name and params, which may be drawn"
    )
    count: int = param(60000, doc="of kind kernels: how many are drawn, once", check=_positive)
    crop: int | tuple[int, int] | None = param(
        None, doc="side of the crops, or (height, width); default: whole pictures, all of one size",
        unit="pixels",
    )  # fmt: skip
    colour: Literal["rgb", "grey", "luminance", "as_is"] = param(
        "rgb",
        doc="rgb; grey: their mean; luminance: Y of ITU-R BT.601; as_is: unchanged",
    )
    flips: bool = param(True, doc="mirror at random, left to right")
    rotations: bool = param(False, doc="turn by 0, 90, 180 or 270 degrees at random")
    scales: tuple[float, ...] = param(
        (1.0,), doc="each picture enters at each of these sizes, resampled with antialiasing"
    )
    first: int | None = param(
        None, doc="only that many pictures, in the order of their names; default: all"
    )
    middle: int | tuple[int, int] | None = param(
        None,
        doc="first cut out the middle part: a side, or (height, width); default: all of it",
        unit="pixels",
    )
    resize: int | None = param(
        None, doc="then resample so that the shorter side has this length", unit="pixels"
    )
    held_out: int = param(
        0,
        doc="number of pictures kept for measuring quality, never trained on",
        check=attrs.validators.ge(0),
    )

    def __attrs_post_init__(self) -> None:
        sides = self.sides or (1, 1)
        if min(sides) < 1 or len(sides) != 2:
            raise ParameterError(
                f"expected a crop of 1 pixel or more; got {self.crop}", where="crop"
            )
        if not self.scales or not all(0 < s <= 4 for s in self.scales):
            raise ParameterError(
                f"expected factors above 0, at most 4; got {list(self.scales)}", where="scales"
            )
        for name in ("first", "middle", "resize"):
            value = getattr(self, name)
            if value is not None and min(value if isinstance(value, tuple) else (value,)) < 1:
                raise ParameterError(f"expected 1 or more; got {value}", where=name)
        if self.rotations and sides[0] != sides[1]:
            raise ParameterError(
                f"turning by 90 degrees needs square crops; got {sides[0]} x {sides[1]}",
                where="rotations",
            )
        if (self.kind == "kernels") != (self.kernel is not None):
            raise ParameterError(
                "kind: kernels and a kernel go together, as in {kind: kernels, kernel: {name: "
                "motion, params: {angle: {uniform: [0, 180]}}}}",
                where="kernel",
            )
        if self.kind == "kernels" and (self.sides is None or sides[0] != sides[1]):
            raise ParameterError("kernels need a crop, the side that all of them get", where="crop")

    @property
    def sides(self) -> tuple[int, int] | None:
        """Height and width of the crops; None for whole pictures."""
        return (self.crop, self.crop) if isinstance(self.crop, int) else self.crop


@attrs.frozen(kw_only=True)
class Recipe:
    """A training run but for the data and the folder it writes to; see the module's example."""

    solver: Any = param(None, doc="the learned solver: a name, or a mapping of name and params")
    network: Any = param(None, doc="or a network that maps a measurement to a picture by itself")
    prior: Any = param(None, doc="or a generative prior: a name, or a mapping of name and params")
    feed: Literal["estimate", "measurement"] = param(
        "estimate",
        doc="what a network is given: the operator's initial estimate, or the measurement as it is",
    )
    operator: Any = param(None, doc="the operators, outermost first; parameters may be drawn")
    noise: Any = param(None, doc="the noise model; parameters may be drawn")
    conditions: Any = param(
        None,
        doc="what else a network needs, by name, each made of the true picture by a component of "
        "kind condition: a name, or a mapping of name and params",
    )
    data: DataRecipe = param(DataRecipe(), doc="crops and their variations")
    loss: tuple[LossTerm, ...] = param(
        (LossTerm(),), doc="the terms of the loss; [] for none beside adversarial or comparator"
    )
    optimiser: OptimiserRecipe = param(OptimiserRecipe(), doc="the optimiser")
    schedule: ScheduleRecipe = param(ScheduleRecipe(), doc="of its rate")
    levels: LevelsRecipe | None = param(
        None, doc="levels of difficulty: on-demand learning, or weights by uncertainty"
    )
    adversarial: AdversarialRecipe | None = param(
        None, doc="an adversarial loss beside the others, and its discriminator"
    )
    comparator: ComparatorRecipe | None = param(
        None, doc="a loss on features of a trained network beside the others"
    )
    watch: tuple[str, ...] = param(
        (), doc="parts that the solver finds on the way, by name, whose mean and variance of error "
        "and change are logged",
    )  # fmt: skip
    clip: float | None = param(
        None, doc="largest 2-norm of the gradient of each network; default: unbounded",
        check=attrs.validators.optional(attrs.validators.gt(0)),
    )  # fmt: skip
    precision: Literal["float32", "bf16"] = param(
        "float32", doc="bf16: mixed precision where the device multiplies bfloat16, else float32"
    )
    batch: int = param(16, doc="samples per step, over all processes together", check=_positive)
    steps: int = param(doc="number of steps of the optimiser", check=_positive)
    seed: int = param(
        0, doc="seed of all random numbers",
        check=attrs.validators.and_(attrs.validators.ge(0), attrs.validators.lt(2**64)),
    )  # fmt: skip
    log_every: int = param(100, doc="steps between lines of the log", check=_positive)
    save_every: int = param(1000, doc="steps between checkpoints", check=_positive)
    licence: str = param("BSD-3-Clause", doc="licence of the weights, for their card")
    notes: str = param("", doc="anything worth keeping with the weights")

    def __attrs_post_init__(self) -> None:
        trained = [n for n in ("solver", "network", "prior") if getattr(self, n) is not None]
        if len(trained) != 1:
            raise ParameterError(
                "a recipe needs either a solver or a network or a prior, one of them; got "
                f"{', '.join(trained) or 'none'}"
            )
        for name in trained:
            given = getattr(self, name)
            if not isinstance(given, str | Mapping):
                raise ParameterError(
                    "expected a name, or a mapping of name and params, so that the recipe can be "
                    f"kept with the weights; got {type(given).__name__}",
                    where=name,
                )
        if not self.loss and self.adversarial is None and self.comparator is None:
            raise ParameterError("expected at least one term, such as l1", where="loss")
        if self.prior is not None:
            self._check_prior()
            return
        kind, sides = self.data.kind, needs(self.loss)
        if kind == "kernels":
            raise ParameterError("kernels are what a prior is trained on", where="data.kind")
        if self.operator is None and (
            kind != "pairs" or sides["measurement"] or self.solver or self.feed == "estimate"
        ):
            raise ParameterError(
                "a recipe needs an operator, except for pairs and a network with feed: measurement",
                where="operator",
            )
        if kind != "pictures":
            self._check_fixed()
        if kind == "measurements" and sides["picture"]:
            raise ParameterError(
                "measurements alone come without the truth; set loss: {norm: l2, on: measurement}",
                where="loss",
            )
        resampled = self.data.scales != (1.0,) or self.data.resize or self.data.middle
        if kind != "pictures" and resampled:
            raise ParameterError(
                f"only pictures may be resampled, or cut; of {kind}, y would no longer be A x",
                where="data.scales",
            )
        self._check_conditions()
        self._check_strategies()

    def _check_prior(self) -> None:
        for name in ("operator", "noise", "conditions", "levels"):
            if getattr(self, name) is not None:
                raise ParameterError(
                    "a prior learns pictures, not how they are measured; leave it out", where=name
                )
        if self.data.kind not in ("pictures", "kernels"):
            raise ParameterError(
                f"a prior learns from pictures or kernels; got {self.data.kind}", where="data.kind"
            )

    def _check_conditions(self) -> None:
        given = self.conditions
        if given is None:
            return
        if not isinstance(given, Mapping) or not given:
            raise ParameterError(
                "expected names of conditions and what makes them, as in {edges: canny}; got "
                f"{'an empty mapping' if given == {} else type(given).__name__}",
                where="conditions",
            )
        for name, maker in given.items():
            if not isinstance(maker, str | Mapping):
                raise ParameterError(
                    f"expected a name, or a mapping of name and params; got {type(maker).__name__}",
                    where=f"conditions.{name}",
                )
        if self.data.kind == "measurements":
            raise ParameterError(
                "measurements alone come without the truth that conditions are made of",
                where="conditions",
            )
        if self.operator is None:
            raise ParameterError(
                "a recipe with conditions needs an operator, as what it trains does later",
                where="operator",
            )

    def _check_strategies(self) -> None:
        kind, levels = self.data.kind, self.levels
        for name in ("adversarial", "comparator", "watch"):
            if kind == "measurements" and getattr(self, name):
                raise ParameterError(
                    f"measurements alone come without real pictures, which {name} needs",
                    where=name,
                )
        if levels is None:
            return
        if kind != "pictures":
            raise ParameterError(
                f"{kind} were made by one operator, which has no levels; they go with pictures",
                where="levels",
            )
        if levels.sampling == "on_demand" and not self.data.held_out:
            raise ParameterError(
                "sampling: on_demand measures each level on pictures that are held out; set "
                "data.held_out",
                where="data.held_out",
            )
        if levels.weighting == "uncertainty" and not self.loss:
            raise ParameterError("there is no term of the loss to weigh", where="levels.weighting")
        self.cut_levels(self.degradation())

    def cut_levels(self, degradation: Degradation) -> Levels:
        """Return the levels of a distribution of operators and noise. Raises: ParameterError."""
        assert self.levels is not None
        return Levels.of(self.levels, degradation.numbers())

    def _check_fixed(self) -> None:
        kind = self.data.kind
        if self.noise is not None:
            raise ParameterError(f"{kind} hold their noise already; leave it out", where="noise")
        if self.operator is not None and is_random(list(self.degradation().operators)):
            raise ParameterError(
                f"{kind} were made by one operator; what is drawn at random goes with pictures",
                where="operator",
            )
        if self.data.flips or self.data.rotations:
            raise ParameterError(
                f"{kind} cannot be mirrored or turned, since A would have to be too; "
                "set flips: false and rotations: false",
                where="data.flips",
            )

    def degradation(self) -> Degradation:
        """Return the distribution of operators and noise, with what makes conditions."""
        return Degradation.from_data(self.operator, self.noise, self.conditions)

    def as_data(self) -> dict[str, Any]:
        """Return plain data, which `recipe_from` reads back."""
        plain: dict[str, Any] = attrs.asdict(self)
        plain["loss"] = [_without_none(term) for term in plain["loss"]]
        # What came later is left out where it changes nothing: digests stay what they are.
        if self.data.kind != "kernels":
            for name in ("kernel", "count"):
                del plain["data"][name]
        if self.adversarial is not None and self.adversarial.every == 1:
            del plain["adversarial"]["every"]
        return {key: value for key, value in _without_none(plain).items() if value not in ("", ())}

    def essence(self) -> dict[str, Any]:
        """Return what a run must not change when it resumes: not how long, or how often it saves.

        With a schedule, another number of steps gives other rates from there on.
        """
        return {key: value for key, value in self.as_data().items() if key not in _CHANGEABLE}

    def digest(self) -> str:
        """Return a hash of the recipe's essence, which tells runs apart."""
        return hashlib.sha256(reg.dump_yaml(self.essence()).encode()).hexdigest()


def load_recipe(
    source: str | os.PathLike[str], *, changes: Mapping[str, Any] | None = None
) -> Recipe:
    """Read a recipe from a YAML file, or from YAML text, and check it.

    The card of trained weights stands for the recipe that it holds.
    changes: entries that replace those of the file; a mapping changes only what it names.
    Raises: ParameterError, whose text starts with the path of the entry, as in `optimiser.rate`.
    """
    data = reg.load_yaml(source)
    if isinstance(data.get("recipe"), Mapping):
        data = data["recipe"]
    return recipe_from(_changed(data, changes or {}))


def _without_none(data: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in data.items() if value is not None}


def _changed(data: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    result = dict(data)
    for key, value in changes.items():
        known = result.get(key)
        if isinstance(known, Mapping) and isinstance(value, Mapping):
            value = _changed(known, value)
        result[key] = value
    return result


def recipe_from(data: Mapping[str, Any]) -> Recipe:
    """Return the recipe that plain data describes.

    Raises: as `load_recipe`. Components are built, and hence checked, when training starts.
    """
    register_types()
    given = {key: value for key, value in data.items() if value is not None}
    if "loss" in given:
        given["loss"] = loss_terms(given["loss"])
    values = reg.structure_params(Recipe, given, path="", name="recipe")
    made: Recipe = construct(Recipe, values, "", name="recipe")
    if made.operator is not None:
        made.degradation()
    return made
