import math

import numpy as np
import pytest
import scipy.integrate
import scipy.io
import torch
from PIL import Image
from wellposed.errors import ParameterError
from wellposed.plugins.kernels.bicubic import Bicubic, Delta
from wellposed.plugins.kernels.file import FileKernel
from wellposed.plugins.kernels.gaussian import AnisotropicGaussian, Gaussian
from wellposed.plugins.kernels.lines import Box, Disk, Motion
from wellposed.plugins.kernels.overlap import MotionGaussian
from wellposed.plugins.kernels.shake import CameraShake

F64 = torch.float64
STRIDES = [1, 2, 3, 4]
CENTRED = [
    Gaussian(width=1.3),
    Gaussian(width=0.05),
    Gaussian(width=torch.tensor([0.7, 1.9])),
    Gaussian(width=2.0, size=15),
    Gaussian(width=2.0, size=4),
    AnisotropicGaussian(width_1=2.5, width_2=0.8, angle=30.0),
    Motion(length=7.3, angle=40.0),
    Box(width=2.6),
    Disk(radius=3.3),
    Bicubic(),
]


def moments(kernel):
    """Return the centre (row, column) and the covariance of each kernel."""
    k = kernel[:, 0].double()
    rows = torch.arange(k.shape[-2], dtype=F64)[:, None].expand(k.shape[-2:])
    columns = torch.arange(k.shape[-1], dtype=F64)[None].expand(k.shape[-2:])
    places = torch.stack([rows, columns])
    mean = torch.einsum("bij,aij->ba", k, places)
    away = places - mean[..., None, None]
    return mean, torch.einsum("bij,baij,bcij->bac", k, away, away)


