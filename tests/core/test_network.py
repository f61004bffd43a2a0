"""The base of networks, their cut, and the adjoint of the last layer."""

from __future__ import annotations

import attrs
import pytest
import torch
import torch.nn.functional as F
from torch import nn
from wellposed import ConvolutionHead, Network, NetworkSpec, SplitNetwork, param
from wellposed.edge import register_types
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.registry import schema_of, structure_params

F64 = torch.float64


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


@attrs.frozen(eq=False, kw_only=True)
class Toy(NetworkSpec):
    """A smooth head, whose adjoint nobody wrote."""

    width: int = param(3, doc="channels")
    forgets: bool = param(False, doc="leave the bias as it is")

    def _module(self):
        return ToyNetwork(self)


class ToyNetwork(SplitNetwork):
    def __init__(self, spec):
        super().__init__(channels=2, conditions={"mask": 1, "other": 2}, size=None)
        self.forgets = spec.forgets
        self.first = nn.Conv2d(5, spec.width, 3, padding=1)
        self.last = nn.Conv2d(spec.width, 2, 3, padding=1)

    def initialise(self, generator):
        for name, p in self.named_parameters():
            if not (self.forgets and name.endswith("bias")):
                p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=generator))

    def _features(self, y, **conditions):
        return self.first(torch.cat([y, conditions["mask"], conditions["other"]], 1))

    def _head(self, z):
        return self.last(torch.sin(z))


class Fused(Network):
    def __init__(self, channels, **options):
        super().__init__(channels=channels, **options)
        self.mix = nn.Conv2d(channels, self.out_channels, 1)

    def initialise(self, generator):
        for p in self.parameters():
            p.copy_(torch.randn(p.shape, dtype=p.dtype, generator=generator))

    def _forward(self, x, **conditions):
        return self.mix(x)


def toy():
    return Toy().build(seed=1, dtype=F64).eval()


def test_one_contract_for_all_batches():
    network = toy()
    x, mask, other = randn(2, 3, 2, 4, 5), randn(1, 4, 5) > 0, randn(3, 2, 4, 5, seed=1)
    got = network(x, mask=mask, other=other)
    assert got.shape == x.shape
    alone = network(x[1, 2], mask=mask.to(F64), other=other[2])
    torch.testing.assert_close(got[1, 2], alone)
    z = network.features(x, mask=mask, other=other)
    assert z.shape == (2, 3, 3, 4, 5)
    assert network.base(x) is None
    torch.testing.assert_close(network.head(z), got)
    torch.testing.assert_close(network.head(z, base=x), got + x)
    assert network(x[:0], mask=mask, other=other).shape == (0, 3, 2, 4, 5)
    assert "channels=2, scale=1, size=None" in repr(network)


def test_an_adjoint_that_nobody_wrote_is_that_of_the_jacobian():
    network = toy()
    z, v = randn(2, 3, 4, 3), randn(2, 2, 4, 3, seed=1)
    jacobian = torch.autograd.functional.jacobian(network.head, z).reshape(v.numel(), z.numel())
    want = (jacobian.T @ v.flatten()).reshape(z.shape)
    torch.testing.assert_close(network.head_adjoint(z, v), want)
    torch.testing.assert_close(network.head_adjoint(z[0], v[0]), want[0])


@pytest.mark.parametrize(
    ("call", "error", "match"),
    [
        (lambda f, x, c: f(x[:, :1], **c), ShapeError, r"expects pictures \(\*batch, 2, H, W\)"),
        (lambda f, x, c: f(x[0, 0], **c), ShapeError, r"got \(4, 5\)"),
        (lambda f, x, c: f(x[..., :0], **c), ShapeError, r"got \(3, 2, 4, 0\)"),
        (lambda f, x, c: f(x.float(), **c), DtypeError, "weights of torch.float64 and takes"),
        (lambda f, x, c: f(x.to(torch.complex128), **c), DtypeError, "got torch.complex128"),
        (lambda f, x, c: f(x), ParameterError, r"conditions \['mask', 'other'\]; got \[\]"),
        (lambda f, x, c: f.features(x, m=x, **c), ParameterError, r"got \['m', 'mask', 'other'\]"),
        (lambda f, x, c: f(x, **{**c, "mask": x}), ShapeError, r"mask of shape \(3, 1, 4, 5\)"),
        (lambda f, x, c: f(x[:2], **c), ShapeError, r"mask of shape \(2, 1, 4, 5\)"),
        (lambda f, x, c: f(x[0], **c), ShapeError, r"mask of shape \(1, 4, 5\)"),
    ],
)
def test_errors_of_a_call(call, error, match):
    conditions = {"mask": randn(3, 1, 4, 5), "other": randn(2, 4, 5)}
    with pytest.raises(error, match=match):
        call(toy(), randn(3, 2, 4, 5), conditions)


