"""InverseNet's two networks, layer by layer, against the paper's tables and NumPy."""

from __future__ import annotations

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.overrides import TorchFunctionMode
from wellposed.edge import register_types
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.networks.inversenet import InverseNetDae, InverseNetUnet
from wellposed.registry import build

F64 = torch.float64

# Table 3: height (and width) and channels of e1, ..., e8, and of d1, ..., d8.
DOWN = [(128, 16), (64, 32), (32, 64), (16, 128), (8, 128), (4, 128), (2, 128), (1, 128)]
UP = [(2, 256), (4, 256), (8, 256), (16, 256), (32, 128), (64, 64), (128, 32), (256, 3)]
# Table 4: what each convolution takes and gives, at 64 x 64 pixels.
CONVOLUTIONS = [(48, 128), (128, 64), (64, 32), (35, 64), (64, 128), (128, 48)]


def rand(*shape, seed=0):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


class Recorder(TorchFunctionMode):
    """Notes every function that is called, and the shapes of the pictures that go in and out."""

    LAYERS = ("conv2d", "conv_transpose2d", "batch_norm", "leaky_relu", "relu", "cat", "tanh",
              "pixel_unshuffle", "pixel_shuffle", "avg_pool2d")  # fmt: skip

    def __init__(self):
        self.calls = []

    def __torch_function__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if getattr(function, "__name__", "") in self.LAYERS:
            self.calls.append((function.__name__, (*args, *(kwargs or {}).values()), out))
        return out


def recorded(network, *pictures, **conditions):
    with Recorder() as recorder, torch.no_grad():
        network(*pictures, **conditions)
    return recorder.calls


def unet(dtype=F64, seed=0, **params):
    return InverseNetUnet(**params).build(seed=seed, dtype=dtype).eval()


def dae(dtype=F64, seed=0, **params):
    return InverseNetDae(**params).build(seed=seed, dtype=dtype).eval()


