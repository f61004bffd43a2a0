"""Whether an operator does what the one does that a recipe names."""

from __future__ import annotations

import pytest
import torch
from wellposed import Space
from wellposed.edge import build_operator, register_types
from wellposed.training.one_operator import is_another, is_the_same

MOTION = {"name": "blur", "params": {"kernel": {"name": "inversenet_motion"}}}
RANDOM = {
    "name": "blur",
    "params": {"kernel": {"name": "gaussian", "params": {"width": {"uniform": [0, 2]}}}},
}


@pytest.fixture(autouse=True)
def types():
    register_types()


def operator(given, shape=(3, 24, 20), dtype=torch.float32, **params):
    return build_operator(given, params or None, x_space=Space(shape, dtype))


def motion(**options):
    return operator("motion_blur", **options)


def moved(change, dtype=torch.float32):
    return motion(kernel=change(motion(dtype=dtype).kernel), dtype=dtype)


def distance_of(wrong):
    """Return the number that is told."""
    assert set(wrong) == {"operator"}
    assert wrong["operator"].endswith("away from the one trained for, more than 0.15")
    return float(wrong["operator"].split()[0])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("given", ["motion_blur", ["motion_blur"], MOTION])
def test_the_same_operator_is_none_other(given, dtype):
    assert is_another(motion(dtype=dtype), given) == {}


@pytest.mark.parametrize("shape", [(1, 16, 16), (3, 24, 20), (3, 16, 70)])
@pytest.mark.parametrize("boundary", ["circular", "zero", "replicate", "symmetric"])
def test_another_boundary_is_no_other_operator(boundary, shape):
    assert is_another(motion(boundary=boundary, shape=shape), "motion_blur") == {}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize(
    "change",
    [lambda k: k.flip(-2, -1), lambda k: k.flip(-1), lambda k: k.mT.contiguous(),
     lambda k: k.rot90(1, (-2, -1))],
)  # fmt: skip
def test_a_turned_motion_is_another(change, dtype):
    """None of them differs in size, spread or gain."""
    assert distance_of(is_another(moved(change, dtype), "motion_blur")) > 0.3


def test_the_number_that_is_told_is_the_distance_of_the_kernels():
    """For white noise, the energy of what differs over that of the whole."""
    kernel = motion().kernel
    for change in (lambda k: k.flip(-2, -1), lambda k: 0.5 * k, lambda k: k.mT.contiguous()):
        want = float((change(kernel) - kernel).norm() / kernel.norm())
        got = distance_of(is_another(motion(kernel=change(kernel), shape=(3, 80, 90)), MOTION))
        assert got == pytest.approx(want, rel=0.15)


def test_a_little_is_the_same():
    kernel = motion().kernel
    for factor, same in ((1.1, True), (0.9, True), (1.2, False)):
        assert (is_another(motion(kernel=factor * kernel), "motion_blur") == {}) == same
    for width, same in ((1.6, True), (1.7, True), (2.0, False), (1.2, False)):
        op = operator("blur", kernel={"name": "gaussian", "params": {"width": width}})
        assert (is_another(op, "blur") == {}) == same


def test_kernels_for_each_sample_are_all_looked_at():
    kernel = motion().kernel
    alike = motion(kernel=torch.cat([kernel, 1.05 * kernel]))
    assert is_another(alike, "motion_blur") == {}
    one = motion(kernel=torch.cat([kernel, kernel.flip(-2, -1)]))
    other = moved(lambda k: k.flip(-2, -1))
    found = distance_of(is_another(one, "motion_blur"))
    assert found == pytest.approx(distance_of(is_another(other, "motion_blur")), rel=0.3)


@pytest.mark.parametrize(
    ("given", "shape"),
    [
        ("strided_blur", "(3, 12, 10)"),
        ([{"name": "grayscale"}, "motion_blur"], "(1, 24, 20)"),
        ({"name": "motion_blur", "params": {"boundary": "valid"}}, "(3, 16, 12)"),
    ],
)
def test_measurements_of_another_shape(given, shape):
    (said,) = is_another(motion(), given).values()
    assert said == (
        "not to be compared with the one trained for "
        f"(it measures {shape} there, and not (3, 24, 20))"
    )


def test_an_operator_that_cannot_be_for_these_pictures():
    """A picture of 5 pixels has no valid part behind a kernel of 9."""
    given = {"name": "motion_blur", "params": {"boundary": "valid"}}
    (said,) = is_another(operator("identity", shape=(3, 5, 5)), given).values()
    assert said.startswith("not to be compared with the one trained for (") and "kernel" in said


def test_the_same_operator_is_known_at_once():
    same = is_the_same(motion(), "motion_blur")
    assert same and same is True
    for other in (
        motion(boundary="circular"),
        motion(kernel=motion().kernel.flip(-1)),
        operator("identity"),
        operator("random_mask"),
    ):
        assert not is_the_same(other, "motion_blur")
    drawn = {
        "name": "blur",
        "params": {"kernel": {"name": "box", "params": {"width": {"uniform": [1, 3]}}}},
    }
    assert not is_the_same(motion(), drawn)
