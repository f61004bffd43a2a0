"""Picture files: round trips, conventions, and everything that a hostile file can be."""

from __future__ import annotations

import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image, ImageCms, ImageOps
from wellposed.errors import DtypeError, ImageFileError, ParameterError, ShapeError
from wellposed.images import Picture, read, to_tensor, write

LOSSLESS = [
    (".png", 8),
    (".png", 16),
    (".tif", 8),
    (".tiff", 16),
    (".tif", 32),
    (".webp", 8),
    (".bmp", 8),
]


def noise(*shape, seed=0, top=1.0):
    generator = torch.Generator().manual_seed(seed)
    return torch.rand(*shape, generator=generator) * top


def gradient(channels=3, height=8, width=12):
    x = torch.linspace(0, 1, width).expand(height, width)
    return torch.stack([x * (i + 1) / channels for i in range(channels)])


def stored(x, bits):
    """What a file of so many bits can hold of x: an oracle by NumPy."""
    if bits == 32:
        return x.numpy()
    top = 2**bits - 1
    return np.rint(np.clip(x.double().numpy(), 0, 1) * top) / top


# ---- round trips -------------------------------------------------------------------------------


@pytest.mark.parametrize(("suffix", "bits"), LOSSLESS)
@given(
    shape=st.tuples(st.sampled_from([1, 3]), st.integers(1, 9), st.integers(1, 9)),
    seed=st.integers(0, 99),
    opaque=st.booleans(),
)
@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_holds_what_was_written(tmp_path, suffix, bits, shape, seed, opaque):
    x = noise(*shape, seed=seed) * 1.4 - 0.2
    alpha = None if opaque or suffix == ".bmp" else noise(1, *shape[1:], seed=seed + 1)
    like = Picture(tensor=x, alpha=alpha, bits=bits)
    again = read(write(tmp_path / f"x{suffix}", x, bits=bits, like=like))
    channels = 3 if suffix == ".webp" else shape[0]  # WebP has no grey
    expected = np.broadcast_to(stored(x, bits), (channels, *shape[1:]))
    np.testing.assert_allclose(again.tensor.numpy(), expected, rtol=0, atol=1e-7)
    assert again.bits == bits
    if alpha is None:
        assert again.alpha is None
    else:
        np.testing.assert_allclose(again.alpha.numpy(), stored(alpha, bits), rtol=0, atol=1e-7)


@pytest.mark.parametrize("bits", [8, 16])
def test_rounding_is_to_nearest(tmp_path, bits):
    top = 2**bits - 1
    x = torch.tensor([0.0, 0.4, 0.6, 1.4, 1.6, top - 0.4]).reshape(1, 1, 6).double() / top
    again = read(write(tmp_path / "x.png", x, bits=bits))
    assert (again.tensor * top).round().flatten().tolist() == [0, 0, 1, 1, 2, top]


def test_every_8_and_16_bit_value_survives(tmp_path):
    for bits, side in ((8, 16), (16, 256)):
        top = 2**bits - 1
        whole = np.arange(top + 1).reshape(side, side)
        x = to_tensor(whole.astype(np.uint8 if bits == 8 else np.uint16))
        again = read(write(tmp_path / "x.png", x, bits=bits)).tensor
        assert torch.equal(again, x)
        assert np.array_equal(np.rint(again[0].double().numpy() * top), whole)


def test_jpeg_is_close(tmp_path):
    x = gradient()
    again = read(write(tmp_path / "x.JPG", x)).tensor
    assert (again - x).abs().max() < 0.03


@pytest.mark.parametrize("channels", [2, 4, 7])
def test_tiff_holds_any_number_of_channels_as_floats(tmp_path, channels):
    x = noise(channels, 5, 4, top=3) - 1
    again = read(write(tmp_path / "x.tif", x))
    assert again.bits == 32 and again.alpha is None
    assert torch.equal(again.tensor, x)
    assert read(write(tmp_path / "x.tif", x, bits=16)).tensor.shape == x.shape


