"""Pictures in, crops out: the same from a folder, an archive, an array, memory or disk."""

import pickle
import zipfile

import numpy as np
import pytest
import torch
from wellposed.errors import DataError, ParameterError, TrainingWarning
from wellposed.images import read, write
from wellposed.training.batches import open_data
from wellposed.training.fetch import fetch
from wellposed.training.pool import DiskPool, MemoryPool, load_pool
from wellposed.training.recipe import DataRecipe, recipe_from
from wellposed.training.sources import open_source

from .conftest import smooth_picture


def recipe(batch=4, seed=0, loss="l1", **data):
    operator = None if data.get("kind") == "pairs" else "identity"
    given = {
        "network": "toy_network", "feed": "measurement", "operator": operator, "loss": loss,
        "batch": batch, "steps": 9, "seed": seed, "data": data,
    }  # fmt: skip
    return recipe_from(given)


def crops(path, steps=3, own=slice(0, 4), most_bytes=None, **data):
    batches, _ = open_data(path, recipe(**data), own=own, most_bytes=most_bytes)
    return torch.cat([batches[step].picture for step in range(steps)]), batches


def test_a_folder_an_archive_and_an_array_give_the_same_crops(tmp_path):
    folder = tmp_path / "a"
    (folder / "sub").mkdir(parents=True)
    array = np.empty((5, 20, 24, 3), np.uint8)
    for i in range(5):
        path = write(folder / ("sub" if i > 2 else "") / f"{i}.png", smooth_picture(i))
        array[i] = (read(path).tensor.movedim(0, -1) * 255).round().numpy()
    np.save(tmp_path / "a.npy", array)
    np.save(tmp_path / "b.npy", np.moveaxis(array, -1, 1).astype(np.float32) / 255)
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(folder.rglob("*.png")):
            archive.write(path, path.relative_to(folder))
    expected, _ = crops(folder, crop=12, rotations=True)
    assert expected.shape == (12, 3, 12, 12)
    for name in ("a.npy", "a.zip", "b.npy"):
        assert torch.equal(crops(tmp_path / name, crop=12, rotations=True)[0], expected)


def test_every_crop_is_a_piece_of_a_picture_in_one_of_eight_positions(pictures):
    found, batches = crops(pictures, crop=12, rotations=True, steps=6)
    windows = [
        read(pictures / f"{i}.png").tensor.unfold(1, 12, 1).unfold(2, 12, 1) for i in range(6)
    ]
    seen = set()
    for crop in found:
        hits = set()
        for position in range(8):
            turned = torch.rot90(crop, position % 4, (1, 2))
            turned = turned.flip(2) if position >= 4 else turned
            for number, window in enumerate(windows):
                same = (window.movedim(0, 2) == turned).all(-1).all(-1).all(-1)
                hits |= {(number, position)} if same.any() else set()
        assert len(hits) == 1
        seen |= hits
    assert {number for number, _ in seen} == set(range(6))
    assert len({position for _, position in seen}) == 8
    assert batches.shape == (3, 12, 12)


def test_every_picture_is_seen_once_in_each_epoch(pictures):
    _, batches = crops(pictures, crop=12)
    order = np.concatenate([batches._entries(step) for step in range(6)])  # 24 samples, 4 epochs
    for epoch in order.reshape(4, 6):
        assert sorted(epoch) == list(range(6))
    assert len({tuple(epoch) for epoch in order.reshape(4, 6)}) > 1


def test_ranks_disk_and_workers_change_nothing(pictures):
    data = {"crop": 12, "rotations": True, "scales": [1.0, 0.8]}
    expected, batches = crops(pictures, **data)
    assert isinstance(batches.pool, MemoryPool)
    assert len(batches.pool.names) == 12
    parts = [crops(pictures, own=slice(i, i + 2), steps=1, **data)[0] for i in (0, 2)]
    assert torch.equal(torch.cat(parts), expected[:4])
    found, small = crops(pictures, most_bytes=0, **data)
    assert isinstance(small.pool, DiskPool)
    torch.testing.assert_close(found, expected)
    assert isinstance(batches.pool, MemoryPool)
    for step in range(3):  # what a GPU does instead of a loop
        cuts = batches._plan(step)
        assert torch.equal(batches.pool.gather(cuts), batches.pool.cut(cuts))
    again = pickle.loads(pickle.dumps(small))
    torch.testing.assert_close(again[1].picture, expected[4:8])


