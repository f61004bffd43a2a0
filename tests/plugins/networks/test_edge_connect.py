"""EdgeConnect against plain layers, its mirrored frames against NumPy's; Canny's edges."""

from __future__ import annotations

import sys

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from wellposed import luminance, sample
from wellposed.errors import DtypeError, MissingExtraError, ParameterError, ShapeError
from wellposed.plugins.networks.edge_connect import EdgeConnect
from wellposed.plugins.networks.edges import canny_edges
from wellposed.plugins.networks.reflection import folded, reflected

F64 = torch.float64
SIZES = [(1, 1), (1, 5), (2, 3), (3, 3), (4, 2), (4, 4), (5, 9), (8, 7)]


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def built(**params):
    """Return a small network whose last bias is not 0."""
    network = EdgeConnect(**{"width": 2, "blocks": 2, **params}).build(seed=1, dtype=F64).eval()
    network.requires_grad_(False)
    network.last.bias.copy_(randn(*network.last.bias.shape))
    return network


def mirrored(x, margin):
    """Return NumPy's mirrored frame, which takes any size."""
    pad = [(0, 0), (0, 0), (margin, margin), (margin, margin)]
    return torch.from_numpy(np.pad(x.numpy(), pad, mode="reflect"))


def plain(network):
    """Return trunk and head as torch's own modules, with the same weights."""

    def layer(module, like):
        module = module.double().requires_grad_(False)
        module.weight.copy_(like.weight)
        return module

    def normal(n):
        return nn.InstanceNorm2d(n)

    class Block(nn.Module):
        def __init__(self, block):
            super().__init__()
            n = block.first.in_channels
            self.inner = nn.Sequential(
                nn.ReflectionPad2d(2),
                layer(nn.Conv2d(n, n, 3, dilation=2, bias=False), block.first),
                normal(n),
                nn.ReLU(),
                nn.ReflectionPad2d(1),
                layer(nn.Conv2d(n, n, 3, bias=False), block.second),
                normal(n),
            )

        def forward(self, x):
            return x + self.inner(x)

    w = network.last.in_channels
    inner = network.first.in_channels
    trunk = nn.Sequential(
        nn.ReflectionPad2d(3),
        layer(nn.Conv2d(inner, w, 7, bias=False), network.first),
        *(normal(w), nn.ReLU()),
        layer(nn.Conv2d(w, 2 * w, 4, stride=2, padding=1, bias=False), network.down[0]),
        *(normal(2 * w), nn.ReLU()),
        layer(nn.Conv2d(2 * w, 4 * w, 4, stride=2, padding=1, bias=False), network.down[1]),
        *(normal(4 * w), nn.ReLU()),
        *(Block(block) for block in network.blocks),
        layer(nn.ConvTranspose2d(4 * w, 2 * w, 4, 2, 1, bias=False), network.up[0]),
        *(normal(2 * w), nn.ReLU()),
        layer(nn.ConvTranspose2d(2 * w, w, 4, 2, 1, bias=False), network.up[1]),
        normal(w),
    )
    last = layer(nn.Conv2d(w, network.out_channels, 7), network.last)
    last.bias.copy_(network.last.bias)
    return trunk, nn.Sequential(nn.ReLU(), nn.ReflectionPad2d(3), last, nn.Tanh())


@pytest.mark.parametrize("mask_channels", [0, 2])
@pytest.mark.parametrize("size", [(16, 12), (12, 20)])
def test_edge_connect(size, mask_channels):
    network = built(mask_channels=mask_channels)
    y, edges = randn(2, 3, *size), (randn(2, 1, *size, seed=1) > 1).to(F64)
    masks = {"mask": randn(2, mask_channels, *size, seed=2)} if mask_channels else {}
    trunk, head = plain(network)
    z = trunk(torch.cat([y, edges, *masks.values()], 1))
    torch.testing.assert_close(network.features(y, edges=edges, **masks), z)
    torch.testing.assert_close(network(y, edges=edges, **masks), head(z))
    assert network.value_range == (-1.0, 1.0) and network.base(y) is None
    assert network.conditions == {"edges": 1, **({"mask": 2} if mask_channels else {})}


def test_other_sizes_are_continued_by_the_last_row_and_column():
    network = built()
    y, edges = randn(1, 3, 9, 14), (randn(1, 1, 9, 14, seed=1) > 1).to(F64)

    def whole(x):
        return torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), (0, 3), (0, 2)], mode="edge"))

    z = network.features(whole(y), edges=whole(edges))
    torch.testing.assert_close(network.features(y, edges=edges), z[..., :9, :14])


@pytest.mark.parametrize("size", SIZES)
def test_the_head_mirrors_the_frame_of_any_size(size):
    network = built(width=4)
    z = randn(2, 4, *size)
    last = network.last
    want = torch.tanh(F.conv2d(mirrored(z.relu(), 3), last.weight, last.bias))
    torch.testing.assert_close(network.head(z), want)


@pytest.mark.parametrize("size", SIZES)
def test_head_adjoint_is_autograds(size):
    network = built(width=4)
    z, v = randn(2, 4, *size).requires_grad_(), randn(2, 3, *size, seed=1)
    x = network.head(z)
    (want,) = torch.autograd.grad(x, z, v)
    for given in (None, x.detach()):
        got = network.head_adjoint(z.detach(), v, given)
        torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


