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

__all__ = ["PATCH", "Discriminator", "Judged", "Norms", "Pass", "draw_discriminator"]

PATCH = 7
WIDTH = 64
DEPTH = 5  # of the 1 x 1 convolutions with batch normalisation
_LAYERS = DEPTH + 2
_EPS = 1e-5
_TINY = 1e-12


@attrs.frozen(eq=False)
class Norms:
    """Spectral norms of the layers in P passes, and the singular vectors that gave them.

    Shapes: values `(7, N, P)`, left `(7 N, 64, P)`, right `(7 N, taps, P)`.
    """

    values: Tensor
    left: Tensor
    right: Tensor


@attrs.frozen(eq=False)
class Discriminator:
    """N discriminators for pictures of C channels, side by side.

    weight: `(7, N, 64, taps)`, the first layer with its `taps = 49 C` and then the 1 x 1 ones,
    padded with zeros, so that one product serves all (the zeros stay: their gradients are zero).
    bias `(N, 1, 1)`: of the last layer. gain, shift `(5, N, 64, 1)`: of the batch normalisations.
    left `(7 N, 64, 1)`: running estimates of the singular vectors.

    Parameters change in place, so that views of them are made once.
    """

    weight: Tensor
    bias: Tensor
    gain: Tensor
    shift: Tensor
    left: Tensor
    taps: int
    layers: list[Tensor] = attrs.field(init=False)  # (N, out, in) each
    turned: list[Tensor] = attrs.field(init=False)  # (N, in, out)
    to_weight: Tensor = attrs.field(init=False)  # a gradient, written anew in every step
    to_layers: list[Tensor] = attrs.field(init=False)

    def __attrs_post_init__(self) -> None:
        layers, gradient = _parts(self.weight, self.taps), torch.zeros_like(self.weight)
        object.__setattr__(self, "layers", layers)
        object.__setattr__(self, "turned", [layer.mT for layer in layers])
        object.__setattr__(self, "to_weight", gradient)
        object.__setattr__(self, "to_layers", _parts(gradient, self.taps))

    @property
    def parameters(self) -> list[Tensor]:
        """What the optimiser changes."""
        return [self.weight, self.bias, self.gain, self.shift]

    def power_iterations(self, count: int) -> Norms:
        """Improve the singular vectors `count` times, and return the norms found at each.

        Source: Miyato et al., 2018, Spectral normalization, algorithm 1.
        """
        weight, left, found = self.weight.flatten(0, 1), self.left, []
        for _ in range(count):
            # Rows, and a sum: several times faster than products with columns.
            right = _unit(torch.bmm(left.mT, weight).mT)[0]
            left, value = _unit((weight * right.mT).sum(2, keepdim=True))
            found.append((value, left, right))
        self.left.copy_(left)
        values, lefts, rights = (
            t[0] if count == 1 else torch.cat(t, -1) for t in zip(*found, strict=True)
        )
        return Norms(values.view(_LAYERS, -1, count), lefts, rights)


