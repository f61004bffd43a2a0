"""The solver against its two networks, called by hand."""

from __future__ import annotations

import attrs
import numpy as np
import pytest
import torch
import wellposed
from torch import nn
from wellposed import Network, NetworkSpec, NetworkView, Problem, Space, luminance
from wellposed.edge import build_operator, build_solver
from wellposed.errors import (
    DtypeError,
    IncompatibleError,
    ParameterError,
    ShapeError,
    WeightsError,
)
from wellposed.plugins.inversenet.solver import InverseNet
from wellposed.plugins.networks.inversenet import InverseNetDae, InverseNetUnet
from wellposed.plugins.networks.vdsr import Dncnn, Vdsr

F64 = torch.float64
MEAN = {"name": "channel_mix", "params": {"response": [[1 / 3, 1 / 3, 1 / 3]]}}
JOINT = [
    "grayscale",
    {"name": "strided_blur", "params": {"stride": 2, "kernel": "inversenet_colour"}},
]
FLAT = {"name": "strided_blur", "params": {"stride": 4, "kernel": "inversenet_flat"}}


def rand(*shape, seed=0, dtype=F64):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def operator(given, shape, dtype=F64, **params):
    return build_operator(given, params or None, x_space=Space(shape, dtype))


def problem(given="motion_blur", shape=(3, 17, 18), batch=(2,), dtype=F64, **params):
    op = operator(given, shape, dtype, **params)
    return Problem(operator=op, measurement=op(rand(*batch, *shape, dtype=op.in_space.dtype)))


def unet(dtype=F64, seed=0, **params):
    """Return an inversion network whose picture is not all but grey, as new ones make it."""
    network = InverseNetUnet(**{"depth": 2, "width": 3, **params}).build(seed=seed, dtype=dtype)
    with torch.no_grad():
        for module in network.modules():
            if isinstance(module, nn.Conv2d | nn.ConvTranspose2d):
                module.weight.mul_(8)
    return network.eval()


def dae(dtype=F64, seed=1, **params):
    return InverseNetDae(**{"width": 4, **params}).build(seed=seed, dtype=dtype).eval()


def dncnn(seed=1, **params):
    spec = Dncnn(**{"depth": 3, "width": 4, "channels": 3, **params})
    return spec.build(seed=seed, dtype=F64).eval()


def vdsr(seed=0, **params):
    spec = Vdsr(**{"depth": 3, "width": 4, "channels": 3, **params})
    return spec.build(seed=seed, dtype=F64).eval()


def both(solver, p):
    with torch.no_grad():
        found = solver.solve(p)
    return found.extras["z"], found.image


class Guided(Network):
    """Adds its conditions, all of one channel, times 1, 10, ... in the order of their names."""

    def __init__(self, *names, channels=3):
        super().__init__(channels=channels, conditions=dict.fromkeys(names, 1))

    def initialise(self, generator):
        """Nothing to draw."""

    def _forward(self, x, **conditions):
        return x + sum(10**i * conditions[name] for i, name in enumerate(sorted(conditions)))


# --- any operator ----------------------------------------------------------------------------

OPERATORS = {
    "motion deblurring": ("motion_blur", (3, 17, 18)),
    "x2": ("strided_blur", (3, 14, 17)),
    "x4 without rings": (FLAT, (3, 18, 20)),
    "x2 and colour": (JOINT, (3, 12, 15)),
    "x2 and colour by the mean": ([MEAN, JOINT[1]], (3, 12, 15)),
}