def test_npy_holds_the_tensor_as_it_is(tmp_path):
    for x in (noise(2, 5, 4, 3).double() * 9, torch.randn(3, 4, 5, dtype=torch.complex64)):
        again = to_tensor(write(tmp_path / "x.npy", x))
        assert again.dtype == x.dtype
        assert torch.equal(again, x)


def test_a_complex_picture_is_written_as_its_magnitude(tmp_path):
    x = torch.polar(noise(1, 4, 5), noise(1, 4, 5, seed=1) * 6)
    again = read(write(tmp_path / "x.png", x, bits=16)).tensor
    assert (again - x.abs()).abs().max() < 1e-5


def test_a_batch_axis_of_one_is_dropped_and_gradients_do_not_matter(tmp_path):
    x = noise(1, 3, 4, 5).requires_grad_()
    assert read(write(str(tmp_path / "x.png"), x)).tensor.shape == (3, 4, 5)


# ---- bits, transparency, orientation, profiles -------------------------------------------------


def test_bits_follow_the_original_where_the_format_has_them(tmp_path):
    x = noise(3, 4, 5)
    like = Picture(tensor=x, bits=16)
    assert read(write(tmp_path / "x.png", x, like=like)).bits == 16
    assert read(write(tmp_path / "x.jpg", x, like=like)).bits == 8
    assert read(write(tmp_path / "y.png", x)).bits == 8


def test_transparency_is_resized_with_the_picture(tmp_path):
    alpha = torch.ones(1, 4, 6)
    alpha[..., :3] = 0
    like = Picture(tensor=noise(3, 4, 6), alpha=alpha)
    again = read(write(tmp_path / "x.png", noise(3, 8, 12), like=like))
    assert again.alpha.shape == (1, 8, 12)
    assert again.alpha[..., :4].max() == 0 and again.alpha[..., 8:].min() == 1


def test_partial_transparency_is_never_dropped_in_silence(tmp_path):
    x = noise(3, 4, 5)
    with pytest.raises(ImageFileError, match=r"partly transparent, which \.jpg cannot hold"):
        write(tmp_path / "x.jpg", x, like=Picture(tensor=x, alpha=torch.full((1, 4, 5), 0.5)))
    write(tmp_path / "x.jpg", x, like=Picture(tensor=x, alpha=torch.ones(1, 4, 5)))


@pytest.mark.parametrize("orientation", range(1, 9))
@pytest.mark.parametrize("suffix", [".png", ".jpg", ".webp", ".tif"])
def test_orientation_is_applied_once(tmp_path, suffix, orientation):
    array = (gradient(3, 16, 24) * 255).round().byte().movedim(0, -1).numpy()
    path = tmp_path / f"x{suffix}"
    if suffix == ".tif":
        tag = (274, "H", 1, orientation, True)
        tifffile.imwrite(path, array, photometric="rgb", extratags=[tag])
    else:
        exif = Image.Exif()
        exif[0x0112], exif[0x010F] = orientation, "a camera"
        options = {"quality": 95} if suffix == ".jpg" else {"lossless": True}
        Image.fromarray(array).save(path, exif=exif, **options)
    with Image.open(path) as picture:
        expected = np.asarray(ImageOps.exif_transpose(picture).convert("RGB")) / 255
        from_pil = to_tensor(picture)
    first = read(path)
    np.testing.assert_allclose(first.tensor.movedim(0, -1).numpy(), expected, atol=1e-6)
    assert torch.equal(from_pil, first.tensor)
    out = write(tmp_path / f"out{suffix}", first.tensor, like=first)
    second = read(out)
    assert (second.tensor - first.tensor).abs().max() < (0.05 if suffix == ".jpg" else 1e-6)
    if suffix != ".tif":
        with Image.open(out) as picture:
            assert 0x0112 not in picture.getexif()
            assert picture.getexif()[0x010F] == "a camera"


