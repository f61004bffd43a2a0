"""Hostile picture files, and writes that must leave nothing behind."""

from __future__ import annotations

import io
import os
import struct
import sys
import zlib

import imagecodecs
import numpy as np
import pytest
import tifffile
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from PIL import Image
from wellposed import images
from wellposed.errors import DtypeError, ImageFileError, ParameterError, ShapeError
from wellposed.images import read, to_tensor, write


def noise(*shape, seed=0):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


# ---- hostile files -----------------------------------------------------------------------------


def png_header(width, height, depth=8, colour=2):
    data = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    chunk = b"IHDR" + data
    return (
        b"\x89PNG\r\n\x1a\n" + struct.pack(">I", 13) + chunk + struct.pack(">I", zlib.crc32(chunk))
    )


def encoded(suffix, **options):
    buffer = io.BytesIO()
    if suffix == "16.png":
        return imagecodecs.png_encode((noise(20, 30, 3) * 65535).int().numpy().astype(np.uint16))
    if suffix == ".tif":
        tifffile.imwrite(buffer, (noise(20, 30, 3) * 255).byte().numpy(), **options)
    else:
        kind = {".png": "PNG", ".jpg": "JPEG", ".webp": "WEBP", ".bmp": "BMP"}[suffix]
        Image.fromarray((noise(20, 30, 3) * 255).byte().numpy()).save(buffer, kind)
    return buffer.getvalue()


@pytest.mark.parametrize("part", [0.2, 0.5, 0.9])
@pytest.mark.parametrize("suffix", [".png", "16.png", ".jpg", ".webp", ".bmp", ".tif"])
def test_a_file_that_was_cut_off(tmp_path, suffix, part):
    data = encoded(suffix)
    path = tmp_path / f"x{suffix}"
    path.write_bytes(data[: int(len(data) * part)])
    with pytest.raises(ImageFileError, match=r"x.*(damaged or cut off|is cut off|empty|not a pic)"):
        read(path)


def test_a_compressed_tiff_that_was_cut_off(tmp_path):
    data = encoded(".tif", compression="adobe_deflate")
    (tmp_path / "x.tif").write_bytes(data[:-30])
    with pytest.raises(ImageFileError, match=r"x\.tif is cut off: pixels are missing"):
        read(tmp_path / "x.tif")


@pytest.mark.parametrize("suffix", [".png", "16.png", ".jpg", ".webp", ".bmp", ".tif"])
@given(data=st.data())
@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_damaged_file_is_read_or_refused(tmp_path, suffix, data):
    content = bytearray(encoded(suffix))
    for _ in range(data.draw(st.integers(1, 5))):
        place = data.draw(st.integers(0, len(content) - 1))
        content[place] = data.draw(st.integers(0, 255))
    path = tmp_path / f"x{suffix}"
    path.write_bytes(content)
    try:
        assert torch.isfinite(read(path).tensor).all()
    except ImageFileError as error:
        assert str(path) in str(error)


@given(content=st.binary(max_size=200), head=st.sampled_from(["", *images.SUFFIXES]))
@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_noise_behind_a_genuine_head(tmp_path, content, head):
    heads = {
        ".png": png_header(4, 4),
        ".jpg": b"\xff\xd8\xff\xe0",
        ".jpeg": b"\xff\xd8\xff\xc0",
        ".tif": b"II*\0\x08\0\0\0",
        ".tiff": b"MM\0+\0\x08\0\0",
        ".webp": b"RIFF\x20\0\0\0WEBPVP8 ",
        ".bmp": b"BM",
        ".npy": b"\x93NUMPY\x01\0",
    }
    path = tmp_path / "x.png"
    path.write_bytes(heads.get(head, b"") + content)
    with pytest.raises(ImageFileError):
        read(path)
    named = path.rename(tmp_path / "x.npy")
    with pytest.raises(ImageFileError):
        to_tensor(named)


def test_an_empty_file_and_a_text_file(tmp_path):
    path = tmp_path / "x.png"
    path.write_bytes(b"")
    with pytest.raises(ImageFileError, match=r"x\.png is empty: expected the content of a PNG"):
        read(path)
    path.write_text("hello")
    with pytest.raises(ImageFileError, match=r"x\.png is not a picture that is read here: "):
        read(path)


def test_missing_files_and_folders(tmp_path):
    with pytest.raises(ImageFileError, match=r"there is no file .*nowhere\.png"):
        read(tmp_path / "nowhere.png")
    with pytest.raises(ImageFileError, match="is a folder, not a picture; name the files in it"):
        read(tmp_path)
    with pytest.raises(ImageFileError, match=r"cannot read .*nowhere\.npy as \.npy: No such file"):
        to_tensor(tmp_path / "nowhere.npy")