@pytest.mark.parametrize("key", OPERATORS)
@pytest.mark.parametrize("measurement", ["mean", "pixels", "none"])
def test_z_and_x_are_what_the_two_networks_make(key, measurement):
    """Of the initial estimate, which has the size of the picture whatever y has."""
    p = problem(*OPERATORS[key])
    f, g = unet(), dae(measurement=measurement)
    z, x = both(InverseNet(inverting=f, denoising=g), p)
    y = p.operator.initial_estimate(p.measurement)
    assert y.shape == (2, *OPERATORS[key][1])
    with torch.no_grad():
        want_z = (f(2 * y - 1) + 1) / 2
        want_x = g(want_z, **({} if measurement == "none" else {"measurement": y}))
    torch.testing.assert_close(z, want_z)
    torch.testing.assert_close(x, want_x)
    assert float((z - y).abs().max()) > 0.01 and float((x - z).abs().max()) > 0.01


def test_what_the_unet_is_given_for_a_smaller_measurement_is_interpolated():
    """Two rows of the measurement are four of the estimate, without a shift and without a step."""
    y = problem("strided_blur", (3, 24, 24)).operator
    across = torch.arange(24, dtype=F64).expand(1, 3, 24, 24)
    estimate = y.initial_estimate(y(across))
    torch.testing.assert_close(estimate[..., 8:16, 8:16], across[..., 8:16, 8:16])


def test_kernels_of_joint_super_resolution_and_colourisation():
    """Three kernels of nine by nine, or ten for the even stride, and one grey channel."""
    op = operator(JOINT, (3, 20, 20))
    assert op.out_space.shape == (1, 10, 10)
    responses = [op(torch.eye(400, dtype=F64).reshape(400, 20, 20)[:, None] * e) for e in
                 torch.eye(3, dtype=F64)[:, :, None, None]]  # fmt: skip
    assert not any(torch.allclose(responses[i], responses[i - 1]) for i in range(3))


def test_zero_filled_mri():
    """A complex measurement, a real picture; compared with NumPy's inverse transform."""
    mask = (rand(16, 18, seed=3) > 0.5).double()
    given = [{"name": "fourier_sampling", "params": {"mask": mask}}, "complexify"]
    p = problem(given, (1, 16, 18))
    assert p.measurement.is_complex()
    f, g = unet(channels=1), dae(channels=1)
    z, x = both(InverseNet(inverting=f, denoising=g), p)
    image = rand(2, 1, 16, 18).numpy()
    spectrum = np.fft.fft2(image, norm="ortho")
    spectrum = np.fft.ifftshift(mask.numpy()) * spectrum  # the mask has frequency 0 in its middle
    y = torch.from_numpy(np.fft.ifft2(spectrum, norm="ortho").real)
    with torch.no_grad():
        torch.testing.assert_close(z, (f(2 * y - 1) + 1) / 2)
        torch.testing.assert_close(x, g(z, measurement=y))
    assert not x.is_complex()


# --- any networks ----------------------------------------------------------------------------


@pytest.mark.parametrize(("given", "scale"), [("motion_blur", 1), ("strided_blur", 2)])
def test_vdsr_comes_first_and_dncnn_second(given, scale):
    """A network that enlarges is given the measurement as it is."""
    p = problem(given, (3, 12, 14))
    f, g = vdsr(scale=scale), dncnn()
    z, x = both(InverseNet(inverting=f, denoising=g), p)
    with torch.no_grad():
        torch.testing.assert_close(z, f(p.measurement))
        torch.testing.assert_close(x, g(z))
    assert p.operator.initial_estimate(p.measurement).shape == z.shape


def test_the_feed_can_be_chosen():
    p = problem("random_mask", (3, 12, 14), missing=0.5)
    f, g = unet(), dncnn()
    for feed, given in (
        ("measurement", 2 * p.measurement - p.operator(torch.ones(3, 12, 14, dtype=F64))),
        ("estimate", 2 * p.operator.initial_estimate(p.measurement) - 1),
        (None, 2 * p.operator.initial_estimate(p.measurement) - 1),
    ):
        z, x = both(InverseNet(inverting=f, denoising=g, feed=feed), p)
        with torch.no_grad():
            torch.testing.assert_close(z, (f(given) + 1) / 2)
            torch.testing.assert_close(x, g(z))


