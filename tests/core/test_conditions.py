"""Conditions: what a problem accepts, and in which form a network gets them, worked out by hand."""

from __future__ import annotations

import copy
import pickle

import attrs
import numpy as np
import pytest
import torch
import wellposed
from wellposed import Network, NetworkView, Problem, Space, luminance, sample
from wellposed.edge import build_conditions, build_operator, build_solver
from wellposed.errors import (
    DeviceError,
    DtypeError,
    ImageFileError,
    IncompatibleError,
    ParameterError,
    ShapeError,
)
from wellposed.images import write

F64 = torch.float64


def rand(*shape, seed=0, dtype=F64):
    return torch.rand(shape, dtype=F64, generator=torch.Generator().manual_seed(seed)).to(dtype)


def operator(name, shape, **params):
    return build_operator(name, params, x_space=Space(shape, F64))


class Kept(Network):
    """Gives the sum of what it was given, which it keeps."""

    def __init__(self, channels=1, *, conditions, **options):
        super().__init__(channels=channels, conditions=conditions, **options)
        self.weight = torch.nn.Parameter(torch.ones((), dtype=F64))

    def initialise(self, generator):
        """Nothing to draw."""

    def _forward(self, x, **conditions):
        self.seen = conditions
        total = x + sum(value.mean(1, keepdim=True) for value in conditions.values())
        return self.weight * total


# ---- problems --------------------------------------------------------------------------------


def problem(given, batch=(2, 3)):
    op = operator("blur", (1, 6, 7))
    return Problem(operator=op, measurement=rand(*batch, 1, 6, 7), conditions=given)


@pytest.mark.parametrize(
    "shape",
    [(1, 6, 7), (4, 3, 3), (3, 1, 6, 7), (1, 1, 6, 7), (2, 3, 1, 6, 7), (2, 1, 1, 6, 7),
     (1, 1, 1, 1, 6, 7)],
)  # fmt: skip
def test_conditions_for_all_samples_or_for_each(shape):
    edges = rand(*shape)
    made = problem({"edges": edges, "mask": edges > 0.5})
    assert made.conditions["edges"] is edges


@pytest.mark.parametrize(
    ("given", "error", "match"),
    [
        ([1], ParameterError, r"^conditions: expected a mapping of names.*got list"),
        ({"edges": np.ones((1, 6, 7))}, DtypeError, r"^conditions.edges: .*got ndarray"),
        ({"edges": torch.ones(1, 6, 7)}, DtypeError,
         r"^conditions.edges: expected torch.float64, as the measurement, or bool; got torch.f"),
        ({"edges": torch.ones(1, 6, 7, dtype=torch.uint8)}, DtypeError, r"float\(\) / 255"),
        ({"edges": rand(1, 6, 7) * 1j}, DtypeError, r"got torch.complex128"),
        ({"edges": rand(6, 7)}, ShapeError, r"\(\*batch, C, H, W\).*got \(6, 7\).*edges\[None\]"),
        ({"edges": rand(1, 0, 7)}, ShapeError, r"none of them 0; got \(1, 0, 7\)"),
        ({"edges": rand(2, 1, 6, 7)}, ShapeError,
         r"for a batch of \(2,\); expected \(2, 3\), as the measurement has, or fewer"),
        ({"edges": rand(4, 2, 3, 1, 6, 7)}, ShapeError, r"batch of \(4, 2, 3\)"),
        ({"edges": torch.empty(1, 6, 7, device="meta", dtype=F64)}, DeviceError,
         r"it lies on meta, the measurement on cpu"),
    ],
)  # fmt: skip
def test_what_is_no_condition_is_refused_with_its_name(given, error, match):
    with pytest.raises(error, match=match):
        problem(given)


def test_problems_move_and_copy_with_their_conditions():
    edges = rand(1, 6, 7)
    given = {"edges": edges, "mask": edges > 0.5}
    made = problem(given)
    given.clear()  # the problem has a mapping of its own
    assert made.to(dtype=F64) is made
    single = made.to(dtype=torch.float32)
    assert {k: v.dtype for k, v in single.conditions.items()} == {
        "edges": torch.float32,
        "mask": torch.bool,
    }
    for other in (copy.deepcopy(made), pickle.loads(pickle.dumps(made))):
        torch.testing.assert_close(other.conditions["edges"], edges)
    assert problem({}).conditions == {} and "'edges': (1, 6, 7)" in repr(made)


def test_a_solver_that_takes_none_refuses_them():
    with pytest.raises(IncompatibleError, match=r"^conditions: Tikhonov takes no conditions; got"):
        build_solver("tikhonov").solve(problem({"edges": rand(1, 6, 7)}))