def test_workers_bring_the_batches_in_order(pictures):
    _, small = crops(pictures, crop=12, most_bytes=0)
    found = [sample.picture for sample in fetch(small, 1, 3, workers=1)]
    torch.testing.assert_close(torch.cat(found), torch.cat([small[1].picture, small[2].picture]))
    with pytest.raises(ParameterError, match=r"expected 0 workers or more; got -1"):
        next(fetch(small, 0, 1, workers=-1))


def test_other_seeds_and_steps_give_other_crops(pictures):
    _, batches = crops(pictures, crop=12)
    other, _ = open_data(pictures, recipe(seed=1, crop=12), own=slice(0, 4))
    assert not torch.equal(batches[0].picture, batches[1].picture)
    assert not torch.equal(batches[0].picture, other[0].picture)


def test_colours_and_sizes(pictures, tmp_path):
    write(pictures / "grey.png", smooth_picture(9, channels=1))
    assert crops(pictures, crop=8)[0].shape[1] == 3
    assert crops(pictures, crop=8, colour="grey")[0].shape[1] == 1
    luminance = crops(pictures, crop=8, colour="luminance")[0]
    assert luminance.shape[1] == 1
    assert 16 / 255 <= luminance.min() and luminance.max() <= 235 / 255 + 1e-6
    with pytest.raises(DataError, match=r"different channels: 0.png is .* Set colour: rgb"):
        crops(pictures, crop=8, colour="as_is")
    with pytest.raises(DataError, match=r"different sizes: .* Set crop: 64"):
        crops(pictures)
    middle, batches = crops(pictures, first=2, middle=[9, 7], crop=[9, 7], flips=False)
    assert batches.pool.names == ("0.png@1", "1.png@1")
    cut = read(pictures / "1.png").tensor[:, 6:15, 8:15]
    assert any(torch.equal(one, cut) for one in middle)
    with (
        pytest.warns(TrainingWarning, match=r"20 x 24 pixels, smaller than its middle part of 30"),
        pytest.raises(DataError, match=r"of 7 pictures 0 can be used"),
    ):
        crops(pictures, middle=30)
    _, batches = crops(pictures, resize=10, crop=10)
    assert {min(shape[1:]) for shape in batches.pool.shapes} == {10}


def test_what_cannot_be_read_is_skipped_and_named(pictures):
    (pictures / "cut.png").write_bytes((pictures / "0.png").read_bytes()[:100])
    (pictures / "text.jpg").write_text("not a picture")
    (pictures / "empty.png").touch()
    write(pictures / "small.png", smooth_picture(1, height=5))
    (pictures / "notes.txt").write_text("ignored")
    with pytest.warns(TrainingWarning, match=r"4 of 10 pictures are skipped") as caught:
        _, batches = crops(pictures, crop=12)
    text = str(caught[0].message)
    assert all(name in text for name in ("cut.png", "text.jpg", "empty.png", "small.png (5 x 24"))
    assert len(batches.pool.names) == 6


def test_damaged_members_of_an_archive_are_skipped(tmp_path, pictures):
    target = tmp_path / "a.zip"
    with zipfile.ZipFile(target, "w") as archive:
        for path in sorted(pictures.iterdir()):
            archive.write(path, path.name)
        archive.writestr("bad.png", b"nothing")
    data = bytearray(target.read_bytes())
    at = data.find(b"IDAT")
    data[at + 20] ^= 255  # its checksum no longer fits
    target.write_bytes(bytes(data))
    with pytest.warns(TrainingWarning, match=r"2 of 7 pictures are skipped") as caught:
        _, batches = crops(target, crop=12)
    assert "0.png" in str(caught[0].message) and "bad.png" in str(caught[0].message)
    assert len(batches.pool.names) == 5


def test_members_that_unpack_to_too_much_are_skipped(tmp_path, pictures, monkeypatch):
    with zipfile.ZipFile(tmp_path / "a.zip", "w") as archive:
        for path in sorted(pictures.iterdir()):
            archive.write(path, path.name)
    largest = max(path.stat().st_size for path in pictures.iterdir())
    monkeypatch.setattr("wellposed.training.sources._MOST_BYTES", largest - 1)
    with pytest.warns(TrainingWarning, match=r"unpacks to more than"):
        assert len(crops(tmp_path / "a.zip", crop=12)[1].pool.names) < 6


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda p: None, "there is no folder or file .*none. --data expects a folder"),
        (lambda p: p.mkdir(), "none holds no pictures"),
        (lambda p: p.write_text("x"), "neither a folder nor a zip archive nor a .npy array"),
    ],
)
def test_nothing_to_read_is_an_error(tmp_path, make, message):
    make(tmp_path / "none")
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / "none")


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.zeros((2, 3)), r"must hold pictures .*got \(2, 3\)"),
        (np.zeros((2, 4, 4), np.int64), "has dtype int64; expected uint8"),
        (np.zeros((2, 4, 4, 5), np.uint8), "neither its second nor its last axis is 1 or 3"),
        (np.array([None, 1]), "cannot be read as .npy"),
    ],
)
def test_arrays_of_another_kind_are_refused(tmp_path, array, message):
    np.save(tmp_path / "a.npy", array, allow_pickle=True)
    with pytest.raises(DataError, match=message):
        open_source(tmp_path / "a.npy")