def chroma(x):
    weights = torch.tensor([[-37.797, -74.203, 112.0], [112.0, -93.786, -18.214]], dtype=F64)
    return torch.einsum("kc,bchw->bkhw", weights, x)


def test_networks_for_luminance_restore_colour():
    """Each restores the luminance, and the colours stay those of the estimate."""
    p = problem("blur", (3, 12, 14))
    f, g = unet(channels=1), dae(channels=1)
    z, x = both(InverseNet(inverting=f, denoising=g), p)
    y = p.operator.initial_estimate(p.measurement)
    with torch.no_grad():
        torch.testing.assert_close(luminance(z), (f(2 * luminance(y) - 1) + 1) / 2)
        torch.testing.assert_close(luminance(x), g(luminance(z), measurement=luminance(y)))
    torch.testing.assert_close(chroma(z), chroma(y))
    torch.testing.assert_close(chroma(x), chroma(y))


def test_a_network_in_colour_behind_one_for_luminance():
    p = problem("blur", (3, 12, 14))
    f, g = vdsr(channels=1, scale=1), dae()
    z, x = both(InverseNet(inverting=f, denoising=g), p)
    y = p.operator.initial_estimate(p.measurement)
    with torch.no_grad():
        torch.testing.assert_close(luminance(z), f(luminance(y)))
        torch.testing.assert_close(x, g(z, measurement=y))


# --- conditions, samples, precision ------------------------------------------------------------


def test_each_network_gets_the_conditions_that_it_takes():
    p = problem("blur", (3, 6, 7))
    edges, hint = rand(1, 6, 7, seed=1), rand(2, 1, 6, 7, seed=2)
    p = attrs.evolve(p, conditions={"edges": edges, "hint": hint})
    y = p.operator.initial_estimate(p.measurement)
    for f, g, add_f, add_g in (
        (Guided("edges"), Guided("hint"), edges, hint),
        (Guided("hint"), Guided("edges"), hint, edges),
        (Guided("edges", "hint"), Guided(), edges + 10 * hint, 0),
        (Guided(), Guided("edges", "hint"), 0, edges + 10 * hint),
        (Guided("edges"), Guided("edges", "hint"), edges, edges + 10 * hint),
    ):
        z, x = both(InverseNet(inverting=f.eval(), denoising=g.eval()), p)
        torch.testing.assert_close(z, y + add_f)
        torch.testing.assert_close(x, z + add_g)


def test_conditions_that_nobody_takes_are_refused():
    p = problem("blur", (3, 6, 7))
    solver = InverseNet(inverting=Guided("edges").eval(), denoising=Guided("hint").eval())
    with pytest.raises(IncompatibleError, match=r"Guided needs edges, which Blur has not"):
        solver.solve(p)
    given = {"edges": rand(1, 6, 7), "hint": rand(1, 6, 7), "hnit": rand(1, 6, 7)}
    with pytest.raises(IncompatibleError, match=r"conditions.hnit: Guided has no condition of"):
        solver.solve(attrs.evolve(p, conditions=given))


def test_each_network_runs_once():
    p = problem("motion_blur")
    f, g, calls = unet(), dae(), []
    for name, network in (("f", f), ("g", g)):
        network.register_forward_hook(lambda *_, name=name: calls.append(name))
    InverseNet(inverting=f, denoising=g).solve(p)
    assert calls == ["f", "g"]


def test_batches_are_loops():
    solver = InverseNet(inverting=unet(), denoising=dae())
    p = problem("motion_blur", batch=(2, 3))
    z, x = both(solver, p)
    for i, j in np.ndindex(2, 3):
        one = attrs.evolve(p, measurement=p.measurement[i, j])
        for got, want in zip(both(solver, one), (z[i, j], x[i, j]), strict=True):
            torch.testing.assert_close(got, want)


