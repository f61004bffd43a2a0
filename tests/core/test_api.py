"""`solve`, `pipeline`, `simulate`: every kind of input, and what is refused at the door."""

import attrs
import numpy as np
import pytest
import torch
import wellposed
from PIL import Image
from wellposed import Problem, Space, Status
from wellposed.edge import build_operator
from wellposed.errors import (
    IncompatibleError,
    ParameterError,
    ShapeError,
    UnknownComponent,
)

KERNEL = {"name": "gaussian", "params": {"width": 1.0}}
BLUR = {"kernel": KERNEL, "boundary": "circular"}
FEW = {"max_steps": 5}


@pytest.fixture(scope="module")
def picture():
    return wellposed.sample()[:, 96:128, 96:136]


def test_the_literal_call_restores_the_sample_and_says_how_well():
    s = wellposed.solve(op="strided_blur", solver="tikhonov")
    assert s.image.shape == s.truth.shape == (3, 256, 256)
    assert s.measurement.shape == (3, 128, 128)
    assert s.metrics["psnr"] > 26 and 0.8 < s.metrics["ssim"] <= 1
    assert s.status in (Status.DIRECT, Status.CONVERGED)
    assert "metrics" in s.report()


def test_every_kind_of_input_gives_the_same_picture(picture, tmp_path):
    eight = (picture * 255).round().byte()
    tensor = eight.float() / 255
    array = eight.movedim(0, -1).numpy()
    Image.fromarray(array).save(tmp_path / "y.png")
    expected = wellposed.solve(tensor, op="blur", op_params=BLUR, solver="tikhonov").image
    for y in (array, Image.fromarray(array), tmp_path / "y.png", str(tmp_path / "y.png")):
        s = wellposed.solve(y, op="blur", op_params=BLUR, solver="tikhonov")
        torch.testing.assert_close(s.image, expected)
    double = wellposed.solve(array / 255.0, op="blur", op_params=BLUR, solver="tikhonov").image
    assert double.dtype == torch.float64
    torch.testing.assert_close(double.float(), expected, atol=1e-4, rtol=1e-4)


def test_objects_names_and_mappings_mean_the_same(picture):
    y = wellposed.simulate(picture, op="blur", op_params=BLUR)
    op = build_operator("blur", BLUR, y_space=Space(tuple(y.shape), y.dtype))
    by_name = wellposed.solve(
        y, op={"name": "blur", "params": BLUR}, solver={"name": "tikhonov", "params": {}}
    )
    by_object = wellposed.solve(y, op=op, solver="tikhonov")
    torch.testing.assert_close(by_name.image, by_object.image)
    torch.testing.assert_close(op(picture), y)


def test_a_batch_is_restored_sample_by_sample(picture):
    batch = torch.stack([picture, picture.flip(-1), 0.5 * picture])
    y = wellposed.simulate(batch, op="blur", op_params=BLUR)
    together = wellposed.solve(y, op="blur", op_params=BLUR, solver="admm", solver_params=FEW)
    assert len(together.statuses) == 3
    for i in range(3):
        alone = wellposed.solve(y[i], op="blur", op_params=BLUR, solver="admm", solver_params=FEW)
        torch.testing.assert_close(together.image[i], alone.image, rtol=1e-4, atol=1e-5)


def test_a_list_of_operators_is_their_composition(picture):
    ops = [{"name": "random_mask", "params": {"missing": 0.3}}, {"name": "blur", "params": BLUR}]
    y = wellposed.simulate(picture, op=ops)
    pipe = wellposed.pipeline(op=ops, solver="admm", solver_params=FEW)
    op = pipe.operator_for(y)
    torch.testing.assert_close(op(picture), y)
    assert pipe(y).image.shape == picture.shape
    assert pipe.operator_for(y) is op


def test_noise_is_drawn_from_the_seed(picture):
    noise = {"name": "gaussian", "params": {"sigma": 0.1}}
    one = wellposed.simulate(picture, op="identity", noise=noise, seed=1)
    same = wellposed.simulate(picture, op="identity", noise=noise, seed=1)
    other = wellposed.simulate(picture, op="identity", noise=noise, seed=2)
    assert torch.equal(one, same) and not torch.equal(one, other)
    assert (one - picture).std() == pytest.approx(0.1, rel=0.05)


def test_solve_leaves_no_graph_but_a_problem_does(picture):
    y = wellposed.simulate(picture, op="blur", op_params=BLUR).requires_grad_()
    s = wellposed.solve(y, op="blur", op_params=BLUR, solver="tikhonov")
    assert not s.image.requires_grad
    solver = wellposed.edge.build_solver("tikhonov")
    graph = solver.solve(Problem(operator=s.operator, measurement=y))
    graph.image.sum().backward()
    assert torch.isfinite(y.grad).all()


@pytest.mark.parametrize("batch", [(), (2,)])
def test_an_operator_object_may_measure_vectors(batch):
    matrix = torch.tensor([[2.0, 1, 0], [0, 1, 0], [0, 1, 1], [1, 0, 0]])
    op = build_operator("matrix", {"matrix": matrix}, x_space=Space((1, 1, 3)))
    x = torch.rand((*batch, 1, 1, 3), generator=torch.Generator().manual_seed(0))
    s = wellposed.solve(op(x), op=op, solver="pseudo_inverse", solver_params={"tolerance": 1e-6})
    torch.testing.assert_close(s.image, x, rtol=0, atol=1e-5)


