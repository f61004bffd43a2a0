"""Steps recorded as CUDA graphs do what they do without, as far as that shows without CUDA."""

from __future__ import annotations

import attrs
import pytest
import torch
import wellposed
from hypothesis import given, seed, settings
from wellposed.graphs import replayed
from wellposed.testing import kit_for

CUDA = torch.device("cuda")


def test_a_replayed_step_goes_on_from_where_it_is(waits):
    x, y = torch.zeros(3, device="cuda"), torch.ones(3, device="cuda")

    def step():
        x.add_(y)
        y.mul_(2.0)
        x.copy_(torch.where(x > 5, x - 1, x))

    go, seen = replayed(step, CUDA), []
    for _ in range(8):
        go()
        seen.append(x.cpu().tolist())
    x.zero_(), y.fill_(1.0)
    for want in seen:
        step()
        assert x.cpu().tolist() == want


def test_what_waits_for_the_device_is_not_recorded(waits):
    x = torch.zeros(3, device="cuda")

    def step():
        x.add_(1.0 if float(x.sum()) >= 0 else 2.0)

    go = replayed(step, CUDA)
    for _ in range(3):
        go()
    with pytest.warns(RuntimeWarning, match=r"no CUDA graph .* operation not permitted"):
        go()
    assert x.cpu().tolist() == [4.0] * 3


@pytest.fixture
def plain(monkeypatch):
    """Return a function that leaves CUDA graphs out from then on."""

    def leave_out():
        for module in ("kernelgan.training", "generative_bilinear.state"):
            monkeypatch.setattr(f"wellposed.plugins.{module}.replayed", lambda step, device: step)

    return leave_out


def test_kernelgan_learns_the_same_with_a_graph(waits, plain):
    y = wellposed.sample()[:, :72, :80].to("cuda")
    params = {"max_steps": 7, "crop": 48, "restarts": 2}

    def kernels():
        found = wellposed.estimate_operator(
            y, op="strided_blur", solver="kernelgan", solver_params=params
        )
        return found.extras["raw_kernels"], found.operator.kernel

    with_graph = kernels()
    plain()
    assert torch.equal(with_graph[0], kernels()[0])
    assert with_graph[1].device == torch.device("cuda:0")


@pytest.mark.parametrize("name", ["generative_bilinear", "generative_bilinear_slack"])
@pytest.mark.parametrize("update", ["jacobi", "normalised", "adam"])
def test_generative_solvers_go_the_same_way_with_a_graph(name, update, waits, plain):
    case = _case(name)
    solver = attrs.evolve(case.solver, max_steps=12, restarts=4, update=update, halve_every=5)
    problem = case.problem.to(device="cuda")
    with_graph = solver.to(device="cuda").solve(problem)
    plain()
    without = solver.to(device="cuda").solve(problem)
    assert torch.equal(with_graph.image.cpu(), without.image.cpu())
    for key, codes in with_graph.extras["latents"].items():
        assert torch.equal(codes.cpu(), without.extras["latents"][key].cpu())


def _case(name):
    """Return the first of the solver's own examples."""
    found = []

    @seed(0)
    @settings(max_examples=1, database=None, deadline=None)
    @given(kit_for("solver", name).instances())
    def draw(case):
        found.append(case)

    draw()
    return found[0]
