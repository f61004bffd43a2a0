"""Text becomes tensors, dtypes and kernels, or an error that says where and why not."""

import numpy as np
import pytest
import torch
from wellposed import BilinearOperator, NonlinearOperator, Space
from wellposed.config import ProblemConfig, load_problem, save_problem
from wellposed.edge import build_operator, build_prior, build_solver, register_types
from wellposed.errors import (
    BrokenPluginError,
    ImageFileError,
    IncompatibleError,
    ParameterError,
    ShapeError,
    UnknownComponent,
)
from wellposed.images import write
from wellposed.plugins.noise.gaussian import Gaussian
from wellposed.registry import (
    ComponentSpec,
    Registry,
    dump_yaml,
    hookimpl,
    load_yaml,
    unstructure,
)

X = Space((1, 6, 7), torch.float64)


def kernel(value):
    return build_operator("blur", {"kernel": value}, x_space=X).kernel


def test_a_kernel_is_numbers_an_array_a_file_or_a_name(tmp_path):
    rows = [[0.0, 0.25, 0.0], [0.25, 0.0, 0.5]]
    expected = torch.tensor(rows, dtype=torch.float64)[None, None]
    np.save(tmp_path / "k.npy", np.array(rows))
    for value in (
        rows,
        np.array(rows),
        torch.tensor(rows),
        {"npy": str(tmp_path / "k.npy")},
        str(tmp_path / "k.npy"),
    ):
        torch.testing.assert_close(kernel(value), expected, rtol=1e-7, atol=0)
    assert kernel("delta").sum() == 1


def test_a_mask_is_a_picture(tmp_path):
    seen = torch.rand(1, 5, 4, generator=torch.Generator().manual_seed(0)) > 0.5
    write(tmp_path / "mask.png", seen.float().expand(3, -1, -1))
    given = {"mask": {"picture": str(tmp_path / "mask.png")}}
    op = build_operator("mask", given, x_space=Space((3, 5, 4)))
    assert torch.equal(op(torch.ones(3, 5, 4)), seen.float().expand(3, -1, -1))
    with pytest.raises(ImageFileError, match=r"nothing\.png"):
        build_operator("mask", {"mask": {"picture": "nothing.png"}}, x_space=Space((3, 5, 4)))
    with pytest.raises(ParameterError, match=r"op\.params\.mask: picture expects a path; got int"):
        build_operator("mask", {"mask": {"picture": 3}}, x_space=Space((3, 5, 4)))


@pytest.mark.parametrize("value", [[[1.0, float("nan")]], np.array([[np.inf]])])
def test_numbers_are_finite(value):
    refuse(r"op\.params\.kernel: expected finite numbers; got NaN or infinity", value)


def refuse(match, value):
    with pytest.raises(ParameterError, match=match):
        kernel(value)


def test_what_is_no_kernel_is_refused_with_its_place(tmp_path):
    (tmp_path / "text.npy").write_text("no array")
    np.save(tmp_path / "object.npy", np.array([{}], dtype=object), allow_pickle=True)
    refuse(r"op\.params\.kernel: expected numbers, nested lists .*got list", [[1.0], [2.0, 3.0]])
    refuse(r"op\.params\.kernel: expected numbers.*got", object())
    refuse(r"op\.params\.kernel: cannot read .*missing.npy as .npy", "missing.npy")
    refuse(r"op\.params\.kernel: cannot read .*text.npy as .npy", str(tmp_path / "text.npy"))
    refuse(r"op\.params\.kernel: cannot read .*object.npy", str(tmp_path / "object.npy"))
    refuse(r"op\.params\.kernel: npy expects a path; got int", {"npy": 3})
    refuse(r"op\.params\.kernel: dtype expects one such as float32", {"data": [1], "dtype": "foo"})
    refuse(r"op\.params\.kernel: data cannot be read", {"data": [1, [2]], "dtype": "float32"})
    with pytest.raises(UnknownComponent, match=r"op\.params\.kernel.*Did you mean 'gaussian'"):
        kernel("gausian")


def test_archives_are_not_arrays(tmp_path):
    np.savez(tmp_path / "k.npz", a=np.ones(3))
    (tmp_path / "k.npz").rename(tmp_path / "k.npy")
    refuse("cannot read .*k.npy as .npy: the magic string is not correct", str(tmp_path / "k.npy"))
    np.save(tmp_path / "words.npy", np.array(["a", "b"]))
    refuse("words.npy holds no array of numbers, but of <U1", str(tmp_path / "words.npy"))


def test_dtypes_are_named():
    op = build_operator("identity", {"in_shape": [1, 2, 3], "dtype": "complex128"}, x_space=X)
    assert op.in_space.dtype == torch.complex128
    with pytest.raises(ParameterError, match=r"op\.params\.dtype: expected one of float32"):
        build_operator("identity", {"dtype": "int8"}, x_space=X)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex128])
def test_tensors_survive_yaml_exactly(dtype):
    register_types()
    op = build_operator("blur", {"kernel": torch.randn(3, 2, dtype=torch.float64)}, x_space=X)
    op = op.to(dtype=dtype)
    data = load_yaml(dump_yaml(unstructure(op)))
    again = build_operator(data, x_space=X.to(dtype))
    assert torch.equal(again.kernel, op.kernel) and again.kernel.dtype == op.kernel.dtype