def test_orientation_of_a_16_bit_png(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    x = noise(3, 4, 7)
    like = Picture(tensor=x, bits=16, exif=exif.tobytes())
    again = read(write(tmp_path / "x.png", x, like=like))
    np.testing.assert_allclose(again.tensor.numpy(), stored(x.rot90(-1, (1, 2)), 16), atol=1e-7)


@pytest.mark.parametrize(("suffix", "bits"), [*LOSSLESS[:-1], (".jpg", 8)])
def test_colour_profiles_are_kept(tmp_path, suffix, bits):
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    x = noise(3, 4, 5)
    like = Picture(tensor=x, bits=bits, icc=profile)
    assert read(write(tmp_path / f"x{suffix}", x, bits=bits, like=like)).icc == profile
    grey = read(write(tmp_path / f"y{suffix}", x[:1], bits=bits, like=like))
    assert grey.icc is None  # it describes three channels


def test_the_stored_size_in_exif_does_not_outlive_the_size(tmp_path):
    exif = Image.Exif()
    exif.get_ifd(0x8769)[0xA002] = 12
    exif[0x010F] = "a camera"
    Image.new("RGB", (12, 8)).save(tmp_path / "x.jpg", exif=exif)
    first = read(tmp_path / "x.jpg")
    write(tmp_path / "y.jpg", noise(3, 16, 24), like=first)
    with Image.open(tmp_path / "y.jpg") as picture:
        assert 0xA002 not in picture.getexif().get_ifd(0x8769)


def pil_pictures():
    rgb = Image.fromarray((noise(5, 7, 3) * 255).byte().numpy())
    alpha = Image.fromarray((noise(5, 7) * 255).byte().numpy())
    both = rgb.copy()
    both.putalpha(alpha)
    keyed = rgb.quantize(8)
    keyed.info["transparency"] = 3
    return {
        "1": (rgb.convert("1"), 1, False),
        "L": (rgb.convert("L"), 1, False),
        "LA": (both.convert("LA"), 1, True),
        "P": (rgb.quantize(8), 3, False),
        "P keyed": (keyed, 3, True),
        "RGB": (rgb, 3, False),
        "RGBA": (both, 3, True),
        "CMYK": (rgb.convert("CMYK"), 3, False),
    }


@pytest.mark.parametrize("mode", list(pil_pictures()))
@pytest.mark.parametrize("suffix", [".png", ".tif"])
def test_modes(tmp_path, mode, suffix):
    picture, channels, transparent = pil_pictures()[mode]
    if mode == "CMYK" and suffix == ".png":
        pytest.skip("PNG has no CMYK")
    path = tmp_path / f"x{suffix}"
    picture.save(path)
    found = read(path)
    if "keyed" in mode and suffix == ".tif":
        transparent = False  # TIFF has no transparent palette entry
    assert found.tensor.shape == (channels, 5, 7)
    assert (found.alpha is not None) == transparent
    target = "L" if channels == 1 else "RGB"
    expected = np.asarray(picture.convert("RGBA").convert(target)) / 255
    if picture.mode in ("LA", "1"):
        expected = np.asarray(picture.convert("L")) / 255
    values = found.tensor.movedim(0, -1).squeeze(-1).numpy()
    np.testing.assert_allclose(values, expected, atol=2e-3 if mode == "CMYK" else 1e-6)
    assert torch.equal(to_tensor(picture), found.tensor) or mode == "CMYK"


def test_a_pillow_picture_of_16_bits_and_of_floats():
    whole = np.arange(12, dtype=np.uint16).reshape(3, 4) * 5000
    assert torch.equal(to_tensor(Image.fromarray(whole)), to_tensor(whole))
    wide = Image.fromarray(whole.astype(np.int32))
    assert torch.equal(to_tensor(wide), to_tensor(whole))
    real = np.linspace(-1, 2, 12, dtype=np.float32).reshape(3, 4)
    assert torch.equal(to_tensor(Image.fromarray(real)), to_tensor(real))
    with pytest.raises(ImageFileError, match=r"outside 0\.\.65535 \(mode I\)"):
        to_tensor(Image.fromarray(whole.astype(np.int32) - 1))
    with pytest.raises(ParameterError, match="holds NaN or Inf at 1 of 1 values"):
        to_tensor(Image.fromarray(np.full((1, 1), np.nan, np.float32)))
    with pytest.raises(ImageFileError, match="mode LAB cannot be read"):
        to_tensor(Image.new("LAB", (2, 2)))


def test_tiffs_of_other_programs(tmp_path):
    path = tmp_path / "x.tif"
    grey = np.arange(20, dtype=np.uint16).reshape(4, 5) * 3000
    tifffile.imwrite(path, grey, photometric="miniswhite")
    np.testing.assert_allclose(read(path).tensor[0].numpy(), (65535 - grey) / 65535, atol=1e-7)
    planes = np.stack([grey, grey + 1, grey + 2])
    tifffile.imwrite(path, planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_allclose(read(path).tensor.numpy(), planes / 65535, atol=1e-7)
    tifffile.imwrite(path, planes.astype(">u2"), photometric="rgb", byteorder=">")
    np.testing.assert_allclose(read(path).tensor.numpy(), planes / 65535, atol=1e-7)
    rgba = np.full((4, 5, 4), 50, np.uint8)
    rgba[..., 3] = 100
    tifffile.imwrite(path, rgba, photometric="rgb", extrasamples=["assocalpha"])
    found = read(path)
    np.testing.assert_allclose(found.tensor.numpy(), 0.5, atol=1e-7)
    np.testing.assert_allclose(found.alpha.numpy(), 100 / 255, atol=1e-7)
    tifffile.imwrite(path, grey.astype(np.float64), photometric="minisblack")
    assert read(path).tensor.dtype == torch.float64


# ---- arrays ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dtype", "top", "result"),
    [
        ("uint8", 255, torch.float32),
        ("uint16", 65535, torch.float32),
        (">u2", 65535, torch.float32),
        ("bool", 1, torch.float32),
        ("float16", 1, torch.float32),
        ("float32", 1, torch.float32),
        (">f4", 1, torch.float32),
        ("float64", 1, torch.float64),
    ],
)
@pytest.mark.parametrize("shape", [(4, 5), (4, 5, 1), (4, 5, 3), (4, 5, 4), (4, 5, 6)])
def test_arrays(dtype, top, result, shape):
    array = np.random.default_rng(0).integers(0, 2, shape).astype(dtype)
    found = to_tensor(array)
    expected = (array.reshape(4, 5, -1).astype(float) / top).transpose(2, 0, 1)
    assert found.dtype == result and found.is_contiguous()
    np.testing.assert_allclose(found.numpy(), expected, rtol=1e-6)


def test_floats_are_not_rescaled():
    array = np.array([[-1.0, 300.0]])
    assert to_tensor(array).flatten().tolist() == [-1.0, 300.0]
    assert to_tensor(array[:, ::-1]).flatten().tolist() == [300.0, -1.0]


def test_complex_arrays_are_in_the_order_of_tensors():
    array = np.arange(24).reshape(2, 3, 4) * (1 + 2j)
    assert np.array_equal(to_tensor(array).numpy(), array)
    assert to_tensor(array.astype(np.complex64)).dtype == torch.complex64
    assert np.array_equal(to_tensor(array[0]).numpy(), array[:1])


def test_npy_files_are_in_the_order_of_tensors(tmp_path):
    array = np.random.default_rng(0).random((2, 3, 4, 5))
    for a in (array, array[0], np.asfortranarray(array[0])):
        np.save(tmp_path / "y.npy", a)
        assert np.array_equal(to_tensor(tmp_path / "y.npy").numpy(), a)
    np.save(tmp_path / "y.npy", array[0, 0])
    assert np.array_equal(to_tensor(str(tmp_path / "y.npy")).numpy(), array[0, :1])
    np.save(tmp_path / "y.npy", np.full((3, 4, 5), 51, np.uint8))
    assert to_tensor(tmp_path / "y.npy").shape == (3, 4, 5)
    assert to_tensor(tmp_path / "y.npy").max() == pytest.approx(0.2)


@pytest.mark.parametrize("dtype", ["int32", "int8", "uint32", "int64", "longdouble", "U3", "O"])
def test_arrays_without_a_known_range(dtype):
    array = np.zeros((4, 5), dtype)
    if array.dtype == np.float64:
        pytest.skip("long double is double here")
    with pytest.raises(DtypeError, match=r"the array has dtype .*; expected uint8, uint16, bool"):
        to_tensor(array)


@pytest.mark.parametrize("shape", [(), (5,), (0, 5), (4, 5, 0), (2, 4, 5, 3)])
def test_arrays_of_wrong_shape(shape):
    with pytest.raises(ShapeError, match=r"the array must have shape \(H, W\) or \(H, W, C\)"):
        to_tensor(np.zeros(shape))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_arrays_with_non_finite_values(value):
    array = np.zeros((4, 5, 3))
    array[1, 2, 0] = value
    with pytest.raises(ParameterError, match="the array holds NaN or Inf at 1 of 60 values"):
        to_tensor(array)
    with pytest.raises(ParameterError, match="holds NaN or Inf at 60 of 60 values"):
        to_tensor(np.full((3, 4, 5), complex(0, value)))


def test_a_gigantic_array_is_refused_untouched():
    array = np.broadcast_to(np.zeros(1, np.uint8), (2**15, 2**15))
    with pytest.raises(ImageFileError, match=r"the array has 32768 x 32768 values, more than"):
        to_tensor(array)


def test_the_tensor_does_not_share_the_array():
    array = np.zeros((4, 5), np.float32)
    x = to_tensor(array)
    array[:] = 1
    assert x.max() == 0


def test_other_things():
    with pytest.raises(ParameterError, match=r"a picture is a path, a Pillow picture.*; got list"):
        to_tensor([[0.5]])


# ---- arrays that are easily mistaken -----------------------------------------------------------


@pytest.mark.parametrize("channels", [1, 3])
def test_channels_first_arrays_are_not_taken_for_pictures(channels):
    with pytest.raises(ShapeError, match=r"looks like \(C, H, W\). Give it as a tensor"):
        to_tensor(np.zeros((channels, 6, 7), np.float32))
    assert to_tensor(np.zeros((channels, 6, 4), np.float32)).shape == (4, channels, 6)
    assert to_tensor(np.zeros((2, 6, 31), np.float32)).shape == (31, 2, 6)


def test_masked_values_are_not_taken_for_pixels():
    array = np.ma.masked_array(np.zeros((4, 5), np.float32), np.eye(4, 5, dtype=bool))
    with pytest.raises(ParameterError, match=r"masks 4 of 20 values. Give obj.filled\(0\) and op="):
        to_tensor(array)
    assert to_tensor(np.ma.masked_array(np.zeros((4, 5), np.float32))).shape == (1, 4, 5)


@pytest.mark.filterwarnings("ignore:the matrix subclass:PendingDeprecationWarning")
def test_a_matrix_is_a_grey_picture():
    array = np.arange(6, dtype=np.float32).reshape(2, 3)
    assert torch.equal(to_tensor(np.asmatrix(array)), torch.from_numpy(array)[None])


def test_a_tiff_with_a_further_picture_is_refused_but_not_with_a_preview(tmp_path):
    big, small = np.zeros((8, 10, 3), np.uint8), np.zeros((4, 5, 3), np.uint8)
    for kind, name in ((0, "two.tif"), (1, "preview.tif")):
        with tifffile.TiffWriter(tmp_path / name) as file:
            file.write(big, photometric="rgb")
            file.write(small, photometric="rgb", subfiletype=kind)
    assert read(tmp_path / "preview.tif").tensor.shape == (3, 8, 10)
    with pytest.raises(ImageFileError, match=r"two\.tif holds 2 pages of several kinds; expected"):
        read(tmp_path / "two.tif")


def test_a_picture_that_clipping_spoils_is_not_written_in_silence(tmp_path):
    ringing = torch.full((1, 20, 20), 0.5)
    ringing[0, 0, 0] = 9.0  # a pixel or two may ring
    write(tmp_path / "x.png", ringing)
    with pytest.warns(UserWarning, match=r"100% of the values of .* goes from 127 to 127, and is"):
        write(tmp_path / "x.png", 254 * torch.full((1, 2, 2), 0.5))
