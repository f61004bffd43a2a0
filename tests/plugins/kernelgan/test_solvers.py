"""Blind super-resolution as users call it: pictures, compositions, strides, files, bad input."""

import attrs
import numpy as np
import pytest
import torch
import wellposed
from scipy import ndimage
from typer.testing import CliRunner
from wellposed import Problem, Space, Status, psnr
from wellposed.cli.app import app
from wellposed.edge import build_noise, build_operator, build_solver
from wellposed.errors import IncompatibleError, ParameterError, ShapeError
from wellposed.images import write

WIDE = {"name": "anisotropic_gaussian", "params": {"width_1": 2.0, "width_2": 1.0, "angle": 30}}
QUICK = {"max_steps": 4, "crop": 32, "nonblind": "tikhonov"}


@pytest.fixture(scope="module")
def scene():
    """A photograph, and its reduction by an oblique kernel, in 8 bits."""
    x = wellposed.sample("astronaut")
    y = wellposed.simulate(x, op="strided_blur", op_params={"kernel": WIDE})
    return x, (y * 255).round() / 255


def small(y, side=70):
    return y[..., 30 : 30 + side, 30 : 30 + side].contiguous()


def covariance(kernel):
    k = kernel.double().numpy()
    rows, columns = (np.arange(n) for n in k.shape)
    i, j = (k.sum(1) * rows).sum(), (k.sum(0) * columns).sum()
    cross = (k * np.outer(rows - i, columns - j)).sum()
    down = (k.sum(1) * (rows - i) ** 2).sum()
    return np.array([[down, cross], [cross, (k.sum(0) * (columns - j) ** 2).sum()]])


def test_cross_scale_finds_the_kernel(scene):
    x, y = scene
    found = wellposed.solve(y, op="strided_blur", solver="cross_scale")
    true = build_operator("strided_blur", {"kernel": WIDE}, x_space=Space(tuple(x.shape)))
    got, want = covariance(found.operator.kernel[0, 0]), covariance(true.kernel[0, 0])
    assert np.abs(got - want).max() < 0.25 * np.abs(want).max()
    known = wellposed.solve(y, op=true, solver="tikhonov")
    plain = true.initial_estimate(y)
    gain = float(psnr(known.image, x) - psnr(plain, x))
    assert gain > 2
    assert float(psnr(found.image, x) - psnr(plain, x)) > 0.9 * gain
    assert found.status is Status.DIRECT and found.extras["why"] == {}