def livelier(network, seed=0):
    """Give batch normalisation something to do, and biases another value than 0."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.BatchNorm2d):
                for tensor in (module.weight, module.running_var):
                    tensor.copy_(0.5 + torch.rand(tensor.shape, generator=generator))
                for tensor in (module.bias, module.running_mean):
                    tensor.copy_(0.3 * torch.randn(tensor.shape, generator=generator))
            elif getattr(module, "bias", None) is not None:
                module.bias.copy_(0.3 * torch.randn(module.bias.shape, generator=generator))
    return network


# --- table 3 -------------------------------------------------------------------------------


def test_every_row_of_table_3():
    """Layers by their order, and sizes and channels of what goes from one to the next."""
    calls = recorded(unet(torch.float32), torch.zeros(1, 3, 256, 256))
    names = [name for name, *_ in calls]
    encoder = ["conv2d"] + 7 * ["leaky_relu", "conv2d", "batch_norm"]
    decoder = 7 * ["relu", "conv_transpose2d", "batch_norm", "cat"]
    assert names == [*encoder, *decoder, "relu", "conv_transpose2d", "tanh"]
    shapes = [tuple(out.shape[1:]) for _, _, out in calls]
    assert [shapes[0], *shapes[3 : len(encoder) : 3]] == [(c, n, n) for n, c in DOWN]
    joined = [s for name, s in zip(names, shapes, strict=True) if name == "cat"]
    assert [*joined, shapes[-1]] == [(c, n, n) for n, c in UP]
    for name, args, _ in calls:
        if name.startswith("conv"):
            assert args[1].shape[2:] == (4, 4)
        if name == "leaky_relu":
            assert args[1] == 0.2


def test_kernels_of_table_3():
    """Conv(4, 4, in, out), and no bias where batch normalisation has one."""
    network = unet(torch.float32)
    down = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    up = [m for m in network.modules() if isinstance(m, nn.ConvTranspose2d)]
    widths = [3, *(c for _, c in DOWN)]
    assert [m.in_channels for m in down] == widths[:-1]
    assert [m.out_channels for m in down] == widths[1:]
    assert [(m.in_channels, m.out_channels) for m in up] == [
        (128, 128), (256, 128), (256, 128), (256, 128), (256, 64), (128, 32), (64, 16), (32, 3)
    ]  # fmt: skip
    assert [m.bias is not None for m in down] == [True] + 7 * [False]
    assert [m.bias is not None for m in up] == 7 * [False] + [True]
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}  # the paper's momentum is 1 - that
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(3.4e6, rel=0.02)


def test_what_came_down_is_joined_behind_what_comes_up_to_its_size():
    calls = recorded(unet(torch.float32), torch.rand(1, 3, 256, 256))
    passed = [out for name, _, out in calls[: 1 + 7 * 3] if name in ("conv2d", "batch_norm")]
    passed = [passed[0], *passed[2::2]]  # e1 is not normalised
    for k, (_, args, _) in enumerate(c for c in calls if c[0] == "cat"):
        assert args[0][1] is passed[6 - k]


def by_hand(network, x):
    """Table 3 written out once more, from the weights by the order of their making."""
    state = list(network.state_dict().items())
    first = dict(state[:2])
    e = F.conv2d(x, *first.values(), stride=2, padding=1)
    rest = [value for _, value in state[2:-2]]
    groups = [rest[i : i + 6] for i in range(0, len(rest), 6)]

    def normalised(x, scale, shift, mean, variance):
        scale, shift, mean, variance = (v[:, None, None] for v in (scale, shift, mean, variance))
        return scale * (x - mean) / (variance + 1e-5).sqrt() + shift

    depth = len(groups) // 2
    came = [e]
    for weight, *norm, _ in groups[:depth]:
        e = torch.where(e > 0, e, 0.2 * e)
        e = normalised(F.conv2d(e, weight, stride=2, padding=1), *norm)
        came.append(e)
    d = came.pop()
    for weight, *norm, _ in groups[depth:]:
        d = normalised(F.conv_transpose2d(d.clamp_min(0), weight, stride=2, padding=1), *norm)
        d = torch.cat([d, came.pop()], 1)
    weight, bias = (value for _, value in state[-2:])
    return torch.tanh(F.conv_transpose2d(d.clamp_min(0), weight, bias, stride=2, padding=1))


@pytest.mark.parametrize("depth", [1, 2, 4])
def test_the_unet_is_what_table_3_says(depth):
    network = livelier(unet(depth=depth, width=3))
    x = 2 * rand(2, 3, 16, 32) - 1
    with torch.no_grad():
        torch.testing.assert_close(network(x), by_hand(network, x))
    assert network.value_range == (-1.0, 1.0)


def test_strided_layers_are_tensorflows_same():
    """For even sizes, 4x4 kernels of stride 2 have one row of zeros on each side."""
    network = unet(depth=1, width=2, channels=1)
    x = rand(1, 1, 6, 8)
    weight, bias = (v.detach().numpy() for v in network.first.parameters())
    total = max((6 // 2 - 1) * 2 + 4 - 6, 0)  # TensorFlow's rule for the rows
    padded = np.pad(x[0, 0].numpy(), [(total // 2, total - total // 2)] * 2)
    want = np.zeros((2, 3, 4))
    for c, i, j in np.ndindex(want.shape):
        patch = padded[2 * i : 2 * i + 4, 2 * j : 2 * j + 4]
        want[c, i, j] = (weight[c, 0] * patch).sum() + bias[c]
    np.testing.assert_allclose(network.first(x)[0].detach().numpy(), want, rtol=1e-12)


@pytest.mark.parametrize("size", [(1, 1), (1, 9), (5, 8), (16, 17), (23, 12)])
def test_the_unet_pads_what_its_strides_do_not_divide(size):
    network = livelier(unet(depth=3, width=2))
    x = 2 * rand(2, 3, *size) - 1
    down, right = (-(-n // 8) * 8 - n for n in size)
    whole = np.pad(x.numpy(), [(0, 0), (0, 0), (0, down), (0, right)], mode="edge")
    with torch.no_grad():
        want = network(torch.from_numpy(whole))[..., : size[0], : size[1]]
        torch.testing.assert_close(network(x), want)


@pytest.mark.parametrize("size", [(8, 12), (5, 7)])
def test_the_unet_with_a_residual_adds_the_picture_that_it_is_given(size):
    plain, network = unet(depth=2, width=3), unet(depth=2, width=3, residual=True)
    network.load_state_dict(plain.state_dict())
    x = 2 * rand(2, 3, *size) - 1
    with torch.no_grad():
        torch.testing.assert_close(network(x), x + plain(x))


def test_how_the_unet_starts():
    network = InverseNetUnet().build(seed=3)
    for module in network.modules():
        if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
            assert float(module.weight.detach().std()) == pytest.approx(0.02, rel=0.1)
            assert module.bias is None or not bool(module.bias.any())
        if isinstance(module, nn.BatchNorm2d):
            assert float(module.weight.detach().mean()) == pytest.approx(1, abs=0.02)
            assert not bool(module.bias.any())
    assert network.training


# --- table 4 -------------------------------------------------------------------------------


def test_every_row_of_table_4():
    network = dae(torch.float32)
    x = torch.rand(1, 3, 256, 256)
    calls = recorded(network, x, measurement=x)
    names = [name for name, *_ in calls]
    layer = ["conv2d", "batch_norm", "relu"]
    assert names == [
        "pixel_unshuffle", *(3 * layer), "avg_pool2d", "cat", *(3 * layer), "pixel_shuffle"
    ]  # fmt: skip
    shapes = [tuple(out.shape[1:]) for _, _, out in calls]
    assert shapes[0] == (48, 64, 64) and shapes[-1] == (3, 256, 256)
    assert shapes[names.index("cat")] == (35, 64, 64)
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv2d)]
    assert [(m.in_channels, m.out_channels) for m in convolutions] == CONVOLUTIONS
    assert {m.kernel_size for m in convolutions} == {(4, 4)}
    assert {m.stride for m in convolutions} == {(1, 1)}
    layers = [s for name, s in zip(names, shapes, strict=True) if name == "relu"]
    assert layers == [(b, 64, 64) for _, b in CONVOLUTIONS]
    assert sum(p.numel() for p in network.parameters()) == pytest.approx(0.53e6, rel=0.02)


def same(v, weight):
    """TensorFlow's 'SAME' for a kernel of side 4 and stride 1, pixel by pixel.

    https://www.tensorflow.org/api_docs/python/tf/nn: the total is max(4 - 1, 0) = 3, of which
    3 // 2 = 1 before and 2 after.
    """
    padded = np.pad(v, [(0, 0), (1, 2), (1, 2)])
    out = np.zeros((len(weight), *v.shape[1:]))
    for i, j in np.ndindex(*v.shape[1:]):
        patch = padded[:, i : i + 4, j : j + 4]
        out[:, i, j] = np.tensordot(weight, patch, 3)
    return out


def numpy_dae(network, x, y, r, joined, slope=0.0):
    """Table 4 in NumPy: blocks by reshaping, sums by loops."""
    groups = []  # a convolution, and the normalisation that follows it
    for module in network.modules():
        if isinstance(module, nn.Conv2d):
            groups.append([module])
        elif isinstance(module, nn.BatchNorm2d):
            groups[-1].append(module)

    def layer(v, group):
        v = same(v, group[0].weight.detach().numpy())
        if len(group) == 2:
            norm = {key: value.numpy() for key, value in group[1].state_dict().items()}
            v = v - norm["running_mean"][:, None, None]
            v = v / np.sqrt(norm["running_var"] + 1e-5)[:, None, None]
            v = norm["weight"][:, None, None] * v + norm["bias"][:, None, None]
            return np.where(v > 0, v, (0 if group is groups[-1] else slope) * v)
        return v + group[0].bias.detach().numpy()[:, None, None]

    c, h, w = x.shape
    v = x.reshape(c, h // r, r, w // r, r).transpose(0, 2, 4, 1, 3).reshape(-1, h // r, w // r)
    for group in groups[:3]:
        v = layer(v, group)
    blocks = y.reshape(c, h // r, r, w // r, r)
    if joined == "mean":
        v = np.concatenate([v, blocks.mean((2, 4))])
    if joined == "pixels":
        v = np.concatenate([v, blocks.transpose(0, 2, 4, 1, 3).reshape(-1, h // r, w // r)])
    for group in groups[3:]:
        v = layer(v, group)
    return v.reshape(c, r, r, h // r, w // r).transpose(0, 3, 1, 4, 2).reshape(c, h, w)


@pytest.mark.parametrize("slope", [0.0, 0.2])
@pytest.mark.parametrize("last", ["relu", "linear"])
@pytest.mark.parametrize("residual", [False, True])
@pytest.mark.parametrize(
    ("shuffle", "joined", "channels"),
    [(4, "mean", 3), (2, "none", 1), (2, "pixels", 2), (1, "mean", 3), (1, "pixels", 1)],
)
def test_the_dae_is_table_4_in_numpy(shuffle, joined, channels, residual, last, slope):
    network = livelier(
        dae(shuffle=shuffle, measurement=joined, channels=channels, width=8, last=last,
            residual=residual, slope=slope)
    )  # fmt: skip
    side = 4 * shuffle if shuffle > 1 else 6
    x, y = rand(channels, side, 2 * shuffle), rand(channels, side, 2 * shuffle, seed=1)
    want = numpy_dae(network, x.numpy(), y.numpy(), shuffle, joined, slope)
    want = want + x.numpy() if residual else want
    with torch.no_grad():
        got = network(x, **({} if joined == "none" else {"measurement": y}))
    np.testing.assert_allclose(got.numpy(), want, rtol=1e-10, atol=1e-12)
    if last == "relu" and not residual:
        assert bool((got >= 0).all())


def test_what_the_switches_of_the_dae_take():
    plain, given = dae(measurement="none", width=8), dae(width=8)
    assert plain.conditions == {} and plain.measured == ()
    assert given.conditions == {"measurement": 3} and given.measured == ("measurement",)
    assert plain.value_range == given.value_range == (0.0, 1.0)
    for last, bias, count in (("relu", False, 6), ("linear", True, 5)):
        network = dae(last=last, width=8)
        convolution = [m for m in network.modules() if isinstance(m, nn.Conv2d)][-1]
        assert (convolution.bias is not None) == bias
        assert sum(isinstance(m, nn.BatchNorm2d) for m in network.modules()) == count
    x = rand(3, 8, 8)
    with pytest.raises(ParameterError, match=r"expects the conditions \['measurement'\]; got \[\]"):
        given(x)
    with pytest.raises(ParameterError, match=r"expects the conditions \[\]; got \['measurement'\]"):
        plain(x, measurement=x)
    with pytest.raises(ShapeError, match=r"expects measurement of shape \(3, 8, 8\)"):
        given(x, measurement=x[:, ::4, ::4])


@pytest.mark.parametrize("last", ["relu", "linear"])
def test_a_residual_starts_small(last):
    """A new network gives the picture back, but for a little."""
    x = rand(3, 16, 16)
    network = dae(measurement="none", last=last, residual=True, width=8).train()
    plain = dae(measurement="none", last=last, width=8).train()
    with torch.no_grad():
        away, without = network(x) - x, plain(x)
    assert 0 < float(away.abs().max()) < 0.2
    torch.testing.assert_close(away * (without.std() / away.std()), without)


@pytest.mark.parametrize("size", [(1, 1), (1, 7), (6, 8), (9, 10)])
@pytest.mark.parametrize(
    ("residual", "joined"), [(False, "mean"), (True, "mean"), (False, "pixels")]
)
def test_the_dae_pads_what_its_blocks_do_not_divide(size, residual, joined):
    network = livelier(dae(width=8, residual=residual, measurement=joined))
    x, y = rand(2, 3, *size), rand(2, 3, *size, seed=1)
    down, right = (-(-n // 4) * 4 - n for n in size)

    def whole(v):
        return torch.from_numpy(
            np.pad(v.numpy(), [(0, 0), (0, 0), (0, down), (0, right)], mode="edge")
        )

    with torch.no_grad():
        want = network(whole(x), measurement=whole(y))[..., : size[0], : size[1]]
        torch.testing.assert_close(network(x, measurement=y), want)


def test_costs_are_those_of_the_docstrings():
    """Two operations for each product; pixels that are repeated do not count."""
    from torch.utils.flop_counter import FlopCounterMode

    for spec, side, kilo in (
        (InverseNetUnet(depth=6), 64, 12),
        (InverseNetDae(), 32, 66),
        (InverseNetDae(shuffle=1), 16, 690),
    ):
        network = spec.build(dtype=torch.float32).eval()
        x = torch.rand(1, 3, side, side)
        more = {"measurement": x} if network.conditions else {}
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            network(x, **more)
        assert counter.get_total_flops() / side**2 == pytest.approx(1e3 * kilo, rel=0.05)


@pytest.mark.parametrize(
    ("name", "params", "match"),
    [
        ("inversenet_unet", {"depth": 0}, "depth.*1"),
        ("inversenet_unet", {"width": 0}, "width.*1"),
        ("inversenet_unet", {"channels": 0}, "channels.*1"),
        ("inversenet_dae", {"shuffle": 0}, "shuffle.*1"),
        ("inversenet_dae", {"width": 3}, "width.*4"),
        ("inversenet_dae", {"channels": 0}, "channels.*1"),
        ("inversenet_dae", {"measurement": "sum"}, "measurement.*'none', 'mean', 'pixels'"),
        ("inversenet_dae", {"last": "tanh"}, "last.*'relu', 'linear'"),
        ("inversenet_dae", {"slope": 1.0}, "slope.*between 0 and 1"),
    ],
)
def test_what_cannot_be_is_refused(name, params, match):
    register_types()
    with pytest.raises(ParameterError, match=match):
        build(None, "network", {"name": name, "params": params}, path="network")
