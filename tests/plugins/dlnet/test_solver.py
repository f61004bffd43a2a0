"""The solver: what it restores, with which weights, and what it refuses."""

from __future__ import annotations

import shlex

import attrs
import pytest
import torch
import wellposed
from typer.testing import CliRunner
from wellposed import Network, NetworkSpec, Problem, Space, SplitNetwork
from wellposed.cli.app import app
from wellposed.edge import build_noise, build_operator, build_solver
from wellposed.errors import IncompatibleError, ParameterError, WeightsError
from wellposed.plugins.dlnet.solver import DlNet
from wellposed.plugins.networks.context_encoder import ContextEncoder
from wellposed.plugins.networks.vdsr import Vdsr
from wellposed.training import solver_from_weights


class Cubic(SplitNetwork):
    """A head that is neither convolution nor activation: its adjoint is found by vjp."""

    def __init__(self):
        super().__init__(channels=1)
        self.weight = torch.nn.Parameter(torch.tensor(0.7))

    def initialise(self, generator):
        """Set the weight."""

    def _features(self, y):
        return self.weight * y

    def _head(self, z):
        return z + 0.1 * z**3


class Whole(Network):
    """A network that is not cut in two."""

    def initialise(self, generator):
        """Set nothing."""

    def _forward(self, x):
        return x


@attrs.frozen(eq=False, kw_only=True)
class WholeSpec(NetworkSpec):
    """Builds `Whole`."""

    def _module(self):
        return Whole(channels=1)


def problem(name="blur", space=None, batch=(2,), **params):
    space = space or Space((1, 12, 14), torch.float64)
    op = build_operator(name, params, x_space=space)
    generator = torch.Generator().manual_seed(0)
    x = torch.rand(*batch, *space.shape, dtype=space.dtype, generator=generator)
    return Problem(operator=op, measurement=op(x))


def vdsr(scale=1, **params):
    spec = Vdsr(scale=scale, depth=3, width=4, **params)
    return spec.build(seed=0, dtype=torch.float64).eval()


def residual(p, x):
    return (p.operator(x) - p.measurement).square().sum()


def test_one_evaluation_is_the_network_by_itself():
    p, network = problem(), vdsr()
    x = DlNet(trained=network, steps=1).solve(p).image
    torch.testing.assert_close(x, network(p.operator.initial_estimate(p.measurement)))


@pytest.mark.parametrize(
    ("name", "scale", "params"),
    [("blur", 1, {}), ("strided_blur", 2, {"stride": 2}), ("strided_blur", 3, {"stride": 3}),
     ("radon", 1, {"angles": 9}), ("random_mask", 1, {"missing": 0.4}), ("wavelet", 1, {})],
)  # fmt: skip
def test_more_evaluations_fit_the_measurement_of_any_operator_better(name, scale, params):
    p = problem(name, Space((1, 12, 12), torch.float64), **params)
    found = [
        residual(p, DlNet(trained=vdsr(scale), steps=k, rate=5e-3).solve(p).image)
        for k in (1, 3, 6)
    ]
    assert found[0] > found[1] > found[2]


def test_a_network_for_another_range_fits_as_well():
    p = problem("random_mask", Space((3, 16, 16), torch.float64), missing=0.5)
    network = ContextEncoder(size=16, width=2).build(seed=0, dtype=torch.float64).eval()
    solver = DlNet(trained=network, feed="measurement", rate=1e-2, keep_measured=False)
    found = [residual(p, attrs.evolve(solver, steps=k).solve(p).image) for k in (1, 3, 6)]
    assert found[0] > found[1] > found[2]


def test_what_was_measured_can_be_kept():
    p = problem("random_mask", Space((3, 16, 16), torch.float64), missing=0.5)
    network = ContextEncoder(size=16, width=2).build(seed=0, dtype=torch.float64).eval()
    solver = DlNet(trained=network, feed="measurement", keep_measured=False)
    plain = solver.solve(p).image
    kept = attrs.evolve(solver, keep_measured=True).solve(p).image
    seen = p.operator(torch.ones_like(plain)) > 0
    torch.testing.assert_close(kept, torch.where(seen, p.measurement, plain))
    usual = attrs.evolve(solver, keep_measured=None)
    assert torch.equal(usual.solve(p).image, kept)
    noisy = attrs.evolve(p, noise=build_noise({"name": "gaussian", "params": {"sigma": 0.1}}))
    assert torch.equal(usual.solve(noisy).image, plain)
    with pytest.raises(IncompatibleError, match=r"orthogonal rows, such as a mask; got Blur"):
        DlNet(trained=vdsr(), keep_measured=True).solve(problem())


