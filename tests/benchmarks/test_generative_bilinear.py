"""The command on two digits that the test makes."""

import re
import struct

import numpy as np
import pytest

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from benchmarks import _generative_digits, generative_bilinear


@pytest.fixture
def file(tmp_path):
    digits = np.zeros((3, 28, 28), np.uint8)
    digits[:, 6:22, 12:16] = 255
    path = tmp_path / "two-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + struct.pack(">3I", *digits.shape) + digits.tobytes())
    return str(path)


def test_restarts_are_timed_together_and_one_by_one(file, capsys, monkeypatch):
    monkeypatch.setattr(_generative_digits, "_TIMED_STEPS", 2)
    argv = ["--data", file, "--count", "2", "--restarts", "2", "--one-by-one"]
    assert generative_bilinear.main(argv) == 0
    out = capsys.readouterr().out
    found = re.search(r"(\S+) s together; (\S+) s one after another \(from 4 of them\), (\S+)", out)
    together, alone, ratio = (float(number) for number in found.groups())
    assert together > 0 and alone > 0 and ratio > 0
    assert "2 digits, 2 restarts of 2 steps" in out


def test_digits_are_restored_and_reported(file, capsys, monkeypatch):
    few = {"max_steps": 2}
    monkeypatch.setattr(_generative_digits, "_FIRST", {**_generative_digits._FIRST, **few})
    monkeypatch.setattr(_generative_digits, "_SLACK", {**_generative_digits._SLACK, **few})
    argv = ["--data", file, "--count", "2", "--steps", "3", "--restarts", "2"]
    assert generative_bilinear.main(argv) == 0
    out = capsys.readouterr().out
    assert "2 digits, 2 restarts of 3 steps" in out
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in out.splitlines() if "%" in line]
    assert [row[0] for row in rows] == [
        "blurred", "coded, decoded", "`generative_bilinear`", "`generative_bilinear_slack`"
    ]  # fmt: skip
    assert 5 < float(rows[0][1]) < 25
    assert all(float(row[2]) <= float(row[1]) for row in rows)
    for row in rows[2:]:
        assert float(row[4]) > 0 and float(row[5]) > 0