def test_a_callback_is_called(picture):
    seen = []
    y = wellposed.simulate(picture, op="blur", op_params=BLUR)
    wellposed.solve(
        y, op="blur", op_params=BLUR, solver="admm", solver_params=FEW, callback=seen.append
    )
    assert [event.step for event in seen] == [1, 2, 3, 4, 5]


def refuse(error, match, measurement=None, **kw):
    kw = {"op": "blur", "solver": "tikhonov", **kw}
    with pytest.raises(error, match=match):
        wellposed.solve(measurement, **kw)


def test_bad_measurements_are_refused(picture):
    bad = picture.clone()
    bad[0, 3, 4] = torch.nan
    refuse(ParameterError, r"holds NaN or Inf at 1 of 3840 values.*mark them as missing", bad)
    refuse(
        ParameterError,
        r"must be float32 or float64.*got torch.uint8.*y.float\(\) / 255",
        bad.byte(),
    )
    refuse(ParameterError, r"must be float32 or float64.*got torch.float16", bad.half())
    refuse(ShapeError, r"must have shape \(\*batch, C, H, W\).*got \(32, 40\)", picture[0])
    refuse(ShapeError, r"none of them 0; got \(3, 0, 40\)", picture[:, :0])
    huge = torch.zeros(1).expand(3, 2**14, 2**14)
    refuse(ShapeError, r"is more than 268435456; cut it into pieces", huge)


def test_parameters_that_nothing_would_read_are_refused(picture):
    refuse(
        ParameterError,
        r"prior_params: expected a prior that they belong to; Tikhonov takes none",
        picture,
        prior_params={"weight": 0.1},
    )
    refuse(ParameterError, r"op_params: expected a mapping.*got list", picture, op_params=[1])


@pytest.mark.parametrize("seed", [-1, 2**63, 1.5, True, "a"])
def test_a_seed_is_a_whole_number(picture, seed):
    refuse(ParameterError, r"seed: expected a whole number from 0 on; got", picture, seed=seed)
    with pytest.raises(ParameterError, match=r"seed: expected a whole number from 0 on; got"):
        wellposed.simulate(picture, op="identity", noise="gaussian", seed=seed)


def test_a_seed_may_come_from_numpy(picture):
    one, two = (
        wellposed.simulate(picture, op="identity", noise="gaussian", seed=seed)
        for seed in (3, np.int64(3))
    )
    assert torch.equal(one, two)


def test_bad_names_and_parameters_are_refused(picture):
    refuse(UnknownComponent, r"Did you mean 'blur'", picture, op="blurr")
    refuse(UnknownComponent, r"is an operator, not a solver|solver", picture, solver="blur")
    refuse(
        ParameterError,
        r"op\.params\.kernle.*Did you mean 'kernel'",
        picture,
        op_params={"kernle": 1},
    )
    refuse(ParameterError, r"give each its own", picture, op=["blur"], op_params=BLUR)
    refuse(ParameterError, r"at least one operator; got an empty list", picture, op=[])
    refuse(ParameterError, r"op expects a mapping \{name:, params:\}", picture, op={"nam": "blur"})
    refuse(ParameterError, r"device 'gpu' cannot be used here", picture, device="gpu")
    op = build_operator("blur", BLUR, y_space=Space(tuple(picture.shape), picture.dtype))
    refuse(ParameterError, r"op_params go with an operator's name", picture, op=op, op_params=BLUR)
    refuse(ParameterError, r"without a measurement, op must be given by name", op=op)
    solver = wellposed.edge.build_solver("tikhonov")
    refuse(
        ParameterError,
        r"solver parameters go with a name",
        picture,
        solver=solver,
        solver_params=FEW,
    )
    refuse(ParameterError, r"solver expects a name, a mapping.*got int", picture, solver=3)
    refuse(
        IncompatibleError,
        r"got CircularConvolution\. It is bilinear: fix one argument first, with at_w",
        picture,
        op="convolution",
    )
    refuse(IncompatibleError, r"takes no prior; got TV.*Leave it out", picture, prior="tv")


def test_a_measurement_that_the_operator_cannot_give_is_refused(picture):
    refuse(
        ShapeError,
        r"op \w+ gives measurements of shape .*; got a measurement of shape \(3, 32, 40\)",
        picture,
        op="grayscale",
        op_params={"in_shape": [3, 32, 40]},
    )


def test_double_precision_reaches_named_kernels(picture):
    op = build_operator("blur", BLUR, x_space=Space(tuple(picture.shape), torch.float64))
    assert op.kernel.dtype == torch.float64
    assert op.kernel.sum().item() == pytest.approx(1, abs=1e-15)
    assert attrs.has(type(op))


def test_an_operator_with_two_unknowns_measures_no_sample():
    with pytest.raises(ParameterError, match="cannot measure a picture alone; it is not linear"):
        wellposed.solve(op="convolution", solver="blind_deblurring")


def test_none_is_no_device():
    with pytest.raises(ParameterError, match="device None cannot be used here"):
        wellposed.solve(torch.zeros(1, 4, 4), op="identity", solver="adjoint", device=None)
