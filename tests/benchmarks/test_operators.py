"""What is compared must be the same job: every contender against the reference, at a small size."""

import pytest
import torch

pytest.importorskip(
    "benchmarks", reason="run from the root of the repository", exc_type=ImportError
)

from benchmarks import __main__ as command
from benchmarks import _simple, operators


@pytest.mark.parametrize("stride", [1, 2, 3])
def test_all_contenders_do_the_same_job(stride):
    generator = torch.Generator().manual_seed(0)
    kernel = torch.rand(1, 1, 5, 5, generator=generator)
    x = torch.rand(2, 3, 6 * stride, 8 * stride, generator=generator)
    op = operators._operator(kernel, tuple(x.shape[1:]), stride)
    y = op(x) + 0.1
    contenders = operators._contenders(op, x, y, kernel, stride, None)
    expected = _simple.reference(x, y, x, kernel, stride, operators._TAU)
    assert set(contenders) == set(operators.JOBS)
    for job, runs in contenders.items():
        for name, run in runs.items():
            assert _simple.error(run(), expected[job]) < 2e-4, (job, name)


def test_names_are_listed(capsys):
    assert command.main([]) == 2
    assert "operators" in capsys.readouterr().err
    assert command.main(["--help"]) == 0
    assert command.main(["_simple"]) == 2