def test_a_network_of_one_size():
    class Fixed(Network):
        def __init__(self):
            super().__init__(channels=1, size=4, value_range=(-1.0, 1.0))

        def initialise(self, generator):
            raise AssertionError

        def _forward(self, x, **conditions):
            return x

    network = Fixed()
    assert network(randn(1, 4, 4)).shape == (1, 4, 4)
    assert network.value_range == (-1.0, 1.0)
    with pytest.raises(ShapeError, match=r"4 x 4 pixels, the one size .* got 4 x 5.*tiles"):
        network(randn(1, 4, 5))


def test_autocast_takes_both_precisions():
    network = Toy().build().eval()
    x = randn(1, 2, 4, 5, dtype=torch.float32)
    conditions = {"mask": x[:, :1], "other": x}
    with torch.autocast("cpu", dtype=torch.bfloat16):
        got = network(x, **conditions)
        assert network(x.bfloat16(), **conditions).shape == got.shape
    assert (got.float() - network(x, **conditions)).abs().max() < 0.3


def test_building():
    before = torch.get_rng_state()
    network = Toy().build(seed=3)
    assert torch.equal(before, torch.get_rng_state())
    assert network.training and all(p.requires_grad for p in network.parameters())
    double = Toy().build(seed=3, dtype=F64)
    for a, b in zip(network.parameters(), double.parameters(), strict=True):
        assert torch.equal(a, b.float()) and a.device.type == "cpu"
    forgotten = Toy(forgets=True).build()
    assert forgotten.first.bias.isnan().all() and forgotten.first.weight.isfinite().all()


def test_a_spec_is_a_component_that_others_can_hold():
    @attrs.frozen(eq=False, kw_only=True)
    class Holder:
        network: NetworkSpec = param(doc="which")

    register_types()
    built = structure_params(Holder, {"network": {"name": "vdsr", "params": {"depth": 4}}}, path="")
    assert built["network"].depth == 4
    shown = {p.name: p for p in schema_of(type(built["network"]))}
    assert shown["depth"].default == 20 and "layers" in shown["depth"].doc
    with pytest.raises(ParameterError, match="expected a network"):
        structure_params(Holder, {"network": 3}, path="")


# ---- the last layer -----------------------------------------------------------------------------

HEADS = [
    {"kernel": k, "scale": s, "upscaling": u, "slope": slope, "tanh": tanh}
    for k, s, u, slope, tanh in [
        (3, 1, "transposed", 0.0, False),
        (1, 1, "shuffle", 0.05, True),
        (4, 2, "transposed", 0.0, True),
        (17, 2, "transposed", 0.05, False),
        (9, 3, "transposed", 0.2, False),
        (3, 3, "transposed", 0.0, False),
        (17, 4, "transposed", 0.0, False),
        (4, 3, "transposed", 0.0, False),
        (3, 2, "shuffle", 0.05, False),
        (5, 3, "shuffle", 0.0, True),
    ]
]


def head_of(options, width=3, channels=2, seed=0):
    head = ConvolutionHead(width, channels, **options).double()
    for number, p in enumerate(head.parameters()):
        p.data.copy_(0.3 * randn(*p.shape, seed=seed + number))
    return head


@pytest.mark.parametrize("options", HEADS, ids=str)
@pytest.mark.parametrize("size", [(3, 4), (1, 5), (1, 1)])
def test_head_and_its_adjoint(options, size):
    head, scale = head_of(options), options["scale"]
    z = randn(2, 3, *size, seed=5)
    x = head(z)
    assert x.shape == (2, 2, scale * size[0], scale * size[1])
    v = randn(*x.shape, seed=6)
    jacobian = torch.autograd.functional.jacobian(head, z).reshape(v.numel(), z.numel())
    want = (jacobian.T @ v.flatten()).reshape(z.shape)
    torch.testing.assert_close(head.adjoint(z, v), want, rtol=1e-12, atol=1e-12)
    torch.testing.assert_close(head.adjoint(z, v, x), want, rtol=1e-12, atol=1e-12)
    (back,) = torch.func.vjp(head, z)[1](v)
    torch.testing.assert_close(back, want, rtol=1e-12, atol=1e-12)


def test_adjoint_at_the_kink_is_that_of_autograd():
    for slope in (0.0, 0.05):
        head = head_of({"kernel": 3, "slope": slope})
        z, v = torch.zeros(1, 3, 2, 2, dtype=F64), randn(1, 2, 2, 2)
        (want,) = torch.func.vjp(head, z)[1](v)
        torch.testing.assert_close(head.adjoint(z, v), want)


