"""Hradis et al.'s network, layer by layer, against the network their authors gave out."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.signal
import torch
import torch.nn.functional as F
from torch import nn
from wellposed.edge import register_types
from wellposed.errors import ParameterError
from wellposed.plugins.networks.hradis import HradisCnn
from wellposed.registry import build

F64 = torch.float64

# Side, channels and groups of each layer of the released L15.
ROWS = [
    (19, 128, 1), (1, 320, 1), (1, 320, 1), (1, 320, 1), (1, 128, 1), (3, 128, 1), (1, 512, 1),
    (5, 128, 4), (5, 128, 2), (3, 128, 1), (5, 128, 2), (5, 128, 2), (1, 256, 1), (7, 64, 2),
    (7, 3, 1),
]  # fmt: skip


def rand(*shape, seed=0):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def built(**params):
    """Return a network that keeps the size of what goes through it, with biases that are not 0."""
    network = HradisCnn(**params).build(seed=1, dtype=F64)
    with torch.no_grad():
        for number, layer in enumerate(network.layers):
            layer.weight.mul_(2**0.5)
            layer.bias.copy_(0.2 * (rand(*layer.bias.shape, seed=number) - 0.4))
        y = rand(1, params.get("channels", 3), 12, 12)
        assert float((network(y) - params.get("residual", False) * y).std()) > 1e-3
    return network


def test_every_row_of_the_table():
    with torch.device("meta"):
        layers = list(HradisCnn()._module().layers)
    got = [(layer.kernel_size[0], layer.out_channels, layer.groups) for layer in layers]
    assert got == ROWS
    assert [layer.in_channels for layer in layers] == [3, *(c for _, c, _ in ROWS[:-1])]
    assert all(layer.stride == (1, 1) and layer.bias is not None for layer in layers)
    # 9 MB of float32; a margin of 25 pixels is lost without padding.
    assert sum(layer.weight.numel() for layer in layers) == 2_253_376
    assert sum(side // 2 for side, *_ in ROWS) == 25


def test_without_groups_all_channels_are_joined():
    with torch.device("meta"):
        layers = HradisCnn(grouped=False)._module().layers
    assert all(layer.groups == 1 for layer in layers)
    assert sum(layer.weight.numel() for layer in layers) == 4_497_984


def test_circular_is_the_network_without_padding_on_the_picture_repeated():
    network = built(width=0.04)
    y = rand(2, 3, 9, 12)  # smaller than the kernel: pictures go round twice
    z = y.repeat(1, 1, 7, 7)[..., 27 - 25 : 27 + 9 + 25, 36 - 25 : 36 + 12 + 25]
    for index, layer in enumerate(network.layers):
        z = F.conv2d(z.relu() if index else z, layer.weight, layer.bias, groups=layer.groups)
    assert z.shape == y.shape
    torch.testing.assert_close(network(y), z)
    torch.testing.assert_close(built(width=0.04, residual=True)(y), y + z)


def test_circular_commutes_with_shifts():
    network, y = built(width=0.04), rand(1, 3, 24, 25)
    moved = network(y.roll((5, -7), (-2, -1)))
    torch.testing.assert_close(moved, network(y).roll((5, -7), (-2, -1)))


def test_zero_padding_in_scipy():
    network, y = built(width=0.02, channels=1, padding="zero"), rand(1, 1, 8, 7)
    z = y[0].numpy()
    for index, layer in enumerate(network.layers):
        z = np.maximum(z, 0) if index else z
        weight, parts = layer.weight.detach().numpy(), np.split(z, layer.groups)
        bias = layer.bias.detach().numpy()
        z = np.stack([
            sum(
                scipy.signal.correlate2d(a, w, mode="same")
                for a, w in zip(parts[n * layer.groups // len(weight)], row, strict=True)
            )
            + bias[n]
            for n, row in enumerate(weight)
        ])  # fmt: skip
    np.testing.assert_allclose(network(y)[0].detach().numpy(), z, atol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 8), (5, 30), (16, 16)])
@pytest.mark.parametrize("shuffle", [1, 2, 3])
@pytest.mark.parametrize("padding", ["circular", "zero"])
def test_the_size_is_kept(size, shuffle, padding):
    network = HradisCnn(width=0.01, shuffle=shuffle, padding=padding, channels=2).build()
    assert network(torch.rand(3, 2, *size)).shape == (3, 2, *size)
    assert network.multiple == shuffle


def test_blocks_become_channels_and_kernels_reach_as_far():
    with torch.device("meta"):
        layers = HradisCnn(shuffle=2)._module().layers
    assert [layer.kernel_size[0] for layer in layers] == [
        9, 1, 1, 1, 1, 3, 1, 3, 3, 3, 3, 3, 1, 3, 3
    ]  # fmt: skip
    assert (layers[0].in_channels, layers[-1].out_channels) == (12, 12)
    network, y = built(width=0.04, shuffle=2), rand(2, 3, 24, 20)
    blocks = y.reshape(2, 3, 12, 2, 10, 2).permute(0, 1, 3, 5, 2, 4).reshape(2, 12, 12, 10)
    other = HradisCnn(width=0.04, channels=12).build(dtype=F64)
    other.layers = network.layers
    want = other(blocks).reshape(2, 3, 2, 2, 12, 10).permute(0, 1, 4, 2, 5, 3).reshape(y.shape)
    torch.testing.assert_close(network(y), want)
    # An odd size: the last row and column once more, which are then cut off.
    odd = network(y[..., :23, :19])
    whole = torch.cat([y[..., :23, :19], y[..., 22:23, :19]], -2)
    whole = torch.cat([whole, whole[..., -1:]], -1)
    torch.testing.assert_close(odd, network(whole)[..., :23, :19])


@pytest.mark.parametrize("width", [0.01, 0.125, 0.5])
def test_narrow_networks(width):
    with torch.device("meta"):
        layers = HradisCnn(width=width)._module().layers
    want = [4 * max(round(c * width / 4), 1) for _, c, _ in ROWS[:-1]]
    assert [layer.out_channels for layer in layers] == [*want, 3]


def test_starts_uniform_by_fan_in():
    network = HradisCnn().build(seed=3)
    assert network.value_range == (-0.5, 0.5)
    for (side, _, groups), layer in zip(ROWS, network.layers, strict=True):
        fan_in = layer.in_channels // groups * side**2
        weight = layer.weight.detach()
        assert float(weight.abs().max()) <= math.sqrt(3 / fan_in)
        assert float(weight.std()) == pytest.approx(fan_in**-0.5, rel=0.03)
        assert bool((layer.bias == 0).all())


@pytest.mark.parametrize("shuffle", [1, 2])
def test_gradients_twice(shuffle):
    network = built(width=0.02, channels=1, shuffle=shuffle)
    y = rand(1, 1, 18 * shuffle, 3).requires_grad_()
    assert torch.autograd.gradcheck(network, (y,), check_forward_ad=True)
    assert torch.autograd.gradgradcheck(lambda v: network(v).tanh(), (y[..., :6, :],))
    network(y).square().sum().backward()
    assert all(bool((p.grad != 0).any()) for p in network.parameters() if p.ndim == 4)


def test_works_under_vmap_compile_and_autocast():
    network, y = built(width=0.02), rand(2, 3, 12, 11)
    want = network(y)
    each = torch.func.vmap(lambda v: network(v))(y[:, None])
    torch.testing.assert_close(each[:, 0], want)
    gradient = torch.func.vmap(torch.func.grad(lambda v: network(v).square().sum()))(y)
    direct = torch.autograd.grad(network(y.requires_grad_()).square().sum(), y)[0]
    torch.testing.assert_close(gradient, direct)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y), want)
    with torch.autocast("cpu", torch.bfloat16):
        rough = network.float()(y.detach().float())
    torch.testing.assert_close(rough.to(F64), want, atol=0.05, rtol=0.05)


def test_is_built_by_name():
    register_types()
    spec = build(None, "network", {"name": "hradis_cnn", "params": {"width": 0.1}}, path="")
    assert isinstance(spec, HradisCnn)
    assert sum(isinstance(m, nn.Conv2d) for m in spec.build().modules()) == 15


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"width": 0.0}, "HradisCnn.width expects a factor above 0, at most 16.*got 0.0"),
        ({"width": True}, "HradisCnn.width expects a factor.*got True"),
        ({"width": 64}, "HradisCnn.width expects a factor.*got 64"),
        ({"shuffle": 0}, "HradisCnn.shuffle expects a whole number of at least 1; got 0"),
        ({"channels": 0}, "HradisCnn.channels expects a whole number of at least 1; got 0"),
        ({"padding": "reflect"}, "expected one of 'circular', 'zero'"),
    ],
)
def test_errors(given, match):
    with pytest.raises(ParameterError, match=match):
        HradisCnn(**given)