def test_solve_takes_tensors_arrays_pictures_paths_and_lists(tmp_path):
    op = build_operator("blur", x_space=Space((1, 6, 7)))
    network = Kept(conditions={"edges": 2}).float()
    solver = build_solver("network")
    solver = attrs.evolve(solver, trained=network, feed="measurement")
    y, edges = rand(1, 6, 7, dtype=torch.float32), rand(1, 6, 7, seed=1) > 0.5
    path = write(tmp_path / "edges.png", edges.float())
    np.save(tmp_path / "edges.npy", edges.float().numpy())
    want = y + edges.float()
    for given in (
        edges,
        edges.double(),
        edges[0].numpy(),
        (255 * edges[0].numpy()).astype(np.uint8),
        str(path),
        path,
        tmp_path / "edges.npy",
        [path, edges.float()],
        torch.cat([edges, edges]).float(),
    ):
        found = wellposed.solve(y, op=op, solver=solver, conditions={"edges": given})
        torch.testing.assert_close(found.image, want)
    pipe = wellposed.pipeline(op="blur", solver=solver)
    torch.testing.assert_close(pipe(y, conditions={"edges": edges}).image, want)


def test_what_solve_cannot_read_is_named(tmp_path):
    y = rand(1, 6, 7)
    for given, error, match in [
        ("edges.png", ParameterError, r"^conditions: expected a mapping of names and pictures"),
        ({"edges": "missing.png"}, ImageFileError, r"^conditions.edges: .*no file missing.png"),
        ({"edges": []}, ShapeError, r"^conditions.edges: expected one picture or several of one"),
        ({"edges": [y, y[..., 1:]]}, ShapeError, r"got \(1, 6, 7\), \(1, 6, 6\)"),
        ({"edges": 3}, ParameterError, r"^conditions.edges: a picture is a path"),
    ]:
        with pytest.raises(error, match=match):
            build_conditions(given, y)
    assert build_conditions(None, y) == {}


def test_the_sample_takes_conditions_too():
    network = Kept(channels=3, conditions={"edges": 1}).float()
    solver = attrs.evolve(build_solver("network"), trained=network, feed="measurement")
    picture = sample()
    edges = torch.full_like(picture[:1], 0.25)
    found = wellposed.solve(op="identity", solver=solver, conditions={"edges": edges})
    torch.testing.assert_close(found.image, picture + 0.25)


# ---- what a network is given -----------------------------------------------------------------


def test_what_is_given_comes_before_the_operators_own():
    own, given = (rand(1, 6, 6) > 0.5).double(), rand(1, 6, 6, seed=1)
    op = operator("mask", (1, 6, 6), mask=own)
    network = Kept(conditions={"mask": 1, "edges": 2})
    y = op(rand(2, 1, 6, 6))
    edges = rand(2, 1, 6, 6, seed=2)
    view = NetworkView.of(network, op, y, conditions={"edges": edges})
    torch.testing.assert_close(view.conditions["mask"], own)
    torch.testing.assert_close(view.conditions["edges"], edges.expand(2, 2, 6, 6))
    both = NetworkView.of(network, op, y, conditions={"edges": edges, "mask": given > 0.5})
    torch.testing.assert_close(both.conditions["mask"], (given > 0.5).double())


@pytest.mark.parametrize("lead", [(), (1,), (3,), (2, 3), (2, 1)])
def test_a_condition_goes_with_its_sample_in_tiles_or_whole(lead):
    op = operator("blur", (1, 7, 9))
    y, edges = rand(2, 3, 1, 7, 9), rand(*lead, 1, 7, 9, seed=1)
    whole = edges.expand(2, 3, 1, 7, 9)
    for size in (None, 4):
        network = Kept(conditions={"edges": 1}, size=size)
        view = NetworkView.of(network, op, y, feed="measurement", conditions={"edges": edges})
        with torch.no_grad():
            torch.testing.assert_close(view.output(), y + whole, rtol=1e-12, atol=1e-14)
        one = NetworkView.of(
            network, op, y[1, 2], feed="measurement", conditions={"edges": whole[1, 2]}
        )
        torch.testing.assert_close(one.output(), view.output()[1, 2])


def test_a_given_condition_is_no_channel_of_the_operator():
    """One channel of an operator in colour has one of its masks, but all of what is given."""
    kernel = rand(2, 1, 3, 3, seed=7).expand(2, 3, 3, 3).clone()
    op = operator("blur", (3, 6, 6), kernel=kernel)
    edges = rand(2, 6, 6)
    network = Kept(conditions={"edges": 2})
    view = NetworkView.of(network, op, op(rand(2, 3, 6, 6)), conditions={"edges": edges})
    assert view.luminance is not None
    torch.testing.assert_close(view.conditions["edges"], edges)


