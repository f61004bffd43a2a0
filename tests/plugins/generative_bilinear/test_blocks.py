"""Transposed convolutions in blocks, against torch's own."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from wellposed.plugins.generative_bilinear.blocks import Enlarging, ToOneChannel, from_blocks

F64 = torch.float64
SIZES = [(2, 1, 1), (2, 3, 5), (2, 4, 2), (3, 1, 3), (3, 5, 5), (3, 4, 2)]


def layer(before, after, kernel):
    torch.manual_seed(kernel)
    return nn.ConvTranspose2d(before, after, kernel, dtype=F64)


def blocks_of(x):
    """Lay a picture out in blocks, pixel by pixel."""
    n, channels, height, width = x.shape
    blocks = x.new_zeros(n, 4 * channels, (height + 1) // 2, (width + 1) // 2)
    for i in range(height):
        for j in range(width):
            at = (2 * (i % 2) + j % 2) * channels
            blocks[:, at : at + channels, i // 2, j // 2] = x[:, :, i, j]
    return blocks.contiguous(memory_format=torch.channels_last)


def enlarged(v, layer):
    return Enlarging.of(layer, *v.shape[-2:])(v)


def to_one_channel(v, layer, height, width):
    return ToOneChannel.of(layer)(v, height, width)


def twice(v, layer):
    return layer(nn.Upsample(scale_factor=2, mode="nearest")(v))


@pytest.mark.parametrize(("kernel", "height", "width"), SIZES)
def test_enlarged_is_the_layer_after_repeated_pixels(kernel, height, width):
    up = layer(3, 5, kernel)
    v = torch.randn(2, 3, height, width, dtype=F64)
    want = twice(v, up)
    found = enlarged(v.contiguous(memory_format=torch.channels_last), up)
    torch.testing.assert_close(found, blocks_of(want).detach())
    apart = from_blocks(found, *want.shape[-2:])
    torch.testing.assert_close(apart, want)
    assert apart.is_contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize(("kernel", "height", "width"), [(2, 3, 5), (3, 2, 4), (3, 4, 2)])
def test_to_one_channel_is_the_layer(kernel, height, width):
    last = layer(3, 1, kernel)
    v = torch.randn(2, 3, height, width, dtype=F64)
    want = last(v)
    found = to_one_channel(blocks_of(v), last, *want.shape[-2:])
    torch.testing.assert_close(found, want)


@pytest.mark.parametrize("kernel", [2, 3])
def test_weights_and_pictures_get_the_gradients_of_the_layers(kernel):
    up, last = layer(3, 4, kernel), layer(4, 1, kernel)
    v = torch.randn(2, 3, 3, 3, dtype=F64, requires_grad=True)
    side = 6 + 2 * (kernel - 1)
    inputs = [v, *up.parameters(), *last.parameters()]
    found = to_one_channel(torch.tanh(enlarged(v, up)), last, side, side)
    want = last(torch.tanh(twice(v, up)))
    got, expected = (torch.autograd.grad(x.square().sum(), inputs) for x in (found, want))
    for mine, theirs in zip(got, expected, strict=True):
        torch.testing.assert_close(mine, theirs)


def test_twice_differentiable_and_mapped():
    up, last = layer(2, 3, 2), layer(3, 1, 2)
    for weight in (*up.parameters(), *last.parameters()):
        weight.requires_grad_(False)

    def run(v):
        return to_one_channel(torch.tanh(enlarged(v, up)), last, 6, 6)

    v = torch.randn(2, 2, 2, 2, dtype=F64, requires_grad=True)
    assert torch.autograd.gradgradcheck(run, v)
    v = v.detach()
    torch.testing.assert_close(torch.func.vmap(run)(torch.stack((v, 2 * v)))[1], run(2 * v))
    with torch.inference_mode():
        torch.testing.assert_close(F.relu(run(v)), F.relu(last(torch.tanh(twice(v, up)))))
