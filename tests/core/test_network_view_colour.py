"""How a network sees a problem in colour, and its conditions, against the problem by hand."""

from __future__ import annotations

import pytest
import torch
from wellposed import NetworkView, luminance, sample
from wellposed.colour import ChannelOf, one_channel
from wellposed.errors import IncompatibleError

from .view_networks import F64, operator, problem, rand, randn, toy

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
