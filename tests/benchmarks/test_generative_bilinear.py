"""The command on two digits that the test makes."""

import struct

import numpy as np
import pytest

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from benchmarks import generative_bilinear


def test_digits_are_restored_and_reported(tmp_path, capsys):
    digits = np.zeros((3, 28, 28), np.uint8)
    digits[:, 6:22, 12:16] = 255
    path = tmp_path / "two-idx3-ubyte"
    path.write_bytes(b"\0\0\x08\x03" + struct.pack(">3I", *digits.shape) + digits.tobytes())
    argv = ["--data", str(path), "--count", "2", "--steps", "3", "--restarts", "2"]
    assert generative_bilinear.main(argv) == 0
    out = capsys.readouterr().out
    assert "2 digits, 2 restarts of 3 steps" in out
    rows = {line.split("|")[1].strip(): line for line in out.splitlines() if "dB |" in line}
    assert set(rows) == {"blurred, dB", "coded, decoded, dB", "found, dB"}
    blurred = float(rows["blurred, dB"].split("|")[2])
    assert 5 < blurred < 25 and "s a picture" in out and "relative error" in out
