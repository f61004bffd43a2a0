"""VESPCN against plain layers, and its warping against SciPy's interpolation."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
import torch.nn.functional as F
from scipy.ndimage import map_coordinates
from torch import nn
from wellposed import Problem, Space
from wellposed.edge import build_operator
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.networks.motion import MotionEstimate, warp
from wellposed.plugins.networks.solver import NetworkSolver
from wellposed.plugins.networks.vespcn import Vespcn
from wellposed.registry import default_registry

F64 = torch.float64


def randn(*shape, seed=0, dtype=F64):
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def built(**params):
    """Return a small network that sees motion, its weights moved from where they start."""
    network = Vespcn(**{"depth": 3, "width": 4, **params}).build(seed=1, dtype=F64).eval()
    network.requires_grad_(False)
    for number, weight in enumerate(network.parameters()):
        weight.add_(0.1 * randn(*weight.shape, seed=number))
    return network


def warped(frame, flow):
    """Return a frame `(H, W)`, moved by a flow `(2, H, W)`, interpolated by SciPy."""
    rows, columns = np.mgrid[: frame.shape[0], : frame.shape[1]].astype(float)
    places = [rows + flow[1].numpy(), columns + flow[0].numpy()]
    return torch.from_numpy(map_coordinates(frame.numpy(), places, order=1, mode="nearest"))


def flow_of(motion, target, source):
    """Return the flow of two frames `(H, W)` by table 1, in torch's own modules."""

    def stack(layers, sides, strides, factor):
        made = []
        for layer, side, stride in zip(layers, sides, strides, strict=True):
            conv = nn.Conv2d(layer.in_channels, layer.out_channels, side, stride, side // 2)
            conv.double().load_state_dict(layer.state_dict())
            made += [conv, nn.ReLU()]
        return nn.Sequential(*made[:-1], nn.Tanh(), nn.PixelShuffle(factor)).requires_grad_(False)

    coarse = stack(motion.coarse, (5, 3, 5, 3, 3), (2, 1, 2, 1, 1), 4)
    fine = stack(motion.fine, (5, 3, 3, 3, 3), (2, 1, 1, 1, 1), 2)
    first = coarse(torch.stack([target, source])[None])
    guess = warped(source, motion.reach * first[0])
    second = fine(torch.cat([target[None], source[None], first[0], guess[None]])[None])
    return motion.reach * (first + second)[0]


@pytest.mark.parametrize("size", [(1, 1), (1, 6), (5, 1), (4, 4), (7, 9)])
@pytest.mark.parametrize("strength", [0.0, 0.7, 20.0])
def test_warping_is_linear_interpolation_with_a_continued_border(size, strength):
    x, flow = randn(2, 3, *size), strength * randn(2, 2, *size, seed=1)
    got = warp(x, flow)
    for n in range(2):
        for c in range(3):
            want = warped(x[n, c], flow[n])
            torch.testing.assert_close(got[n, c], want, rtol=1e-11, atol=1e-11)


def test_warping_by_whole_pixels_moves_to_the_right_and_down():
    x = randn(1, 1, 6, 7)
    flow = torch.tensor([2.0, -1.0], dtype=F64).view(1, 2, 1, 1).expand(1, 2, 6, 7)
    got = warp(x, flow)
    torch.testing.assert_close(got[..., 1:, :-2], x[..., :-1, 2:])
    mapped = torch.func.vmap(warp)(x[None], flow[None])[0]
    torch.testing.assert_close(mapped, got)


def test_warping_has_both_gradients():
    x = randn(1, 2, 4, 5).requires_grad_()
    flow = (0.3 + 0.1 * randn(1, 2, 4, 5, seed=1)).requires_grad_()
    assert torch.autograd.gradcheck(warp, (x, flow))


@pytest.mark.parametrize("size", [(8, 12), (4, 4)])
def test_flow(size):
    network = built(reach=2.5)
    y, others = randn(2, 1, *size), randn(2, 2, *size, seed=1)
    flow = network.flow(y, others)
    assert flow.shape == (2, 2, 2, *size)
    for n in range(2):
        for index in range(2):
            want = flow_of(network.motion, y[n, 0], others[n, index])
            torch.testing.assert_close(flow[n, index], want)
    assert 0.1 < flow.abs().max() < 5.0


def test_flow_of_sizes_that_are_no_multiple_of_four():
    motion = built().motion
    target, source = randn(1, 1, 5, 10), randn(1, 1, 5, 10, seed=1)

    def whole(x):
        return torch.from_numpy(np.pad(x.numpy(), [(0, 0), (0, 0), (0, 3), (0, 2)], mode="edge"))

    want = motion(whole(target), whole(source))[..., :5, :10]
    torch.testing.assert_close(motion(target, source), want)


@pytest.mark.parametrize("scale", [1, 2, 3])
@pytest.mark.parametrize("frames", [3, 5])
@pytest.mark.parametrize("motion", [False, True])
def test_vespcn(motion, frames, scale):
    network = built(motion=motion, frames=frames, scale=scale, reach=3.0)
    video = randn(2, frames, 8, 7)
    middle = frames // 2
    others = [i for i in range(frames) if i != middle]
    y, neighbours = video[:, middle, None], video[:, others]
    flow = network.flow(y, neighbours)
    assert bool(flow.any()) == motion
    z = video.clone()
    for n in range(2):
        for index, frame in enumerate(others):
            z[n, frame] = warped(video[n, frame], flow[n, index])
    for index, layer in enumerate(network.layers):
        z = F.conv2d(z.relu() if index else z, layer.weight, layer.bias, padding=1)
    torch.testing.assert_close(network.features(y, neighbours=neighbours), z)
    last = network.tail.layer
    x = F.conv2d(z.relu(), last.weight, last.bias, padding=1)
    x = x.reshape(2, 1, scale, scale, 8, 7).permute(0, 1, 4, 2, 5, 3)
    base = network.skip(y) if scale > 1 else y
    want = x.reshape(2, 1, 8 * scale, 7 * scale) + base
    torch.testing.assert_close(network(y, neighbours=neighbours), want)
    torch.testing.assert_close(network.base(y), base)
    assert (network.channels, network.out_channels) == (1, 1)
    assert network.conditions == {"neighbours": frames - 1}
    assert network.measured == ("neighbours",)


def test_head_adjoint_is_autograds():
    network = built(scale=3)
    z, v = randn(2, 4, 5, 6).requires_grad_(), randn(2, 1, 15, 18, seed=1)
    (want,) = torch.autograd.grad(network.head(z), z, v)
    got = network.head_adjoint(z.detach(), v)
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-13)


