"""The training loop: from a recipe and pictures to weights with a card."""

from __future__ import annotations

import math
import os
import time
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import attrs
import torch
from torch import Tensor

from ..errors import ParameterError, TrainingError
from ..space import Space
from .averages import RunningMean, average_gradients, clip_gradients
from .batches import Batches, open_data
from .degradations import Degradation
from .distributions import draws_for
from .durable import load_checkpoint, save_checkpoint
from .export import export
from .fetch import fetch
from .learner import Learner, SolverLearner, build_learner
from .losses import total_loss
from .quality import measure_quality
from .recipe import Recipe
from .record import Record, keep_recipe, prepare_folder
from .runtime import Deadline, exchanging, make_fabric, mixed_precision, own_slice, seed_step
from .step import measured
from .strategies import build_strategies
from .strategy import Outcome

if TYPE_CHECKING:
    from lightning_fabric import Fabric

__all__ = ["TrainingResult", "train"]

WEIGHTS: Final = "weights.safetensors"
_LARGE_CROP: Final = 2**22
Observer = Callable[[int, int, float | None], object]


@attrs.frozen(kw_only=True)
class TrainingResult:
    """Where a run stands: steps done and wanted, and the weights, once it is finished."""

    step: int
    steps: int
    weights: Path | None = None
    quality: Mapping[str, float] = attrs.field(factory=dict)

    @property
    def finished(self) -> bool:
        """Whether all steps are done."""
        return self.step >= self.steps


def train(
    recipe: Recipe,
    *,
    data: str | os.PathLike[str] | None = None,
    out: str | os.PathLike[str],
    resume: bool = False,
    device: str = "auto",
    steps: int | None = None,
    max_minutes: float | None = None,
    workers: int = 0,
    tensorboard: bool = False,
    observer: Observer | None = None,
) -> TrainingResult:
    """Train what a recipe names on pictures: a folder, a zip archive, a .npy array or an idx file.

    data: None for a recipe that draws its own.
    out: gets `recipe.yaml`, `log.csv`, the last two checkpoints, and in the end
    `weights.safetensors` with its card. resume: go on from the newest checkpoint there, if there
    is one. steps: instead of the recipe's. max_minutes: stop after that time, with a checkpoint.
    workers: processes that read pictures which do not fit in memory. observer: called after each
    step with the step, the number of steps, and the mean loss when it was just logged.

    Under `torchrun`, the recipe's batch is shared by all processes.
    Raises: the errors of `wellposed.errors`; whatever was saved before stays good.
    """
    if steps is not None and steps < 1:
        raise ParameterError(f"expected 1 or more; got {steps}", where="steps")
    recipe = recipe if steps is None else attrs.evolve(recipe, steps=steps)
    if max_minutes is not None and not max_minutes > 0:
        raise ParameterError(f"expected minutes above 0; got {max_minutes}", where="max_minutes")
    deadline = Deadline(max_minutes)
    fabric = make_fabric(device)
    own = own_slice(fabric, recipe.batch)
    learner = build_learner(recipe)
    degradation = recipe.degradation() if recipe.operator is not None else None
    _check_early(recipe, degradation)
    folder = Path(out)
    source = None if data is None else Path(data)
    batches, held = open_data(source, recipe, own=own, device=fabric.device)
    if degradation is not None and recipe.data.kind == "pictures":
        degradation.check(Space(batches.shape))
    if fabric.global_rank == 0:
        prepare_folder(folder, recipe, resume=resume)
    fabric.barrier()  # no process looks for a checkpoint before the folder is there
    with ExitStack() as stack:
        stack.enter_context(exchanging())
        run = _Run(fabric, recipe, learner, degradation, batches, held, folder)
        run.start(load_checkpoint(folder) if resume else None, tensorboard)
        stack.callback(run.close)
        if fabric.global_rank == 0:
            keep_recipe(folder, recipe)
        stack.enter_context(deadline.listening())
        return run.go(deadline, workers, observer)