@pytest.mark.parametrize("options", [HEADS[2], HEADS[3], HEADS[9]], ids=str)
def test_the_adjoint_can_be_trained_through(options):
    """Gradients of a step `z - adjoint(z, A^T (A h(z) - y))` in the weights are autograd's own."""
    head = head_of(options)
    z = randn(1, 3, 3, 2, seed=2)
    size = head(z).numel()
    matrix, y = randn(4, size, seed=3), randn(4, seed=4)

    def loss(adjoint):
        x = head(z)
        step = adjoint(x, (matrix.T @ (matrix @ x.flatten() - y)).reshape(x.shape))
        return head(z - 0.1 * step).square().sum()

    def by_autograd(x, v):
        moving = z.clone().requires_grad_()
        fidelity = 0.5 * (matrix @ head(moving).flatten() - y).square().sum()
        return torch.autograd.grad(fidelity, moving, create_graph=True)[0]

    got = torch.autograd.grad(loss(lambda x, v: head.adjoint(z, v, x)), list(head.parameters()))
    want = torch.autograd.grad(loss(by_autograd), list(head.parameters()))
    for a, b in zip(got, want, strict=True):
        torch.testing.assert_close(a, b, rtol=1e-10, atol=1e-10)


def test_head_and_adjoint_are_one_graph():
    head = head_of(HEADS[2])
    z = randn(1, 3, 3, 2)

    def step(z):
        x = head(z)
        return z - head.adjoint(z, x, x)

    compiled = torch.compile(step, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(z), step(z))


def test_head_is_the_layer_that_it_says():
    head = head_of({"kernel": 5, "scale": 2, "upscaling": "shuffle", "slope": 0.1})
    z = randn(1, 3, 4, 4)
    want = F.pixel_shuffle(F.conv2d(F.leaky_relu(z, 0.1), *head.parameters(), padding=2), 2)
    torch.testing.assert_close(head(z), want)


@pytest.mark.parametrize(
    ("options", "match"),
    [
        ({"kernel": 2, "scale": 3}, "kernel of 3 or more pixels, or it leaves gaps; got 2"),
        ({"kernel": 4}, "kernel of odd side, to keep the size; got 4"),
        ({"kernel": 4, "scale": 2, "upscaling": "shuffle"}, "odd side"),
        ({"kernel": 3, "upscaling": "nearest"}, "upscaling expects one of .*'nearest'"),
    ],
)
def test_heads_that_cannot_be(options, match):
    with pytest.raises(ParameterError, match=match):
        ConvolutionHead(3, 2, **options)


def test_a_network_may_give_another_number_of_channels():
    network = Fused(3, out_channels=1)
    assert network(torch.zeros(2, 5, 3, 4, 6)).shape == (2, 5, 1, 4, 6)
    assert "channels=3, out_channels=1, scale=1" in repr(network)
    with pytest.raises(ShapeError, match=r"expects pictures \(\*batch, 3, H, W\); got \(1, 4, 6\)"):
        network(torch.zeros(1, 4, 6))
    assert Fused(3).out_channels == 3


@pytest.mark.parametrize("scale", [2, 3, 4])
@pytest.mark.parametrize("more", [0, 1, 2, 5, 7])
def test_enlarging_head_and_its_derivatives_are_those_of_torchs_layer(scale, more):
    torch.manual_seed(0)
    head = ConvolutionHead(3, 2, kernel=scale + more, scale=scale).double()
    a = torch.rand(2, 3, 4, 3, dtype=torch.float64, requires_grad=True)
    v = torch.rand(2, 2, 4 * scale, 3 * scale, dtype=torch.float64, requires_grad=True)
    weight, bias = head.layer.weight, head.layer.bias
    torch.testing.assert_close(head(a), head.layer(a), rtol=1e-12, atol=1e-12)

    def by_torch():
        return torch.autograd.grad(head.layer(a), a, v, create_graph=True)[0]

    cotangent = torch.rand_like(a)
    ours = torch.autograd.grad(head.adjoint(a, v), (v, weight), cotangent, create_graph=True)
    theirs = torch.autograd.grad(by_torch(), (v, weight), cotangent, create_graph=True)
    torch.testing.assert_close(ours, theirs, rtol=1e-12, atol=1e-12)
    found = torch.autograd.grad(head(a).square().sum(), (a, weight, bias))
    expected = torch.autograd.grad(head.layer(a).square().sum(), (a, weight, bias))
    torch.testing.assert_close(found, expected, rtol=1e-12, atol=1e-12)
