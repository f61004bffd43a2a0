"""Every solver on its own example problems: the answer, the budget, and its status."""

import pytest
import torch
import wellposed.plugins.classical.examples as examples
from hypothesis import given, settings
from hypothesis import strategies as st
from wellposed import DirectSolver, Status

NAMES = [name for name in examples.__all__ if name != "hyper_laplacian"]


@pytest.mark.parametrize("name", NAMES)
def test_the_expected_solution_is_reached(name: str) -> None:
    @settings(max_examples=12, deadline=None, database=None)
    @given(getattr(examples, name)())
    def check(case: object) -> None:
        found = case.solver.solve(case.problem)
        miss = (found.image - case.expected).flatten(-3).norm(dim=-1)
        size = case.expected.flatten(-3).norm(dim=-1)
        assert (miss <= case.rtol * size + 1e-300).all()
        assert found.image.dtype == case.problem.image_space.dtype
        assert found.status < Status.DIVERGED

    check()


@pytest.mark.parametrize("name", NAMES)
def test_the_budget_is_kept_and_the_history_has_its_shape(name: str) -> None:
    @settings(max_examples=4, deadline=None, database=None)
    @given(getattr(examples, name)(), st.integers(1, 3))
    def check(case: object, budget: int) -> None:
        import attrs

        if isinstance(case.solver, DirectSolver) or not hasattr(case.solver, "tolerance"):
            return
        solver = attrs.evolve(case.solver, max_steps=budget)
        found = solver.solve(case.problem)
        assert int(found.steps.max()) <= budget
        for curve in found.history.values():
            assert curve.shape[:-1] == case.problem.batch
            assert curve.shape[-1] <= budget
            assert torch.isfinite(curve).all()

    check()


@pytest.mark.parametrize("name", ["admm", "pdhg", "fista", "cg", "pnp_admm", "richardson_lucy"])
def test_a_callback_stops(name: str) -> None:
    @settings(max_examples=3, deadline=None, database=None)
    @given(getattr(examples, name)())
    def check(case: object) -> None:
        import attrs

        solver = attrs.evolve(case.solver, tolerance=0.0)
        found = solver.solve(case.problem, callback=lambda event: event.step == 2)
        assert set(found.statuses) == {Status.STOPPED}
        assert (found.steps == 2).all()

    check()
