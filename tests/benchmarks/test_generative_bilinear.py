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


@pytest.fixture
def few(monkeypatch):
    """Make the second solver do two steps."""
    for name in ("_FIRST", "_SLACK"):
        params = {**getattr(_generative_digits, name), "max_steps": 2}
        monkeypatch.setattr(_generative_digits, name, params)


def test_digits_are_restored_and_reported(file, capsys, few):
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


def test_digits_once_more_with_restarts_at_rest(file, capsys, few):
    argv = ["--data", file, "--count", "2", "--steps", "4", "--restarts", "3", "--cpu-time"]
    assert generative_bilinear.main([*argv, "--halve-every", "4"]) == 0
    out = capsys.readouterr().out
    rows = [[c.strip() for c in line.split("|")[1:-1]] for line in out.splitlines() if "%" in line]
    assert [row[0] for row in rows[2:4]] == [
        "`generative_bilinear`", "`generative_bilinear`, halved every 4"
    ]  # fmt: skip
    assert rows[2][1:5] == rows[3][1:5]  # too late for any to rest
    assert "threads, time of the processor" in out


@pytest.mark.parametrize(
    ("argv", "says"),
    [
        (["--data", "f", "--halve-every", "0"], "--halve-every: expected 1 or more"),
        (["--data", "f", "--halve-every", "5", "--one-by-one"], "--halve-every belongs to --data"),
        (["--table", "1", "--reference", ".", "--cpu-time"], "--cpu-time belongs to --data"),
    ],
)
def test_options_that_mean_nothing(argv, says, capsys):
    with pytest.raises(SystemExit):
        generative_bilinear.main(argv)
    assert says in capsys.readouterr().err