@pytest.mark.parametrize("stride", [3, 4])
def test_cross_scale_at_other_strides(stride):
    x = wellposed.sample("astronaut")
    kernel = {"name": "gaussian", "params": {"width": 0.8 * stride}}
    params = {"kernel": kernel, "stride": stride}
    y = wellposed.simulate(
        x[..., : x.shape[-1] // stride * stride, : x.shape[-1] // stride * stride],
        op="strided_blur",
        op_params=params,
    )
    found = wellposed.estimate_operator(
        y, op="strided_blur", op_params={"stride": stride}, solver="cross_scale"
    )
    got = covariance(found.operator.kernel[0, 0])
    assert np.sqrt(np.diag(got)) == pytest.approx(0.8 * stride, rel=0.3)
    # The middle of the block that a measured pixel stands for.
    centre = np.array(ndimage.center_of_mass(found.operator.kernel[0, 0].numpy()))
    side = found.operator.kernel.shape[-1]
    offset = found.operator.offset
    assert offset + side // 2 - centre == pytest.approx((stride - 1) / 2, abs=0.01)


def test_estimates_do_not_depend_on_the_offset(scene):
    _, y = scene
    kernels = []
    for offset in (0, 1):
        op = wellposed.estimate_operator(
            y, op="strided_blur", op_params={"offset": offset}, solver="cross_scale"
        ).operator
        centre = np.array(ndimage.center_of_mass(op.kernel[0, 0].numpy()))
        kernels.append(offset + op.kernel.shape[-1] // 2 - centre)
    assert kernels[0] == pytest.approx(kernels[1], abs=1e-5)


def test_kernelgan_learns_a_kernel_of_sum_one(scene):
    _, y = scene
    seen = []
    found = wellposed.estimate_operator(
        y, op="strided_blur", solver_params={"max_steps": 300}, callback=seen.append, seed=1
    )
    kernel = found.operator.kernel[0, 0]
    assert float(kernel.sum()) == pytest.approx(1, abs=1e-3)
    assert float(kernel.min()) > -0.02
    centre = np.array(ndimage.center_of_mass(kernel.double().numpy()))
    assert kernel.shape[0] // 2 - centre == pytest.approx(0.5, abs=0.02)
    assert [e.step for e in seen] == list(range(1, 301))
    assert seen[-1].details()["kernel"].shape == (1, 1, 13, 13)
    loss = found.history["bicubic_loss"][0]
    assert loss[-1] < 0.3 * loss[0]


def test_a_batch_is_its_samples(scene):
    """In double precision, before chaos sets in; each has its own random stream."""
    _, y = scene
    y = torch.stack([small(y), small(y.flip(-1))]).double()
    params = {**QUICK, "restarts": 2, "nonblind": "interpolation"}
    together = wellposed.solve(y, op="strided_blur", solver="kernelgan", solver_params=params)
    for i in range(2):
        alone = wellposed.solve(y[i], op="strided_blur", solver="kernelgan", solver_params=params)
        raw, one = together.extras["raw_kernels"][i], alone.extras["raw_kernels"][0]
        torch.testing.assert_close(raw, one, rtol=1e-6, atol=1e-9 * float(one.abs().max()))
    raw = together.extras["raw_kernels"]
    assert not torch.allclose(raw[0, 0], raw[0, 1])  # another restart, other numbers


def test_seed_decides(scene):
    _, y = scene
    runs = [
        wellposed.estimate_operator(
            small(y), op="strided_blur", solver_params=QUICK, seed=seed
        ).extras["raw_kernels"]
        for seed in (3, 3, 4)
    ]
    assert torch.equal(runs[0], runs[1]) and not torch.equal(runs[0], runs[2])


@pytest.mark.parametrize("channels", [1, 3, 6])
@pytest.mark.parametrize("stride", [2, 4])
def test_channels_and_strides(scene, channels, stride):
    _, y = scene
    y = small(y)[:1].expand(channels, -1, -1) * torch.linspace(1, 0.5, channels)[:, None, None]
    found = wellposed.solve(
        y, op="strided_blur", op_params={"stride": stride}, solver="kernelgan", solver_params=QUICK
    )
    assert found.image.shape == (channels, stride * 70, stride * 70)
    assert found.operator.kernel.shape[-1] % 2 == 1
    assert bool(found.image.isfinite().all())


@pytest.mark.parametrize("nonblind", ["tikhonov", "hqs", "zssr", "pnp_hqs"])
def test_any_solver_follows(scene, nonblind):
    _, y = scene
    inner = {"name": nonblind, "params": {} if nonblind == "tikhonov" else {"max_steps": 2}}
    found = wellposed.solve(
        small(y), op="strided_blur", solver="cross_scale", solver_params={"nonblind": inner}
    )
    assert found.image.shape == (3, 140, 140)
    assert nonblind in found.extras["nonblind"].lower().replace("pnphqs", "pnp_hqs")


@pytest.mark.parametrize("solver", ["cross_scale", "kernelgan"])
def test_known_parts_around_the_unknown_one(scene, solver):
    """A grey camera, and a hole in the measurement: y = M S_k x."""
    _, y = scene
    inner = {"nonblind": {"name": "cg", "params": {"max_steps": 5}}}
    params = inner if solver == "cross_scale" else {**QUICK, **inner}
    blur = build_operator("strided_blur", x_space=Space((3, 192, 192)))
    hole = build_operator("hole_mask", {"size": 12}, x_space=blur.out_space)
    for known in (build_operator("grayscale", x_space=blur.out_space), hole):
        op = known @ blur
        found = wellposed.solve(known(small(y, 96)), op=op, solver=solver, solver_params=params)
        assert found.operator.factors[0] is known
        assert found.operator.factors[1].kernel.shape != blur.kernel.shape
        assert bool(found.image.isfinite().all())


@pytest.mark.parametrize(("sigma", "steps"), [(0.0, 2), (0.05, None)])
def test_the_picture_is_not_projected_back_onto_noise(scene, sigma, steps):
    noise = build_noise({"name": "gaussian", "params": {"sigma": sigma}})
    given = {**QUICK, "nonblind": None}
    solver = build_solver("kernelgan", given)
    blur = build_operator("strided_blur", x_space=Space((3, 140, 140)))
    problem = Problem(operator=blur, measurement=small(scene[1]), noise=noise)
    used = []

    def stop(event):
        used.append(event.solver)
        return event.solver.name == "Zssr"

    solver.solve(problem, callback=stop)
    assert used[-1].name == "Zssr" and used[-1].back_projections == steps


def test_holes_are_not_looked_at(scene):
    _, y = scene
    whole = wellposed.estimate_operator(y, op="strided_blur", solver="cross_scale")
    blur = build_operator("strided_blur", x_space=Space((3, 256, 256)))
    hole = build_operator("hole_mask", {"size": 24}, x_space=blur.out_space)
    part = wellposed.estimate_operator(hole(y), op=hole @ blur, solver="cross_scale")
    a, b = (covariance(k[0, 0]) for k in (whole.operator.kernel, part.operator.factors[1].kernel))
    assert np.abs(a - b).max() < 0.25 * np.abs(a).max()


def test_noise_is_told_from_blur(scene):
    x, y = scene
    noisy = y + 0.02 * torch.randn(y.shape, generator=torch.Generator().manual_seed(0))
    noise = {"name": "gaussian", "params": {"sigma": 0.02}}
    op = wellposed.estimate_operator(
        noisy, op="strided_blur", solver="cross_scale", noise=noise
    ).operator
    true = build_operator("strided_blur", {"kernel": WIDE}, x_space=Space(tuple(x.shape)))
    got, want = covariance(op.kernel[0, 0]), covariance(true.kernel[0, 0])
    assert np.trace(got) == pytest.approx(np.trace(want), rel=0.4)


@pytest.mark.parametrize(
    ("solver", "params"), [("cross_scale", {}), ("kernelgan", {**QUICK, "restarts": 2})]
)
def test_each_sample_has_its_own_noise(scene, solver, params):
    y = scene[1][None, :, :128, :160].double().expand(2, -1, -1, -1)
    sigma = torch.tensor([0.05, 0.002], dtype=y.dtype)
    n = torch.randn(y.shape, dtype=y.dtype, generator=torch.Generator().manual_seed(0))
    y = y + sigma[:, None, None, None] * n

    def found(y, sigma):
        noise = {"name": "gaussian", "params": {"sigma": sigma}}
        return wellposed.estimate_operator(
            y, op="strided_blur", solver=solver, solver_params=params, noise=noise
        ).extras

    key = "covariance" if solver == "cross_scale" else "scores"
    alone = torch.cat([found(y[i : i + 1], sigma[i : i + 1])[key] for i in range(2)])
    torch.testing.assert_close(found(y, sigma)[key], alone, rtol=1e-6, atol=1e-9)


def test_noise_per_sample_goes_with_several_batch_axes(scene):
    y = small(scene[1]).expand(3, 2, -1, -1, -1)
    noise = {"name": "gaussian", "params": {"sigma": torch.tensor([0.01, 0.02])}}
    options = {"solver": "cross_scale", "noise": noise}
    x = wellposed.solve(y, op="strided_blur", **options).image
    torch.testing.assert_close(x[2], wellposed.solve(y[0], op="strided_blur", **options).image)
    with pytest.raises(ShapeError, match="one for each of 1 pictures; got 2"):
        wellposed.solve(y[0, 0], op="strided_blur", **options)
    blur = build_operator("strided_blur", x_space=Space((3, 140, 140)))
    mask = {"mask": torch.ones(2, 1, 70, 70)}
    known = build_operator("mask", mask, x_space=blur.out_space)
    with pytest.raises(IncompatibleError, match="parameters for each sample; got the batch"):
        wellposed.solve(y, op=known @ blur, **options)


def test_how_strongly_others_are_measured_does_not_matter(scene):
    y = small(scene[1]).expand(2, -1, -1, -1)
    blur = build_operator("strided_blur", x_space=Space((3, 140, 140)))
    mask = torch.ones(2, 1, 70, 70)
    mask[0, :, :8] = 0
    mask[0] *= 0.1

    def covered(mask, y):
        op = build_operator("mask", {"mask": mask}, x_space=blur.out_space) @ blur
        solver = build_solver("cross_scale")
        return solver._look(Problem(operator=op, measurement=mask * y), blur).covered

    assert torch.equal(covered(mask, y)[:1], covered(mask[:1], y[:1]))


def test_doubt_is_reported(scene):
    _, y = scene
    after_nothing = wellposed.solve(
        small(y), op="strided_blur", solver="kernelgan", solver_params={**QUICK, "max_steps": 1}
    )
    assert after_nothing.status is Status.DEGENERATE
    assert "sum is" in after_nothing.extras["why"][0]
    flat = torch.stack([small(y), torch.full((3, 70, 70), 0.5)])
    found = wellposed.solve(flat, op="strided_blur", solver="cross_scale")
    assert found.statuses[0] is not Status.DEGENERATE
    assert found.statuses[1] is Status.DEGENERATE and "constant" in found.extras["why"][1]
    assert "not to be trusted" in found.report()


@pytest.mark.parametrize("solver", ["cross_scale", "kernelgan"])
def test_bad_input(solver):
    y = torch.rand(3, 80, 80, generator=torch.Generator().manual_seed(0))
    call = wellposed.solve
    with pytest.raises(ParameterError, match="constant"):
        call(torch.full((3, 80, 80), 0.3), op="strided_blur", solver=solver)
    with pytest.raises(ShapeError, match="64"):
        call(y[:, :40], op="strided_blur", solver=solver)
    with pytest.raises(IncompatibleError, match="exactly one strided_blur"):
        call(y, op="blur", solver=solver)
    with pytest.raises(IncompatibleError, match="comparing two scales"):
        call(y, op="strided_blur", op_params={"stride": 1}, solver=solver)
    blur = build_operator("strided_blur", x_space=Space((3, 160, 160)))
    mask = build_operator("random_mask", {"missing": 0.1}, x_space=blur.in_space)
    with pytest.raises(IncompatibleError, match="must come first"):
        call(y, op=blur @ mask, solver=solver)
    with pytest.raises(ParameterError, match="for known kernels"):
        call(
            y,
            op="strided_blur",
            solver=solver,
            solver_params={
                "nonblind": "cross_scale",
                **({"max_steps": 1} if solver == "kernelgan" else {}),
            },
        )
    with pytest.raises(ParameterError, match="NaN"):
        call(y.index_fill(2, torch.tensor([3]), torch.nan), op="strided_blur", solver=solver)


@pytest.mark.parametrize(
    ("params", "match"),
    [
        ({"max_steps": 0}, "at least 1"),
        ({"crop": 20}, "at least 26"),
        ({"crop": 27}, "at least 29"),
        ({"layers": [4, 3]}, "odd sides"),
        ({"layers": [3, 3]}, "at least 9 x 9"),
        ({"sparse": -1.0}, "at least 0"),
        ({"recipe": "magic"}, "paper"),
    ],
)
def test_bad_parameters(params, match):
    y = torch.rand(3, 80, 80, generator=torch.Generator().manual_seed(0))
    with pytest.raises(ParameterError, match=match):
        wellposed.solve(y, op="strided_blur", solver="kernelgan", solver_params=params)


def test_strides_that_it_cannot_do():
    y = torch.rand(3, 80, 80, generator=torch.Generator().manual_seed(0))
    with pytest.raises(IncompatibleError, match="strides of 2 and 4; got 3"):
        wellposed.solve(y, op="strided_blur", op_params={"stride": 3}, solver="kernelgan")


def test_only_blind_solvers_estimate():
    with pytest.raises(IncompatibleError, match="expected a blind solver"):
        wellposed.estimate_operator(torch.rand(3, 64, 64), op="strided_blur", solver="tikhonov")


def test_stopping_early_still_gives_a_picture(scene):
    _, y = scene
    found = wellposed.solve(
        small(y),
        op="strided_blur",
        solver="kernelgan",
        solver_params={**QUICK, "max_steps": 50},
        callback=lambda event: event.step == 3,
    )
    assert int(found.steps) == 3 and found.status >= Status.STOPPED
    assert found.image.shape == (3, 140, 140)


def test_kernel_files(scene, tmp_path):
    from scipy.io import loadmat

    _, y = scene
    found = wellposed.solve(small(y), op="strided_blur", solver="cross_scale")
    written = found.save_kernel(tmp_path / "kernel")
    assert [p.suffix for p in written] == [".npy", ".mat", ".png"]
    kernel = found.operator.kernel
    assert np.array_equal(np.load(tmp_path / "kernel.npy"), kernel[0, 0].numpy())
    assert np.array_equal(loadmat(tmp_path / "kernel.mat")["Kernel"], kernel[0, 0].numpy())
    for suffix in (".npy", ".mat", ".png"):
        again = build_operator(
            "strided_blur",
            {"kernel": {"name": "file", "params": {"path": str(tmp_path / f"kernel{suffix}")}}},
            x_space=Space((3, 140, 140)),
        )
        torch.testing.assert_close(again.kernel, kernel, rtol=1e-3, atol=1e-5)
    with pytest.raises(ParameterError, match="without a suffix"):
        found.save_kernel(tmp_path / "kernel.jpg")
    plain = wellposed.solve(op="identity", solver="adjoint")
    with pytest.raises(ParameterError, match="got 0 such parts"):
        plain.save_kernel(tmp_path / "none.npy")


def test_command_line(scene, tmp_path):
    _, y = scene
    for name in ("a.png", "b.png"):
        write(tmp_path / name, small(y))
    call = ["solve", str(tmp_path / "a.png"), "--op", "strided_blur", "--solver", "cross_scale"]
    run = CliRunner().invoke(
        app, [*call, "-o", str(tmp_path / "x.png"), "--save-kernel", str(tmp_path / "k.npy")]
    )
    assert run.exit_code == 0, run.output
    assert np.load(tmp_path / "k.npy").ndim == 2
    run = CliRunner().invoke(
        app,
        [
            *call[:2],
            str(tmp_path / "b.png"),
            *call[2:],
            "-o",
            str(tmp_path / "out"),
            "--save-kernel",
            str(tmp_path / "kernels"),
        ],
    )
    assert run.exit_code == 0, run.output
    assert {p.name for p in (tmp_path / "kernels").iterdir()} == {
        f"{stem}-kernel.{suffix}" for stem in "ab" for suffix in ("npy", "mat", "png")
    }
    both = str(tmp_path / "same")
    run = CliRunner().invoke(app, [*call, "-o", f"{both}.png", "--save-kernel", both])
    assert run.exit_code == 2 and "both a picture and its kernel" in run.output
    assert not (tmp_path / "same.png").exists()
    run = CliRunner().invoke(
        app,
        [*call[:2], str(tmp_path / "b.png"), *call[2:], "--force", "--save-kernel", "one.npy"],
    )
    assert run.exit_code == 2 and "name a folder" in run.output


def test_solvers_evolve(scene):
    solver = build_solver("kernelgan", QUICK)
    assert attrs.evolve(solver, restarts=3).restarts == 3
    problem = Problem(
        operator=build_operator("strided_blur", x_space=Space((3, 140, 140))),
        measurement=small(scene[1]),
    )
    assert solver.solve(problem).provenance.solver.startswith("KernelGan(")
