"""The training of N generators against N discriminators, all in one program.

Nothing here depends on how many there are: every tensor starts with N, and no sample sees another.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
import torch
from torch import Tensor
from wellposed import replayed

from .adam import FusedAdam
from .crops import crop_corners, places
from .discriminator import Discriminator, Pass, draw_discriminator
from .generator import Composition, draw_generator, kernel_gradient, kernel_side, reduced
from .recipe import Recipe
from .regularization import Regularizer

__all__ = ["STRIDE", "Training", "start"]

STRIDE = 2
_NOISE = 1 / 255
_CHUNK = 50  # steps whose noise is drawn at once, and between two entries of the history
_BELOW_IN_A_ROW = 3
_DECAY = 100.0
_INSERT_BELOW = 5e-3


@attrs.frozen(eq=False)
class Schedule:
    """The weights of the losses, per sample, as they change while learning; all in place."""

    bicubic: Tensor
    sparse: Tensor
    centred: Tensor
    below: Tensor  # steps in a row with a bicubic loss below the tolerance; -1 at the start
    similar: Tensor
    was_similar: Tensor  # before the last step

    @classmethod
    def of(cls, recipe: Recipe, like: Tensor) -> Schedule:
        """Return the start: the bicubic loss, and neither sparsity nor the centre of mass."""
        zero = torch.zeros(len(like), dtype=like.dtype, device=like.device)
        no = zero.bool()
        # The authors' code does not look at the first step's loss: -1.
        return cls(zero + recipe.bicubic, zero, zero.clone(), zero.long() - 1, no, no.clone())

    def see(self, loss: Tensor, recipe: Recipe) -> None:
        """Count the steps in a row that are close to the bicubic reduction."""
        self.was_similar.copy_(self.similar)
        self.below.copy_(torch.where(loss < recipe.bicubic_tolerance, self.below + 1, 0))
        self.similar.logical_or_(self.below >= _BELOW_IN_A_ROW)

    def shift(self, recipe: Recipe) -> None:
        """Lower the bicubic weight where that has been reached, and let the other terms in."""
        lower = (self.bicubic / _DECAY).clamp_min(recipe.bicubic_floor)
        self.bicubic.copy_(torch.where(self.was_similar, lower, self.bicubic))
        enter = self.bicubic < _INSERT_BELOW
        self.sparse.masked_fill_(enter, recipe.sparse)
        self.centred.masked_fill_(enter, recipe.centred)


@attrs.frozen(eq=False)
class Inputs:
    """What differs from step to step: corners `(N, 2)` of crops, noise `(N, 2, C, h, w)`."""

    large: Tensor
    small: Tensor
    noise: Tensor


@attrs.define(eq=False)
class Training:
    """The state of a run; `step` changes it, in place."""

    recipe: Recipe
    regularizer: Regularizer
    pictures: Tensor  # (B or N, C, H, W), in [0, 1]
    index: Tensor  # (N,) which picture
    corners: tuple[Tensor, Tensor]  # (steps, N, 2): of the generator's and discriminator's crops
    streams: Sequence[torch.Generator]
    generator: Composition
    net: Discriminator
    passes: tuple[Pass, Pass]  # for the generator's step, and the discriminator's
    optimizers: tuple[FusedAdam, FusedAdam]
    schedule: Schedule
    bicubic: Tensor  # (N, side, side): the bicubic kernel in the frame of ours
    inputs: Inputs
    used: Tensor  # the kernels of the last step, before its update: what the paper takes
    distance: Tensor  # (N,) from the bicubic reduction, mean square
    done: int = 0
    noise: Tensor | None = None
    curves: dict[str, list[Tensor]] = attrs.field(factory=dict)
    turn: Callable[[], None] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        self.turn = replayed(self._turn, self.pictures.device)

    @property
    def kernel(self) -> Tensor:
        """The kernels of the present weights, `(N, side, side)`, in correlation order."""
        return self.generator.kernel

    def step(self) -> None:
        """Train the generators once, then the discriminators."""
        i = self.done
        self.inputs.large.copy_(self.corners[0][i])
        self.inputs.small.copy_(self.corners[1][i])
        self.inputs.noise.copy_(self._noise(i))
        self.turn()
        self.done += 1
        if i % _CHUNK == 0:
            for name, value in self._curve_values().items():
                self.curves.setdefault(name, []).append(value)
        if i and i % self.recipe.decay_every == 0:
            for optimizer in self.optimizers:
                optimizer.slow_down()
        if i and i % self.recipe.bicubic_every == 0:
            self.schedule.shift(self.recipe)

    def _turn(self) -> None:
        """Do all of a step that is the same in every step, on tensors that stay where they are."""
        pictures, recipe = self.pictures, self.recipe
        noise, side = self.inputs.noise, self.inputs.noise.shape[-1]
        at = places(pictures, self.index, self.inputs.small, side)
        crop = 2 * pictures[places(pictures, self.index, self.inputs.large, recipe.crop)] - 1
        if recipe.accumulate_noise:
            real = torch.add(pictures[at], noise[:, 0], alpha=_NOISE)
            pictures.index_put_(at, real)
            real = 2 * real - 1
        else:
            real = torch.add(2 * pictures[at] - 1, noise[:, 0], alpha=_NOISE)
        self._step_generator(crop)
        self._step_discriminator(crop, real, noise[:, 1])
        self.schedule.see(self.distance, recipe)

    def _noise(self, i: int) -> Tensor:
        """Return the noise of this step, `(N, 2, C, h, w)`: for real and for generated crops."""
        if i % _CHUNK == 0 or self.noise is None:
            like = self.inputs.noise
            shape, place = (_CHUNK, *like.shape[1:]), {"dtype": like.dtype, "device": like.device}
            drawn = [torch.randn(shape, generator=g, **place) for g in self.streams]  # type: ignore[call-overload]
            self.noise = torch.stack(drawn, 1)
        return self.noise[i % _CHUNK]

    def _step_generator(self, crop: Tensor) -> None:
        schedule, recipe, k = self.schedule, self.recipe, self.kernel
        made, target = reduced(crop, k, STRIDE), reduced(crop, self.bicubic, STRIDE)
        if recipe.sum_channels:
            target = target.sum(1, keepdim=True)
        judged = self.passes[0].judge(made.unsqueeze(1), self.net.power_iterations(1))
        # |D - 1| with D below 1: the same slope everywhere.
        pull = torch.full_like(judged.output, -1 / judged.output[0].numel())
        off = made - target
        factor = schedule.bicubic * (2 / made[0].numel())
        grad = torch.addcmul(judged.to_input(pull).squeeze(1), off, factor[:, None, None, None])
        by_kernel = kernel_gradient(crop, grad, k.shape[-1], STRIDE)
        by_kernel += self.regularizer.gradient(
            k, recipe.sum_to_one, recipe.boundaries, schedule.sparse, schedule.centred
        )
        self.distance.copy_(off.square().mean((1, 2, 3)))
        self.used.copy_(k)
        self.optimizers[0].step(self.generator.gradients(by_kernel))
        self.generator.refresh()

    def _step_discriminator(self, crop: Tensor, real: Tensor, noise: Tensor) -> None:
        made = reduced(crop, self.kernel, STRIDE)
        both = torch.stack((real, torch.add(made, noise, alpha=_NOISE)), 1)
        judged = self.passes[1].judge(both, self.net.power_iterations(2))
        # (|D(real) - 1| + |D(made)|) / 2
        pull = torch.full_like(judged.output, 0.5 / judged.output[0, 0].numel())
        pull[:, 0].neg_()
        self.optimizers[1].step(judged.to_parameters(pull))

    def _curve_values(self) -> dict[str, Tensor]:
        real, made = self.passes[1].output.mean(2).unbind(1)
        return {
            "generator_loss": 1 - self.passes[0].output.mean((1, 2)),
            "discriminator_loss": (1 - real + made) / 2,
            "bicubic_loss": self.distance.clone(),
            "kernel_sum": self.used.sum((1, 2)),
        }

    def history(self, restarts: int) -> dict[str, Tensor]:
        """Return curves `(B, restarts * entries)`: every 50 steps, one run after the other."""
        return {
            name: torch.stack(values, -1).cpu().unflatten(0, (-1, restarts)).flatten(1)
            for name, values in self.curves.items()
        }


def start(
    pictures: Tensor,
    maps: Sequence[Tensor],
    streams: Sequence[torch.Generator],
    recipe: Recipe,
    *,
    restarts: int,
    steps: int,
    bicubic: Tensor,
) -> Training:
    """Return a run for `pictures (B, C, H, W)` in [0, 1], `restarts` for each.

    maps: their `importance`; streams: of random numbers, one for each of the B x restarts;
    bicubic: the kernel of stride 2, in correlation order.
    """
    count, dtype, device = len(streams), pictures.dtype, pictures.device
    channels = pictures.shape[1]
    index = torch.arange(len(pictures), device=device).repeat_interleave(restarts)
    side = kernel_side(recipe.layers)
    small = (recipe.crop - side) // STRIDE + 1
    corners = []
    for crop in (recipe.crop, small):
        drawn = [
            crop_corners(maps[b], crop, steps, g)
            for b, g in zip(index.tolist(), streams, strict=True)
        ]
        corners.append(torch.stack(drawn, 1).to(device))
    generator = Composition.of(draw_generator(streams, recipe.layers, dtype=dtype))
    net = draw_discriminator(streams, channels, dtype=dtype)
    if recipe.accumulate_noise:
        pictures, index = pictures[index].clone(), torch.arange(count, device=device)
    kernel = generator.kernel
    maps_of = (count, channels, small, small)
    return Training(
        recipe=recipe,
        regularizer=Regularizer.of(
            side, side // 2 + 0.5 * (STRIDE - side % 2), recipe.power, pictures
        ),
        pictures=pictures,
        index=index,
        corners=(corners[0], corners[1]),
        streams=streams,
        generator=generator,
        net=net,
        passes=(
            Pass.of(net, torch.Size((count, 1, *maps_of[1:]))),
            Pass.of(net, torch.Size((count, 2, *maps_of[1:]))),
        ),
        optimizers=(
            FusedAdam.of(generator.weights, recipe),
            FusedAdam.of(net.parameters, recipe),
        ),
        schedule=Schedule.of(recipe, kernel),
        bicubic=_framed(bicubic, side).to(pictures).expand_as(kernel).contiguous(),
        inputs=Inputs(
            torch.zeros_like(corners[0][0]),
            torch.zeros_like(corners[1][0]),
            pictures.new_empty(count, 2, *maps_of[1:]),
        ),
        used=torch.zeros_like(kernel),
        distance=kernel.new_zeros(count),
    )


def _framed(kernel: Tensor, side: int) -> Tensor:
    """Put an even kernel into a frame of odd side, so that both see the same middle of a block."""
    framed = torch.zeros(side, side, dtype=kernel.dtype, device=kernel.device)
    first = (side + 1 - kernel.shape[-1]) // 2
    framed[first : first + kernel.shape[-1], first : first + kernel.shape[-1]] = kernel
    return framed