def test_in_both_precisions():
    p = problem("motion_blur")
    z, x = both(InverseNet(inverting=unet(), denoising=dae()), p)
    assert z.dtype == x.dtype == F64
    single = problem("motion_blur", dtype=torch.float32)
    networks = {"inverting": unet(torch.float32), "denoising": dae(torch.float32)}
    for got, want in zip(both(InverseNet(**networks), single), (z, x), strict=True):
        assert got.dtype == torch.float32
        torch.testing.assert_close(got, want.float(), rtol=1e-4, atol=1e-4)
    with pytest.raises(DtypeError, match=r"weights of torch.float32 and takes pictures of"):
        InverseNet(**networks).solve(p)


def test_in_bf16_the_picture_between_the_networks_is_not_rounded():
    p = problem("motion_blur", dtype=torch.float32)
    solver = InverseNet(inverting=unet(torch.float32), denoising=dae(torch.float32))
    exact_z, exact_x = both(solver, p)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        z, x = both(solver, p)
    assert z.dtype == torch.float32
    assert 0 < float((z - exact_z).abs().max()) < 0.05
    assert not torch.equal(x.float(), exact_x)


# --- tiles -----------------------------------------------------------------------------------


def test_small_pictures_have_no_tiles():
    p = problem("motion_blur", (3, 31, 32), batch=())
    solver = InverseNet(inverting=unet(), denoising=dae())
    for got, want in zip(both(attrs.evolve(solver, tile=32), p), both(solver, p), strict=True):
        assert torch.equal(got, want)


def test_convolutions_by_tiles_are_the_whole():
    """Tiles share 16 rows, of which the middle 8 are blended; three 3x3 layers reach 3."""
    p = problem("blur", (3, 70, 45), batch=())
    f = vdsr(scale=1)
    z, _ = both(InverseNet(inverting=f, denoising=dncnn(), tile=32), p)
    with torch.no_grad():
        whole = f(p.operator.initial_estimate(p.measurement))
    torch.testing.assert_close(z, whole, rtol=1e-12, atol=1e-12)


def test_tiles_differ_only_where_the_frame_of_one_is_near():
    """Both networks at random, the second without shuffling; the first of stride 4."""
    p = problem("motion_blur", (3, 112, 20), batch=())
    solver = InverseNet(inverting=unet(), denoising=dae(shuffle=1))
    whole, tiled = both(solver, p), both(attrs.evolve(solver, tile=32), p)
    # Tiles share 16 rows, of which 4 lie beyond what is blended; the networks reach further.
    for a, b in zip(whole, tiled, strict=True):
        assert 1e-6 < float((a - b).abs().max()) < 0.5 * float(a.std())
    far = both(attrs.evolve(solver, tile=96), p)  # here 28 do
    for a, b in zip(whole, far, strict=True):
        torch.testing.assert_close(a, b, rtol=0, atol=1e-12)


def test_tiles_are_blended_for_z_and_again_for_x():
    """What each network makes of tiles, from `NetworkView` for one network by itself."""
    p = problem("motion_blur", (3, 48, 44))
    f, g = unet(), dae()
    z, x = both(InverseNet(inverting=f, denoising=g, tile=32), p)
    first = NetworkView.of(f, p.operator, p.measurement, tile=32)
    assert first.tiling.count == 4 and first.seen.shape == (2, 4, 3, 32, 32)
    torch.testing.assert_close(z, (first.output() + 1) / 2)
    y = p.operator.initial_estimate(p.measurement)
    crops = []
    for i in (0, 16):
        for j in (0, 12):
            crop = (..., slice(i, i + 32), slice(j, j + 32))
            crops.append(g(z[crop], measurement=y[crop]))
    want = first.tiling.merge(torch.stack(crops, 1))
    torch.testing.assert_close(x, want)


# --- errors ----------------------------------------------------------------------------------