def test_bilinear_operators_are_built_by_name_and_after_linear_ones():
    x_space = Space((1, 8, 6), torch.float64)
    convolution = {"name": "convolution", "params": {"kernel_shape": [3, 5]}}
    plain = build_operator(convolution, y_space=x_space)
    assert isinstance(plain, BilinearOperator)
    assert plain.x_space == x_space and plain.w_space == Space((1, 3, 5), torch.float64)
    reduced = {"name": "strided_blur", "params": {"stride": 2, "kernel": "delta"}}
    for sizes in ({"x_space": x_space}, {"y_space": Space((1, 4, 3), torch.float64)}):
        both = build_operator([reduced, convolution], **sizes)
        w, x = torch.rand(1, 3, 5, dtype=torch.float64), torch.rand(1, 8, 6, dtype=torch.float64)
        outer = build_operator(reduced, x_space=x_space)
        torch.testing.assert_close(both(w, x), outer(plain(w, x)))
    with pytest.raises(IncompatibleError, match="of which the last may be bilinear"):
        build_operator([convolution, reduced], x_space=x_space)
    with pytest.raises(IncompatibleError, match="of which the last may be bilinear"):
        build_operator([convolution, convolution], x_space=x_space)


def test_a_picture_that_no_memory_holds_is_refused_before_it_is_made():
    with pytest.raises(ShapeError, match=r"goes with pictures of shape .* more than 268435456"):
        build_operator("resize", {"scale": 1e-4}, y_space=Space((3, 40, 31)))
    with pytest.raises(ParameterError, match=r"a kernel of 80000 x 80000 taps"):
        build_operator("strided_blur", {"stride": 20_000}, y_space=Space((3, 40, 31)))


def test_so_is_a_measurement():
    with pytest.raises(ShapeError, match=r"goes with measurements of shape \(3, 400040, 400031\)"):
        build_operator("pad", {"margin": 200_000}, x_space=Space((3, 40, 31)))


def test_text_where_a_number_belongs_is_no_misspelt_kernel():
    params = {"kernel": {"name": "motion", "params": {"length": "abc"}}}
    with pytest.raises(ParameterError, match=r"kernel\.params\.length: .*expected .*got 'abc'"):
        build_operator("blur", params, x_space=Space((1, 8, 8)))


@pytest.mark.parametrize("file", ["mask.png", "k.MAT", "weights.pt"])
def test_a_file_that_is_no_npy_is_not_taken_for_a_kernels_name(file):
    match = rf"expected numbers, a \.npy file or the name of a kernel; got the file '{file}'"
    with pytest.raises(ParameterError, match=match):
        build_operator("mask", {"mask": file}, x_space=X)


def test_true_is_no_number():
    refuse("expected numbers; got True", True)
    with pytest.raises(ParameterError, match=r"weight: expected float \| Tensor; got True"):
        build_prior("tv", {"weight": True})
    mask = build_operator("mask", {"mask": [[True] * 7] * 6}, x_space=X).mask
    assert mask.shape[-2:] == (6, 7)


def test_an_array_in_a_problem_can_be_written(tmp_path):
    array = np.arange(9, dtype=np.float64).reshape(3, 3) / 36
    op = {"name": "blur", "params": {"kernel": array}}
    save_problem(tmp_path / "p.yaml", ProblemConfig(op=op, solver="tikhonov"))
    again = build_operator(load_problem(tmp_path / "p.yaml").op, x_space=X)
    assert torch.equal(again.kernel, kernel(array))


def test_a_name_needs_a_size():
    with pytest.raises(ParameterError, match=r"needs a size: give x_space=Space\(\(C, H, W\)\)"):
        build_operator("blur")


class Curved(NonlinearOperator):
    in_space = out_space = X

    def _apply(self, x):
        return x * x


def declare(monkeypatch, kind, cls):
    """Let an installed plugin declare a class as a component of some kind."""

    class Manifest:
        @hookimpl
        def wellposed_components(self):
            yield ComponentSpec(kind, "odd", f"{__name__}:{cls.__name__}", "Odd", "Me")

    registry = Registry([("acme", Manifest())])
    monkeypatch.setattr(Registry, "load", lambda *_: cls)
    monkeypatch.setattr("wellposed.edge.default_registry", lambda: registry)
    return cls


def test_a_class_that_is_not_what_its_plugin_says(monkeypatch):
    declare(monkeypatch, "operator", Gaussian)
    match = "operator 'odd' is the class Gaussian, which is no ForwardOperator or BilinearOperator"
    with pytest.raises(BrokenPluginError, match=match):
        build_operator("odd", x_space=X)
    for kind, build, base in (("solver", build_solver, "Solver"), ("prior", build_prior, "Prior")):
        declare(monkeypatch, kind, Gaussian)
        with pytest.raises(BrokenPluginError, match=f"{kind}: {kind} 'odd' is .* is no {base}"):
            build({"name": "odd", "params": {}})


def test_a_nonlinear_operator_by_name(monkeypatch):
    declare(monkeypatch, "operator", Curved)
    with pytest.raises(IncompatibleError, match=r"'odd' is nonlinear, .* give the object"):
        build_operator("odd", x_space=X)
