"""The disk cache: found again, bounded, mended when broken, and done without where it must be."""

import os
import warnings
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse
from wellposed.plugins.operators.matrix_cache import cache_folder, remembered


class Builder:
    def __init__(self, seed=0, size=50):
        self.calls, self.seed, self.size = 0, seed, size

    def __call__(self):
        self.calls += 1
        return sparse.random(self.size, self.size, 0.2, format="csr", random_state=self.seed)


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setenv("WELLPOSED_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def same(a, b):
    return a.shape == b.shape and (a != b).nnz == 0


def test_a_matrix_is_built_once_and_found_again(folder):
    build = Builder()
    first, second = remembered("a", build), remembered("a", build)
    assert build.calls == 1 and same(first, second)
    assert not same(remembered("b", Builder(1)), first)
    assert [p.suffix for p in folder.iterdir()] == [".npz"] * 2


@pytest.mark.parametrize("damage", ["truncated", "flipped", "empty", "foreign"])
def test_a_broken_file_is_built_anew_with_a_warning(folder, damage):
    want = remembered("a", Builder())
    (path,) = folder.iterdir()
    data = bytearray(path.read_bytes())
    if damage == "flipped":
        data[len(data) // 2] ^= 0xFF
    path.write_bytes(
        {"truncated": data[:-200], "flipped": data, "empty": b""}.get(damage, b"hello")
    )
    build = Builder()
    with pytest.warns(RuntimeWarning, match=r"cannot be read .* computed again"):
        assert same(remembered("a", build), want)
    assert build.calls == 1
    assert same(remembered("a", build), want) and build.calls == 1


def test_pickles_are_refused(folder):
    remembered("a", Builder())
    (path,) = folder.iterdir()
    np.savez(path, data=np.array([{}], dtype=object), allow_pickle=True)
    with pytest.warns(RuntimeWarning, match=r"cannot be read"):
        remembered("a", Builder())


def test_the_files_used_longest_ago_make_room(folder):
    size = Builder()().data.nbytes * 2
    limit = 3 * size
    for age, key in enumerate("abc"):
        remembered(key, Builder(age), limit=limit)
        for path in folder.iterdir():  # older by a minute each
            os.utime(path, (path.stat().st_mtime - 60,) * 2)
    remembered("a", Builder(), limit=limit)  # used: no longer the oldest
    remembered("d", Builder(3), limit=limit)
    assert sum(p.stat().st_size for p in folder.iterdir()) <= limit
    kept = Builder()
    remembered("a", kept, limit=limit)
    gone = Builder()
    remembered("b", gone, limit=limit)
    assert (kept.calls, gone.calls) == (0, 1)


def test_a_matrix_above_the_limit_is_not_stored(folder):
    build = Builder()
    remembered("a", build, limit=100)
    remembered("a", build, limit=100)
    assert build.calls == 2 and not folder.exists()


def test_a_folder_that_cannot_be_written_is_done_without(tmp_path, monkeypatch):
    (tmp_path / "file").write_text("in the way")
    monkeypatch.setenv("WELLPOSED_CACHE", str(tmp_path / "file" / "cache"))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert remembered("a", Builder()).shape == (50, 50)


def test_no_partial_file_is_left_when_the_disk_is_full(folder, monkeypatch):
    def full(*args, **kwargs):
        raise OSError("no space left on device")

    monkeypatch.setattr(np, "savez", full)
    assert remembered("a", Builder()).shape == (50, 50)
    assert list(folder.iterdir()) == []


def test_the_folder_follows_the_platform(monkeypatch):
    monkeypatch.setenv("WELLPOSED_CACHE", "/somewhere")
    assert cache_folder() == Path("/somewhere")
    monkeypatch.delenv("WELLPOSED_CACHE")
    monkeypatch.setattr("sys.platform", "linux")
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert cache_folder() == Path("/xdg/wellposed")
    monkeypatch.delenv("XDG_CACHE_HOME")
    assert cache_folder() == Path.home() / ".cache" / "wellposed"
    monkeypatch.setattr("sys.platform", "darwin")
    assert cache_folder() == Path.home() / "Library" / "Caches" / "wellposed"
    monkeypatch.setattr("sys.platform", "win32")
    monkeypatch.setenv("LOCALAPPDATA", "/local")
    assert cache_folder() == Path("/local/wellposed")
