"""From a recipe to each step's batched operator, noise model, and conditions beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import attrs
import torch
import wellposed.registry as reg
from torch import Tensor
from wellposed.registry.errors import located

from ..conditions import ConditionMaker
from ..edge import build_noise, build_operator, register_types
from ..errors import IncompatibleError, ParameterError, WellposedError
from ..moves import fields_of
from ..noise import Noise
from ..operator import ForwardOperator
from ..space import Space
from .distributions import Draws, Numbers, draws_for, is_random, numbers_in, realise
from .parsing import parse

__all__ = ["Degradation"]


@attrs.frozen(eq=False)
class Degradation:
    """The distribution of operators, and of noise, that a solver is trained for.

    `operators` are applied from the last to the first, as in `A @ B`. `makers` make the conditions
    that go with a measurement: components by the name of the condition, or what builds them.
    """

    operators: tuple[Any, ...]
    noise: Any = None
    makers: Mapping[str, Any] = attrs.field(factory=dict)
    _fixed: dict[Any, Any] = attrs.field(init=False, factory=dict, repr=False)

    @classmethod
    def from_data(
        cls, operator: Any, noise: Any, conditions: Mapping[str, Any] | None = None
    ) -> Degradation:
        """Return the distribution that a recipe describes.

        Raises: ParameterError with the path of the entry.
        """
        given = operator if isinstance(operator, list | tuple) else [operator]
        if not given:
            raise ParameterError("expected an operator or a list of them", where="operator")
        paths = _paths(operator, len(given))
        for item, path in zip(given, paths, strict=True):
            if not isinstance(item, str | Mapping):
                raise ParameterError(
                    "expected the name of an operator or a mapping of 'name' and 'params'; "
                    f"got {type(item).__name__}",
                    where=path,
                )
        trees = tuple(parse(item, path) for item, path in zip(given, paths, strict=True))
        return cls(trees, parse(noise, "noise"), dict(conditions or {}))

    def operator(self, space: Space, draws: Draws) -> ForwardOperator:
        """Return the operator of a step for pictures of `space`, on the device of the draws.

        Raises: ParameterError, ShapeError and their kin, with the path of the entry.
        """
        random = is_random(list(self.operators))
        key = (space.shape, space.dtype, str(draws.device))
        if not random and key in self._fixed:
            kept: ForwardOperator = self._fixed[key]
            return kept
        total: ForwardOperator | None = None
        paths = _paths(self.operators if len(self.operators) > 1 else None, len(self.operators))
        for tree, path in zip(self.operators[::-1], paths[::-1], strict=True):
            op = _built(tree, path, space, draws)
            total = op if total is None else op @ total
            space = op.out_space
        assert total is not None
        if not random:
            self._fixed[key] = total
        return total

    def operator_for(self, y_space: Space, device: torch.device) -> ForwardOperator:
        """Return the one operator that gave measurements of `y_space`.

        Raises: ShapeError and its kin when it cannot have.
        """
        key = ("measured", y_space.shape, y_space.dtype, str(device))
        if key not in self._fixed:
            op = build_operator(list(self.operators), y_space=y_space)
            assert isinstance(op, ForwardOperator)
            self._fixed[key] = op.to(device=device)
        kept: ForwardOperator = self._fixed[key]
        return kept

    def numbers(self) -> Mapping[str, Numbers]:
        """Return the distributions that give each sample a number, by their path in the recipe."""
        paths = _paths(self.operators if len(self.operators) > 1 else None, len(self.operators))
        found = numbers_in(self.noise, "noise")
        for tree, path in zip(self.operators, paths, strict=True):
            found |= numbers_in(tree, path)
        return found

    def noise_model(self, draws: Draws) -> Noise | None:
        """Return the noise model of a step."""
        if self.noise is None:
            return None
        model = build_noise(realise(self.noise, draws))
        assert model is not None
        return model.to(device=draws.device, dtype=torch.float32)

    def measure(self, clean: Tensor, noise: Noise | None, draws: Draws) -> Tensor:
        """Return a noisy measurement of `clean`, the samples of this rank.

        The noise is drawn for the whole batch, so that it does not depend on the number of
        processes; with one process nothing is drawn in vain.
        """
        if noise is None:
            return clean
        if clean.shape[0] == draws.batch:
            return noise.sample(clean, draws.fields)
        # The other ranks' samples take the same numbers from the generator, whatever they hold.
        shape = (draws.batch, *clean.shape[1:])
        whole = clean.new_zeros(shape)
        whole[draws.own] = clean
        return _for_batch(noise, draws).sample(whole, draws.fields)[draws.own]

    def conditions(
        self, x: Tensor, operator: ForwardOperator, noise: Noise | None, draws: Draws
    ) -> dict[str, Tensor]:
        """Return the conditions of a step, made of the true pictures of this rank.

        They come last of all that is drawn, in the order of their names.
        Raises: ParameterError and its kin, with the path of the entry.
        """
        found = {}
        for name, maker in sorted(self._makers().items()):
            with located(f"conditions.{name}"):
                found[name] = maker.to(device=x.device).make(
                    x, measure=lambda v: self.measure(operator(v), noise, draws), draws=draws
                )
        return found

    def _makers(self) -> dict[str, ConditionMaker]:
        if "makers" not in self._fixed:
            register_types()
            self._fixed["makers"] = {
                name: reg.build(None, "condition", given, path=f"conditions.{name}")
                for name, given in self.makers.items()
            }
        kept: dict[str, ConditionMaker] = self._fixed["makers"]
        return kept

    def check(self, space: Space, batch: int = 2) -> None:
        """Build and apply everything once, so that a mistake shows before the data is read.

        Raises: what `operator` and `conditions` raise.
        """
        draws = draws_for(0, 0, stream=1, batch=batch)
        op = self.operator(space, draws)
        x = torch.zeros((batch, *space.shape), dtype=space.dtype)
        noise = self.noise_model(draws)
        self.measure(op(x), noise, draws)
        self.conditions(x, op, noise, draws)


def _built(tree: Any, path: str, space: Space, draws: Draws) -> ForwardOperator:
    sized = attrs.evolve(draws, size=(space.shape[-2], space.shape[-1]))
    try:
        op = build_operator(realise(tree, sized), x_space=space)
    except WellposedError as error:
        error.where = path + error.where.removeprefix("op")
        if is_random(tree) and "Tensor" in error.message:
            error.message += (
                " What is drawn for each sample is a tensor, which this parameter does not take; "
                "{per_step: ...} draws one value for the whole batch."
            )
        raise
    if not isinstance(op, ForwardOperator):
        raise IncompatibleError(f"{op.name} is not linear; it cannot be trained for.", where=path)
    return op.to(device=draws.device)


def _paths(given: Any, count: int) -> Sequence[str]:
    if isinstance(given, list | tuple):
        return [f"operator[{i}]" for i in range(count)]
    return ["operator"]


def _for_batch(noise: Noise, draws: Draws) -> Noise:
    """Return a noise model whose parameters per sample are repeated for samples of other ranks."""
    changed: dict[str, Any] = {}
    own = draws.own.stop - draws.own.start
    for field in fields_of(noise):
        value = getattr(noise, field.name)
        if isinstance(value, Tensor) and value.ndim and value.shape[0] == own:
            whole = value.new_ones((draws.batch, *value.shape[1:]))
            whole[draws.own] = value
            changed[field.alias or field.name] = whole
    return attrs.evolve(noise, **changed) if changed else noise  # type: ignore[misc]