@pytest.mark.skipif(sys.platform == "win32", reason="no named pipes")
def test_a_pipe_is_neither_read_nor_replaced(tmp_path):
    os.mkfifo(tmp_path / "x.png")
    with pytest.raises(ImageFileError, match="is not a regular file"):
        read(tmp_path / "x.png")
    with pytest.raises(ImageFileError, match="it is not a regular file"):
        write(tmp_path / "x.png", noise(1, 2, 2))


def huge_headers():
    webp = b"RIFF\xff\0\0\0WEBPVP8X\x0a\0\0\0\0\0\0\0" + b"\xff\x3f\0" * 2 + b"\0" * 20
    bmp = b"BM" + struct.pack("<IHHIIiiHHIIiiII", 54, 0, 0, 54, 40, 2**15, 2**15, 1, 24, *[0] * 6)
    jpeg = bytearray(encoded(".jpg"))
    start = jpeg.index(b"\xff\xc0")
    jpeg[start + 5 : start + 9] = b"\xff\xff\xff\xff"
    ifd = [
        (256, 4, 1, 2**16),
        (257, 4, 1, 2**16),
        (258, 3, 1, 8),
        (259, 3, 1, 1),
        (262, 3, 1, 1),
        (273, 4, 1, 8),
        (277, 3, 1, 1),
        (278, 4, 1, 2**16),
        (279, 4, 1, 2**32 - 1),
    ]
    tiff = b"II*\0\x08\0\0\0" + struct.pack("<H", len(ifd))
    tiff += b"".join(struct.pack("<HHII", *entry) for entry in ifd) + b"\0" * 4
    return {
        "8.png": png_header(2**16, 2**16),
        "16.png": png_header(2**16, 2**16, 16),
        "grey.png": png_header(2**14, 2**14 + 1, 8, 0),
        "x.webp": webp,
        "x.bmp": bmp,
        "x.jpg": bytes(jpeg),
        "x.tif": tiff,
    }


@pytest.mark.parametrize("name", list(huge_headers()))
def test_a_gigapixel_header_is_refused_before_decoding(tmp_path, name):
    (tmp_path / name).write_bytes(huge_headers()[name])
    with pytest.raises(ImageFileError, match=r"has \d+ x \d+( x \d+)? values, more than the \d+"):
        read(tmp_path / name)


def test_our_bound_is_the_only_one(tmp_path):
    """A grey picture of 2^28 pixels passes the header check, where Pillow would refuse it."""
    (tmp_path / "x.png").write_bytes(png_header(2**14, 2**14, 8, 0) + b"\0" * 12)
    with pytest.raises(ImageFileError, match=r"x\.png is damaged or cut off"):
        read(tmp_path / "x.png")


def test_a_gigapixel_npy_is_refused_before_reading(tmp_path):
    header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1048576, 1048576), }"
    header = header.ljust(117) + b"\n"
    data = b"\x93NUMPY\x01\0" + struct.pack("<H", len(header)) + header
    (tmp_path / "x.npy").write_bytes(data)
    with pytest.raises(ImageFileError, match=r"cannot read .*x\.npy as \.npy|more than"):
        to_tensor(tmp_path / "x.npy")
    with (tmp_path / "x.npy").open("wb") as file:  # a hole: as large as it says, nothing on disk
        file.write(data.replace(b"(1048576, 1048576)", b"(32768, 32768)    "))
        file.truncate(len(data) + 2**33)
    with pytest.raises(ImageFileError, match=r"x\.npy has 32768 x 32768 values, more than"):
        to_tensor(tmp_path / "x.npy")


def test_an_npy_that_would_run_code_or_holds_several_arrays(tmp_path):
    np.save(tmp_path / "x.npy", np.array([{"a": 1}]), allow_pickle=True)
    with pytest.raises(ImageFileError, match=r"cannot read .*x\.npy as \.npy"):
        to_tensor(tmp_path / "x.npy")
    np.savez(tmp_path / "x.npz", a=np.zeros(3))
    (tmp_path / "x.npz").rename(tmp_path / "y.npy")
    with pytest.raises(ImageFileError, match=r"y\.npy holds several arrays \(\.npz\)"):
        to_tensor(tmp_path / "y.npy")


def test_a_zip_bomb_of_text_in_a_png(tmp_path):
    bomb = b"comment\0\0" + zlib.compress(b"\0" * 2**26)
    chunk = struct.pack(">I", len(bomb)) + b"zTXt" + bomb
    chunk += struct.pack(">I", zlib.crc32(b"zTXt" + bomb))
    data = encoded(".png")
    (tmp_path / "x.png").write_bytes(data[:33] + chunk + data[33:])
    try:
        read(tmp_path / "x.png")
    except ImageFileError as error:
        assert "damaged" in str(error)