def test_number_of_parameters():
    """Those of the layers that the paper lists: 9L-E3, and table 1."""
    with torch.device("meta"):
        network = Vespcn()._module()
        plain = Vespcn(motion=False)._module()
    early = (3 * 9 + 1) * 24 + 7 * (24 * 9 + 1) * 24 + (24 * 9 + 1) * 4
    coarse = (2 * 25 + 1 + 24 * 9 + 1 + 24 * 25 + 1 + 24 * 9 + 1) * 24 + (24 * 9 + 1) * 32
    fine = (5 * 25 + 1 + 3 * (24 * 9 + 1)) * 24 + (24 * 9 + 1) * 8
    assert sum(p.numel() for p in plain.parameters()) == early == 37_996
    assert sum(p.numel() for p in network.parameters()) == early + coarse + fine == 91_388


def test_it_starts_without_motion_and_can_learn_it():
    network = Vespcn(depth=3, width=4).build(seed=2, dtype=F64)
    y, others = randn(1, 1, 8, 8), randn(1, 2, 8, 8, seed=1)
    assert not network.flow(y, others).any()
    plain = Vespcn(depth=3, width=4, motion=False).build(seed=2, dtype=F64)
    plain.load_state_dict(network.state_dict(), strict=False)
    torch.testing.assert_close(network(y, neighbours=others), plain(y, neighbours=others))
    network(y, neighbours=others).square().sum().backward()
    assert network.motion.fine[-1].weight.grad.abs().max() > 0
    assert network.motion.coarse[-1].weight.grad.abs().max() > 0


