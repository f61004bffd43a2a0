"""Bicubic upscaling, channel-wise layers, feature transforms, and how weights start."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from torch import nn
from wellposed.plugins.networks.layers import (
    BicubicUpscaling,
    ChannelwiseLinear,
    FeatureTransform,
    MaskFeatures,
    initialise,
)

F64 = torch.float64


def randn(*shape, seed=0):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def ready(module, **options):
    module = module.double()
    with torch.no_grad():
        initialise(module, torch.Generator().manual_seed(0), **options)
    return module.requires_grad_(False)


def imresize_matrix(n, scale):
    """Return MATLAB's bicubic enlargement of a row of n pixels: taps by loops, ends mirrored."""

    def keys(t):
        t = abs(t)
        if t <= 1:
            return 1.5 * t**3 - 2.5 * t**2 + 1
        return -0.5 * t**3 + 2.5 * t**2 - 4 * t + 2 if t < 2 else 0.0

    matrix = np.zeros((n * scale, n))
    for i in range(n * scale):
        centre = (i + 0.5) / scale - 0.5
        for j in range(math.floor(centre) - 2, math.floor(centre) + 4):
            mirrored = j % (2 * n)
            matrix[i, min(mirrored, 2 * n - 1 - mirrored)] += keys(centre - j)
    return torch.from_numpy(matrix)


@pytest.mark.parametrize("scale", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("size", [(5, 4), (1, 7), (2, 1), (1, 1), (3, 9)])
def test_bicubic_upscaling_is_imresize(scale, size):
    y = randn(2, 3, *size)
    want = imresize_matrix(size[0], scale) @ y @ imresize_matrix(size[1], scale).T
    got = ready(BicubicUpscaling(scale))(y)
    torch.testing.assert_close(got, want, rtol=1e-13, atol=1e-13)


def test_bicubic_upscaling_keeps_constants_and_ramps_and_has_no_state():
    up = ready(BicubicUpscaling(3))
    torch.testing.assert_close(
        up(torch.ones(1, 1, 2, 5, dtype=F64)), torch.ones(1, 1, 6, 15).double()
    )
    ramp = torch.arange(8.0, dtype=F64).expand(1, 1, 8, 8)
    inside = up(ramp)[..., 6:-6]
    want = (torch.arange(24.0, dtype=F64) + 0.5) / 3 - 0.5
    torch.testing.assert_close(inside, want[6:-6].expand_as(inside))
    assert not up.state_dict()


def test_channelwise_linear_is_a_matrix_for_each_channel():
    layer = ready(ChannelwiseLinear(3, 4))
    layer.bias.copy_(randn(3, 4))
    x = randn(2, 3, 2, 2, seed=1)
    got = layer(x)
    for n in range(2):
        for c in range(3):
            want = layer.weight[c] @ x[n, c].flatten() + layer.bias[c]
            torch.testing.assert_close(got[n, c].flatten(), want)


def test_feature_transform():
    features = ready(MaskFeatures(2))
    transform = ready(FeatureTransform(3))
    mask, x = randn(1, 2, 4, 5), randn(1, 3, 4, 5, seed=1)
    read = features(mask)
    assert read.shape == (1, 32, 4, 5)
    assert torch.equal(transform(x, read), x)
    transform.affine.weight.copy_(0.1 * randn(6, 32, 1, 1))
    transform.affine.bias.copy_(randn(6))
    got = transform(x, read)
    weight, bias = transform.affine.weight[:, :, 0, 0], transform.affine.bias
    at = weight @ read[0, :, 2, 3] + bias
    torch.testing.assert_close(got[0, :, 2, 3], x[0, :, 2, 3] * (1 + at[:3]) + at[3:])


@pytest.mark.parametrize(
    ("layer", "fan_in"),
    [
        (nn.Conv2d(32, 64, 3), 32 * 9),
        (nn.Conv2d(32, 64, 3, groups=4), 8 * 9),
        (nn.Conv2d(32, 64, 4, stride=2), 32 * 16),
        (nn.ConvTranspose2d(32, 64, 4, stride=2), 32 * 16 / 4),
    ],
)
def test_convolutions_start_by_fan_in_which_keeps_variances(layer, fan_in):
    ready(layer)
    assert float(layer.weight.std()) == pytest.approx(math.sqrt(2 / fan_in), rel=0.05)
    assert float(layer.weight.mean()) == pytest.approx(0, abs=0.02)
    assert not layer.bias.any()
    out = layer(randn(2, 32, 20, 20).relu())
    assert float(out[..., 4:-4, 4:-4].var()) == pytest.approx(1, rel=0.15)


def test_other_starts():
    norm = ready(nn.BatchNorm2d(4000), norm_std=0.02)
    assert float(norm.weight.std()) == pytest.approx(0.02, rel=0.05)
    assert float(norm.weight.mean()) == pytest.approx(1, abs=0.002)
    assert not norm.running_mean.any() and bool((norm.running_var == 1).all())
    assert bool((ready(nn.BatchNorm2d(3)).weight == 1).all())
    assert float(ready(nn.PReLU()).weight) == 0.25
    assert float(ready(ChannelwiseLinear(9, 16)).weight.std()) == pytest.approx(0.02, rel=0.05)
    assert float(ready(nn.Conv2d(9, 9, 3), std=0.3).weight.std()) == pytest.approx(0.3, rel=0.1)