def test_what_stands_where_nothing_was_seen_is_not_looked_at():
    """Scratches may be white, and in a network's measurement they are not."""
    p = problem("random_mask", Space((3, 16, 16), torch.float64), missing=0.5)
    seen = p.operator(torch.ones(3, 16, 16, dtype=torch.float64)) > 0
    scratched = attrs.evolve(p, measurement=torch.where(seen, p.measurement, 1.0))
    network = ContextEncoder(size=16, width=2).build(seed=0, dtype=torch.float64).eval()
    solver = DlNet(trained=network, feed="measurement", keep_measured=False)
    assert torch.equal(solver.solve(scratched).image, solver.solve(p).image)


def test_what_sees_everything_is_no_reason_to_keep_it():
    """The measurement would be the answer."""
    p = problem("identity", Space((3, 16, 16), torch.float64))
    network = ContextEncoder(size=16, width=2).build(seed=0, dtype=torch.float64).eval()
    assert not torch.equal(DlNet(trained=network).solve(p).image, p.measurement)


def test_nothing_is_kept_in_training():
    """The network is to learn to give back what it is shown, as the paper's do."""
    spec = ContextEncoder(size=16, width=2)
    assert DlNet(network=spec).for_training(seed=0).keep_measured is False
    assert DlNet(network=spec, keep_measured=True).for_training(seed=0).keep_measured is True


def test_faces_are_completed_better_than_by_filling():
    """Installed weights, on a picture that is no face of the training set."""
    x = wellposed.sample()[:, 20:84, 90:154]
    mask = torch.ones(1, 64, 64)
    mask[:, 22:42, 24:44] = 0
    op = build_operator("mask", {"mask": mask}, x_space=Space((3, 64, 64)))
    found = wellposed.solve(op(x), op=op, solver="dlnet")
    assert "inpainting_faces_small" in found.provenance.solver
    assert float(wellposed.psnr(found.image, x)) > float(
        wellposed.psnr(op.initial_estimate(op(x)), x)
    )


@pytest.mark.parametrize(
    ("op", "params", "weights"),
    [
        ("random_mask", {"missing": 0.1}, "interpolation_faces_small"),
        ("hole_mask", {"size": 3, "top": 20, "left": 20}, "interpolation_faces_small"),
        ("hole_mask", {"size": 20, "top": 20, "left": 20}, "inpainting_faces_small"),
    ],
)
def test_scattered_pixels_are_not_taken_for_a_hole(op, params, weights):
    """The weights for holes of up to 30 pixels were trained for all of these."""
    found = wellposed.solve(
        wellposed.sample()[:, :64, :64], op=op, op_params=params, solver="dlnet"
    )
    assert weights in found.provenance.solver


def test_any_other_head_goes_by_vjp():
    p, network = problem(), Cubic().double()
    y, op = p.measurement, p.operator
    z = (network.weight * op.initial_estimate(y)).detach().requires_grad_()
    fit = 0.5 * (op(z + 0.1 * z**3) - y).square().sum()
    (g,) = torch.autograd.grad(fit, z)
    expected = z - 1e-3 * g.sign()
    found = DlNet(trained=network, steps=2, rate=1e-3).solve(p).image
    torch.testing.assert_close(found, (expected + 0.1 * expected**3).detach())


def test_training_goes_through_any_head():
    p, network = problem(), Cubic().double()
    DlNet(trained=network, steps=4)._reconstruct(p).sum().backward()
    assert network.weight.grad is not None and bool(torch.isfinite(network.weight.grad))


# torch's own tracing of autograd functions makes an instance, which torch warns of
@pytest.mark.filterwarnings("ignore:.*should not be instantiated:DeprecationWarning")
@pytest.mark.parametrize("steps", [1, 4])
def test_it_compiles_without_breaks(steps):
    p = problem(space=Space((1, 12, 14)))
    network = Vdsr(scale=1, depth=3, width=4).build(seed=0).eval()
    solver = DlNet(trained=network, steps=steps, rate=1e-2)
    eager = solver._reconstruct(p)
    fast = torch.compile(solver._reconstruct, fullgraph=True, backend="aot_eager")(p)
    torch.testing.assert_close(fast, eager)
    (wanted,) = torch.autograd.grad(eager.sum(), network.layers[0].weight)
    (found,) = torch.autograd.grad(fast.sum(), network.layers[0].weight)
    torch.testing.assert_close(found, wanted, rtol=1e-4, atol=1e-5)


def test_weights_bring_what_they_were_trained_with(weights):
    p = problem("strided_blur", Space((1, 16, 16)), stride=2)
    found = DlNet(weights=str(weights)).solve(p).image
    trained = solver_from_weights(weights)
    assert (trained.steps, trained.rate) == (3, 2e-3)
    torch.testing.assert_close(found, trained.solve(p).image)
    other = DlNet(weights=str(weights), steps=1).solve(p).image
    torch.testing.assert_close(other, attrs.evolve(trained, steps=1).solve(p).image)
    assert not torch.allclose(found, other)


