"""The patch discriminator, with spectral and batch normalisation, in as few calls as possible.

A 7 x 7 convolution, five 1 x 1 convolutions each with batch normalisation and ReLU, and a last
1 x 1 convolution with a sigmoid: a map that says how real each 7 x 7 patch looks. All weights are
divided by their spectral norm. Gradients are written out, since the maps are small and the number
of calls is what costs. Three identities save most of them, all exact:

- The first two convolutions have nothing between them and are composed.
- The biases before a batch normalisation cancel in it and are left out.
- No weight is divided: ReLU commutes with a positive factor, so that the division by the norm of
  the next layer goes into the gain and shift of the batch normalisation before it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import attrs
import torch
import torch.nn.functional as F
from torch import Tensor

__all__ = ["PATCH", "Discriminator", "Norms", "Pass", "draw_discriminator"]

PATCH = 7
WIDTH = 64
DEPTH = 5  # of the 1 x 1 convolutions with batch normalisation
_LAYERS = DEPTH + 2
_EPS = 1e-5
_TINY = 1e-12


@attrs.frozen(eq=False)
class Norms:
    """Spectral norms of the layers in P passes, and the singular vectors that gave them.

    Shapes: values `(N, 7, P)`, left `(N, 7, 64, P)`, right `(N, 7, taps, P)`.
    """

    values: Tensor
    left: Tensor
    right: Tensor


@attrs.frozen(eq=False)
class Discriminator:
    """N discriminators for pictures of C channels, side by side.

    weight: `(N, 7, 64, taps)`, the first layer with its `taps = 49 C` and then the 1 x 1 ones,
    padded with zeros, so that one product serves all (the zeros stay: their gradients are zero).
    bias `(N, 1, 1)`: of the last layer. gain, shift `(N, 5, 64, 1)`: of the batch normalisations.
    left `(N, 7, 64, 1)`: running estimates of the singular vectors.
    """

    weight: Tensor
    bias: Tensor
    gain: Tensor
    shift: Tensor
    left: Tensor
    taps: int

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimiser changes."""
        return [self.weight, self.bias, self.gain, self.shift]

    def power_iterations(self, count: int) -> Norms:
        """Improve the singular vectors `count` times, and return the norms found at each.

        Source: Miyato et al., 2018, Spectral normalization, algorithm 1.
        """
        left, found = self.left, []
        for _ in range(count):
            right = _unit(self.weight.mT @ left)[0]
            left, value = _unit(self.weight @ right)
            found.append((value, left, right))
        self.left.copy_(left)
        values, lefts, rights = (
            t[0] if count == 1 else torch.cat(t, -1) for t in zip(*found, strict=True)
        )
        return Norms(values.squeeze(-2), lefts, rights)

    def layer(self, i: int) -> Tensor:
        """Return the weight of layer i, `(N, out, in)`."""
        return _part(self.weight, i, self.taps)


