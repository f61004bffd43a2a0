"""The loop, the two kinds of solver and the solution, on gradient descent for a dense operator."""

import attrs
import pytest
import torch
from torch import Tensor
from wellposed import (
    DirectSolver,
    IterativeSolver,
    Needs,
    Noise,
    Prior,
    Problem,
    ProximalPrior,
    Reconstruction,
    Status,
)
from wellposed.errors import IncompatibleError, ParameterError, ShapeError, SolveFailed


@attrs.frozen(eq=False, kw_only=True)
class State:
    x: Tensor


@attrs.frozen(eq=False, kw_only=True)
class Descent(IterativeSolver[State]):
    max_steps: int = 2000
    tolerance: float = 1e-10
    step_size: float = 1.0

    def init(self, problem):
        return State(x=torch.zeros_like(problem.start()))

    def step(self, problem, state):
        tau = self.step_size / problem.linear.norm_bound() ** 2
        return State(x=state.x - tau * problem.data_grad(state.x))

    def estimate(self, problem, state):
        return state.x

    def monitor(self, problem, state):
        return {"data": problem.data_value(state.x)}


@attrs.frozen(eq=False, kw_only=True)
class Once(DirectSolver):
    def _reconstruct(self, problem):
        return problem.start()


class OtherPrior(Prior):
    pass


class SomeProx(ProximalPrior):
    def value(self, x):
        return x.sum()

    def prox(self, v, tau):
        return v


class Cauchy(Noise):
    def sample(self, clean, generator=None):
        return clean

    def value(self, z, y, space):
        return space.norm(z - y)

    def grad(self, z, y):
        return z - y

    def prox(self, v, y, tau):
        return v


def problem(dense, batch=(4,), **kw):
    op = dense(6, 4, seed=3)
    y = op.out_space.randn(batch, generator=torch.Generator().manual_seed(1))
    return Problem(operator=op, measurement=y, **kw)


def exact(p):
    return (p.measurement @ torch.linalg.pinv(p.operator.matrix).mT).reshape(*p.batch, 1, 1, 4)


@pytest.mark.parametrize("batch", [(), (4,), (2, 3)])
def test_the_loop_reaches_the_solution_and_says_so(dense, batch):
    p = problem(dense, batch)
    s = Descent().solve(p)
    torch.testing.assert_close(s.image, exact(p), rtol=1e-6, atol=1e-8)
    assert s.status is Status.CONVERGED and set(s.statuses) == {Status.CONVERGED}
    assert s.steps.shape == batch
    assert s.history["change"].shape == (*batch, int(s.steps.max()))
    assert (s.history["data"].diff(dim=-1) <= 1e-12).all()
    assert s.require() is s


def test_the_budget_is_kept(dense):
    s = Descent(max_steps=7).solve(problem(dense))
    assert s.status is Status.BUDGET_SPENT
    assert s.steps.tolist() == [7] * 4
    assert Descent(max_steps=0).solve(problem(dense)).history == {}


def test_a_bad_sample_does_not_touch_the_others(dense):
    p = problem(dense)
    y = p.measurement.clone()
    y[1] = torch.nan
    y[2] = 0
    together = Descent().solve(attrs.evolve(p, measurement=y))
    assert together.statuses[1] is Status.NONFINITE
    assert (together.image[2] == 0).all() and together.statuses[2] is Status.CONVERGED
    for i in (0, 3):
        alone = Descent().solve(attrs.evolve(p, measurement=y[i]))
        assert alone.steps == together.steps[i]
        torch.testing.assert_close(alone.image, together.image[i])


def test_divergence_is_seen_and_the_last_sensible_picture_kept(dense):
    s = Descent(step_size=30.0).solve(problem(dense))
    assert s.status is Status.DIVERGED
    assert torch.isfinite(s.image).all()
    with pytest.raises(SolveFailed, match=r"4 of 4 samples ended as diverged .*smaller step"):
        s.require()