@attrs.frozen(eq=False)
class Pass:
    """A pass of P maps through each of N discriminators, and what goes back from it.

    Each of the P has its own norms, and its own statistics in batch normalisation. All buffers
    are kept from pass to pass: fresh ones come from the system page by page, at several times the
    cost of filling them. Results are valid until the next pass.

    Shapes: x `(N, P, C, h, w)`; output `(N, P, L)` with `L = (h - 6)(w - 6)`; within, maps are
    `(N, 64, P L)`, or `(1, N 64 P, L)` as the channels of one picture.
    """

    net: Discriminator
    shape: torch.Size
    patches: Tensor  # (N, taps, P L)
    first: Tensor  # (N, 64, taps): the first two layers
    inputs: list[Tensor]  # of the batch normalisations, (1, N 64 P, L)
    means: Tensor  # (5, N 64 P)
    deviations: Tensor  # their reciprocals
    hidden: list[Tensor]  # after ReLU, over the norm of the next layer, (1, N 64 P, L)
    logits: Tensor  # (N, 1, P L), without the bias
    output: Tensor
    gradient: Tensor  # (N, 64, P L)

    @classmethod
    def of(cls, net: Discriminator, shape: torch.Size) -> Pass:
        """Return a pass, not yet made, for maps of a shape."""
        count, groups, _, height, width = shape
        length = (height - PATCH + 1) * (width - PATCH + 1)
        new = net.weight.new_empty
        flat, whole = (1, count * WIDTH * groups, length), (count, WIDTH, groups * length)
        return cls(
            net=net,
            shape=shape,
            patches=new(count, net.taps, groups * length),
            first=new(count, WIDTH, net.taps),
            inputs=[new(flat) for _ in range(DEPTH)],
            means=new(DEPTH, flat[1]),
            deviations=new(DEPTH, flat[1]),
            hidden=[new(flat) for _ in range(DEPTH)],
            logits=new(count, 1, groups * length),
            output=new(count, groups, length),
            gradient=new(whole),
        )

    def judge(self, x: Tensor, norms: Norms) -> Judged:
        """Make the pass: `output` says how real x looks, patch by patch."""
        net = self.net
        inverse = norms.values.reciprocal()
        scale = (inverse[0] * inverse[1])[..., None, None, None]
        after = inverse[2:].unsqueeze(2)  # (5, N, 1, P)
        gain, shift = ((t * after).view(DEPTH, -1) for t in (net.gain, net.shift))
        self._cut(x * scale)
        torch.bmm(net.layers[1], net.layers[0], out=self.first)
        whole = self.gradient.shape
        torch.bmm(self.first, self.patches, out=self.inputs[0].view(whole))
        for i, (one, other) in enumerate(zip(gain.unbind(), shift.unbind(), strict=True)):
            # Each map is normalised over its own pixels.
            torch.ops.aten.native_batch_norm.out(
                self.inputs[i], one, other, None, None, True, 0.0, _EPS,
                out=self.hidden[i], save_mean=self.means[i], save_invstd=self.deviations[i],
            )  # fmt: skip
            h = self.hidden[i].relu_().view(whole)
            last = i + 1 == DEPTH
            result = self.logits if last else self.inputs[i + 1].view(whole)
            torch.bmm(net.layers[2 + i], h, out=result)
        torch.add(self.logits, net.bias, out=self.output.view_as(self.logits)).sigmoid_()
        return Judged(self, norms, scale, gain)

    def _cut(self, x: Tensor) -> None:
        """Fill `patches` with what each pixel of the output sees."""
        count, groups, channels = x.shape[:3]
        windows = x.unfold(3, PATCH, 1).unfold(4, PATCH, 1)  # (N, P, C, h', w', 7, 7)
        windows = windows.permute(0, 2, 5, 6, 1, 3, 4)
        into = self.patches.view(count, channels, PATCH, PATCH, groups, *windows.shape[5:])
        into.copy_(windows)