@attrs.frozen(eq=False, kw_only=True)
class Spec(NetworkSpec):
    """Builds a network that adds nothing."""

    def _module(self):
        return Guided()


def test_what_cannot_be_is_refused():
    p = problem("motion_blur")
    with pytest.raises(IncompatibleError, match=r"^inversion: inversenet needs two networks"):
        InverseNet(denoiser=Spec()).for_training(seed=0)
    with pytest.raises(IncompatibleError, match=r"^denoiser: inversenet needs two networks"):
        InverseNet(inversion=Spec()).for_training(seed=0)
    with pytest.raises(IncompatibleError, match=r"^denoising: inversenet needs both networks"):
        InverseNet(inverting=unet()).solve(p)
    with pytest.raises(IncompatibleError, match=r"^inverting: inversenet needs both networks"):
        InverseNet(denoising=dae()).solve(p)
    with pytest.raises(ParameterError, match=r"inverting expects a wellposed.Network.*got Spec"):
        InverseNet(inverting=Spec(), denoising=dae())
    with pytest.raises(ParameterError, match=r"denoising expects a wellposed.*got Identity"):
        InverseNet(inverting=unet(), denoising=torch.nn.Identity())
    with pytest.raises(ParameterError, match=r"tile.*32"):
        InverseNet(tile=31)
    with pytest.raises(ParameterError, match=r"feed.*'estimate', 'measurement'"):
        InverseNet(feed="picture")
    with pytest.raises(ParameterError, match=r"end_to_end"):
        build_solver({"name": "inversenet", "params": {"end_to_end": "maybe"}})
    with pytest.raises(ShapeError, match=r"VdsrNetwork makes a picture of shape \(3, 34, 36\)"):
        InverseNet(inverting=unet(), denoising=vdsr(scale=2)).solve(p)
    grey = problem("grayscale", (3, 8, 8))
    with pytest.raises(IncompatibleError, match=r"1 in its measurement and 3 in its pictures"):
        InverseNet(inverting=unet(), denoising=dae(), feed="measurement").solve(grey)


def test_by_name():
    y = rand(3, 12, 13, dtype=torch.float32)
    params = {"inverting": unet(torch.float32), "denoising": dae(torch.float32)}
    found = wellposed.solve(y, op="motion_blur", solver="inversenet", solver_params=params)
    op = operator("motion_blur", (3, 12, 13), torch.float32)
    want = InverseNet(**params).solve(Problem(operator=op, measurement=y))
    assert torch.equal(found.image, want.image)
    assert "InverseNetUnetNetwork" in found.provenance.solver


# --- gradients -------------------------------------------------------------------------------


@pytest.mark.parametrize("joined", ["mean", "none"])
def test_the_gradient_in_the_measurement_goes_through_both_networks(joined):
    p = problem("motion_blur", (3, 16, 16), batch=())
    solver = InverseNet(inverting=unet(), denoising=dae(measurement=joined))
    step = torch.randn_like(p.measurement)

    def value(y):
        found = solver._reconstruct(attrs.evolve(p, measurement=y))
        return found.image.square().sum()

    y = p.measurement.clone().requires_grad_()
    (grad,) = torch.autograd.grad(value(y), y)
    with torch.no_grad():
        ends = [value(p.measurement + h * step) for h in (1e-6, -1e-6)]
    torch.testing.assert_close(
        (grad * step).sum(), (ends[0] - ends[1]) / 2e-6, rtol=1e-5, atol=1e-8
    )


def test_installed_weights_by_name():
    y = wellposed.simulate(torch.rand(3, 16, 16), op="motion_blur")

    def solved(weights):
        params = {"weights": weights}
        return wellposed.solve(y, op="motion_blur", solver="inversenet", solver_params=params).image

    torch.testing.assert_close(solved("motion_deblurring_small"), solved(None), rtol=0, atol=0)
    with pytest.raises(WeightsError, match=r"of the solver inversenet called motion_small\."):
        solved("motion_small")