def test_head_adjoint_has_gradients_of_its_own():
    network = built(width=2, channels=1)
    z = randn(1, 2, 4, 3).requires_grad_()
    v = randn(1, 1, 4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(lambda z, v: network.head_adjoint(z, v), (z, v))


@pytest.mark.parametrize("margin", [1, 2, 3])
@pytest.mark.parametrize("size", SIZES)
def test_mirrored_frames_and_their_adjoint(size, margin):
    height, width = size
    pixels = torch.eye(height * width, dtype=F64).reshape(-1, 1, height, width)
    larger = mirrored(pixels, margin)
    assert torch.equal(reflected(pixels, margin), larger)
    v = randn(2, 3, height + 2 * margin, width + 2 * margin)
    matrix = larger.flatten(1)
    want = (v.flatten(2) @ matrix.T).reshape(2, 3, height, width)
    torch.testing.assert_close(folded(v, margin), want, rtol=1e-13, atol=1e-13)
    mapped = torch.func.vmap(lambda v: folded(v, margin))(v[:, None])[:, 0]
    torch.testing.assert_close(mapped, want, rtol=1e-13, atol=1e-13)


def test_number_of_parameters_is_the_authors_but_for_idle_biases():
    with torch.device("meta"):
        network = EdgeConnect()._module()
    biases = 64 + 128 + 256 + 8 * 2 * 256 + 128 + 64
    assert biases == 4_736
    weights = [4 * 64 * 49, 64 * 128 * 16, 128 * 256 * 16, 8 * 2 * 256 * 256 * 9]
    weights += [256 * 128 * 16, 128 * 64 * 16, 64 * 3 * 49 + 3]
    assert sum(p.numel() for p in network.parameters()) == sum(weights)
    assert sum(weights) + biases == 10_774_595  # of the authors' layers


def test_it_starts_as_the_authors():
    network = EdgeConnect(width=32, blocks=1).build(seed=2).requires_grad_(False)
    for layer in (network.down[1], network.blocks[0].second, network.up[0]):
        assert float(layer.weight.std()) == pytest.approx(0.02, rel=0.01)


def test_the_edges_matter_and_are_required():
    network = built()
    y, edges = randn(3, 8, 8), torch.zeros(1, 8, 8, dtype=torch.bool)
    other = edges.clone()
    other[0, 3] = True
    assert (network(y, edges=edges) - network(y, edges=other)).abs().max() > 1e-6
    with pytest.raises(ParameterError, match=r"expects the conditions \['edges'\]; got \[\]"):
        network(y)
    with pytest.raises(ParameterError, match="blocks expects a whole number of at least 1; got 0"):
        EdgeConnect(blocks=0)


def test_compiles_as_one_graph():
    network = built()
    y, edges = randn(2, 3, 16, 13), torch.zeros(2, 1, 16, 13, dtype=F64)
    want = network(y, edges=edges)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y, edges=edges), want)


def picture(dtype=F64):
    return sample()[:, 64:128, 64:112].to(dtype)


def test_canny_edges_are_those_of_the_luminance():
    feature = pytest.importorskip("skimage.feature")
    color = pytest.importorskip("skimage.color")
    x = torch.stack([picture(), picture().flip(-1)])
    got = canny_edges(x, sigma=1.5)
    assert got.shape == (2, 1, 64, 48) and got.dtype == F64
    for edges, one in zip(got, x, strict=True):
        want = feature.canny(color.rgb2gray(one.numpy(), channel_axis=0), sigma=1.5)
        assert np.array_equal(edges[0].numpy() == 1, want) and 20 < want.sum() < 1000
    assert set(got.unique().tolist()) == {0.0, 1.0}
    grey = luminance(picture())
    assert torch.equal(canny_edges(grey.expand(2, 5, 1, -1, -1))[1, 4], canny_edges(grey))


def test_canny_edges_of_a_step_are_one_line_and_have_no_gradient():
    pytest.importorskip("skimage")
    x = (torch.arange(20) - 8.0).div(2).clamp(0, 1).expand(1, 20, 20).clone().requires_grad_()
    edges = canny_edges(x, 1.0)
    assert not edges.requires_grad and edges.dtype == torch.float32
    assert edges[0, 3:-3].nonzero()[:, 1].tolist() == [9] * 14
    weak = 0.05 * x.detach()
    assert not canny_edges(weak, 1.0).any() and canny_edges(weak, 1.0, low=0.05, high=0.1).any()
    assert canny_edges(torch.zeros(0, 1, 8, 8)).shape == (0, 1, 8, 8)


@pytest.mark.parametrize(
    ("x", "options", "error", "match"),
    [
        (torch.zeros(2, 8, 8), {}, ShapeError, r"\(\*batch, 1\|3, H, W\); got \(2, 8, 8\)"),
        (torch.zeros(8, 8), {}, ShapeError, r"got \(8, 8\)"),
        (torch.zeros(1, 8, 8, dtype=torch.uint8), {}, DtypeError, r"got torch.uint8.*/ 255"),
        (torch.zeros(1, 8, 8), {"sigma": -1}, ParameterError, "sigma of at least 0.*got sigma -1"),
        (torch.zeros(1, 8, 8), {"low": 0.3}, ParameterError, "low <= high; got .*low 0.3"),
    ],
)
def test_pictures_without_edges_to_find(x, options, error, match):
    pytest.importorskip("skimage")
    with pytest.raises(error, match=match):
        canny_edges(x, **options)


def test_canny_edges_name_the_package_they_lack(monkeypatch):
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'wellposed\[skimage\]'"):
        canny_edges(torch.zeros(1, 8, 8))
