"""Each network against its formula, its published size, and the sizes that it takes."""

from __future__ import annotations

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.networks.context_encoder import ContextEncoder
from wellposed.plugins.networks.drrn import Drrn
from wellposed.plugins.networks.idn import Idn
from wellposed.plugins.networks.srcnn import Srcnn
from wellposed.plugins.networks.srgan import SrganGenerator
from wellposed.plugins.networks.unet import Unet
from wellposed.plugins.networks.vdsr import Dncnn, Vdsr

F64 = torch.float64


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def built(spec, seed=1):
    """Return a small network whose biases, statistics and slopes are no longer trivial."""
    network = spec.build(seed=seed, dtype=F64).eval()
    with torch.no_grad():
        for number, (name, tensor) in enumerate(network.state_dict().items()):
            if tensor.is_floating_point():
                noise = 0.1 * randn(*tensor.shape, seed=number)
                tensor.add_(noise.abs() if name.endswith("running_var") else noise)
    return network


def parameters(spec):
    with torch.device("meta"):
        return sum(p.numel() for p in spec._module().parameters())


def conv(x, layer):
    return F.conv2d(x, layer.weight, layer.bias, padding=layer.kernel_size[0] // 2)


def normal(x, norm):
    """Return batch normalisation by its definition, with the running statistics."""
    shape = (1, -1, 1, 1)
    std = (norm.running_var + 1e-5).sqrt()
    scaled = (x - norm.running_mean.view(shape)) / std.view(shape)
    return scaled * norm.weight.view(shape) + norm.bias.view(shape)


@pytest.mark.parametrize(
    ("spec", "count"),
    [
        # Encoder 2.757 M, middle .139 M, decoder 2.756 M, batch normalisation .003 M.
        (ContextEncoder(), 5_654_659),
        (Vdsr(scale=1), 665_921),
        (Idn(), 552_769),  # "553K" in the literature
        (Srcnn(), 8_032 + 64 + 32 + 1),  # 8032 weights in the paper
        (Dncnn(), 556_097),
        (Unet(batch_norm=False), 31_030_593),
        (SrganGenerator(), 1_547_350),
        (Drrn(), 128 * 10 + 2 * (128 * 128 * 9 + 128) + 384 * 64 + 64 + 64 * 81 + 1),
    ],
    ids=lambda v: type(v).__name__ if attrs.has(type(v)) else "",
)
def test_number_of_parameters(spec, count):
    assert parameters(spec) == count


def test_context_encoder():
    network = built(ContextEncoder(channels=2, size=32, width=2))
    y = randn(3, 2, 32, 32)
    z = y
    for layer, norm in zip(network.encoder, network.encoder_norms, strict=True):
        z = F.leaky_relu(normal(F.conv2d(z, layer.weight, layer.bias, 2, 1), norm), 0.2)
    assert z.shape == (3, 16, 2, 2)
    middle = network.middle
    z = torch.einsum("cij,ncj->nci", middle.weight, z.flatten(2)) + middle.bias
    z = z.reshape(3, 16, 2, 2)
    for layer, norm in zip(network.decoder, network.decoder_norms, strict=True):
        z = F.conv_transpose2d(z, layer.weight, layer.bias, 2, 1)
        z = normal(z, norm)
        last, z = z, z.relu()
    torch.testing.assert_close(network.features(y), last)
    assert last.shape == (3, 2, 16, 16)
    tail = network.tail.layer
    want = torch.tanh(F.conv_transpose2d(z, tail.weight, tail.bias, 2, 1))
    torch.testing.assert_close(network(y), want)
    assert network.value_range == (-1.0, 1.0) and network.base(y) is None


def test_context_encoder_has_one_size():
    z = ContextEncoder().build().eval().features(torch.zeros(3, 64, 64))
    assert z.shape == (64, 32, 32)
    with pytest.raises(ShapeError, match=r"pictures of 64 x 64 pixels.*overlapping tiles"):
        ContextEncoder().build()(torch.zeros(3, 128, 128))
    with pytest.raises(
        ParameterError, match="size expects a multiple of 16 of at least 16; got 40"
    ):
        ContextEncoder(size=40)


def test_context_encoder_starts_as_told():
    paper = ContextEncoder().build(seed=2).requires_grad_(False)
    assert float(paper.encoder[3].weight.std()) == pytest.approx((2 / (256 * 16)) ** 0.5, rel=0.01)
    assert float(paper.middle.weight.std()) == pytest.approx(0.02, rel=0.01)
    assert bool((paper.encoder_norms[0].weight == 1).all())
    before = ContextEncoder(start="normal").build(seed=2).requires_grad_(False)
    assert float(before.decoder[0].weight.std()) == pytest.approx(0.02, rel=0.01)
    assert float(before.encoder_norms[3].weight.std()) == pytest.approx(0.02, rel=0.2)


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_vdsr(scale):
    network = built(Vdsr(depth=4, width=5, scale=scale))
    y = randn(2, 1, 6, 7)
    z = conv(y, network.layers[0])
    for layer in network.layers[1:]:
        z = conv(z.relu(), layer)
    torch.testing.assert_close(network.features(y), z)
    base = network.base(y)
    assert base.shape == (2, 1, 6 * scale, 7 * scale)
    if scale == 1:
        want = y + conv(z.relu(), network.tail.layer)
        torch.testing.assert_close(network(y), want)
        assert network.tail.layer.kernel_size == (3, 3)
    else:
        pad = (9 - scale + 1) // 2
        parts = network.tail.layer.weight, network.tail.layer.bias, scale, pad
        want = base + F.conv_transpose2d(z.relu(), *parts, 2 * pad - 9 + scale)
        torch.testing.assert_close(network(y), want)


def test_drrn():
    network = built(Drrn(units=9, width=3, head_width=2))
    y = randn(2, 1, 5, 4)

    def a(x):
        return torch.where(x > 0, x, 0.05 * x)

    state = [conv(y, network.first)]
    for _ in range(9):
        inner = conv(a(state[-1]), network.pair[0])
        state.append(state[0] + conv(a(inner), network.pair[1]))
    z = conv(a(torch.cat([state[3], state[6], state[9]], 1)), network.join)
    torch.testing.assert_close(network.features(y), z)
    head = F.conv_transpose2d(a(z), network.tail.layer.weight, network.tail.layer.bias, 2, 4, 1)
    torch.testing.assert_close(network(y), head + network.base(y))
    assert Drrn(units=5, every=2).build().kept == [2, 4, 5]


def test_idn():
    network = built(Idn(blocks=2, width=16))
    y = randn(2, 1, 5, 4)

    def a(x):
        return F.leaky_relu(x, 0.05)

    def grouped(x, layer):
        parts = [
            F.conv2d(xs, ws, padding=1)
            for xs, ws in zip(x.chunk(4, 1), layer.weight.chunk(4), strict=True)
        ]
        return torch.cat(parts, 1) + layer.bias.view(1, -1, 1, 1)

    x = a(conv(a(conv(y, network.first)), network.second))
    for block in network.blocks:
        one, two, three = block.enhance
        first = a(conv(a(grouped(a(conv(x, one)), two)), three))
        kept, rest = first[:, :4], first[:, 4:]
        one, two, three = block.enhance_rest
        second = a(conv(a(grouped(a(conv(rest, one)), two)), three))
        z = conv(second + torch.cat([kept, x], 1), block.compress)
        x = a(z)
    torch.testing.assert_close(network.features(y), z)
    assert network.tail.layer.kernel_size == (17, 17)
    block = Idn().build().blocks[0]
    sizes = [layer.out_channels for layer in (*block.enhance, *block.enhance_rest)]
    assert sizes == [48, 32, 64, 64, 48, 80]


def test_srcnn():
    network = built(Srcnn(widths=(4, 3), scale=2))
    y = randn(1, 1, 4, 5)
    z = conv(conv(network.enlarge(y), network.patches).relu(), network.mapping)
    torch.testing.assert_close(network(y), conv(z.relu(), network.tail.layer))
    assert network.base(y) is None
    start = Srcnn().build().requires_grad_(False)
    assert float(start.patches.weight.std()) == pytest.approx(1e-3, rel=0.05)
    for values, match in [
        ({"kernels": (9, 2, 5)}, r"kernels expects three odd sides such as \(9, 1, 5\)"),
        ({"widths": (4, 0)}, r"widths expects two numbers of channels .*got \(4, 0\)"),
    ]:
        with pytest.raises(ParameterError, match=match):
            Srcnn(**values)


@pytest.mark.parametrize("batch_norm", [False, True])
def test_dncnn(batch_norm):
    network = built(Dncnn(depth=4, width=5, batch_norm=batch_norm))
    y = randn(2, 1, 5, 6)
    z = conv(y, network.first)
    for layer, norm in zip(network.layers, network.norms, strict=True):
        z = conv(z.relu(), layer)
        z = normal(z, norm) if batch_norm else z
    torch.testing.assert_close(network(y), y + conv(z.relu(), network.tail.layer))
    biased = [layer.bias is not None for layer in network.layers]
    assert biased == [not batch_norm] * 2


def test_unet_of_a_size_that_needs_no_padding():
    network = built(Unet(depth=1, width=2))
    y = randn(1, 1, 6, 4)

    def level(x, block):
        inner = normal(conv(x, block.first), block.first_norm).relu()
        return normal(conv(inner, block.second), block.second_norm).relu()

    fine = level(y, network.down[0])
    coarse = level(nn.MaxPool2d(2)(fine), network.down[1])
    enlarged = F.conv_transpose2d(coarse, *network.enlarge[0].parameters(), stride=2)
    out = level(torch.cat([fine, enlarged], 1), network.up[0])
    torch.testing.assert_close(network(y), y + conv(out, network.tail.layer))


def test_unet_repeats_the_last_row_and_column():
    network = built(Unet(depth=2, width=2, residual=False))
    y = randn(2, 1, 6, 5)
    whole = torch.cat([y, y[..., -1:, :].expand(-1, -1, 2, -1)], -2)
    whole = torch.cat([whole, whole[..., -1:].expand(-1, -1, -1, 3)], -1)
    torch.testing.assert_close(network(y), network(whole)[..., :6, :5])


def test_unet_of_complex_pictures():
    network = built(Unet(depth=1, width=2, channels=2, complex_valued=True))
    real = built(Unet(depth=1, width=2, channels=4))
    real.load_state_dict(network.state_dict())
    y = randn(3, 2, 4, 5, dtype=torch.complex128)
    pairs = real(torch.cat([y.real, y.imag], -3))
    torch.testing.assert_close(network(y), torch.complex(pairs[:, :2], pairs[:, 2:]))


@pytest.mark.parametrize(("scale", "factors"), [(2, [2]), (3, [3]), (4, [2, 2]), (8, [2, 2, 2])])
def test_srgan_generator(scale, factors):
    network = built(SrganGenerator(blocks=2, width=3, scale=scale))
    y = randn(1, 3, 4, 5)

    def prelu(x, layer):
        return x.clamp(min=0) + layer.weight * x.clamp(max=0)

    start = x = prelu(conv(y, network.first), network.first_prelu)
    for block in network.blocks:
        inner = prelu(normal(conv(x, block.first), block.first_norm), block.prelu)
        x = x + normal(conv(inner, block.second), block.second_norm)
    x = start + normal(conv(x, network.join), network.join_norm)
    assert network.factors == factors
    for s, layer, slope in zip(
        factors, network.enlarge, [*network.prelus, network.last_prelu], strict=True
    ):
        n, _, height, width = x.shape
        x = conv(x, layer).reshape(n, 3, s, s, height, width)
        x = prelu(x.permute(0, 1, 4, 2, 5, 3).reshape(n, 3, s * height, s * width), slope)
    torch.testing.assert_close(network(y), conv(x, network.last))


MASKED = [
    ContextEncoder(size=16, width=2, channels=1, mask_channels=1),
    Vdsr(depth=3, width=4, mask_channels=1),
    Drrn(units=2, width=4, head_width=2, mask_channels=1),
    Idn(blocks=1, width=16, mask_channels=1),
]


@pytest.mark.parametrize("spec", MASKED, ids=lambda s: type(s).__name__)
def test_masks(spec):
    """A masked network starts as the plain one, and then sees its mask, sample by sample."""
    plain = attrs.evolve(spec, mask_channels=0).build(seed=3, dtype=F64).eval()
    start = spec.build(seed=3, dtype=F64).eval()
    start.load_state_dict(plain.state_dict(), strict=False)
    y, mask = randn(2, 1, 16, 16), (randn(2, 1, 16, 16, seed=1) > 0).to(F64)
    torch.testing.assert_close(start(y, mask=mask), plain(y))
    network = built(spec)
    other = mask.clone()
    other[1] = 1 - other[1]
    got, changed = network(y, mask=mask), network(y, mask=other)
    torch.testing.assert_close(got[0], changed[0])
    assert (got[1] - changed[1]).abs().max() > 1e-6
    with pytest.raises(ParameterError, match=r"expects the conditions \['mask'\]; got \[\]"):
        network(y)


@pytest.mark.parametrize(
    ("make", "match"),
    [
        (lambda: Vdsr(depth=1), "Vdsr.depth expects a whole number of at least 2; got 1"),
        (lambda: Vdsr(upscaling="deconv"), "expected one of 'transposed', 'shuffle'"),
        (lambda: Vdsr(scale=4, head_kernel=3).build(), "leaves gaps"),
        (lambda: Idn(width=40), "Idn.width expects a multiple of 16 of at least 16; got 40"),
        (lambda: SrganGenerator(scale=5), "expected one of 2, 3, 4, 8"),
        (lambda: Unet(depth=0), "Unet.depth expects a whole number of at least 1; got 0"),
    ],
)
def test_parameters_that_cannot_be(make, match):
    with pytest.raises(ParameterError, match=match):
        make()


@pytest.mark.parametrize(
    "spec",
    [
        Vdsr(depth=3, width=4),
        Drrn(units=2, width=4),
        Idn(blocks=1, width=16),
        Unet(depth=2, width=2),
        ContextEncoder(size=16, width=2, channels=1),
    ],
    ids=lambda s: type(s).__name__,
)
def test_compiles_as_one_graph(spec):
    network = built(spec)
    y = randn(2, 1, 16, 16)
    want = network(y)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y), want)
