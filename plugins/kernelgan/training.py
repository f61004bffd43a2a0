"""The training of N generators against N discriminators, all in one program.

Nothing here depends on how many there are: every tensor starts with N, and no sample sees another.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from .adam import FusedAdam
from .crops import crop_corners, places
from .discriminator import Discriminator, Pass, draw_discriminator
from .generator import compose, draw_generator, kernel_gradient, kernel_side, reduced
from .recipe import Recipe
from .regularization import Regularizer

__all__ = ["STRIDE", "Training", "start"]

STRIDE = 2
_NOISE = 1 / 255
_CHUNK = 50  # steps whose noise is drawn at once, and between two entries of the history
_BELOW_IN_A_ROW = 3
_DECAY = 100.0
_INSERT_BELOW = 5e-3


@attrs.define(eq=False)
class Schedule:
    """The weights of the losses, per sample, as they change while learning."""

    bicubic: Tensor
    sparse: Tensor
    centred: Tensor
    below: Tensor  # steps in a row with a bicubic loss below the tolerance
    similar: Tensor


@attrs.define(eq=False)
class Training:
    """The state of a run; `step` changes it."""

    recipe: Recipe
    regularizer: Regularizer
    pictures: Tensor  # (B or N, C, H, W), in [0, 1]
    index: Tensor  # (N,) which picture
    corners: tuple[Tensor, Tensor]  # (steps, N, 2): of the generator's and discriminator's crops
    streams: Sequence[torch.Generator]
    weights: list[Tensor]
    net: Discriminator
    passes: tuple[Pass, Pass]  # for the generator's step, and the discriminator's
    optimizers: tuple[FusedAdam, FusedAdam]
    schedule: Schedule
    bicubic: Tensor  # (N, side, side): the bicubic kernel in the frame of ours
    kernel: Tensor  # (N, side, side), of the present weights, with its graph
    used: Tensor  # that of the last step, before its update: what the paper takes
    done: int = 0
    noise: Tensor | None = None
    losses: dict[str, Tensor] = attrs.field(factory=dict)
    curves: dict[str, list[Tensor]] = attrs.field(factory=dict)

    def step(self) -> None:
        """Train the generators once, then the discriminators."""
        recipe, i = self.recipe, self.done
        pictures = self.pictures
        at = places(pictures, self.index, self.corners[1][i], self._small)
        noise = self._noise(i)
        crop = 2 * pictures[places(pictures, self.index, self.corners[0][i], recipe.crop)] - 1
        if recipe.accumulate_noise:
            real = torch.add(pictures[at], noise[:, 0], alpha=_NOISE)
            pictures.index_put_(at, real)
            real = 2 * real - 1
        else:
            real = torch.add(2 * pictures[at] - 1, noise[:, 0], alpha=_NOISE)
        self._step_generator(crop)
        self._step_discriminator(crop, real, noise[:, 1])
        self._advance()

    @property
    def _small(self) -> int:
        """Side of what the generator makes of a crop."""
        return (self.recipe.crop - self.kernel.shape[-1]) // STRIDE + 1

    def _noise(self, i: int) -> Tensor:
        """Return the noise of this step, `(N, 2, C, h, w)`: for real and for generated crops."""
        if i % _CHUNK == 0 or self.noise is None:
            shape = (_CHUNK, 2, self.pictures.shape[1], self._small, self._small)
            place = {"dtype": self.pictures.dtype, "device": self.pictures.device}
            drawn = [torch.randn(shape, generator=g, **place) for g in self.streams]  # type: ignore[call-overload]
            self.noise = torch.stack(drawn, 1)
        return self.noise[i % _CHUNK]

    def _step_generator(self, crop: Tensor) -> None:
        schedule, recipe = self.schedule, self.recipe
        k = self.kernel.detach()
        made = reduced(crop, k, STRIDE)
        target = reduced(crop, self.bicubic, STRIDE)
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
        self.optimizers[0].step(torch.autograd.grad(self.kernel, self.weights, by_kernel))
        self.used = k
        self.kernel = compose(self.weights)
        self.losses = {"generator": judged.output, "bicubic": off.square().mean((1, 2, 3))}

    def _step_discriminator(self, crop: Tensor, real: Tensor, noise: Tensor) -> None:
        made = reduced(crop, self.kernel.detach(), STRIDE)
        both = torch.stack((real, torch.add(made, noise, alpha=_NOISE)), 1)
        judged = self.passes[1].judge(both, self.net.power_iterations(2))
        # (|D(real) - 1| + |D(made)|) / 2
        pull = torch.full_like(judged.output, 0.5 / judged.output[0, 0].numel())
        pull[:, 0].neg_()
        self.optimizers[1].step(judged.to_parameters(pull))
        self.losses["discriminator"] = judged.output

    def _advance(self) -> None:
        """Change weights and learning rates as the authors' code does after step `done`."""
        recipe, schedule, i = self.recipe, self.schedule, self.done
        self.done += 1
        if i % _CHUNK == 0:
            for name, value in self._curve_values().items():
                self.curves.setdefault(name, []).append(value)
        if i == 0:
            return
        if i % recipe.decay_every == 0:
            for optimizer in self.optimizers:
                optimizer.rate /= 10
        was_similar = schedule.similar
        below = self.losses["bicubic"] < recipe.bicubic_tolerance
        schedule.below = torch.where(below, schedule.below + 1, 0)
        schedule.similar = was_similar | (schedule.below >= _BELOW_IN_A_ROW)
        if i % recipe.bicubic_every == 0:
            smaller = (schedule.bicubic / _DECAY).clamp_min(recipe.bicubic_floor)
            schedule.bicubic = torch.where(was_similar, smaller, schedule.bicubic)
            insert = schedule.bicubic < _INSERT_BELOW
            schedule.sparse = torch.where(insert, recipe.sparse, schedule.sparse)
            schedule.centred = torch.where(insert, recipe.centred, schedule.centred)

    def _curve_values(self) -> dict[str, Tensor]:
        real, made = self.losses["discriminator"].mean(2).unbind(1)
        return {
            "generator_loss": 1 - self.losses["generator"].mean((1, 2)),
            "discriminator_loss": (1 - real + made) / 2,
            "bicubic_loss": self.losses["bicubic"],
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
        corners.append(torch.stack(drawn, 1))
    weights = draw_generator(streams, recipe.layers, dtype=dtype)
    net = draw_discriminator(streams, channels, dtype=dtype)
    for weight in weights:
        weight.requires_grad_()
    if recipe.accumulate_noise:
        pictures, index = pictures[index].clone(), torch.arange(count, device=device)
    zero = torch.zeros(count, dtype=dtype, device=device)
    kernel = compose(weights)
    return Training(
        recipe=recipe,
        regularizer=Regularizer.of(
            side, side // 2 + 0.5 * (STRIDE - side % 2), recipe.power, pictures
        ),
        pictures=pictures,
        index=index,
        corners=(corners[0], corners[1]),
        streams=streams,
        weights=weights,
        net=net,
        passes=(
            Pass.of(net, torch.Size((count, 1, channels, small, small))),
            Pass.of(net, torch.Size((count, 2, channels, small, small))),
        ),
        optimizers=(FusedAdam.of(weights, recipe), FusedAdam.of(net.parameters, recipe)),
        schedule=Schedule(
            bicubic=zero + recipe.bicubic,
            sparse=zero,
            centred=zero,
            below=zero.long(),
            similar=zero.bool(),
        ),
        bicubic=_framed(bicubic, side).to(pictures).expand_as(kernel).contiguous(),
        kernel=kernel,
        used=kernel.detach(),
    )


def _framed(kernel: Tensor, side: int) -> Tensor:
    """Put an even kernel into a frame of odd side, so that both see the same middle of a block."""
    framed = torch.zeros(side, side, dtype=kernel.dtype, device=kernel.device)
    first = (side + 1 - kernel.shape[-1]) // 2
    framed[first : first + kernel.shape[-1], first : first + kernel.shape[-1]] = kernel
    return framed
