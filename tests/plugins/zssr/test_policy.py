"""The learning-rate policy against NumPy's straight-line fit."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from wellposed.plugins.zssr.policy import HalfCosine, SlopePolicy, slope_and_deviation

ERRORS = st.lists(st.floats(1e-6, 1.0), min_size=5, max_size=5)


@settings(max_examples=50, deadline=None)
@given(ERRORS, st.integers(0, 2000))
def test_slope_and_deviation_are_those_of_a_straight_line_fit(errors, start):
    steps = [start + 50 * i for i in range(5)]
    (slope, _), cov = np.polyfit(np.array(steps) - start, errors, 1, cov=True)
    got = slope_and_deviation(steps, errors)
    assert got == pytest.approx((slope, math.sqrt(max(cov[0, 0], 0))), rel=1e-6, abs=1e-14)


def run(error_of_step, max_steps=3000, rate=1e-3):
    """Return the steps after which the rate changed, as training calls the policy."""
    policy = SlopePolicy(rate, 9e-6)
    tested, errors, changed = [], [], []
    for step in range(1, max_steps + 1):
        if (step - 1) % 50 == 0:
            tested.append(step - 1)
            errors.append(error_of_step(step - 1))
        before = policy.rate
        if policy.is_due(step):
            policy.update(step, tested, errors)
        if policy.rate != before:
            changed.append(step)
        if policy.ended:
            break
    return changed, policy


def reference(error_of_step, max_steps=3000):
    """The same decisions from the fit of NumPy, in the words of the paper's code."""
    rate, last, tested, errors, changed = 1e-3, 0, [], [], []
    for i in range(max_steps):
        if i % 50 == 0:
            tested.append(i)
            errors.append(error_of_step(i))
        if (1 + i) % 60 == 0 and i - last > 256:
            (slope, _), cov = np.polyfit(tested[-5:], errors[-5:], 1, cov=True)
            if -1.5 * slope < math.sqrt(cov[0, 0]):
                rate, last = rate / 10, i
                changed.append(i + 1)
        if rate < 9e-6:
            break
    return changed


def test_a_steady_fall_keeps_the_rate():
    changed, policy = run(lambda i: 1 - i / 4000)
    assert changed == [] and policy.rate == 1e-3 and not policy.ended


def test_a_standstill_ends_training_after_three_changes():
    changed, policy = run(lambda i: 0.1)
    assert changed == [300, 600, 900]
    assert policy.ended and policy.rate == pytest.approx(1e-6)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 1000), st.floats(1e-3, 0.05), st.floats(50.0, 900.0))
def test_decisions_are_those_of_the_reference(seed, scatter, decay):
    noise = np.random.default_rng(seed).normal(size=3001)

    def error(i):
        return math.exp(-i / decay) + scatter * abs(noise[i]) + 0.01

    assert run(error)[0] == reference(error)


def test_the_cosine_falls_from_the_first_rate_to_zero():
    policy = HalfCosine(0.2)
    assert [policy.rate_at(s) for s in (0, 0.5, 1, 1.5)] == pytest.approx([0.2, 0.1, 0, 0])
    assert not policy.ended and not policy.is_due(60)
