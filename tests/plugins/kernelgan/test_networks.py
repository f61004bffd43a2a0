"""The collapsed generator and the written-out discriminator against their layers and autograd."""

import sys
from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from wellposed.plugins.kernelgan.discriminator import Pass, draw_discriminator
from wellposed.plugins.kernelgan.generator import (
    LAYERS,
    Composition,
    compose,
    draw_generator,
    kernel_gradient,
    kernel_side,
    reduced,
)
from wellposed.plugins.kernelgan.regularization import Regularizer

sys.path.insert(0, str(Path(__file__).parent))
from official import Judge, generate

F64 = torch.float64


def streams(count, seed=0):
    return [torch.Generator().manual_seed(seed + n) for n in range(count)]


@pytest.mark.parametrize("layers", [LAYERS, (13,), (5, 3, 1)])
def test_kernel_is_what_the_layers_do(layers):
    weights = draw_generator(streams(2), layers, dtype=F64)
    weights = [w * 10 for w in weights]
    x = torch.randn(2, 3, 30, 34, dtype=F64, generator=streams(1)[0])
    weights = [w.requires_grad_() for w in weights]
    side = kernel_side(layers)
    k = compose(weights)[-1].view(2, side, side)
    pull = torch.randn(k.shape, dtype=F64, generator=streams(1, 7)[0])
    want = torch.autograd.grad(k, weights, pull)
    weights = [w.detach() for w in weights]
    generator = Composition.of(weights)
    for got, expected in zip(generator.gradients(pull), want, strict=True):
        torch.testing.assert_close(got, expected)
    k = k.detach().requires_grad_()
    torch.testing.assert_close(generator.kernel, k.detach())
    made = reduced(x, k, 2)
    want = generate(weights, x)
    torch.testing.assert_close(made, want, rtol=1e-12, atol=1e-12 * float(want.abs().max()))
    pull = torch.randn(made.shape, dtype=F64, generator=streams(1, 3)[0])
    (gradient,) = torch.autograd.grad(made, k, pull)
    torch.testing.assert_close(kernel_gradient(x, pull, side, 2), gradient)


@pytest.mark.parametrize("channels", [1, 3, 5])
@pytest.mark.parametrize("passes", [1, 2])
def test_discriminator_and_its_gradients_equal_the_layers(channels, passes):
    count = 2
    net = draw_discriminator(streams(count), channels, dtype=F64)
    net.shift.copy_(torch.randn(net.shift.shape, dtype=F64, generator=streams(1)[0]) / 3)
    judges = [Judge(net, n, channels) for n in range(count)]
    # Small pictures, so that the epsilon of batch normalisation is felt.
    x = 0.02 * torch.randn(count, passes, channels, 12, 14, dtype=F64, generator=streams(1)[0])
    x.requires_grad_()
    outputs = [[judges[n](x[n, p]) for p in range(passes)] for n in range(count)]
    want = torch.stack([torch.stack([o.flatten() for o in row]) for row in outputs])
    pull = torch.randn(want.shape, dtype=F64, generator=streams(1, 5)[0])
    (want * pull).sum().backward()

    judged = Pass.of(net, x.shape).judge(x.detach(), net.power_iterations(passes))
    torch.testing.assert_close(judged.output, want.detach(), rtol=1e-11, atol=1e-13)
    torch.testing.assert_close(judged.to_input(pull), x.grad, rtol=1e-9, atol=1e-12)
    weight, bias, gain, shift = judged.to_parameters(pull)
    for n, judge in enumerate(judges):
        for i, layer in enumerate(judge.weights):
            got = weight[i, n, : layer.shape[0], : layer[0].numel()].reshape(layer.shape)
            torch.testing.assert_close(got, layer.grad, rtol=1e-8, atol=1e-11)
            assert weight[i, n, layer.shape[0] :].abs().sum() == 0
            assert weight[i, n, :, layer[0].numel() :].abs().sum() == 0
        # The biases that were left out have no gradient.
        assert all(b.grad.abs().max() < 1e-10 for b in judge.biases[:6])
        torch.testing.assert_close(bias[n].flatten(), judge.biases[6].grad)
        torch.testing.assert_close(gain[:, n, :, 0], judge.gains.grad, rtol=1e-8, atol=1e-11)
        torch.testing.assert_close(shift[:, n, :, 0], judge.shifts.grad, rtol=1e-8, atol=1e-11)
        for i, left in enumerate(judge.lefts):
            torch.testing.assert_close(net.left.unflatten(0, (7, -1))[i, n, : len(left), 0], left)


@settings(max_examples=25, deadline=None)
@given(st.integers(0, 2**31), st.sampled_from([5, 9, 13]), st.sampled_from([0.2, 0.5]))
def test_regularizer_gradient_is_that_of_its_value(seed, side, power):
    draw = streams(1, seed)[0]
    k = torch.randn(3, side, side, dtype=F64, generator=draw).requires_grad_()
    rule = Regularizer.of(side, side / 2, power, k)
    gamma, delta = (torch.rand(3, dtype=F64, generator=draw) for _ in range(2))
    (want,) = torch.autograd.grad(rule.value(k, 0.5, 0.7, gamma, delta).sum(), k)
    got = rule.gradient(k.detach(), 0.5, 0.7, gamma, delta)
    torch.testing.assert_close(got, want, rtol=1e-10, atol=1e-12)


def test_regularizer_is_as_the_authors_compute_it():
    k = torch.rand(1, 13, 13, dtype=F64, generator=streams(1)[0])
    one = torch.ones(1, dtype=F64)
    rule = Regularizer.of(13, 6.5, 0.2, k)
    array = k[0].numpy()
    hill = torch.exp(-(torch.arange(-6, 7, dtype=F64) ** 2) / (2 * 13**2)).numpy()
    mask = 30 * (1 - hill[:, None] * hill)
    mask[2:-2, 2:-2] = 0
    rows = (array.sum(1) * range(13)).sum() / array.sum()
    columns = (array.sum(0) * range(13)).sum() / array.sum()
    want = (
        0.5 * abs(1 - array.sum())
        + 0.5 * abs(array * mask).mean()
        + 5 * (abs(array) ** 0.2).mean()
        + ((rows - 6.5) ** 2 + (columns - 6.5) ** 2) / 2
    )
    assert float(rule.value(k, 0.5, 0.5, 5 * one, one)) == pytest.approx(float(want))


def test_zero_taps_have_a_finite_gradient():
    k = torch.zeros(1, 13, 13)
    k[0, 6, 6] = 1.0
    one = torch.ones(1)
    got = Regularizer.of(13, 6.5, 0.2, k).gradient(k, 0.5, 0.5, 5 * one, one)
    assert bool(got.isfinite().all())
