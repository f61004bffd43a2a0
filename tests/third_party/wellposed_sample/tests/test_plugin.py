"""The conformance kit on what this package declares, and the operator's own mathematics."""

from __future__ import annotations

import pytest
import torch
from wellposed.errors import ParameterError, ShapeError
from wellposed.testing import OperatorKit, PluginKit

from wellposed_sample.binning import Binning


class TestPlugin(PluginKit):
    distribution = "wellposed-sample"


class TestBinning(OperatorKit):
    component = ("operator", "sample_binning")

    @staticmethod
    def oracle(op: Binning) -> torch.Tensor:
        """The matrix by its definition, one pixel at a time."""
        _, h, w = op.in_shape
        rows, columns = op.out_space.numel, op.in_space.numel
        matrix = torch.zeros((rows, columns), dtype=op.dtype)
        for column in range(columns):
            k, rest = divmod(column, h * w)
            i, j = rest // w // op.factor, rest % w // op.factor
            row = (k * (h // op.factor) + i) * (w // op.factor) + j
            matrix[row, column] = 1 / op.factor**2
        return matrix if op.gain is None else op.gain[:, None, None] * matrix


def test_a_block_becomes_its_mean() -> None:
    x = torch.arange(4.0).reshape(1, 2, 2)
    assert Binning(in_shape=(1, 2, 2))(x).item() == 1.5


def test_what_cannot_be_binned_is_refused() -> None:
    with pytest.raises(ShapeError, match=r"divisible by it; got \(1, 3, 2\)"):
        Binning(in_shape=(1, 3, 2))
    with pytest.raises(ParameterError, match="whole number of at least 1; got 0"):
        Binning(in_shape=(1, 2, 2), factor=0)
    with pytest.raises(ShapeError, match=r"one value per sample, \(B,\); got \(1, 1\)"):
        Binning(in_shape=(1, 2, 2), gain=torch.ones(1, 1))
