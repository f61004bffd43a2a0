"""How a network sees a problem: ranges, tiles, sizes and channels, against autograd and by hand."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import wellposed.network_view as module
from torch import nn
from wellposed import ConvolutionHead, Network, NetworkView, Space, SplitNetwork, luminance, sample
from wellposed.colour import ChannelOf, one_channel
from wellposed.edge import build_operator
from wellposed.errors import DtypeError, IncompatibleError, ParameterError, ShapeError

F64 = torch.float64


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def rand(*shape, seed=0, dtype=F64):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def operator(name, shape, dtype=F64, **params):
    return build_operator(name, params, x_space=Space(shape, dtype))


class Toy(SplitNetwork):
    """Knows where in its frame a pixel is, so that tiles differ from the whole."""

    def __init__(self, channels=1, *, scale=1, size=None, masked=0, tanh=True, skip=False, **more):
        conditions = {"mask": masked} if masked else {}
        super().__init__(channels=channels, scale=scale, size=size, conditions=conditions, **more)
        self.first = nn.Conv2d(channels + masked, 3, 3, padding=1)
        self.place = nn.Parameter(torch.zeros(3, size or 1, size or 1))
        self.tail = ConvolutionHead(
            3, self.out_channels, kernel=5, scale=scale, upscaling="shuffle", tanh=tanh
        )
        self.skip = skip
        self.runs = []

    def initialise(self, generator):
        for p in self.parameters():
            p.copy_(0.4 * torch.randn(p.shape, dtype=p.dtype, generator=generator))

    def _features(self, y, **conditions):
        self.runs.append(len(y))
        return self.first(torch.cat([y, *conditions.values()], 1)) + self.place

    def _base(self, y):
        return (
            y.repeat_interleave(self.scale, -1).repeat_interleave(self.scale, -2)
            if self.skip
            else None
        )

    def _head(self, z):
        return self.tail(z)

    def _head_adjoint(self, z, v, x):
        return self.tail.adjoint(z, v, x)


class Same(Network):
    """Gives what it takes."""

    def __init__(self, channels=1, **options):
        super().__init__(channels=channels, **options)

    def initialise(self, generator):
        """Nothing to draw."""

    def _forward(self, x, **conditions):
        return x


def toy(seed=0, dtype=F64, **options):
    network = Toy(**options).to(F64)
    with torch.no_grad():
        network.initialise(torch.Generator().manual_seed(seed))
    return network.to(dtype).eval()


def fidelity(view, z):
    return (view.operator(view.head(z)) - view.target).abs().square().sum() / 2


def check_gradient(view):
    """The gradient that is written out is that of autograd, also of a batch."""
    with torch.no_grad():
        z = view.features() + 0.1
        got = view.gradient(z)
    leaf = z.clone().requires_grad_()
    (want,) = torch.autograd.grad(fidelity(view, leaf), leaf)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12 * float(want.abs().max()))
    again = view.head_adjoint(z, view.data_grad(view.head(z)))
    torch.testing.assert_close(again, got, rtol=1e-12, atol=1e-13)
    flat = z.reshape(-1, *z.shape[-3:])  # all samples and tiles along one axis
    torch.testing.assert_close(view.gradient(flat).reshape(z.shape), got)
    torch.testing.assert_close(view.head(flat), view.head(z))
    again = view.head_adjoint(flat, view.data_grad(view.head(flat)), view.tiles(flat))
    torch.testing.assert_close(again.reshape(z.shape), got, rtol=1e-12, atol=1e-13)


# name, picture, batch, network
PROBLEMS = {
    "fits": ("blur", (1, 6, 7), (2,), {"tanh": True}),
    "skip": ("strided_blur", (1, 8, 6), (2,), {"scale": 2, "skip": True, "tanh": False}),
    "range": ("strided_blur", (1, 8, 6), (), {"scale": 2, "value_range": (-1.0, 1.0)}),
    "tiles": ("blur", (2, 9, 11), (2,), {"channels": 2, "size": 4, "value_range": (-1.0, 1.0)}),
    "tiles, skip": ("blur", (1, 9, 4), (), {"size": 4, "skip": True}),
    "tiles, scale": ("strided_blur", (1, 13, 18), (2,), {"scale": 2, "size": 4, "skip": True}),
    "smaller": ("mask", (1, 3, 5), (2, 1), {"size": 6}),
    "crop": ("strided_blur", (1, 7, 9), (2,), {"scale": 2, "skip": True}),
    "continued": ("strided_blur", (1, 10, 9), (2,), {"scale": 3, "skip": True}),
    "colour": ("strided_blur", (3, 8, 7), (2,), {"scale": 2, "skip": True}),
    "colour, tiles": ("mask", (3, 9, 7), (2,), {"size": 4, "value_range": (-1.0, 1.0)}),
    "grey": ("blur", (1, 6, 5), (2,), {"channels": 3, "skip": True}),
    "grey, tiles": ("blur", (1, 6, 5), (2,), {"channels": 3, "size": 4}),
}


def problem(key, *, dtype=F64, **more):
    name, shape, batch, options = PROBLEMS[key]
    params = {"mask": rand(*shape[1:]) > 0.3} if name == "mask" else {}
    if name == "strided_blur":
        params = {"stride": options["scale"]}
    op = operator(name, shape, dtype, **params)
    network = toy(dtype=dtype, **options)
    y = op(rand(*batch, *shape, dtype=dtype))
    return network, op, y


@pytest.mark.parametrize("key", PROBLEMS)
def test_the_gradient_of_the_fidelity_is_that_of_autograd(key):
    network, op, y = problem(key)
    view = NetworkView.of(network, op, y)
    check_gradient(view)
    z = view.features()
    v = view.head(z)
    assert v.shape == (*y.shape[:-3], *view.operator.in_space.shape)
    torch.testing.assert_close(view.output(), v)
    assert view.picture(v).shape == (*y.shape[:-3], *op.in_space.shape)
    linear = torch.func.vjp(view.head, z)[1](v)[0]
    torch.testing.assert_close(view.head_adjoint(z, v), linear, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("key", PROBLEMS)
def test_samples_are_on_their_own(key):
    """A batch is a loop, none, one or two batch axes are alike, and NaN stays in its sample."""
    network, op, _ = problem(key)
    y = op(rand(2, 3, *op.in_space.shape, seed=5))

    def outcome(y):
        view = NetworkView.of(network, op, y)
        z = view.features()
        z = z - 0.1 * view.gradient(z)
        return view.picture(view.head(z)), view.picture(view.output())

    with torch.no_grad():
        for got, flat, row, one in zip(
            outcome(y), outcome(y.flatten(0, 1)), outcome(y[1]), outcome(y[1, 2]), strict=True
        ):
            torch.testing.assert_close(got.flatten(0, 1), flat)
            torch.testing.assert_close(got[1], row)
            torch.testing.assert_close(got[1, 2], one)
        spoiled = y.flatten(0, 1).clone()
        spoiled[2] = torch.nan
        for got, want in zip(outcome(spoiled), outcome(y.flatten(0, 1)), strict=True):
            assert bool(got[2].isnan().all())
            torch.testing.assert_close(got[[0, 1, 3, 4, 5]], want[[0, 1, 3, 4, 5]])


@pytest.mark.parametrize("key", PROBLEMS)
def test_training_reaches_weights_through_a_step(key):
    network, op, y = problem(key)
    view = NetworkView.of(network, op, y)
    z = view.features()
    loss = view.picture(view.head(z - 0.1 * view.gradient(z))).square().sum()
    grads = torch.autograd.grad(loss, list(network.parameters()))

    p = network.tail.layer.bias  # one number, by differences

    def at(shift):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            moved.tail.layer.bias[0] += shift
            view = NetworkView.of(moved, op, y)
            z = view.features()
            return view.picture(view.head(z - 0.1 * view.gradient(z))).square().sum()

    want = (at(1e-5) - at(-1e-5)) / 2e-5
    index = [q is p for q in network.parameters()].index(True)
    torch.testing.assert_close(grads[index][0], want, rtol=1e-6, atol=1e-7)
    assert all(bool(g.isfinite().all()) for g in grads)


def test_a_network_that_fits_is_asked_nothing_else():
    network, op, y = problem("range")
    view = NetworkView.of(network, op, y)
    assert view.tiling is None and view.luminance is None and view.base is None
    ones = op(torch.ones(op.in_space.shape, dtype=F64))
    torch.testing.assert_close(view.target, 2 * y - ones)
    assert view.seen is view.target
    torch.testing.assert_close(view.output(), network(2 * y - ones))
    torch.testing.assert_close(view.picture(view.output()), (network(2 * y - ones) + 1) / 2)
    estimate = NetworkView.of(toy(value_range=(-1.0, 1.0)), op, y, feed="estimate")
    torch.testing.assert_close(estimate.seen, 2 * op.initial_estimate(y) - 1)


def test_copies_and_pickles():
    view = NetworkView.of(*problem("colour, tiles"))
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        torch.testing.assert_close(other.picture(other.output()), view.picture(view.output()))


# ---- tiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 8, 32])
def test_the_identity_by_tiles_is_the_identity(size):
    x = rand(2, 3, 11, 20)
    op = operator("identity", (3, 11, 20))
    view = NetworkView.of(Same(3, size=size, value_range=(-1.0, 1.0)), op, x)
    torch.testing.assert_close(view.picture(view.output()), x, rtol=1e-15, atol=4e-16)


def test_tiles_are_what_the_network_makes_of_crops():
    """One network call per tile, blended by a dense B, with a mask for each sample."""
    mask = (rand(2, 1, 7, 9) > 0.4).double()
    op = operator("mask", (2, 7, 9), mask=mask)
    y = op(rand(2, 2, 7, 9))
    network = toy(channels=2, size=4, masked=1)
    view = NetworkView.of(network, op, y, feed="measurement", overlap=1)
    starts = [(i, j) for i in (0, 3) for j in (0, 2, 5)]
    assert view.seen.shape == (2, len(starts), 2, 4, 4)
    crops = [
        network(y[..., i : i + 4, j : j + 4], mask=mask[..., i : i + 4, j : j + 4])
        for i, j in starts
    ]
    tiles = torch.stack(crops, 1)
    torch.testing.assert_close(view.tiles(view.features()), tiles)
    basis = torch.eye(view.tiling.count * 16, dtype=F64).reshape(-1, view.tiling.count, 1, 4, 4)
    dense = view.tiling.merge(basis).flatten(1)
    want = tiles.transpose(1, 2).flatten(2) @ dense
    torch.testing.assert_close(view.output().flatten(2), want)


def test_a_bounded_number_of_tiles_at_once(monkeypatch):
    op = operator("mask", (1, 12, 12), mask=rand(2, 1, 12, 12) > 0.5)
    network = toy(size=4, masked=1)
    view = NetworkView.of(network, op, op(rand(2, 1, 12, 12)))
    with torch.no_grad():
        z, v = view.features(), view.output()
        monkeypatch.setattr(module, "_MOST_PIXELS", 5 * 16 + 3)
        network.runs.clear()
        torch.testing.assert_close(view.features(), z)
        assert max(network.runs) == 5 and sum(network.runs) == 2 * view.tiling.count
        torch.testing.assert_close(view.output(), v)
        network.train().runs.clear()  # batch normalisation might join the tiles
        view.features()
        assert network.runs == [2 * view.tiling.count]
    network.eval().runs.clear()
    view.features()
    assert network.runs == [2 * view.tiling.count]


def test_refined_tiles_agree_where_they_overlap():
    """Steps down the fidelity of the whole picture."""
    op = operator("blur", (1, 12, 12))
    view = NetworkView.of(toy(size=8, tanh=False), op, op(rand(1, 12, 12)), overlap=4)
    with torch.no_grad():
        z = view.features()
        first = fidelity(view, z)
        for _ in range(500):
            z = z - 0.3 * view.gradient(z)
        assert fidelity(view, z) < first / 20


def test_the_overlap_is_checked():
    network, op, y = problem("tiles")
    with pytest.raises(ParameterError, match="got an overlap of 3"):
        NetworkView.of(network, op, y, overlap=3)
    assert NetworkView.of(network, op, y, overlap=0).tiling.count == 9


# ---- sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "side"), [(2, 13), (2, 14), (3, 9), (3, 10), (3, 11), (4, 17)])
def test_pictures_that_are_no_multiple_of_the_scale(scale, side):
    op = operator("strided_blur", (1, side, side), stride=scale)
    x = rand(1, side, side)
    y = op(x)
    network = toy(scale=scale, skip=True)
    view = NetworkView.of(network, op, y)
    short = scale * y.shape[-1] - side
    if short >= 0:
        want = network(y)[..., :side, :side]
    else:  # the offset of the kept pixel lets a whole block go unmeasured
        assert short == -1
        want = network(torch.cat([t := torch.cat([y, y[..., -1:]], -1), t[..., -1:, :]], -2))
        want = want[..., :side, :side]
    torch.testing.assert_close(view.output(), want)


# ---- colour --------------------------------------------------------------------------------

COLOUR = {
    "strided_blur": lambda shape: operator("strided_blur", shape),
    "gain": lambda shape: 3.0 * operator("strided_blur", shape),
    "composed": lambda shape: (
        operator("strided_blur", shape) @ operator("blur", shape, kernel={"name": "gaussian"})
    ),
    "kernels": lambda shape: operator("strided_blur", shape, kernel=rand(2, 1, 3, 4, seed=7)),
    "equal kernels": lambda shape: operator(
        "strided_blur", shape, kernel=rand(2, 1, 3, 4, seed=7).expand(2, 3, 3, 4).clone()
    ),
}


@pytest.mark.parametrize("key", COLOUR)
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_colour_is_the_luminance_problem_by_hand(key, value_range):
    x = sample()[None, :, 60:74, 90:103].double()
    x = torch.cat([x, x.flip(1)])
    op, one = COLOUR[key](x.shape[1:]), None
    network = toy(scale=2, skip=True, value_range=value_range)
    y = op(x)
    view = NetworkView.of(network, op, y)
    assert isinstance(view.operator, ChannelOf) == (key == "equal kernels")
    grey = COLOUR[key if key != "equal kernels" else "kernels"]((1, *x.shape[2:]))
    # A is linear and channelwise: the luminance of what it makes, but for the offset
    torch.testing.assert_close(view.luminance.measurement, grey(luminance(x)))
    one = NetworkView.of(network, grey, grey(luminance(x)))
    torch.testing.assert_close(view.target, one.target)
    torch.testing.assert_close(view.seen, one.seen)
    z = view.features()
    torch.testing.assert_close(view.gradient(z), one.gradient(z))
    picture, want = view.picture(view.head(z)), one.picture(one.head(z))
    torch.testing.assert_close(luminance(picture), want)
    estimate = op.initial_estimate(y)
    chroma = torch.tensor([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], dtype=F64)
    torch.testing.assert_close(
        torch.einsum("kc,bchw->bkhw", chroma, picture),
        torch.einsum("kc,bchw->bkhw", chroma, estimate),
    )
    fed = NetworkView.of(toy(), op, y, feed="estimate").seen
    torch.testing.assert_close(fed, grey.initial_estimate(grey(luminance(x))))


@pytest.mark.parametrize("key", COLOUR)
def test_one_channel_of_an_operator(key):
    op = COLOUR[key]((3, 8, 6))
    one = one_channel(op)
    assert one.in_space.shape == (1, 8, 6) and one.out_space.shape == (1, 4, 3)
    assert one.name == op.name and one.batch_shape == op.batch_shape
    assert one_channel(op) is one  # remembered
    x, y = randn(2, 3, 8, 6), randn(2, 3, 4, 3, seed=1)
    for c in range(3):
        torch.testing.assert_close(one(x[:, c : c + 1]), op(x)[:, c : c + 1])
        torch.testing.assert_close(one.H(y[:, c : c + 1]), op.H(y)[:, c : c + 1])
    got = one.initial_estimate(y[:, :1])
    torch.testing.assert_close(got, op.initial_estimate(y[:, :1].expand_as(y))[:, :1])


def test_operators_that_tell_channels_apart_have_no_luminance():
    match = "does not do the same to each of the 3 channels by itself.*Take a network of 3 channels"
    shape = (3, 6, 6)
    response = torch.eye(3, dtype=F64)
    response[0, 1] = 1e-3
    for op in (
        operator("strided_blur", shape, stride=1, kernel=rand(1, 3, 3, 3)),
        operator("channel_mix", shape, response=response),
        operator("random_mask", shape, per_channel=True),
        operator("mask", shape, mask=(rand(2, 3, 6, 6) > 0.5)),
        operator("grayscale", shape),
    ):
        y = op(rand(2, *shape))
        with pytest.raises(IncompatibleError, match=match):
            NetworkView.of(toy(), op, y, feed="estimate")
    alike = operator("channel_mix", shape, response=torch.eye(3, dtype=F64))
    assert isinstance(one_channel(alike), ChannelOf)


def test_parameters_of_nan_do_not_spoil_the_other_samples():
    mask = rand(2, 1, 6, 6)
    mask[0] = torch.nan
    op = operator("mask", (3, 6, 6), mask=mask)
    view = NetworkView.of(toy(skip=True), op, op(rand(2, 3, 6, 6)))
    got = view.picture(view.output())
    assert bool(got[0].isnan().all()) and bool(got[1].isfinite().all())


def test_gradients_reach_a_kernel_through_the_luminance():
    kernel = rand(1, 1, 3, 3).requires_grad_()
    op = operator("strided_blur", (3, 6, 6), kernel=kernel)
    view = NetworkView.of(toy(scale=2, skip=True), op, rand(2, 3, 3, 3))
    z = view.features()
    (grad,) = torch.autograd.grad(view.gradient(z).square().sum(), kernel)
    assert bool((grad != 0).any())


def test_masks_go_to_the_network_whichever_way():
    mask = (rand(1, 6, 6) > 0.5).double()
    x = rand(2, 3, 6, 6)
    for given in (mask, mask[0], mask[None], mask.bool(), mask.expand(3, 6, 6).clone()):
        op = operator("mask", (3, 6, 6), mask=given)
        view = NetworkView.of(toy(masked=1), op, op(x))
        torch.testing.assert_close(view.conditions["mask"].expand(1, 6, 6), mask)
        view.output()
        lonely = NetworkView.of(toy(masked=1), op, op(x)[0])
        torch.testing.assert_close(lonely.output(), view.output()[0])


def test_a_grey_picture_for_a_network_in_colour():
    network, op, y = problem("grey")
    view = NetworkView.of(network, op, y)
    seen = op.initial_estimate(y).expand(2, 3, 6, 5)
    torch.testing.assert_close(view.output(), network(seen).mean(-3, keepdim=True))


@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
@pytest.mark.parametrize("feed", ["measurement", "estimate"])
def test_grey_levels_for_a_network_that_knows_luminance(value_range, feed):
    op = operator("blur", (1, 6, 5))  # whose estimate is interpolation, and as good as linear
    op = op if feed == "estimate" else 2.0 * op
    network, x = toy(skip=True, value_range=value_range), rand(2, 1, 6, 5)
    view = NetworkView.of(network, op, op(x), feed=feed, grey_levels=True)
    y = luminance(x.expand(2, 3, 6, 5))
    want = NetworkView.of(network, op, op(y), feed=feed)
    torch.testing.assert_close(view.target, want.target)
    torch.testing.assert_close(view.seen, want.seen)
    got = luminance(view.picture(view.output()).expand(2, 3, 6, 5))
    torch.testing.assert_close(got, want.picture(want.output()))
    for other in (toy(channels=3), toy()):
        colour = operator("blur", (3, 6, 5)) if other.channels == 1 else op
        y = colour(rand(*colour.in_space.shape))
        plain = NetworkView.of(other, colour, y)
        assert NetworkView.of(other, colour, y, grey_levels=True).value_range == plain.value_range


# ---- precision, transforms, errors ---------------------------------------------------------


@pytest.mark.parametrize("key", ["skip", "tiles, skip", "colour"])
def test_the_recursion_is_never_in_bf16(key):
    network, op, y = problem(key, dtype=torch.float32)
    plain = NetworkView.of(network, op, y)
    exact = plain.features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        view = NetworkView.of(network, op, y)
        torch.testing.assert_close(view.base, plain.base)
        z = view.features()
        assert z.dtype == torch.float32 and not torch.equal(z, exact)
        assert view.head(z).dtype == view.gradient(z).dtype == torch.float32
        assert view.output().isfinite().all()
    torch.testing.assert_close(view.gradient(z), plain.gradient(z))


@pytest.mark.parametrize("key", ["skip", "tiles", "colour"])
def test_under_vmap(key):
    network, op, y = problem(key)

    def once(y):
        view = NetworkView.of(network, op, y)
        z = view.features()
        return view.picture(view.head(z - 0.1 * view.gradient(z)))

    y = torch.stack([y, y.flip(-1)])
    torch.testing.assert_close(torch.func.vmap(once)(y), torch.stack([once(y[0]), once(y[1])]))


@pytest.mark.parametrize("key", ["skip", "tiles", "colour"])
def test_compiles_into_one_graph(key):
    network, op, y = problem(key)

    def once(y):
        view = NetworkView.of(network, op, y)
        z = view.features()
        return view.picture(view.head(z - 0.1 * view.gradient(z)))

    want = once(y)
    network.runs.clear()
    compiled = torch.compile(once, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(y), want)


def test_inside_inference_mode():
    network, op, y = problem("colour, tiles")
    with torch.inference_mode():
        got = NetworkView.of(network, op, y)
        got = got.picture(got.output())
    view = NetworkView.of(network, op, y)
    torch.testing.assert_close(got, view.picture(view.output()))
    check_gradient(view)


@pytest.mark.parametrize(
    ("network", "name", "shape", "feed", "match"),
    [
        (lambda: toy(channels=2), "blur", (5, 6, 6), None,
         r"Toy makes 2 channels out of 2; Blur has 5 in its estimate and 5 in its pictures. Take"),
        (lambda: toy(channels=3, out_channels=1), "blur", (3, 6, 6), None, "1 channels out of 3"),
        (lambda: toy(), "grayscale", (3, 6, 6), "measurement", "1 in its measurement and 3 in its"),
        (lambda: toy(complex_valued=True), "blur", (1, 6, 6), None,
         r"for complex pictures, Blur has real pictures.*complexify"),
        (lambda: toy(), "fourier_sampling", (1, 6, 6), "measurement", "has complex"),
        (lambda: toy(), "gaussian_sensing", (1, 6, 6), "measurement", "Take feed: estimate"),
        (lambda: toy(masked=1), "blur", (1, 6, 6), None, "Toy needs mask, which Blur has not"),
        (lambda: toy(channels=3, masked=2), "mask", (3, 6, 6), None,
         r"needs mask of shape \(2, 6, 6\).*given for Mask; got \(3, 6, 6\)"),
    ],
)  # fmt: skip
def test_what_does_not_go_together(network, name, shape, feed, match):
    params = {"mask": rand(*shape) > 0.5} if name == "mask" else {}
    op = operator(name, shape, **params)
    y = torch.zeros(op.out_space.shape, dtype=op.out_space.dtype)
    with pytest.raises(IncompatibleError, match=match):
        NetworkView.of(network(), op, y, feed=feed)


@pytest.mark.parametrize(
    ("scale", "name", "shape", "match"),
    [
        (
            2,
            "blur",
            (3, 6, 6),
            r"shape \(1, 12, 12\) out of the measurement of Blur, whose",
        ),
        (
            1,
            "strided_blur",
            (1, 6, 8),
            r"shape \(1, 3, 4\) out of.*are \(1, 6, 8\). Take a",
        ),
        (4, "strided_blur", (1, 8, 8), r"shape \(1, 16, 16\) out of"),
        (3, "strided_blur", (1, 8, 8), r"shape \(1, 12, 12\) out of"),
        (2, "crop", (1, 9, 13), r"shape \(1, 10, 18\) out of"),
    ],
)
def test_sizes_that_do_not_go_together(scale, name, shape, match):
    op = operator(name, shape, **({"margin": 2} if name == "crop" else {}))
    y = op(rand(*shape))
    with pytest.raises(ShapeError, match="Toy makes a picture of " + match):
        NetworkView.of(toy(scale=scale), op, y, feed="measurement")


def test_other_errors():
    op = operator("blur", (1, 6, 6))
    y = op(rand(1, 6, 6))
    with pytest.raises(ParameterError, match=r"^feed expects one of \('estimate', 'measurement'\)"):
        NetworkView.of(toy(), op, y, feed="picture")
    with pytest.raises(DtypeError, match=r"weights of torch.float32 and takes pictures of"):
        NetworkView.of(toy(dtype=torch.float32, skip=True), op, y)
    small = operator("mask", (1, 6, 6), mask=rand(1, 6, 6))
    whole = operator("strided_blur", (1, 6, 6)) @ small
    with pytest.raises(IncompatibleError, match=r"needs mask of shape \(1, 3, 3\), as large as"):
        NetworkView.of(toy(masked=1, scale=2), whole, rand(1, 3, 3))