def test_a_callback_sees_each_step_and_can_stop(dense):
    seen = []

    def watch(event):
        seen.append((event.step, event.estimate().shape, event.max_steps))
        return event.step == 3

    s = Descent().solve(problem(dense), callback=watch)
    assert seen == [(k, (4, 1, 1, 4), 2000) for k in (1, 2, 3)]
    assert s.status is Status.STOPPED
    assert Descent(max_steps=5).solve(problem(dense), callback=lambda e: 1).status != Status.STOPPED


def test_a_callback_may_answer_with_a_comparison_of_tensors_or_arrays(dense):
    for callback in (lambda e: e.change.max() < 1e9, lambda e: e.change.max().numpy() < 1e9):
        assert int(Descent().solve(problem(dense), callback=callback).steps.max()) == 1
    few = Descent(max_steps=5)
    for callback in (lambda e: e.change.max() < 0, lambda e: e.change >= 0):  # no; not an answer
        assert few.solve(problem(dense), callback=callback).status is not Status.STOPPED


def test_gradients_flow_through_the_iterations(dense):
    p = problem(dense)
    y = p.measurement.clone().requires_grad_()
    s = Descent(max_steps=5, tolerance=0.0).solve(attrs.evolve(p, measurement=y))
    s.image.sum().backward()
    assert torch.isfinite(y.grad).all() and (y.grad != 0).any()


def test_direct_solvers_report_what_is_not_finite(dense):
    p = problem(dense)
    assert Once().solve(p).statuses == (Status.DIRECT,) * 4
    y = p.measurement.clone()
    y[2] = torch.inf
    s = Once().solve(attrs.evolve(p, measurement=y))
    assert [x is Status.NONFINITE for x in s.statuses] == [False, False, True, False]


def test_needs_are_checked_with_advice(dense):
    @attrs.frozen(eq=False, kw_only=True)
    class NeedsProx(DirectSolver):
        needs = Needs(priors=(ProximalPrior,), operator_check=lambda op: None)

        def _reconstruct(self, problem):
            return Reconstruction(image=problem.start(), extras={"k": 1})

    @attrs.frozen(eq=False, kw_only=True)
    class Picky(DirectSolver):
        needs = Needs(operator_check=lambda op: "it is not a blur. Take `cg`.")

        def _reconstruct(self, problem):
            return problem.start()

    p = problem(dense)
    with pytest.raises(
        IncompatibleError, match=r"NeedsProx needs a prior \(ProximalPrior\); got none"
    ):
        NeedsProx().solve(p)
    with pytest.raises(
        IncompatibleError, match=r"needs a prior that is a ProximalPrior; OtherPrior"
    ):
        NeedsProx().solve(attrs.evolve(p, prior=OtherPrior()))
    assert NeedsProx().solve(attrs.evolve(p, prior=SomeProx())).extras == {"k": 1}
    with pytest.raises(IncompatibleError, match=r"Once takes no prior; got SomeProx"):
        Once().solve(attrs.evolve(p, prior=SomeProx()))
    with pytest.raises(IncompatibleError, match="Once knows only the Gaussian data term"):
        Once().solve(attrs.evolve(p, noise=Cauchy()))
    with pytest.raises(IncompatibleError, match="Picky cannot use Dense: it is not a blur"):
        Picky().solve(p)


def test_problems_check_what_they_hold(dense):
    op = dense(6, 4)
    with pytest.raises(ShapeError, match="Dense expects measurement of shape"):
        Problem(operator=op, measurement=torch.zeros(1, 1, 5, dtype=torch.float64))
    with pytest.raises(ShapeError, match="Dense expects initial of shape"):
        Problem(operator=op, measurement=op.out_space.zeros(), initial=op.out_space.zeros())
    with pytest.raises(ParameterError, match=r"expects an operator; got str"):
        Problem(operator="blur", measurement=op.out_space.zeros())


def test_the_report_tells_what_happened(dense):
    p = problem(dense)
    text = Descent(max_steps=3).solve(p).report()
    for part in ("operator  Dense(matrix=f64[6, 4])", "4 x budget_spent", "steps     3", "Descent"):
        assert part in text
    assert "tensor(" not in repr(Descent(max_steps=3).solve(p))
