"""From weights back to the solver that was trained, and from an operator to what suits it."""

from __future__ import annotations

import functools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import attrs
import torch
from torch import Tensor
from torch._functorch.eager_transforms import enable_inplace_requires_grad
from wellposed.registry import default_registry
from wellposed.registry.errors import suggestion

from ..edge import build_solver
from ..errors import IncompatibleError, WeightsError, WellposedError
from ..moves import fields_of
from ..network import NetworkSpec
from ..operator import ForwardOperator
from ..parts import parts_of
from ..prior import Prior
from ..problem import Problem
from ..solver import Solver
from .cards import card_path, read_card
from .degradation_levels import levels_of, what_is_outside
from .installed import InstalledWeights, installed_weights
from .learner import PriorLearner, SolverLearner, build_learner
from .one_operator import is_another, is_the_same
from .recipe import recipe_from
from .weights import load_weights

__all__ = ["prior_from_weights", "solver_from_weights", "trained_solver"]


def solver_from_weights(
    path: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Solver:
    """Return the solver that a weights file was trained for, as its card's recipe describes it.

    A network that was trained by itself comes as the solver `network`. The networks are in
    evaluation mode; the same file is read only once.
    Raises: WeightsError when the file, its card or its recipe does not fit.
    """
    found = _found(path, device, dtype)
    if not isinstance(found, Solver):
        raise WeightsError(f"{path} holds a prior, no solver; see prior_from_weights.")
    return found


def prior_from_weights(
    weights: str | os.PathLike[str],
    *,
    device: torch.device | str = "cpu",
    dtype: torch.dtype = torch.float32,
) -> Prior:
    """Return the prior that a weights file was trained for; `weights`: its path, or, of those that
    are installed, its name without the suffix.

    Raises: WeightsError as `solver_from_weights`.
    """
    known = [one for one in installed_weights() if "prior" in _recipe_of(one)]
    path = _path_of(weights, known, "a prior")
    found = _found(path, device, dtype)
    if not isinstance(found, Prior):
        raise WeightsError(f"{path} holds no prior; see solver_from_weights.")
    return found


def _path_of(
    weights: str | os.PathLike[str], installed: Sequence[InstalledWeights], whose: str
) -> Path:
    """Return the path of weights, given that or their name among the installed ones.

    Raises: WeightsError for a name that is not there.
    """
    path, known = Path(weights), {one.path.stem: one.path for one in installed}
    if str(weights) in known:  # whatever folders of that name there are
        return known[str(weights)]
    if path.suffix or path.exists():
        return path
    raise WeightsError(
        f"there are no installed weights of {whose} called {weights}."
        f"{suggestion(str(weights), tuple(known))} There are: {', '.join(known) or 'none'}."
    )


def _recipe_of(one: InstalledWeights) -> Mapping[str, Any]:
    recipe: Mapping[str, Any] = one.card.get("recipe") or {}
    return recipe


def _found(
    path: str | os.PathLike[str], device: torch.device | str, dtype: torch.dtype
) -> Solver | Prior:
    """Return what was trained, with its weights, on a device and in a precision."""
    path = Path(path)
    try:
        stamp = path.stat().st_mtime_ns, path.stat().st_size
    except OSError:
        stamp = (0, 0)  # what is wrong is said by the reader
    return _read(path, stamp, torch.device(device), dtype)


@functools.lru_cache(maxsize=8)
def _read(
    path: Path, stamp: tuple[int, int], device: torch.device, dtype: torch.dtype
) -> Solver | Prior:
    # What is kept must not be a tensor of whoever asks first: of inference mode, or a transform.
    with (
        torch.inference_mode(False),
        torch._C._DisableFuncTorch(),
        enable_inplace_requires_grad(True),
    ):
        return _built(path, device, dtype)


def _built(path: Path, device: torch.device, dtype: torch.dtype) -> Solver | Prior:
    card = read_card(path)
    try:
        recipe = recipe_from(card["recipe"])
        with torch.random.fork_rng(devices=[]):
            learner = build_learner(recipe)
    except WellposedError as error:
        raise WeightsError(
            f"the recipe in the card of {path} cannot be used by this version: {error}"
        ) from error
    load_weights(learner.weights(), path)
    learner.requires_grad_(False).eval()
    # where convolutions run fastest
    learner.to(device, dtype, memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(learner, PriorLearner):
        return cast(Prior, learner.prior)
    if isinstance(learner, SolverLearner):
        learner.solver_to(device)
        return learner.solver
    plain: Any = build_solver("network")
    return cast(Solver, attrs.evolve(plain, trained=learner.weights(), feed=recipe.feed))


def trained_solver(
    name: str,
    problem: Problem,
    weights: str | os.PathLike[str] | None = None,
    *,
    network: NetworkSpec | None = None,
) -> tuple[Solver, Path]:
    """Return the solver `name`, trained for operators like the problem's, and its weights file.

    weights: a file, or the name of installed ones; None: the first of these that suits. network:
    what the solver was told to train, which is refused here. The networks are on the measurement's
    device, in its precision.
    Raises: IncompatibleError, with the command that trains weights, when the operator is outside
    what the card says; WeightsError as `solver_from_weights`.
    """
    if network is not None:
        raise IncompatibleError(
            f"the solver {name} got a network without weights, which can only be trained. Leave it "
            "out, or train it: `wellposed train`.",
            where="network",
        )
    y = problem.measurement
    if weights is None:
        path = _suited(name, problem)
    else:
        path = _path_of(weights, _installed_of(name), f"the solver {name}")
        _check_suits(path, problem)
    return solver_from_weights(path, device=y.device, dtype=y.real.dtype), path


def _installed_of(solver: str) -> list[InstalledWeights]:
    return [one for one in installed_weights() if _solver_of(one) == solver]


def _suited(solver: str, problem: Problem) -> Path:
    """Return installed weights of a solver for operators like this one.

    Those trained on whole pictures come first, then those on a part of each, cut and resized, as
    of faces. Of several for missing pixels, those for the smallest gaps: what was trained for large
    holes takes scattered pixels as well, and is several dB worse there. Then it goes by name.
    """
    known = [one for one in _installed_of(solver) if not one.problem]
    operator, reasons = problem.linear, []
    for one in sorted(known, key=_preference):
        wrong = _outside(one.card, problem)
        if not wrong:
            return one.path
        reasons.append((one, wrong))
    found = "; ".join(f"{one.path.stem}: {_told(wrong)}" for one, wrong in reasons)
    nearest, wrong = min(reasons, key=lambda pair: len(pair[1]), default=(None, {}))
    raise IncompatibleError(
        f"{solver} has no weights for this {operator.name} ({found or 'none are installed'}). "
        f"{_advice(nearest, wrong, operator)}"
    )


def _check_suits(path: str | os.PathLike[str], problem: Problem) -> None:
    one = InstalledWeights(Path(path), card=read_card(path))
    wrong = _other_operator(one.card, problem.linear)  # conditions: the network will say
    if wrong:
        raise IncompatibleError(
            f"{path} was not trained for this {problem.linear.name}: {_told(wrong)}. "
            f"{_advice(one, wrong, problem.linear)}"
        )


def _outside(card: Mapping[str, Any], problem: Problem) -> dict[str, str]:
    """Return in what a problem differs from those that weights were trained for, in words."""
    wrong = dict(_other_operator(card, problem.linear))
    trained = ", ".join(sorted(card["recipe"].get("conditions") or {})) or "none"
    given = ", ".join(sorted(problem.conditions)) or "none"
    return (
        wrong if given == trained else {"conditions": f"{given}, trained with {trained}", **wrong}
    )


def _other_operator(card: Mapping[str, Any], operator: ForwardOperator) -> Mapping[str, str]:
    """Return in what an operator differs from those of a card, in words.

    Weights trained without an operator, for pairs, take any.
    """
    trained = card["trained_for"]
    given = trained.get("operator")
    if given is not None and is_the_same(operator, given):
        return {}
    wrong = what_is_outside(operator, trained.get("levels") or {})
    return wrong or (is_another(operator, given) if given is not None else {})


def _told(wrong: Mapping[str, str]) -> str:
    return ", ".join(f"{key} {text}" for key, text in wrong.items())


def _preference(one: InstalledWeights) -> tuple[bool, float, str]:
    levels = one.card["trained_for"].get("levels") or {}
    return _of_one_subject(one), max(levels.get("gap", (0.0,))), one.path.name


def _of_one_subject(one: InstalledWeights) -> bool:
    data = one.card["recipe"].get("data") or {}
    return bool(data.get("middle") or data.get("resize"))


def _solver_of(one: InstalledWeights) -> str:
    recipe = _recipe_of(one)
    if "prior" in recipe or not recipe:
        return ""
    given = recipe.get("solver", "network")
    return str(given["name"] if isinstance(given, Mapping) else given)


def _advice(
    nearest: InstalledWeights | None, wrong: Mapping[str, str], operator: ForwardOperator
) -> str:
    """Return the command that trains weights for an operator, by the recipe nearest to it."""
    if nearest is None:
        return "Train some with `wellposed train`, and give weights=RUN/weights.safetensors."
    if set(wrong) == {"conditions"}:
        trained = ", ".join(sorted(nearest.card["recipe"].get("conditions") or {}))
        return f"Give {trained}, and nothing else." if trained else "Leave the conditions out."
    parts = [text for part in parts_of(operator) if (text := _written(part))]
    changes = [f"operator='[{', '.join(parts)}]'"]
    ratio = round(float(levels_of(operator)["ratio"][0]))
    solver = nearest.card["recipe"].get("solver")
    params = (solver.get("params") or {}) if isinstance(solver, Mapping) else {}
    for key, given in params.items():
        if isinstance(given, Mapping) and "scale" in (given.get("params") or {}):
            changes.append(f"solver.params.{key}.params.scale={ratio}")
    options = " ".join(f"--set {change}" for change in changes)
    recipe = nearest.path.stem if nearest.plugin else card_path(nearest.path)
    return (
        f"Train some, giving the operator the range of its parameters: wellposed train "
        f"{recipe} {options} --data PICTURES --out RUN. Then give "
        "weights=RUN/weights.safetensors."
    )


def _written(part: ForwardOperator) -> str:
    """Return an operator as a recipe would name it, with what is no default.

    A tensor that is no default stands there as a file, KERNEL.npy, to be filled in.
    """
    spec = default_registry().spec_of(type(part))
    if spec is None:  # a composition; its parts come by themselves
        return ""
    usual = _usual(part)
    params = []
    for field in fields_of(part):
        value = getattr(part, field.name)
        if not field.init:
            continue
        if isinstance(value, bool | int | float | str) and value != field.default:
            params.append(f"{field.name}: {value}")
        elif isinstance(value, Tensor) and not _same(value, getattr(usual, field.name, None)):
            params.append(f"{field.name}: {field.name.upper()}.npy")
    return f"{{name: {spec.name}, params: {{{', '.join(params)}}}}}" if params else spec.name


def _usual(part: ForwardOperator) -> ForwardOperator | None:
    """Return the operator of that kind with the same plain parameters and no tensor given."""
    plain = {
        field.alias or field.name: value
        for field in fields_of(part)
        if field.init and isinstance(value := getattr(part, field.name), bool | int | float | str)
    }
    try:
        return type(part).for_image(part.in_space, **plain)
    except (WellposedError, TypeError):  # it has a tensor that must be given
        return None


def _same(value: Tensor, usual: object) -> bool:
    return (
        isinstance(usual, Tensor)
        and value.shape == usual.shape
        and torch.allclose(value.cpu(), usual.to(value.dtype).cpu())
    )
