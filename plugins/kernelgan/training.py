"""The training of N generators against N discriminators, all in one program.

Nothing here depends on how many there are: every tensor starts with N, and no sample sees another.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
import torch
from torch import Tensor

from .crops import crop_corners, places
from .discriminator import Discriminator, Pass, draw_discriminator
from .generator import compose, draw_generator, kernel_side, patches_of
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
    optimizers: tuple[torch.optim.Adam, torch.optim.Adam]
    schedule: Schedule
    bicubic: Tensor  # (side^2,): the bicubic kernel in the frame of ours
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
        patches = patches_of(crop, self.kernel.shape[-1], STRIDE)
        self._step_generator(patches, real.shape)
        self._step_discriminator(patches, real, noise[:, 1])
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

    def _step_generator(self, patches: Tensor, shape: torch.Size) -> None:
        net, schedule = self.net, self.schedule
        k = self.kernel.detach()
        made = patches @ k.flatten(1).unsqueeze(-1)  # (N, C h w, 1)
        judged = Pass.of(net, made.reshape(shape).unsqueeze(1), net.power_iterations(1))
        # |D - 1| with D below 1: the same slope everywhere.
        pull = torch.full_like(judged.output, -1 / judged.output[0].numel())
        grad = judged.to_input(pull).reshape(made.shape)
        target = self._bicubic_target(patches)
        off = made - target
        distance = off.square().mean((1, 2))
        factor = schedule.bicubic * (2 / made.shape[1])
        grad = torch.addcmul(grad, off, factor[:, None, None])
        by_kernel = (patches.mT @ grad).view_as(k)
        by_kernel += self.regularizer.gradient(
            k, self.recipe.sum_to_one, self.recipe.boundaries, schedule.sparse, schedule.centred
        )
        _update(
            self.optimizers[0],
            self.weights,
            torch.autograd.grad(self.kernel, self.weights, by_kernel),
        )
        self.used = k
        self.kernel = compose(self.weights)
        self.losses = {"generator": judged.output, "bicubic": distance}

    def _bicubic_target(self, patches: Tensor) -> Tensor:
        target = patches @ self.bicubic.unsqueeze(-1)
        if not self.recipe.sum_channels:
            return target
        channels = self.pictures.shape[1]
        by_channel = target.unflatten(1, (channels, -1))
        return by_channel.sum(1, keepdim=True).expand_as(by_channel).reshape(target.shape)

    def _step_discriminator(self, patches: Tensor, real: Tensor, noise: Tensor) -> None:
        net = self.net
        made = (patches @ self.kernel.detach().flatten(1).unsqueeze(-1)).view_as(real)
        both = torch.stack((real, torch.add(made, noise, alpha=_NOISE)), 1)
        judged = Pass.of(net, both, net.power_iterations(2))
        # (|D(real) - 1| + |D(made)|) / 2
        pull = torch.full_like(judged.output, 0.5 / judged.output[0, 0].numel())
        pull[:, 0].neg_()
        _update(self.optimizers[1], net.parameters, judged.to_parameters(pull))
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
                for group in optimizer.param_groups:
                    group["lr"] = group["lr"] / 10
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
    net = draw_discriminator(streams, pictures.shape[1], dtype=dtype)
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
        optimizers=(_adam(weights, recipe), _adam(net.parameters, recipe)),
        schedule=Schedule(
            bicubic=zero + recipe.bicubic,
            sparse=zero,
            centred=zero,
            below=zero.long(),
            similar=zero.bool(),
        ),
        bicubic=_framed(bicubic, side).flatten().to(pictures),
        kernel=kernel,
        used=kernel.detach(),
    )


def _framed(kernel: Tensor, side: int) -> Tensor:
    """Put an even kernel into a frame of odd side, so that both see the same middle of a block."""
    framed = torch.zeros(side, side, dtype=kernel.dtype, device=kernel.device)
    first = (side + 1 - kernel.shape[-1]) // 2
    framed[first : first + kernel.shape[-1], first : first + kernel.shape[-1]] = kernel
    return framed


def _adam(parameters: Sequence[Tensor], recipe: Recipe) -> torch.optim.Adam:
    return torch.optim.Adam(
        list(parameters), lr=recipe.learning_rate, betas=recipe.betas, fused=True
    )


def _update(
    optimizer: torch.optim.Adam, parameters: Sequence[Tensor], grads: Sequence[Tensor]
) -> None:
    for parameter, grad in zip(parameters, grads, strict=True):
        parameter.grad = grad.contiguous()  # the fused step reads memory, not strides
    optimizer.step()