@pytest.mark.parametrize(
    ("given", "match"),
    [
        ({"edgs": (1, 6, 6)},
         r"^conditions.edgs: Kept has no condition of that name; it takes edges, neighbours. Did "
         r"you mean 'edges'"),
        ({"neighbours": (2, 6, 6)},
         r"Kept needs edges, which Blur has not. Give it: conditions=\{'edges': ...\}, or "
         r"--condition edges=FILE"),
        ({"edges": (3, 6, 6), "neighbours": (2, 6, 6)},
         r"Kept needs edges of shape \(1, 6, 6\), as large as what it is given for Blur; got "
         r"\(3, 6, 6\). Give that"),
        ({"edges": (1, 5, 6), "neighbours": (2, 6, 6)}, r"got \(1, 5, 6\)"),
        ({"edges": (1, 6, 6), "neighbours": (1, 6, 6)},
         r"needs neighbours: 2 more real measurements \(C, h, w\) by Blur, one behind the other in "
         r"their channels. Its own have the shape \(1, 6, 6\); got \(1, 6, 6\)"),
    ],
)  # fmt: skip
def test_conditions_that_do_not_fit(given, match):
    op = operator("blur", (1, 6, 6))
    network = Kept(conditions={"edges": 1, "neighbours": 2}, measured=("neighbours",))
    conditions = {name: rand(*shape) for name, shape in given.items()}
    with pytest.raises(IncompatibleError, match=match):
        NetworkView.of(network, op, rand(1, 6, 6), conditions=conditions)


def test_a_network_that_takes_none_says_so():
    op = operator("blur", (1, 6, 6))
    with pytest.raises(IncompatibleError, match=r"^conditions.edges: .*it takes none. Leave it"):
        NetworkView.of(Kept(conditions={}), op, rand(1, 6, 6), conditions={"edges": rand(1, 6, 6)})


# ---- conditions that are measurements --------------------------------------------------------


def frames(value_range=(0.0, 1.0), channels=1, **options):
    return Kept(
        channels,
        conditions={"others": 2 * channels},
        measured=("others",),
        value_range=value_range,
        **options,
    )


@pytest.mark.parametrize("feed", ["measurement", "estimate"])
@pytest.mark.parametrize("grey_levels", [False, True])
@pytest.mark.parametrize("value_range", [(0.0, 1.0), (-1.0, 1.0)])
def test_other_measurements_are_seen_as_the_measurement_is(value_range, grey_levels, feed):
    mask = rand(3, 1, 6, 7)  # one for each sample, so that A 1 differs
    op = operator("mask", (1, 6, 7), mask=mask) @ operator("blur", (1, 6, 7))
    y, before, after = (op(rand(2, 3, 1, 6, 7, seed=i)) for i in range(3))
    network = frames(value_range)
    others = torch.cat([before, after], -3)
    options = {"feed": feed, "grey_levels": grey_levels}
    view = NetworkView.of(network, op, y, conditions={"others": others}, **options)
    for index, frame in enumerate((before, after)):
        want = NetworkView.of(
            Kept(conditions={}, value_range=value_range), op, frame, **options
        ).seen
        torch.testing.assert_close(view.conditions["others"][..., index, None, :, :], want)
    same = NetworkView.of(network, op, y, conditions={"others": others[0, 0]}, **options)
    assert same.conditions["others"].shape == (2, 3, 2, 6, 7)
    if feed == "measurement":
        low, high = view.value_range
        ones = op(torch.ones(3, 1, 6, 7, dtype=F64))
        want = (high - low) * others + low * ones.expand(2, 3, 1, 6, 7)
        torch.testing.assert_close(view.conditions["others"], want)


def test_other_measurements_in_colour_are_seen_by_their_luminance():
    shape = (3, 8, 10)
    op, grey = operator("strided_blur", shape), operator("strided_blur", (1, 8, 10))
    x = [sample()[None, :, 60 + i : 68 + i, 90:100].double() for i in range(3)]
    y, before, after = (op(one) for one in x)
    network = frames(scale=2)
    view = NetworkView.of(network, op, y, conditions={"others": torch.cat([before, after], 1)})
    want = torch.cat([grey(luminance(one)) for one in x[1:]], 1)
    torch.testing.assert_close(view.conditions["others"], want[0])  # an axis of 1 says nothing
    with pytest.raises(IncompatibleError, match=r"2 more real measurements.*shape \(3, 4, 5\)"):
        NetworkView.of(network, op, y, conditions={"others": want})


def test_other_grey_measurements_for_a_network_in_colour():
    op = operator("blur", (1, 6, 7))
    y, others = rand(1, 6, 7), rand(2, 6, 7, seed=1)
    view = NetworkView.of(
        frames(channels=3), op, y, feed="measurement", conditions={"others": others}
    )
    want = others.repeat_interleave(3, 0)  # each frame in three equal channels
    torch.testing.assert_close(view.conditions["others"], want)


@pytest.mark.parametrize("name", ["gaussian_sensing", ["fourier_sampling", "complexify"]])
def test_what_is_measured_must_be_a_real_picture(name):
    op = build_operator(name, x_space=Space((1, 6, 6), F64))
    y = torch.zeros(op.out_space.shape, dtype=op.out_space.dtype)
    given = {"others": rand(2, 6, 6)}
    with pytest.raises(IncompatibleError, match=r"needs others: 2 more real measurements"):
        NetworkView.of(frames(), op, y, feed="estimate", conditions=given)


@pytest.mark.parametrize(("channels", "measured"), [(1, "edge"), (2, "edges")])
def test_only_conditions_with_the_channels_of_pictures_are_measured(channels, measured):
    with pytest.raises(ParameterError, match=rf"measured expects names of conditions.*'{measured}"):
        Kept(channels, conditions={"edges": 3}, measured=(measured,))
