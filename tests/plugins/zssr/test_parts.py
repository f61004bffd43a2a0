"""The network in tiles, orientations, the loss map and the pairs to learn from."""

import attrs
import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from wellposed.plugins.zssr.network import Residual, in_tiles
from wellposed.plugins.zssr.orientation import ORIENTATIONS, orient, restore, symmetries
from wellposed.plugins.zssr.pairs import Pairs, loss_map

DOUBLE = torch.zeros(1, 1, 1, dtype=torch.float64)


def seeded(seed=0):
    return torch.Generator().manual_seed(seed)


@settings(max_examples=15, deadline=None)
@given(st.integers(1, 30), st.integers(1, 30), st.integers(5, 17), st.integers(2, 5))
def test_tiles_give_what_the_whole_gives(height, width, tile, depth):
    network = Residual(DOUBLE.expand(2, 1, 1), 5, depth, seeded())
    x = torch.randn(2, height, width, dtype=torch.float64, generator=seeded(1))
    with torch.no_grad():
        whole = network(x[None])[0]
        tiles = in_tiles(network, x, tile, network.halo)
    assert (tiles - whole).abs().max() <= 1e-12 * whole.abs().max()


def test_a_pixel_depends_on_so_many_pixels_as_the_halo():
    network = Residual(DOUBLE, 4, 4, seeded())
    x = torch.randn(1, 1, 21, 21, dtype=torch.float64, generator=seeded(1), requires_grad=True)
    (grad,) = torch.autograd.grad(network(x)[0, 0, 10, 10], x)
    rows = torch.nonzero(grad[0, 0].abs().sum(1))
    assert rows.min() >= 10 - network.halo and rows.max() <= 10 + network.halo


def test_the_weights_start_with_the_variance_of_the_paper():
    network = Residual(torch.zeros(3, 1, 1), 64, 4, seeded())
    assert [tuple(w.shape) for w in network.weights] == [
        (64, 3, 3, 3),
        (64, 64, 3, 3),
        (64, 64, 3, 3),
        (3, 64, 3, 3),
    ]
    for weight in network.weights:
        variance = float(weight.detach().var()) * 9 * weight.shape[1]
        assert variance == pytest.approx(0.1, rel=0.15)


@pytest.mark.parametrize("orientation", ORIENTATIONS)
def test_restore_undoes_orient(orientation):
    x = torch.randn(2, 3, 5, 4)
    assert torch.equal(restore(orient(x, orientation), orientation), x)


def test_orientations_are_eight_different_ones():
    x = torch.arange(9.0).reshape(1, 3, 3)
    assert len({tuple(orient(x, o).flatten().tolist()) for o in ORIENTATIONS}) == 8


@pytest.mark.parametrize(
    ("kernel", "count"),
    [
        ((6, 3.0, 3.0), 8),  # round, and centred on the blocks of the stride
        ((6, 4.0, 1.0), 4),  # along the axes
        ((6, 4.0, 2.0, 0.2), 2),  # oblique
        ((7, 3.0, 3.0), 2),  # off the middle of its block: transposes
    ],
)
def test_the_kernel_decides_which_orientations_are_used(make_op, gaussian, kernel, count):
    op = make_op((1, 16, 20), gaussian(*kernel))
    found = symmetries(op)
    assert len(found) == count and found[0] == ORIENTATIONS[0]


def test_a_picture_whose_mirror_image_is_sampled_elsewhere_is_not_mirrored(make_op, gaussian):
    op = make_op((1, 16, 16), gaussian(6, 3.0, 3.0))
    assert len(symmetries(attrs.evolve(op, in_shape=(1, 31, 31)))) == 2
    assert len(symmetries(attrs.evolve(op, in_shape=(1, 31, 32)))) == 4