def test_tiffs_that_are_not_one_picture(tmp_path):
    path = tmp_path / "x.tif"
    tifffile.imwrite(path, np.zeros((5, 4, 6), np.uint8), photometric="minisblack")
    with pytest.raises(ImageFileError, match=r"x\.tif holds 5 pages of one kind; expected one"):
        read(path)
    tifffile.imwrite(path, np.zeros((4, 6), np.int16))
    with pytest.raises(ImageFileError, match=r"holds int16 values, whose range is not known"):
        read(path)
    tifffile.imwrite(path, np.zeros((4, 6, 3), np.uint8), photometric="cielab")
    with pytest.raises(ImageFileError, match=r"has the colour model .*, which is not read"):
        read(path)
    tifffile.imwrite(path, np.zeros((3, 4, 6), np.uint8), volumetric=True, photometric=1)
    with pytest.raises(ImageFileError, match=r"x\.tif (has the axes|holds 3 pages)"):
        read(path)
    tifffile.imwrite(path, np.full((4, 6), np.nan, np.float32))
    with pytest.raises(ImageFileError, match=r"x\.tif holds NaN or Inf at 24 of 24 values"):
        read(path)


def test_no_memory(tmp_path, monkeypatch):
    def fails(*_):
        raise MemoryError

    monkeypatch.setattr("wellposed.rasters.from_pil", fails)
    (tmp_path / "x.png").write_bytes(encoded(".png"))
    with pytest.raises(ImageFileError, match=r"x\.png: there is not enough memory"):
        read(tmp_path / "x.png")


# ---- writing -----------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["x.gif", "x", "x.png.bak"])
def test_unknown_suffixes(tmp_path, name):
    with pytest.raises(ImageFileError, match=r"is not a format that is written.*\.png, \.jpg"):
        write(tmp_path / name, noise(1, 2, 2))
    assert not list(tmp_path.iterdir())


def test_pictures_that_a_format_cannot_hold(tmp_path):
    with pytest.raises(ImageFileError, match=r"\.png holds 1 \(grey\) or 3 \(RGB\).*; got 5"):
        write(tmp_path / "x.png", noise(5, 2, 2))
    with pytest.raises(ShapeError, match=r"one picture \(C, H, W\) is written at a time"):
        write(tmp_path / "x.png", noise(2, 3, 4, 4))
    with pytest.raises(ShapeError, match=r"one picture \(C, H, W\).*; got \(4, 4\)"):
        write(tmp_path / "x.png", noise(4, 4))
    with pytest.raises(DtypeError, match=r"a picture holds floats in \[0, 1\]; got torch\.uint8"):
        write(tmp_path / "x.png", torch.zeros(1, 2, 2, dtype=torch.uint8))
    with pytest.raises(ImageFileError, match=r"holds NaN or Inf at 4 of 4 values; nothing is"):
        write(tmp_path / "x.png", torch.full((1, 2, 2), torch.nan))
    assert not list(tmp_path.iterdir())


def test_bits_that_a_format_lacks(tmp_path):
    with pytest.raises(ParameterError, match=r"\.jpg holds 8 bits per value; got bits=16"):
        write(tmp_path / "x.jpg", noise(1, 2, 2), bits=16)
    with pytest.raises(ParameterError, match=r"\.png holds 8 or 16 bits per value; got bits=12"):
        write(tmp_path / "x.png", noise(1, 2, 2), bits=12)
    with pytest.raises(ParameterError, match=r"\.npy holds the tensor as it is; leave bits out"):
        write(tmp_path / "x.npy", noise(1, 2, 2), bits=8)


def test_places_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("not a folder")
    (tmp_path / "folder.png").mkdir()
    x = noise(1, 2, 2)
    with pytest.raises(ImageFileError, match=r"cannot write .*: .*file is not a folder"):
        write(tmp_path / "file" / "x.png", x)
    with pytest.raises(ImageFileError, match=r"nowhere does not exist\. Create the folder first"):
        write(tmp_path / "nowhere" / "x.png", x)
    with pytest.raises(ImageFileError, match=r"it is a folder\. Name a file"):
        write(tmp_path / "folder.png", x)
    assert sorted(p.name for p in tmp_path.rglob("*")) == ["file", "folder.png"]


@pytest.mark.parametrize("error", [OSError(28, "No space left on device"), KeyboardInterrupt()])
def test_an_interrupted_write_leaves_the_old_file(tmp_path, monkeypatch, error):
    path = write(tmp_path / "x.png", noise(1, 2, 2))
    before = path.read_bytes()

    def fails(*_):
        raise error

    monkeypatch.setattr("os.replace", fails)
    expected = ImageFileError if isinstance(error, OSError) else KeyboardInterrupt
    match = r"cannot write .*x\.png: No space left" if isinstance(error, OSError) else None
    with pytest.raises(expected, match=match):
        write(path, noise(1, 9, 9))
    assert [p.name for p in tmp_path.iterdir()] == ["x.png"]
    assert path.read_bytes() == before