def test_pictures_of_any_size_in_colour_are_restored(weights):
    y = torch.rand(3, 9, 13)
    solution = wellposed.solve(y, op="strided_blur", solver=DlNet(weights=str(weights)))
    assert solution.image.shape == (3, 18, 26)
    told = solution.provenance.solver
    assert str(weights) in told and "steps=3" in told and "rate=0.002" in told


def test_an_operator_outside_the_card_gets_the_training_command(weights):
    with pytest.raises(IncompatibleError) as caught:
        DlNet(weights=str(weights)).solve(problem("strided_blur", Space((1, 18, 18)), stride=3))
    text = str(caught.value)
    assert "was not trained for this StridedBlur: ratio 3, trained for 2" in text
    assert "--set operator='[{name: strided_blur, params: {stride: 3, offset: 1}}]'" in text
    assert "--set solver.params.network.params.scale=3" in text
    assert f"wellposed train {weights.with_suffix('.yaml')}" in text
    wide = {"name": "gaussian", "params": {"width": 4.0, "size": 25}}
    with pytest.raises(IncompatibleError, match=r"spread 3\.\d+ pixels, trained for 1\.\d+ to"):
        DlNet(weights=str(weights)).solve(
            problem("strided_blur", Space((1, 40, 40)), stride=2, kernel=wide)
        )


def test_without_weights_for_an_operator_the_nearest_are_named():
    with pytest.raises(IncompatibleError) as caught:
        DlNet().solve(problem("radon", Space((1, 20, 20))))
    text = str(caught.value)
    assert "dlnet has no weights for this Radon (" in text
    assert "super_resolution_x2_small: ratio" in text
    assert "--set operator='[radon]'" in text


def test_the_command_that_is_printed_trains(pictures, tmp_path):
    """What the error for another stride says is done, but for the number of steps."""
    with pytest.raises(IncompatibleError) as caught:
        DlNet().solve(problem("strided_blur", Space((1, 24, 24)), stride=3))
    command = str(caught.value).split("RUN. Then")[0].split("wellposed train ")[1]
    words = shlex.split(f"train {command}{tmp_path / 'run'}")
    words[words.index("PICTURES")] = str(pictures)
    for change in ("steps=1", "batch=1", "data.crop=18", "data.held_out=0"):
        words += ["--set", change]
    words = [
        w.replace("[strided_blur]", "{name: strided_blur, params: {stride: 3}}") for w in words
    ]
    result = CliRunner().invoke(app, words)
    assert result.exit_code == 0, result.output
    weights = tmp_path / "run" / "weights.safetensors"
    found = DlNet(weights=str(weights)).solve(problem("strided_blur", Space((1, 24, 24)), stride=3))
    assert found.image.shape == (2, 1, 24, 24)


def test_the_sample_is_restored_better_than_by_interpolation_and_by_tikhonov():
    x = wellposed.sample()
    op = build_operator("strided_blur", x_space=Space(tuple(x.shape)))
    y = (255 * op(x)).round().clamp(0, 255) / 255
    found = {
        name: float(wellposed.psnr(wellposed.solve(y, op="strided_blur", solver=name).image, x))
        for name in ("interpolation", "tikhonov", "dlnet")
    }
    assert found["dlnet"] > found["tikhonov"] + 0.5 > found["interpolation"] + 1


def test_what_cannot_be_is_refused(tmp_path, weights):
    p = problem()
    with pytest.raises(IncompatibleError, match=r"network without weights.*only be trained"):
        DlNet(network=Vdsr()).solve(p)
    with pytest.raises(IncompatibleError, match=r"dlnet needs a network to train"):
        DlNet().for_training(seed=0)
    with pytest.raises(IncompatibleError, match=r"SplitNetwork; Whole is not"):
        DlNet(network=WholeSpec()).for_training(seed=0)
    with pytest.raises(WeightsError, match=r"there are no weights"):
        DlNet(weights=str(tmp_path / "none.safetensors")).solve(p)
    with pytest.raises(ParameterError, match=r"steps"):
        DlNet(steps=0)
    with pytest.raises(ParameterError, match=r"rate"):
        DlNet(rate=0.0)
    with pytest.raises(ParameterError, match=r"expected one of 'printed', 'bias_corrected'"):
        build_solver({"name": "dlnet", "params": {"adam": "corrected"}})


def test_a_sample_that_is_not_a_number_stays_alone():
    p = problem(batch=(3,))
    y = p.measurement.clone()
    y[1, 0, 3, 3] = torch.nan
    solver = DlNet(trained=vdsr(), rate=1e-2)
    clean, mixed = solver.solve(p), solver.solve(attrs.evolve(p, measurement=y))
    for i in (0, 2):
        torch.testing.assert_close(mixed.image[i], clean.image[i])
    assert mixed.statuses[1].name == "NONFINITE"