def test_the_loss_map_is_the_smoothed_gradient():
    y = torch.rand(3, 19, 24, dtype=torch.float64, generator=seeded())
    grey = np.tensordot([0.299, 0.587, 0.114], y.numpy(), 1)
    size = np.hypot(*np.gradient(grey))
    smooth = ndimage.uniform_filter(size, 5, mode="constant")
    got = loss_map(y)
    assert got.shape == (1, 19, 24)
    assert float(got.mean()) == pytest.approx(1)
    inner = (slice(2, -2), slice(2, -2))
    ratio = got[0].numpy()[inner] / smooth[inner]
    assert ratio == pytest.approx(np.full_like(ratio, ratio[0, 0]))


@pytest.mark.parametrize("channels", [1, 2, 3])
def test_the_loss_map_of_a_constant_is_zero(channels):
    assert not loss_map(torch.full((channels, 9, 8), 0.3)).any()


def interpolated(op, y):
    return op.initial_estimate(y)


def pairs_of(op, y, **options):
    given = {"start": interpolated, "noise": 0.0, "crop": 12, "augment": False} | options
    return Pairs.of(y, op, **given)


@pytest.mark.parametrize(("stride", "augment"), [(2, False), (2, True), (3, False)])
def test_views_are_all_phases_in_all_orientations(make_op, gaussian, shapes, stride, augment):
    y = shapes(20, 23, channels=3)
    pairs = pairs_of(make_op(y.shape, gaussian(5, 3.0, 1.0), stride), y, augment=augment)
    assert len(pairs.views) == stride**2 * (8 if augment else 1)
    for view, son in zip(pairs.views, pairs.sons(seeded()), strict=True):
        assert son.shape == view.father.shape
        assert view.weight.shape[1:] == view.father.shape[1:]
        assert torch.equal(son, interpolated(view.op, view.op(view.father)))
        assert torch.equal(view.op.kernel, pairs.views[0].op.kernel)
    found = {view.father.numpy().tobytes() for view in pairs.views}
    assert len(found) == len(pairs.views)


@pytest.mark.parametrize("augment", [False, True])
def test_crops_of_sons_fathers_and_weights_lie_at_one_place(make_op, gaussian, augment):
    y = torch.rand(2, 17, 40, dtype=torch.float64, generator=seeded())
    pairs = pairs_of(make_op(y.shape, gaussian(3, 1.0, 1.0)), y, crop=30, augment=augment)
    fathers = [view.father for view in pairs.views]
    expected = (16, 16) if augment else (16, 30)
    host, places = seeded(1), set()
    for _ in range(30):
        # Given as sons, the fathers must come back as they are.
        son, father, weight = pairs.draw(fathers, host)
        assert torch.equal(son, father) and son.shape == (1, 2, *expected)
        assert weight.shape == (1, 1, *expected)
        places.add(father.numpy().tobytes())
    assert len(places) > 10


def test_noise_is_added_to_sons_and_is_new_each_time(make_op, gaussian):
    y = torch.full((1, 64, 64), 0.5, dtype=torch.float64)
    op = make_op(y.shape, gaussian(4, 1.0, 1.0))
    pairs = pairs_of(op, y, noise=0.05)
    generator = seeded()
    sons = torch.stack([pairs.sons(generator)[0] for _ in range(8)])
    noise = 0.05 * torch.randn(200, 1, 32, 32, dtype=torch.float64, generator=generator)
    expected = interpolated(pairs.views[0].op, noise).std()
    assert float((sons - 0.5).std()) == pytest.approx(float(expected), rel=0.05)
    assert not torch.equal(sons[0], sons[1])


def test_the_error_is_that_of_the_middle_of_a_large_picture(make_op, gaussian):
    y = torch.rand(1, 300, 40)
    pairs = pairs_of(make_op(y.shape, gaussian(3, 1.0, 1.0).float()), y)
    son, father = pairs.middle([view.father for view in pairs.views])
    assert torch.equal(father, y[:, 22:278]) and torch.equal(son, father)
