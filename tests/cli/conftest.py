"""Running the command line inside the test process."""

from __future__ import annotations

import pytest
import torch
from typer.testing import CliRunner
from wellposed.cli.app import app
from wellposed.images import write


@pytest.fixture
def run(monkeypatch, tmp_path):
    """Return a function that runs `wellposed ...` in an empty folder and checks the exit code."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "200")

    def call(*words, code=0):
        result = CliRunner().invoke(app, [str(word) for word in words])
        if result.exception and not isinstance(result.exception, SystemExit):
            raise result.exception
        assert result.exit_code == code, result.output
        assert "Traceback" not in result.output
        return result

    return call


@pytest.fixture
def picture(tmp_path):
    """Return a function that writes a small picture and returns its path."""

    def make(name="x.png", *, channels=3, height=12, width=16, bits=None):
        x = torch.rand(channels, height, width, generator=torch.Generator().manual_seed(0))
        return write(tmp_path / name, x, bits=bits)

    return make