@attrs.frozen(eq=False)
class Pass:
    """A pass of P maps through each of N discriminators, and what goes back from it.

    Each of the P has its own norms, and its own statistics in batch normalisation.
    Shapes: x `(N, P, C, h, w)`; output `(N, P, L)` with `L = (h - 6)(w - 6)`.
    """

    net: Discriminator
    norms: Norms
    shape: torch.Size
    scale: Tensor  # of the input, (N, P, 1, 1, 1)
    gain: Tensor  # (N, 5, 64, P), over the norm of the next layer
    patches: Tensor  # (N, taps, P L)
    first: Tensor  # (N, 64, taps): the first two layers
    inputs: list[Tensor]  # of the batch normalisations, (N, 64, P L)
    stats: list[tuple[Tensor, Tensor]]
    hidden: list[Tensor]  # after ReLU, over the norm of the next layer
    logits: Tensor  # (N, 1, P L), without the bias
    output: Tensor

    @classmethod
    def of(cls, net: Discriminator, x: Tensor, norms: Norms) -> Pass:
        """Return the pass of `x` with the given norms."""
        count, groups = x.shape[:2]
        inverse = norms.values.reciprocal()
        scale = (inverse[:, 0] * inverse[:, 1])[..., None, None, None]
        after = inverse[:, 2:].unsqueeze(-2)  # (N, 5, 1, P)
        gain, shift = net.gain * after, net.shift * after
        patches = F.unfold((x * scale).flatten(0, 1), PATCH)
        if groups > 1:
            patches = patches.unflatten(0, (count, groups)).transpose(1, 2).flatten(2)
        first = net.layer(1) @ net.layer(0)
        h = first @ patches
        inputs, stats, hidden = [], [], []
        for i in range(DEPTH):
            if i:
                h = net.layer(1 + i) @ h
            inputs.append(h)
            h, mean, invstd = _normalise(h, gain[:, i], shift[:, i])
            stats.append((mean, invstd))
            h = h.relu_()
            hidden.append(h)
        logits = net.layer(DEPTH + 1) @ h
        output = (logits + net.bias).sigmoid_().view(count, groups, -1)
        return cls(
            net, norms, x.shape, scale, gain, patches, first,
            inputs, stats, hidden, logits, output,
        )  # fmt: skip

    def to_input(self, grad: Tensor) -> Tensor:
        """Return the gradient in x of a loss whose gradient in the output is `grad`."""
        net, g = self.net, self._to_logits(grad)
        for i in reversed(range(DEPTH)):
            g = net.layer(2 + i).mT @ g
            g = self._through_block(g, i, False)[0]
        back = self.first.mT @ g
        groups = self.shape[1]
        if groups > 1:
            back = back.unflatten(2, (groups, -1)).transpose(1, 2).flatten(0, 1)
        x = F.fold(back, self.shape[-2:], PATCH)
        return x.view(self.shape) * self.scale

    def to_parameters(self, grad: Tensor) -> list[Tensor]:
        """Return the gradients in `net.parameters`, summed over the passes."""
        net, g = self.net, self._to_logits(grad)
        to_weight = torch.zeros_like(net.weight)
        gains, shifts, along = [], [], [self._along(g, self.logits)]
        bias = g.sum((1, 2), keepdim=True)
        for i in reversed(range(DEPTH)):
            _part(to_weight, 2 + i, net.taps).copy_(g @ self.hidden[i].mT)
            g = net.layer(2 + i).mT @ g
            g, gain, shift = self._through_block(g, i, True)
            gains.append(gain)
            shifts.append(shift)
            along.append(self._along(g, self.inputs[i]))
        joint = g @ self.patches.mT  # of the first two layers together
        torch.matmul(joint, net.layer(0).mT, out=_part(to_weight, 1, net.taps))
        _part(to_weight, 0, net.taps).copy_(net.layer(1).mT @ joint)
        along.append(along[-1])
        after = self.norms.values[:, 2:].unsqueeze(-2)
        return [
            self._through_norms(to_weight, torch.stack(along[::-1], 1)),
            bias,
            (torch.stack(gains[::-1], 1) / after).sum(-1, keepdim=True),
            (torch.stack(shifts[::-1], 1) / after).sum(-1, keepdim=True),
        ]

    def _to_logits(self, grad: Tensor) -> Tensor:
        g: Tensor = torch.ops.aten.sigmoid_backward(grad, self.output)
        return g.view(g.shape[0], 1, -1)

    def _through_block(self, g: Tensor, i: int, weights: bool) -> tuple[Tensor, Tensor, Tensor]:
        """Go back through ReLU and batch normalisation."""
        g = torch.ops.aten.threshold_backward(g, self.hidden[i], 0)
        return _denormalise(g, self.inputs[i], self.gain[:, i], *self.stats[i], weights)

    def _along(self, g: Tensor, h: Tensor) -> Tensor:
        """Return `<g, h>` for each pass, `(N, P)`: how the loss changes with the layer's norm."""
        return (g * h).unflatten(2, (self.shape[1], -1)).sum((1, 3))

    def _through_norms(self, to_weight: Tensor, along: Tensor) -> Tensor:
        """Take away what changing the norm `left^T W right` of each layer does.

        along: `(N, 7, P)`.
        """
        left = self.norms.left * (along / self.norms.values).unsqueeze(-2)
        flat = (to_weight.flatten(0, 1), left.flatten(0, 1), self.norms.right.flatten(0, 1).mT)
        return torch.baddbmm(*flat, alpha=-1).view_as(to_weight)