class _Run:
    """One run in one process: the moving parts, and what a checkpoint holds of them."""

    def __init__(
        self,
        fabric: Fabric,
        recipe: Recipe,
        learner: Learner,
        degradation: Degradation | None,
        batches: Batches,
        held: Batches | None,
        folder: Path,
    ) -> None:
        self.fabric, self.recipe, self.degradation = fabric, recipe, degradation
        self.batches, self.held, self.folder = batches, held, folder
        self.space = Space(batches.shape)
        self.learner = _on_device(learner, fabric.device)
        if fabric.world_size > 1:
            _make_broadcastable(self.learner)
        self.strategies = build_strategies(
            recipe, fabric=fabric, learner=self.learner, degradation=degradation,
            batches=batches, held=held,
        )  # fmt: skip
        self.extra = [p for s in self.strategies.values() for p in s.parameters()]
        optimiser = recipe.optimiser.build(p for p in learner.parameters() if p.requires_grad)
        if self.extra:
            optimiser.add_param_group({"params": self.extra, "weight_decay": 0.0})
        setup: Any = fabric.setup(self.learner, optimiser)
        self.module, self.optimiser = setup
        self.step = 0
        self.loss = RunningMean(fabric)
        self.record: Record | None = None
        self.saved = -1
        self.norm: Tensor | None = None  # of the last gradient, before it was clipped
        self.reached = False  # whether the loss has been seen to depend on every network

    def start(self, state: Mapping[str, Any] | None, tensorboard: bool) -> None:
        """Take up a checkpoint, if there is one, and open the logs where it left them."""
        if state is not None:
            if state["digest"] != self.recipe.digest():
                raise TrainingError(
                    f"the checkpoints in {self.folder} belong to another recipe. Resume with the "
                    f"recipe.yaml that is kept there, or take another folder."
                )
            if state["data"] != self.batches.pool.digest():
                raise TrainingError(
                    "the pictures are not those that this run began with: "
                    f"{state['pictures']} then, {len(self.batches.pool.names)} now. Bring them "
                    "back, or start again in another folder."
                )
            self.learner.load_state_dict(state["learner"])
            self.optimiser.load_state_dict(state["optimiser"])
            self.loss.load(state)
            for name, strategy in self.strategies.items():
                strategy.load(state["strategies"][name])
            self.step = self.saved = state["step"]
        if self.fabric.global_rank == 0:
            keep = None if state is None else state["journals"]
            columns = [name for s in self.strategies.values() for name in s.columns]
            self.record = Record(
                self.folder, keep, step=self.step, tensorboard=tensorboard, columns=columns
            )

    def close(self) -> None:
        """Close the logs, and let go of what holds the group of processes."""
        self.module = None  # a traceback may keep this run until Python ends
        if self.record is not None:
            self.record.close()

    def go(self, deadline: Deadline, workers: int, observer: Observer | None) -> TrainingResult:
        """Train to the last step, or until time is up."""
        recipe = self.recipe
        self.module.train()
        started, first = time.monotonic(), self.step
        for sample in fetch(self.batches, self.step, recipe.steps, workers):
            self.loss.add(self._advance(sample))
            self.step += 1
            for strategy in self.strategies.values():
                strategy.after(self.step)
            mean = None
            if self.step % recipe.log_every == 0 or self.step == recipe.steps:
                mean = self._log((time.monotonic() - started) / (self.step - first))
            if observer is not None:
                observer(self.step, recipe.steps, mean)
            late = deadline.reached(self.fabric, self.step)
            if late or self.step % recipe.save_every == 0:
                self._save()
            if late:
                break
        if self.saved != self.step:
            self._save()
        return self._finish()

    def _advance(self, sample: Any) -> Tensor:
        """Take one step; return the loss before any strategy changed it."""
        recipe, step, fabric = self.recipe, self.step, self.fabric
        for group in self.optimiser.param_groups:
            group["lr"] = recipe.optimiser.rate * recipe.schedule.fraction(step, recipe.steps)
        seed_step(recipe.seed, step, fabric.global_rank)
        draws = draws_for(
            recipe.seed, step, stream=1, batch=recipe.batch, own=self.batches.own,
            device=fabric.device,
        )  # fmt: skip
        for strategy in self.strategies.values():
            draws = strategy.choose(draws)
        x, y, operator, noise, conditions = measured(sample, self.degradation, self.space, draws)
        with mixed_precision(fabric.device, recipe.precision):
            restored = self.module(y, operator, noise, conditions)
        loss = total_loss(recipe.loss, restored, truth=x, measurement=y, operator=operator)
        outcome = Outcome(
            step=step, restored=restored, truth=x, measurement=y, operator=operator, draws=draws
        )
        objective = loss
        for strategy in self.strategies.values():
            objective = strategy.objective(objective, outcome)
        self.optimiser.zero_grad()
        fabric.backward(objective)
        if not self.reached:
            self._check_reached()
        average_gradients(fabric, self.extra)
        if recipe.clip is not None:
            self.norm = clip_gradients(self.learner.each().values(), recipe.clip)
        self.optimiser.step()
        return loss

    def _check_reached(self) -> None:
        for name, network in self.learner.each().items():
            if not any(p.grad is not None for p in network.parameters()):
                raise ParameterError(
                    f"nothing in it depends on the weights of {name}, which would stay as they "
                    "are. Add a term for what that network finds, as in {norm: l2, of: z}",
                    where="loss",
                )
        self.reached = True

    def _log(self, seconds: float) -> float:
        """Write the mean loss since the last line; the one place where a GPU is waited for."""
        value = float(self.loss.value())
        figures = {k: v for s in self.strategies.values() for k, v in s.figures().items()}
        if value != value or value in (float("inf"), float("-inf")):
            raise TrainingError(
                f"the loss is no longer finite at step {self.step}. Lower optimiser.rate, or set "
                "clip: 1.0; checkpoints from before are kept, but the run will take the same turn."
            )
        if self.record is not None:
            gradients = [p.grad for p in self.learner.parameters() if p.grad is not None]
            norm = torch.nn.utils.get_total_norm(gradients) if self.norm is None else self.norm
            rate = self.optimiser.param_groups[0]["lr"]
            self.record.log(
                self.step, loss=value, rate=rate, gradient=float(norm), seconds=seconds, **figures
            )
        self.loss.reset()
        return value

    def _save(self) -> None:
        """Measure the held-out quality and write a checkpoint, from the first process."""
        values = (self.loss.value(), *self.learner.parameters(), *self.extra)
        if not all(bool(torch.isfinite(value).all()) for value in values):
            raise TrainingError(
                f"the weights are no longer finite at step {self.step}; the last checkpoint is "
                "from before. Lower optimiser.rate, or set clip: 1.0."
            )
        totals = self.loss.state()
        strategies = {name: strategy.state() for name, strategy in self.strategies.items()}
        if self.record is not None:
            if self.held is not None:
                self.record.validate(self.step, self._quality(self.held))
            save_checkpoint(
                self.folder,
                self.step,
                {
                    "step": self.step,
                    "digest": self.recipe.digest(),
                    "data": self.batches.pool.digest(),
                    "pictures": len(self.batches.pool.names),
                    "learner": self.learner.state_dict(),
                    "optimiser": self.optimiser.state_dict(),
                    "strategies": strategies,
                    **totals,
                    "journals": self.record.sync(),
                },
            )
        self.saved = self.step
        self.fabric.barrier()

    def _quality(self, batches: Batches) -> Mapping[str, float]:
        return measure_quality(self.learner, batches, self.degradation, device=self.fabric.device)

    def _finish(self) -> TrainingResult:
        done, steps = self.step, self.recipe.steps
        if done < steps or self.record is None:
            self.fabric.barrier()
            return TrainingResult(step=done, steps=steps)
        with torch.no_grad():  # what is measured are the numbers that the file holds
            for value in (*self.learner.parameters(), *self.learner.buffers()):
                if value.is_floating_point():
                    half = value.half().to(value.dtype)
                    value.copy_(torch.where(torch.isfinite(half), half, value))  # else: see below
        quality = self._quality(self.held or self.batches)
        path = self.folder / WEIGHTS
        export(
            path,
            self.learner.weights(),
            self.recipe,
            self.batches,
            step=done,
            quality=quality,
            held_out=0 if self.held is None else len(self.held.pool.names),
        )
        self.fabric.barrier()
        return TrainingResult(step=done, steps=steps, weights=path, quality=quality)


def _check_early(recipe: Recipe, degradation: Degradation | None) -> None:
    """Try the operators before the pictures are read, where the size is known already."""
    data = recipe.data
    if degradation is None or data.kind != "pictures" or not data.sides or data.colour == "as_is":
        return
    if math.prod(data.sides) > _LARGE_CROP:  # that pictures are too small for it is soon found out
        return
    degradation.check(Space((3 if data.colour == "rgb" else 1, *data.sides)))


def _make_broadcastable(learner: Learner) -> None:
    """Give buffers back the strides that torch wants where it sends them to other processes.

    Channels last leaves those of one channel with strides of which it says, for a single buffer,
    that "some elements ... refer to a single memory location".
    """
    for buffer in learner.buffers():
        buffer.data = buffer.data.clone(memory_format=torch.contiguous_format)


def _on_device(learner: Learner, device: torch.device) -> Learner:
    """Move a learner in place, the tensors in its solver's other fields included.

    Channels last is the layout in which convolutions run fastest, most of all in bf16.
    """
    learner.to(device).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    if isinstance(learner, SolverLearner):
        learner.solver_to(device)
    return learner
