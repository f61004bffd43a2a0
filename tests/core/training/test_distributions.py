"""What is drawn: by sample, in its range, the same for any number of processes."""

from types import SimpleNamespace

import attrs
import numpy as np
import pytest
import torch
from wellposed import Space
from wellposed.errors import IncompatibleError, ParameterError
from wellposed.training.degradations import Degradation
from wellposed.training.distributions import draws_for, is_random, realise
from wellposed.training.parsing import parse

BLUR = {
    "name": "blur",
    "params": {"kernel": {"name": "gaussian", "params": {"width": {"uniform": [0, 3]}, "size": 7}}},
}


def draw(data, *, batch=400, step=0, own=None, size=(12, 10)):
    draws = attrs.evolve(draws_for(3, step, stream=1, batch=batch, own=own), size=size)
    return realise(parse(data, "x"), draws)


def test_numbers_lie_in_their_ranges_and_fill_them():
    u = draw({"uniform": [0, 3]})
    assert u.shape == (400,)
    assert 0 < u.min() < 0.1
    assert 2.9 < u.max() <= 3
    assert abs(u.mean() - 1.5) < 0.2
    logs = draw({"log_uniform": [0.01, 1]}).log10()
    assert logs.min() > -2
    assert abs(logs.mean() + 1) < 0.15
    whole = draw({"integers": [1, 5]})
    assert set(whole.tolist()) == {1, 2, 3, 4, 5}
    assert set(draw({"choice": [2, 3.5]}).tolist()) == {2, 3.5}
    assert draw({"per_step": {"choice": ["a"]}}) == "a"
    assert isinstance(draw({"per_step": {"integers": [2, 4]}}), int)


def test_steps_differ_and_repeat_and_ranks_share_a_batch():
    data = {"a": {"uniform": [0, 1]}, "m": {"missing_pixels": {"uniform": [0, 1]}}}
    whole, again, next_ = draw(data, batch=6), draw(data, batch=6), draw(data, batch=6, step=1)
    parts = [draw(data, batch=6, own=slice(i, i + 3)) for i in (0, 3)]
    for key in data:
        assert torch.equal(whole[key], again[key])
        assert not torch.equal(whole[key], next_[key])
        assert torch.equal(whole[key], torch.cat([part[key] for part in parts]))


def test_as_many_pixels_are_missing_as_asked():
    masks = draw({"missing_pixels": 0.25}, batch=50)
    assert masks.shape == (50, 1, 12, 10)
    assert ((masks == 0) | (masks == 1)).all()
    assert ((1 - masks).sum((1, 2, 3)) == 30).all()
    assert (masks.mean(0) > 0.4).all()  # anywhere
    assert (draw({"missing_pixels": 0}) == 1).all()
    assert (draw({"missing_pixels": 1}) == 0).all()
    with pytest.raises(ParameterError, match=r"from 0 to 1; .* to 74.*Divide percentages by 100"):
        draw({"missing_pixels": {"uniform": [0, 75]}})


def test_holes_are_square_and_stay_in_their_window():
    masks = draw({"hole": {"size": {"integers": [1, 6]}, "window": [2, 1, 8, 7]}}, batch=300)
    sides = set()
    for mask in masks[:, 0]:
        rows, columns = (mask == 0).nonzero(as_tuple=True)
        side = int(rows.max() - rows.min()) + 1
        assert (mask == 0).sum() == side**2 == (int(columns.max() - columns.min()) + 1) ** 2
        sides.add(side)
    assert sides == {1, 2, 3, 4, 5, 6}
    seen = (masks == 0).any(0)[0]
    inside = torch.zeros(12, 10, dtype=torch.bool)
    inside[2:10, 1:8] = True
    assert torch.equal(seen, inside)
    assert (draw({"hole": 10}, batch=2)[:, :, :, :] == 0).sum() == 200


def test_holes_that_do_not_fit_are_refused():
    with pytest.raises(
        ParameterError, match="a hole of 11 pixels does not fit a window of 12 x 10"
    ):
        draw({"hole": 11})
    with pytest.raises(
        ParameterError, match=r"window \[8, 0, 6, 4\] .* inside a picture of 12 x 10"
    ):
        draw({"hole": {"size": 2, "window": [8, 0, 6, 4]}})


def test_one_batched_operator_equals_one_for_each_sample():
    degradation = Degradation.from_data(BLUR, None)
    space = Space((2, 9, 8))
    op = degradation.operator(space, draws_for(0, 4, stream=1, batch=3))
    assert op.batch_shape == (3,)
    x = torch.rand(3, 2, 9, 8)
    y = op(x)
    widths = np.random.Generator(np.random.Philox(key=[0, 17]))
    widths.integers(2**63)  # seeds the generator of masks and noise
    for i, width in enumerate(3 - 3 * widths.random(3)):
        plain = {"name": "gaussian", "params": {"width": float(width), "size": 7}}
        one = Degradation.from_data({"name": "blur", "params": {"kernel": plain}}, None)
        single = one.operator(space, draws_for(0, 0, stream=1, batch=1))
        torch.testing.assert_close(y[i], single(x[i]))


def test_masks_follow_the_size_at_their_place_in_a_composition():
    half = {"name": "strided_blur", "params": {"stride": 2}}
    mask = {"name": "mask", "params": {"mask": {"missing_pixels": 0.5}}}
    degradation = Degradation.from_data([mask, half], None)
    op = degradation.operator(Space((1, 8, 12)), draws_for(0, 0, stream=1, batch=2))
    assert op(torch.rand(2, 1, 8, 12)).shape == (2, 1, 4, 6)


def test_noise_has_a_level_per_sample_and_is_shared_by_the_ranks():
    degradation = Degradation.from_data(
        "identity", {"name": "gaussian", "params": {"sigma": {"uniform": [0, 0.5]}}}
    )

    def noisy(own):
        draws = draws_for(0, 0, stream=1, batch=4, own=own)
        degradation.operator(Space((1, 50, 50)), draws)
        noise = degradation.noise_model(draws)
        count = own.stop - own.start
        return noise.sigma, degradation.measure(torch.zeros(count, 1, 50, 50), noise, draws)

    sigma, y = noisy(slice(0, 4))
    torch.testing.assert_close(y.std((1, 2, 3)), sigma, rtol=0.1, atol=0)
    for own in (slice(0, 2), slice(2, 4)):
        torch.testing.assert_close(noisy(own)[1], y[own])


def test_a_constant_operator_is_built_once():
    degradation = Degradation.from_data("identity", None)
    space = Space((1, 4, 4))
    one, two = (degradation.operator(space, draws_for(0, s, stream=1, batch=2)) for s in (0, 1))
    assert one is two
    assert not is_random(list(degradation.operators))


def test_only_linear_operators_can_be_trained_for(monkeypatch):
    degradation = Degradation.from_data("square", None)
    target = "wellposed.training.degradations.build_operator"
    monkeypatch.setattr(target, lambda *a, **k: SimpleNamespace(name="Square"))
    with pytest.raises(IncompatibleError, match=r"^operator: Square is not linear"):
        degradation.operator(Space((1, 4, 4)), draws_for(0, 0, stream=1, batch=2))