def draw_discriminator(
    streams: Sequence[torch.Generator], channels: int, *, dtype: torch.dtype
) -> Discriminator:
    """Return one discriminator per stream.

    Weights are uniform within 1 / sqrt(fan in), PyTorch's default; batch normalisation starts with
    gains of mean 1 and standard deviation 0.02 and no shift.
    """
    taps = PATCH**2 * channels
    rows = [WIDTH] * (DEPTH + 1) + [1]
    columns = [taps] + [WIDTH] * (DEPTH + 1)
    weights, gains, lefts = [], [], []
    for stream in streams:
        place = {"device": stream.device, "dtype": dtype}
        weight = torch.zeros(_LAYERS, WIDTH, max(taps, WIDTH), **place)  # type: ignore[call-overload]
        left = torch.zeros(_LAYERS, WIDTH, 1, **place)  # type: ignore[call-overload]
        for i, (r, c) in enumerate(zip(rows, columns, strict=True)):
            uniform = torch.rand(r, c, generator=stream, **place)  # type: ignore[call-overload]
            weight[i, :r, :c] = (2 * uniform - 1) / math.sqrt(c)
            normal = torch.randn(r, 1, generator=stream, **place)  # type: ignore[call-overload]
            left[i, :r] = F.normalize(normal, dim=0)
        normal = torch.randn(DEPTH, WIDTH, 1, generator=stream, **place)  # type: ignore[call-overload]
        gains.append(1 + 0.02 * normal)
        weights.append(weight)
        lefts.append(left)
    weight, gain = torch.stack(weights), torch.stack(gains)
    net = Discriminator(
        weight=weight,
        bias=weight.new_zeros(len(streams), 1, 1),
        gain=gain,
        shift=torch.zeros_like(gain),
        left=torch.stack(lefts),
        taps=taps,
    )
    net.power_iterations(1)
    return net


def _part(weight: Tensor, i: int, taps: int) -> Tensor:
    if i == 0:
        return weight[:, 0, :, :taps]
    return weight[:, i, : 1 if i > DEPTH else WIDTH, :WIDTH]


def _unit(v: Tensor) -> tuple[Tensor, Tensor]:
    norm = torch.linalg.vector_norm(v, dim=-2, keepdim=True).clamp_min_(_TINY)
    return v / norm, norm


def _normalise(h: Tensor, gain: Tensor, shift: Tensor) -> tuple[Tensor, Tensor, Tensor]:
    """Normalise each map of `(N, 64, P L)` over its own pixels; gain and shift `(N, 64, P)`."""
    out, mean, invstd = torch.native_batch_norm(
        h.view(1, gain.numel(), -1),
        gain.reshape(-1),
        shift.reshape(-1),
        None,
        None,
        True,
        0.0,
        _EPS,
    )
    return out.view(h.shape), mean, invstd


def _denormalise(
    g: Tensor, h: Tensor, gain: Tensor, mean: Tensor, invstd: Tensor, weights: bool
) -> tuple[Tensor, Tensor, Tensor]:
    flat = (1, gain.numel(), -1)
    back, to_gain, to_shift = torch.ops.aten.native_batch_norm_backward(
        g.reshape(flat), h.view(flat), gain.reshape(-1), None, None, mean, invstd, True, _EPS,
        [True, weights, weights],
    )  # fmt: skip
    if not weights:
        return back.view(h.shape), gain, gain
    return back.view(h.shape), to_gain.view(gain.shape), to_shift.view(gain.shape)
