"""The tests of `tests/pretended`, in a process of their own: the device that they make stays."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).parent / "pretended"


def test_on_a_device_that_is_not_there():
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(HERE)]
    found = subprocess.run(command, cwd=HERE.parents[1], capture_output=True, text=True)
    assert found.returncode == 0, found.stdout[-20_000:] + found.stderr[-2_000:]