@pytest.mark.parametrize("kernel", CENTRED, ids=repr)
@pytest.mark.parametrize("stride", STRIDES)
def test_sums_to_one_around_the_block_of_the_stride(kernel, stride):
    k = kernel.tensor(stride=stride, dtype=F64)
    torch.testing.assert_close(k.sum((-2, -1)), torch.ones(k.shape[:2], dtype=F64))
    half = 0 if stride % 2 else 0.5
    expected = torch.tensor([k.shape[-2] // 2 - half, k.shape[-1] // 2 - half], dtype=F64)
    torch.testing.assert_close(moments(k)[0], expected.expand(k.shape[0], 2))


@pytest.mark.parametrize("stride", STRIDES)
def test_gaussian_has_its_width(stride):
    k = Gaussian(width=1.7).tensor(stride=stride, dtype=F64)
    # Sampling keeps the variance (Poisson summation); cutting at 4 widths takes 1e-3 of it.
    torch.testing.assert_close(
        moments(k)[1][0], 1.7**2 * torch.eye(2, dtype=F64), rtol=2e-3, atol=1e-12
    )
    assert k.shape[-1] % 2 == stride % 2


def test_gaussian_is_fspecial():
    k = Gaussian(width=1.2, size=15).tensor(dtype=F64)
    at = np.arange(15) - 7.0
    expected = np.exp(-(at[:, None] ** 2 + at**2) / (2 * 1.2**2))
    np.testing.assert_allclose(k[0, 0].numpy(), expected / expected.sum(), rtol=1e-12)


def test_anisotropic_gaussian_leans_counter_clockwise():
    k = AnisotropicGaussian(width_1=2.5, width_2=1.0, angle=30.0).tensor(dtype=F64)
    turn = math.radians(30)
    # On a screen up is towards smaller rows.
    along = torch.tensor([-math.sin(turn), math.cos(turn)], dtype=F64)
    across = torch.tensor([math.cos(turn), math.sin(turn)], dtype=F64)
    expected = 2.5**2 * torch.outer(along, along) + torch.outer(across, across)
    torch.testing.assert_close(moments(k)[1][0], expected, rtol=5e-3, atol=1e-3)


def test_motion_of_odd_length_is_equal_taps():
    horizontal = Motion(length=5.0).tensor(dtype=F64)
    torch.testing.assert_close(horizontal, torch.full((1, 1, 1, 5), 0.2, dtype=F64))
    vertical = Motion(length=5.0, angle=90.0).tensor(dtype=F64)
    torch.testing.assert_close(vertical, horizontal.mT)


@pytest.mark.parametrize("angle", [0.0, 27.0, 45.0, 110.0])
@pytest.mark.parametrize("stride", [1, 2])
def test_motion_has_the_moments_of_its_line(angle, stride):
    k = Motion(length=11.4, angle=angle).tensor(stride=stride, dtype=F64)
    turn = math.radians(angle)
    along = torch.tensor([-math.sin(turn), math.cos(turn)], dtype=F64)
    across = torch.tensor([math.cos(turn), math.sin(turn)], dtype=F64)
    got = moments(k)[1][0]
    # A line of length L and width 1, each point of it moved to the middle of its pixel.
    torch.testing.assert_close(
        along @ got @ along, torch.tensor(11.4**2 / 12), rtol=0.02, atol=0.2, check_dtype=False
    )
    assert float(across @ got @ across) < 0.35


def test_motion_is_the_area_of_its_rectangle():
    length, angle = 4.3, 35.0
    k = Motion(length=length, angle=angle).tensor(dtype=F64)[0, 0]
    c, s = math.cos(math.radians(angle)), math.sin(math.radians(angle))
    fine = (np.arange(200) + 0.5) / 200 - 0.5
    area = np.zeros(k.shape)
    for i in range(k.shape[0]):
        for j in range(k.shape[1]):
            right = (j - k.shape[1] // 2 + fine)[None]
            up = -(i - k.shape[0] // 2 + fine)[:, None]
            inside = (abs(right * c + up * s) <= length / 2) & (abs(up * c - right * s) <= 0.5)
            area[i, j] = inside.mean()
    np.testing.assert_allclose(k.numpy(), area / area.sum(), atol=1e-3)


@pytest.mark.parametrize(
    ("width", "stride", "line"),
    [
        (3.0, 1, [1, 1, 1]),
        (2.0, 1, [0.5, 1, 0.5]),
        (2.0, 2, [1, 1]),
        (1.0, 1, [1]),
        (4.0, 4, [1, 1, 1, 1]),
        (0.5, 2, [1, 1]),
        (3.0, 2, [0.5, 1, 1, 0.5]),
    ],
)
def test_box_weighs_pixels_by_their_area(width, stride, line):
    k = Box(width=width).tensor(stride=stride, dtype=F64)[0, 0]
    expected = torch.tensor(line, dtype=F64)
    expected = torch.outer(expected, expected)
    torch.testing.assert_close(k, expected / expected.sum())


@pytest.mark.parametrize("radius", [0.3, 1.0, 2.7])
@pytest.mark.parametrize("stride", [1, 2])
def test_disk_is_the_area_of_the_circle_in_each_pixel(radius, stride):
    k = Disk(radius=radius).tensor(stride=stride, dtype=F64)[0, 0].numpy()
    size = k.shape[0]
    centre = size // 2 - (0 if stride % 2 else 0.5)

    def chord(x, low):
        half = math.sqrt(max(radius**2 - x**2, 0))
        return max(min(half, low + 1) - max(-half, low), 0)

    expected = np.array(
        [
            [
                scipy.integrate.quad(chord, j - 0.5, j + 0.5, (i - 0.5,), limit=200)[0]
                for j in np.arange(size) - centre
            ]
            for i in np.arange(size) - centre
        ]
    )
    np.testing.assert_allclose(k, expected / (math.pi * radius**2), atol=2e-5)


def test_bicubic_of_stride_1_is_the_identity():
    k = Bicubic().tensor(dtype=F64)
    assert k[0, 0, 1, 1] == 1 and k.sum() == 1
    assert [Bicubic().tensor(stride=s).shape[-1] for s in STRIDES] == [3, 8, 11, 16]


def test_delta_is_one_tap():
    assert torch.equal(Delta().tensor(stride=4), torch.ones(1, 1, 1, 1))


@pytest.mark.parametrize(
    "make",
    [
        lambda p: Gaussian(width=p, size=9),
        lambda p: Motion(length=2 * p, angle=20 * p),
        lambda p: Box(width=2 * p),
        lambda p: Disk(radius=p),
        lambda p: AnisotropicGaussian(width_1=p, width_2=p / 2, angle=10 * p, size=9),
    ],
)
def test_parameters_per_sample_are_differentiable(make):
    p = torch.tensor([1.31, 2.17], dtype=F64, requires_grad=True)
    k = make(p).tensor(stride=2, dtype=F64)
    assert k.shape[:2] == (2, 1)
    assert torch.autograd.gradcheck(lambda q: make(q).tensor(stride=2, dtype=F64), p)
    one = make(p.detach()[1]).tensor(stride=2, dtype=F64)
    cut = [(a - b) // 2 for a, b in zip(k.shape[-2:], one.shape[-2:], strict=True)]
    inner = k[1:, :, cut[0] : k.shape[-2] - cut[0], cut[1] : k.shape[-1] - cut[1]]
    torch.testing.assert_close(inner, one, rtol=2e-3, atol=1e-12)


@pytest.mark.parametrize("cls", [Gaussian, Box, Disk, Motion])
def test_refuses_what_is_not_positive(cls):
    name = {Gaussian: "width", Box: "width", Disk: "radius", Motion: "length"}[cls]
    for bad in (0.0, -1.0, math.nan):
        with pytest.raises(ParameterError, match=rf"{cls.__name__}\.{name} expects a positive"):
            cls(**{name: bad})
    for bad in ("wide", None, True, (1.0,)):
        with pytest.raises(ParameterError, match=rf"{cls.__name__}\.{name} expects a positive"):
            cls(**{name: bad})
    for bad in ([1.0, 0.0], [], [1j]):
        with pytest.raises(ParameterError, match="got values that are not"):
            cls(**{name: torch.tensor(bad)})
    with pytest.raises(
        ParameterError, match=r"one value per sample, of shape \(B,\); got \(2, 2\)"
    ):
        cls(**{name: torch.ones(2, 2)}).tensor()


@pytest.mark.parametrize("cls", [AnisotropicGaussian, Motion, MotionGaussian])
def test_refuses_an_angle_that_is_not_finite(cls):
    for bad in (math.nan, math.inf, "north"):
        with pytest.raises(ParameterError, match=rf"{cls.__name__}\.angle expects a finite number"):
            cls(angle=bad)
    with pytest.raises(ParameterError, match="got values that are not"):
        cls(angle=torch.tensor([0.0, math.nan]))


def test_refuses_sizes_and_strides_that_are_not_whole():
    with pytest.raises(ParameterError, match=r"Gaussian\.size expects a whole number of taps"):
        Gaussian(size=2.5)
    for kernel in (Gaussian(), Bicubic(), Delta()):
        with pytest.raises(ParameterError, match="stride expects a whole number of at least 1"):
            kernel.tensor(stride=1.5)


def test_reads_files(tmp_path):
    array = np.random.default_rng(0).random((4, 5))
    np.save(tmp_path / "k.npy", array)
    scipy.io.savemat(tmp_path / "k.mat", {"kernel": array, "other": array[:2]})
    levels = np.round(array * 255).astype(np.uint8)
    Image.fromarray(levels).save(tmp_path / "k.png")
    expected = torch.from_numpy(array / array.sum())[None, None]
    got = FileKernel(path=tmp_path / "k.npy").tensor(dtype=F64, stride=4)
    torch.testing.assert_close(got, expected)
    got = FileKernel(path=tmp_path / "k.mat", key="kernel", normalized=False).tensor(dtype=F64)
    torch.testing.assert_close(got[0, 0], torch.from_numpy(array))
    got = FileKernel(path=tmp_path / "k.png").tensor(dtype=F64)
    torch.testing.assert_close(got[0, 0], torch.from_numpy(levels / levels.sum()))


def test_reads_the_brightness_of_any_png(tmp_path):
    levels = 15 * np.outer([1, 2, 1], [1, 2, 1]).astype(np.uint8)
    picture = Image.fromarray(levels)
    palette = picture.point(lambda v: v // 15).convert("P")
    palette.putpalette([min(15 * (v // 3), 255) for v in range(768)])
    wide = Image.fromarray(levels.astype(np.uint16) * 257)
    forms = [picture, palette, wide, *(picture.convert(m) for m in ("LA", "RGB", "RGBA"))]
    for form in forms:
        form.save(tmp_path / "k.png")
        got = FileKernel(path=str(tmp_path / "k.png")).tensor(dtype=F64)
        torch.testing.assert_close(got[0, 0], torch.from_numpy(levels / levels.sum()))
    colours = np.stack([levels, levels.T[::-1], np.full((3, 3), 9, np.uint8)], -1)
    Image.fromarray(colours).convert("RGBA").save(tmp_path / "k.png")
    got = FileKernel(path=tmp_path / "k.png", normalized=False).tensor(dtype=F64)
    torch.testing.assert_close(got[0], torch.from_numpy(colours).movedim(-1, 0).double())


def test_a_packed_file_is_not_unpacked_to_any_size(tmp_path, monkeypatch):
    huge = {"kernel": np.zeros((5000, 5000), np.uint8)}
    scipy.io.savemat(tmp_path / "k.mat", huge, do_compression=True)
    monkeypatch.setattr(scipy.io, "loadmat", None)
    with pytest.raises(ParameterError, match="an array of 5000 x 5000 is no kernel"):
        FileKernel(path=tmp_path / "k.mat").tensor()


@pytest.mark.parametrize(
    ("name", "array", "message"),
    [
        ("k.npy", np.ones(3), r"expected an array of 2 to 4 axes; got the shape \(3,\)"),
        ("k.npy", np.array([["a"]]), "expected numbers"),
        ("k.npy", np.array([[np.nan]]), "it holds NaN or Inf"),
        ("k.npy", np.array([[1j]]), "it is complex"),
        ("k.npy", np.array([[1.0, -1.0]]), "its sum is zero; set normalized to false"),
        ("k.txt", None, "expected one of .npy, .mat, .png"),
        ("missing.npy", None, "FileNotFoundError"),
        ("broken.mat", b"nonsense", "cannot read a kernel from"),
        ("broken.png", b"nonsense", "UnidentifiedImageError"),
        ("object.npy", np.array([[{}]], dtype=object), "ValueError"),
        ("two.mat", {"a": np.ones((2, 2)), "b": np.ones((2, 2))}, "with key=, one of a, b"),
    ],
)
def test_refuses_files_that_hold_no_kernel(tmp_path, name, array, message):
    path = tmp_path / name
    if isinstance(array, dict):
        scipy.io.savemat(path, array)
    elif isinstance(array, bytes):
        path.write_bytes(array)
    elif array is not None:
        np.save(path, array)
    with pytest.raises(ParameterError, match=message):
        FileKernel(path=path).tensor()


def test_refuses_a_picture_as_a_kernel(tmp_path):
    Image.new("1", (8192, 4096)).save(tmp_path / "huge.png")
    with pytest.raises(ParameterError, match="is no kernel"):
        FileKernel(path=tmp_path / "huge.png").tensor()
    with pytest.raises(ParameterError, match="path expects the path of a file; got int"):
        FileKernel(path=3)


@pytest.mark.parametrize(
    ("kind", "two", "three"),
    [
        (Motion, "length", "angle"),
        (AnisotropicGaussian, "width_1", "angle"),
        (MotionGaussian, "length", "width"),
        (CameraShake, "length", "seed"),
    ],
)
def test_parameters_of_unequal_numbers_of_samples(kind, two, three):
    few, many = torch.tensor([3.0, 4.0]), torch.arange(1, 4)
    with pytest.raises(
        ParameterError, match=r"same number of samples; got .* of 2 .* of 3 samples"
    ):
        kind(**{two: few, three: many})
    assert len(kind(**{two: few[:1], three: many}).tensor()) == 3


def test_a_kernel_larger_than_any_picture_is_refused_before_it_is_made():
    with pytest.raises(ParameterError, match=r"a kernel of 800001 x 800001 taps is more than 4096"):
        Gaussian(width=100_000.0).tensor()
    with pytest.raises(ParameterError, match="taps is more than 4096"):
        CameraShake(size=5000).tensor()