@attrs.frozen(eq=False)
class Judged:
    """A pass that has been made."""

    made: Pass
    norms: Norms
    scale: Tensor  # of the input, (N, P, 1, 1, 1)
    gain: Tensor  # (5, N 64 P), over the norm of the next layer

    @property
    def output(self) -> Tensor:
        """How real each patch looks, `(N, P, L)`."""
        return self.made.output

    def to_input(self, grad: Tensor) -> Tensor:
        """Return the gradient in x of a loss whose gradient in the output is `grad`."""
        made, net, g = self.made, self.made.net, self._to_logits(grad)
        for i in reversed(range(DEPTH)):
            g = self._through_block(torch.bmm(net.turned[2 + i], g, out=made.gradient), i)[0]
        back = torch.bmm(made.first.mT, g)
        groups = made.shape[1]
        if groups > 1:
            back = back.unflatten(2, (groups, -1)).transpose(1, 2).flatten(0, 1)
        x = F.fold(back, made.shape[-2:], PATCH)
        return x.view(made.shape) * self.scale

    def to_parameters(self, grad: Tensor) -> list[Tensor]:
        """Return the gradients in `net.parameters`, summed over the passes."""
        made, net, g = self.made, self.made.net, self._to_logits(grad)
        count, groups = made.shape[:2]
        last = (g * made.logits).view(count, groups, -1).sum(2)
        bias = g.sum((1, 2), keepdim=True)
        gains, shifts = [], []
        for i in reversed(range(DEPTH)):
            h = made.hidden[i].view(made.gradient.shape)
            net.to_layers[2 + i].copy_(torch.bmm(g, h.mT))
            g = torch.bmm(net.turned[2 + i], g, out=made.gradient)
            g, gain, shift = self._through_block(g, i)
            gains.append(gain)
            shifts.append(shift)
        joint = torch.bmm(g, made.patches.mT)  # of the first two layers together
        net.to_layers[1].copy_(torch.bmm(joint, net.turned[0]))
        net.to_layers[0].copy_(torch.bmm(net.turned[1], joint))
        to_gain, to_shift = (torch.stack(t[::-1]) for t in (gains, shifts))
        self._through_norms(self._along(to_gain, last))
        after = self.norms.values[2:].unsqueeze(2)
        whole = (DEPTH, count, WIDTH, groups)
        return [
            net.to_weight,
            bias,
            *((t.view(whole) / after).sum(-1, keepdim=True) for t in (to_gain, to_shift)),
        ]

    def _to_logits(self, grad: Tensor) -> Tensor:
        g: Tensor = torch.ops.aten.sigmoid_backward(grad, self.made.output)
        return g.view(g.shape[0], 1, -1)

    def _through_block(self, g: Tensor, i: int) -> tuple[Tensor, Tensor, Tensor]:
        """Go back through ReLU, in place, and batch normalisation."""
        made = self.made
        h, flat = made.inputs[i], g.view(made.inputs[i].shape)
        torch.ops.aten.threshold_backward.grad_input(flat, made.hidden[i], 0, grad_input=flat)
        back, to_gain, to_shift = torch.ops.aten.native_batch_norm_backward(
            flat, h, self.gain[i], None, None, made.means[i], made.deviations[i], True, _EPS,
            [True, True, True],
        )  # fmt: skip
        return back.view(g.shape), to_gain, to_shift

    def _along(self, to_gain: Tensor, last: Tensor) -> Tensor:
        """Return how the loss changes with the logarithm of each layer's norm, `(7, N, P)`.

        It is `<g, h>` with the layer's output h and its gradient g. Before a batch normalisation,
        that is all that the normalisation does not undo, which its epsilon leaves.
        """
        count, groups = self.made.shape[:2]
        parts = self.made.deviations.square() * self.gain * to_gain
        blocks = parts.view(DEPTH, count, WIDTH, groups).sum(2) * _EPS
        return torch.cat((blocks[:1], blocks, last.unsqueeze(0)))

    def _through_norms(self, along: Tensor) -> None:
        """Take away from the gradient what changing the norms `left^T W right` does."""
        share = (along / self.norms.values).view(-1, 1, self.made.shape[1])
        left, right = self.norms.left * share, self.norms.right.mT
        self.made.net.to_weight.flatten(0, 1).baddbmm_(left, right, alpha=-1)


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
    weight, gain = torch.stack(weights, 1), torch.stack(gains, 1)
    net = Discriminator(
        weight=weight,
        bias=weight.new_zeros(len(streams), 1, 1),
        gain=gain,
        shift=torch.zeros_like(gain),
        left=torch.stack(lefts, 1).flatten(0, 1),
        taps=taps,
    )
    net.power_iterations(1)
    return net


def _parts(weight: Tensor, taps: int) -> list[Tensor]:
    """Return the parts of a padded weight that the layers use, `(N, out, in)` each."""
    inner = [weight[i, :, : 1 if i > DEPTH else WIDTH, :WIDTH] for i in range(1, _LAYERS)]
    return [weight[0, :, :, :taps], *inner]


def _unit(v: Tensor) -> tuple[Tensor, Tensor]:
    norm = torch.linalg.vector_norm(v, dim=-2, keepdim=True).clamp_min_(_TINY)
    return v / norm, norm