def test_estimated_motion_finds_a_shift():
    """Trained for seconds on shifted noise, the flow undoes most of a shift of two pixels."""
    generator = torch.Generator().manual_seed(0)
    motion = Vespcn(reach=4.0).build(seed=0).motion
    optimiser = torch.optim.Adam(motion.parameters(), lr=3e-3)

    def pair(n):
        scene = F.avg_pool2d(torch.randn(n, 1, 28, 28, generator=generator), 5, 1) * 5
        return scene[..., 4:-4, 4:-4], scene[..., 4:-4, 2:-6]

    for _ in range(60):
        target, source = pair(16)
        optimiser.zero_grad()
        (warp(source, motion(target, source)) - target).square().mean().backward()
        optimiser.step()
    target, source = pair(16)
    with torch.no_grad():
        flow = motion(target, source)
        error = (warp(source, flow) - target).square().mean()
    assert error < 0.3 * (source - target).square().mean()
    across, down = flow.mean((0, 2, 3)).tolist()
    assert across == pytest.approx(2, abs=0.6) and down == pytest.approx(0, abs=0.3)


def test_what_it_takes():
    network = Vespcn().build()
    assert isinstance(network.motion, MotionEstimate) and network.motion.reach == 16.5
    y, others = torch.zeros(2, 5, 1, 6, 7), torch.zeros(2, 5, 2, 6, 7)
    assert network(y, neighbours=others).shape == (2, 5, 1, 12, 14)
    assert network.flow(y, others).shape == (2, 5, 2, 2, 6, 7)
    assert network.flow(y, others[0, 0]).shape == (2, 5, 2, 2, 6, 7)
    assert network.flow(y[0, 0], others[0, 0]).shape == (2, 2, 6, 7)
    with pytest.raises(ShapeError, match=r"expects pictures \(\*batch, 1, H, W\); got \(2, 6, 7\)"):
        network.flow(others[0, 0], others[0, 0])
    with pytest.raises(ShapeError, match=r"expects neighbours of shape \(2, 6, 7\), or with fewer"):
        network.flow(y[0, 0], y[0, 0])
    for params, match in [
        ({"frames": 4}, "expected one of 3, 5, 7"),
        ({"depth": 1}, "Vespcn.depth expects a whole number of at least 2; got 1"),
        ({"reach": 0}, "Vespcn.reach expects a finite number above 0; got 0"),
    ]:
        with pytest.raises(ParameterError, match=match):
            Vespcn(**params)


def test_compiles_as_one_graph():
    network = built()
    y, others = randn(2, 1, 8, 9), randn(2, 2, 8, 9, seed=1)
    want = network(y, neighbours=others)
    compiled = torch.compile(network, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(y, neighbours=others), want)


@pytest.mark.parametrize("channels", [1, 3])
def test_dlnet_refines_behind_any_operator(channels):
    """The refined frame fits its own measurement better; in colour, too."""
    network = built(scale=2, motion=True)
    for p in network.tail.parameters():
        p.mul_(0.05)
    space = Space((channels, 16, 12), F64)
    kernel = {"name": "gaussian", "params": {"width": 1.0, "size": 5}}
    op = build_operator(
        ["strided_blur", {"name": "blur", "params": {"kernel": kernel}}], x_space=space
    )
    x = F.avg_pool2d(randn(2, 3 * channels, 20, 16), 5, 1).sigmoid()
    y, before, after = (op(frame) for frame in x.split(channels, 1))
    solver = default_registry().load("solver", "dlnet")(trained=network, steps=5, rate=1e-2)
    given = {"neighbours": torch.cat([before, after], 1)}
    problem = Problem(operator=op, measurement=y, conditions=given)
    refined = solver.solve(problem).image
    plain = NetworkSolver(trained=network).solve(problem).image
    assert refined.shape == plain.shape == (2, channels, 16, 12)
    assert (op(refined) - y).square().mean() < 0.9 * (op(plain) - y).square().mean()
    swapped = attrs.evolve(problem, conditions={"neighbours": torch.cat([after, before], 1)})
    assert not torch.allclose(solver.solve(swapped).image, refined)