def test_arrays_with_nan_lose_those_pictures_only(tmp_path):
    array = np.random.default_rng(0).random((3, 8, 8), np.float32)
    array[1, 2, 2] = np.nan
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(TrainingWarning, match=r"a.npy\[1\] holds NaN or Inf at 1 values"):
        pool, _ = load_pool(open_source(tmp_path / "a.npy"), DataRecipe(colour="grey", crop=8))
    assert len(pool.names) == 2


def test_pictures_in_other_units_are_named(tmp_path):
    array = np.random.default_rng(0).random((3, 8, 8), np.float32)
    array[1] *= 255
    np.save(tmp_path / "a.npy", array)
    with pytest.warns(TrainingWarning, match=r"in \[0, 1\]; not so a.npy\[1\] \(.* to 25\d\). Div"):
        pool, _ = load_pool(open_source(tmp_path / "a.npy"), DataRecipe(colour="grey", crop=8))
    assert len(pool.names) == 3


def test_pictures_are_held_out(pictures):
    batches, held = open_data(pictures, recipe(crop=12, held_out=2), own=slice(0, 4))
    assert len(held.pool.names) == 2
    assert not set(held.pool.names) & set(batches.pool.names)
    with pytest.raises(DataError, match=r"6 can be used, and 6 of them are to be held out"):
        open_data(pictures, recipe(crop=12, held_out=6), own=slice(0, 4))


def test_pairs_are_cut_at_the_same_place(tmp_path):
    for name in ("x", "y"):
        (tmp_path / name).mkdir()
    for i in range(3):
        x = smooth_picture(i, height=16, width=20)
        write(tmp_path / "x" / f"{i}.png", x)
        write(tmp_path / "y" / f"{i}.png", x[:, ::2, ::2])
    made = recipe(kind="pairs", crop=8, flips=False)
    batches, _ = open_data(tmp_path, made, own=slice(0, 4))
    for step in range(4):
        sample = batches[step]
        assert sample.picture.shape == (4, 3, 8, 8)
        assert torch.equal(sample.picture[:, :, ::2, ::2], sample.measurement)
    odd = recipe(kind="pairs", crop=7, flips=False)
    with pytest.raises(DataError, match=r"a crop that is a multiple"):
        open_data(tmp_path, odd, own=slice(0, 4))
    (tmp_path / "y" / "2.png").unlink()
    with pytest.raises(DataError, match=r"these have no partner: 2.png"):
        open_data(tmp_path, made, own=slice(0, 4))


def test_pairs_that_are_held_out_belong_together(tmp_path):
    for name, lost in (("x", 1), ("y", 2)):
        (tmp_path / name).mkdir()
        for i in {0, 1, 2, 3, 4} - {lost}:
            write(tmp_path / name / f"{i}.png", smooth_picture(i, height=16, width=20))
    made = recipe(kind="pairs", crop=8, flips=False, held_out=1)
    # of the four that are left of each, seed 0 holds out the second: 2 of x, 1 of y
    with pytest.raises(DataError, match=r"these have no partner: 1.png.*, 2.png"):
        open_data(tmp_path, made, own=slice(0, 4))


def test_measurements_come_alone(pictures):
    made = recipe(
        kind="measurements", crop=12, flips=False, loss={"norm": "l2", "on": "measurement"}
    )
    batches, _ = open_data(pictures, made, own=slice(0, 4))
    assert batches[0].picture is None
    assert batches[0].measurement.shape == (4, 3, 12, 12)


def test_whole_pictures_must_allow_what_the_recipe_asks(tmp_path):
    np.save(tmp_path / "a.npy", np.zeros((3, 8, 6), np.uint8))
    with pytest.raises(DataError, match=r"turned by 90 degrees, but are not square"):
        crops(tmp_path / "a.npy", rotations=True)
    with pytest.raises(DataError, match=r"of several scales differ in size, so they need a crop"):
        crops(tmp_path / "a.npy", scales=[1.0, 0.5])
    assert crops(tmp_path / "a.npy")[0].shape == (12, 3, 8, 6)
