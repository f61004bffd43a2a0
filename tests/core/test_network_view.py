"""How a network sees a problem: ranges, sizes and tiles, against autograd and by hand."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
import wellposed.network_view as module
from wellposed import NetworkView
from wellposed.errors import DtypeError, IncompatibleError, ParameterError, ShapeError

from .view_networks import (
    F64,
    PROBLEMS,
    Same,
    check_gradient,
    fidelity,
    operator,
    problem,
    rand,
    toy,
)


@pytest.mark.parametrize("key", PROBLEMS)
def test_the_gradient_of_the_fidelity_is_that_of_autograd(key):
    network, op, y = problem(key)
    view = NetworkView.of(network, op, y)
    check_gradient(view)
    z = view.features()
    v = view.head(z)
    assert v.shape == (*y.shape[:-3], *view.operator.in_space.shape)
    torch.testing.assert_close(view.output(), v)
    assert view.picture(v).shape == (*y.shape[:-3], *op.in_space.shape)
    linear = torch.func.vjp(view.head, z)[1](v)[0]
    torch.testing.assert_close(view.head_adjoint(z, v), linear, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("key", PROBLEMS)
def test_samples_are_on_their_own(key):
    """A batch is a loop, none, one or two batch axes are alike, and NaN stays in its sample."""
    network, op, _ = problem(key)
    y = op(rand(2, 3, *op.in_space.shape, seed=5))

    def outcome(y):
        view = NetworkView.of(network, op, y)
        z = view.features()
        z = z - 0.1 * view.gradient(z)
        return view.picture(view.head(z)), view.picture(view.output())

    with torch.no_grad():
        for got, flat, row, one in zip(
            outcome(y), outcome(y.flatten(0, 1)), outcome(y[1]), outcome(y[1, 2]), strict=True
        ):
            torch.testing.assert_close(got.flatten(0, 1), flat)
            torch.testing.assert_close(got[1], row)
            torch.testing.assert_close(got[1, 2], one)
        spoiled = y.flatten(0, 1).clone()
        spoiled[2] = torch.nan
        for got, want in zip(outcome(spoiled), outcome(y.flatten(0, 1)), strict=True):
            assert bool(got[2].isnan().all())
            torch.testing.assert_close(got[[0, 1, 3, 4, 5]], want[[0, 1, 3, 4, 5]])


@pytest.mark.parametrize("key", PROBLEMS)
def test_training_reaches_weights_through_a_step(key):
    network, op, y = problem(key)
    view = NetworkView.of(network, op, y)
    z = view.features()
    loss = view.picture(view.head(z - 0.1 * view.gradient(z))).square().sum()
    grads = torch.autograd.grad(loss, list(network.parameters()))

    p = network.tail.layer.bias  # one number, by differences

    def at(shift):
        moved = copy.deepcopy(network)
        with torch.no_grad():
            moved.tail.layer.bias[0] += shift
            view = NetworkView.of(moved, op, y)
            z = view.features()
            return view.picture(view.head(z - 0.1 * view.gradient(z))).square().sum()

    want = (at(1e-5) - at(-1e-5)) / 2e-5
    index = [q is p for q in network.parameters()].index(True)
    torch.testing.assert_close(grads[index][0], want, rtol=1e-6, atol=1e-7)
    assert all(bool(g.isfinite().all()) for g in grads)


def test_a_network_that_fits_is_asked_nothing_else():
    network, op, y = problem("range")
    view = NetworkView.of(network, op, y)
    assert view.tiling is None and view.luminance is None and view.base is None
    ones = op(torch.ones(op.in_space.shape, dtype=F64))
    torch.testing.assert_close(view.target, 2 * y - ones)
    assert view.seen is view.target
    torch.testing.assert_close(view.output(), network(2 * y - ones))
    torch.testing.assert_close(view.picture(view.output()), (network(2 * y - ones) + 1) / 2)
    estimate = NetworkView.of(toy(value_range=(-1.0, 1.0)), op, y, feed="estimate")
    torch.testing.assert_close(estimate.seen, 2 * op.initial_estimate(y) - 1)


def test_copies_and_pickles():
    view = NetworkView.of(*problem("colour, tiles"))
    for other in (copy.deepcopy(view), pickle.loads(pickle.dumps(view))):
        torch.testing.assert_close(other.picture(other.output()), view.picture(view.output()))


# ---- tiles ---------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [3, 8, 32])
def test_the_identity_by_tiles_is_the_identity(size):
    x = rand(2, 3, 11, 20)
    op = operator("identity", (3, 11, 20))
    view = NetworkView.of(Same(3, size=size, value_range=(-1.0, 1.0)), op, x)
    torch.testing.assert_close(view.picture(view.output()), x, rtol=1e-15, atol=4e-16)


def test_tiles_are_what_the_network_makes_of_crops():
    """One network call per tile, blended by a dense B, with a mask for each sample."""
    mask = (rand(2, 1, 7, 9) > 0.4).double()
    op = operator("mask", (2, 7, 9), mask=mask)
    y = op(rand(2, 2, 7, 9))
    network = toy(channels=2, size=4, masked=1)
    view = NetworkView.of(network, op, y, feed="measurement", overlap=1)
    starts = [(i, j) for i in (0, 3) for j in (0, 2, 5)]
    assert view.seen.shape == (2, len(starts), 2, 4, 4)
    crops = [
        network(y[..., i : i + 4, j : j + 4], mask=mask[..., i : i + 4, j : j + 4])
        for i, j in starts
    ]
    tiles = torch.stack(crops, 1)
    torch.testing.assert_close(view.tiles(view.features()), tiles)
    basis = torch.eye(view.tiling.count * 16, dtype=F64).reshape(-1, view.tiling.count, 1, 4, 4)
    dense = view.tiling.merge(basis).flatten(1)
    want = tiles.transpose(1, 2).flatten(2) @ dense
    torch.testing.assert_close(view.output().flatten(2), want)


def test_a_bounded_number_of_tiles_at_once(monkeypatch):
    op = operator("mask", (1, 12, 12), mask=rand(2, 1, 12, 12) > 0.5)
    network = toy(size=4, masked=1)
    view = NetworkView.of(network, op, op(rand(2, 1, 12, 12)))
    with torch.no_grad():
        z, v = view.features(), view.output()
        monkeypatch.setattr(module, "_MOST_PIXELS", 5 * 16 + 3)
        network.runs.clear()
        torch.testing.assert_close(view.features(), z)
        assert max(network.runs) == 5 and sum(network.runs) == 2 * view.tiling.count
        torch.testing.assert_close(view.output(), v)
        network.train().runs.clear()  # batch normalisation might join the tiles
        view.features()
        assert network.runs == [2 * view.tiling.count]
    network.eval().runs.clear()
    view.features()
    assert network.runs == [2 * view.tiling.count]


def test_refined_tiles_agree_where_they_overlap():
    """Steps down the fidelity of the whole picture."""
    op = operator("blur", (1, 12, 12))
    view = NetworkView.of(toy(size=8, tanh=False), op, op(rand(1, 12, 12)), overlap=4)
    with torch.no_grad():
        z = view.features()
        first = fidelity(view, z)
        for _ in range(500):
            z = z - 0.3 * view.gradient(z)
        assert fidelity(view, z) < first / 20


def test_the_overlap_is_checked():
    network, op, y = problem("tiles")
    with pytest.raises(ParameterError, match="got an overlap of 3"):
        NetworkView.of(network, op, y, overlap=3)
    with pytest.raises(ParameterError, match=r"tiles of 5 x 5 pixels.*got an overlap of 3"):
        NetworkView.of(toy(), operator("blur", (1, 6, 6)), rand(1, 6, 6), tile=5, overlap=3)
    assert NetworkView.of(network, op, y, overlap=0).tiling.count == 9


# ---- tiles of a chosen side, for a network of any size ------------------------------------


@pytest.mark.parametrize(("name", "scale"), [("mask", 1), ("strided_blur", 2)])
def test_a_network_of_any_size_by_tiles_is_what_it_makes_of_crops(name, scale):
    """Blended by the map of `Tiling`, which has tests of its own; two tiles down, one across."""
    shape = (1, 13 * scale, 7 * scale)
    params = {"mask": rand(*shape[1:]) > 0.4} if name == "mask" else {}
    op = operator(name, shape, **params)
    y = op(rand(2, *shape))
    network = toy(scale=scale, skip=True, value_range=(-1.0, 1.0))
    view = NetworkView.of(network, op, y, feed="measurement", tile=8, overlap=3)
    v = 2 * y - op(torch.ones(shape, dtype=F64))
    assert view.seen.shape == (2, 2, 1, 8, 7)
    crops = torch.stack([network(v[..., i : i + 8, :]) for i in (0, 5)], 1)
    torch.testing.assert_close(view.output(), view.tiling.merge(crops))
    torch.testing.assert_close(view.head(view.features()), view.output())
    check_gradient(view)
    assert view.picture(view.output()).shape == (2, *shape)
    alone = crops[:, 0, :, : 5 * scale], crops[:, 1, :, 3 * scale :]
    torch.testing.assert_close(view.output()[..., : 5 * scale, :], alone[0])
    torch.testing.assert_close(view.output()[..., 8 * scale :, :], alone[1])


def test_conditions_are_cut_as_the_picture_is():
    mask = (rand(2, 1, 9, 11) > 0.4).double()
    op = operator("mask", (2, 9, 11), mask=mask)
    y = op(rand(2, 2, 9, 11))
    network = toy(channels=2, masked=1)
    view = NetworkView.of(network, op, y, feed="measurement", tile=7)
    # they share 7 // 4 = 1 pixel or more
    crops = [(..., slice(i, i + 7), slice(j, j + 7)) for i in (0, 2) for j in (0, 4)]
    tiles = torch.stack([network(y[c], mask=mask[c]) for c in crops], 1)
    torch.testing.assert_close(view.output(), view.tiling.merge(tiles))


def test_pictures_no_larger_than_a_tile_stay_whole():
    network, op, y = problem("range")
    for tile in (None, 4, 100):  # the measurement is 4 x 3
        view = NetworkView.of(network, op, y, tile=tile)
        assert view.tiling is None
        torch.testing.assert_close(view.output(), network(view.target))
    assert NetworkView.of(network, op, y, tile=3).tiling.count == 2


def test_a_network_of_one_size_keeps_it():
    network, op, y = problem("tiles")
    for tile in (3, 5, 100):
        view = NetworkView.of(network, op, y, tile=tile)
        assert view.seen.shape[-2:] == (4, 4)
        torch.testing.assert_close(view.output(), NetworkView.of(network, op, y).output())


def test_chosen_tiles_of_a_picture_in_colour():
    """Of its luminance; the colours are blended by nobody."""
    op = operator("blur", (3, 12, 9))
    y = op(rand(2, 3, 12, 9))
    view = NetworkView.of(toy(), op, y, tile=8)
    assert view.seen.shape == (2, 4, 1, 8, 8) and view.output().shape == (2, 1, 12, 9)
    same = NetworkView.of(Same(), op, y, tile=8)
    torch.testing.assert_close(same.picture(same.output()), op.initial_estimate(y))


def test_a_bounded_number_of_chosen_tiles_at_once(monkeypatch):
    op = operator("blur", (1, 12, 12))
    network = toy()
    view = NetworkView.of(network, op, op(rand(2, 1, 12, 12)), tile=4)
    with torch.no_grad():
        want = view.output()
        monkeypatch.setattr(module, "_MOST_PIXELS", 5 * 16 + 3)
        network.runs.clear()
        torch.testing.assert_close(view.output(), want)
    assert max(network.runs) == 5 and sum(network.runs) == 2 * view.tiling.count


# ---- sizes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(("scale", "side"), [(2, 13), (2, 14), (3, 9), (3, 10), (3, 11), (4, 17)])
def test_pictures_that_are_no_multiple_of_the_scale(scale, side):
    op = operator("strided_blur", (1, side, side), stride=scale)
    x = rand(1, side, side)
    y = op(x)
    network = toy(scale=scale, skip=True)
    view = NetworkView.of(network, op, y)
    short = scale * y.shape[-1] - side
    if short >= 0:
        want = network(y)[..., :side, :side]
    else:  # the offset of the kept pixel lets a whole block go unmeasured
        assert short == -1
        want = network(torch.cat([t := torch.cat([y, y[..., -1:]], -1), t[..., -1:, :]], -2))
        want = want[..., :side, :side]
    torch.testing.assert_close(view.output(), want)


# ---- precision, transforms, errors ---------------------------------------------------------


@pytest.mark.parametrize("key", ["skip", "tiles, skip", "colour"])
def test_the_recursion_is_never_in_bf16(key):
    network, op, y = problem(key, dtype=torch.float32)
    plain = NetworkView.of(network, op, y)
    exact = plain.features()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        view = NetworkView.of(network, op, y)
        torch.testing.assert_close(view.base, plain.base)
        z = view.features()
        assert z.dtype == torch.float32 and not torch.equal(z, exact)
        assert view.head(z).dtype == view.gradient(z).dtype == torch.float32
        assert view.output().isfinite().all()
    torch.testing.assert_close(view.gradient(z), plain.gradient(z))


@pytest.mark.parametrize("key", ["skip", "tiles", "colour"])
def test_under_vmap(key):
    network, op, y = problem(key)

    def once(y):
        view = NetworkView.of(network, op, y)
        z = view.features()
        return view.picture(view.head(z - 0.1 * view.gradient(z)))

    y = torch.stack([y, y.flip(-1)])
    torch.testing.assert_close(torch.func.vmap(once)(y), torch.stack([once(y[0]), once(y[1])]))


@pytest.mark.parametrize("key", ["skip", "tiles", "colour"])
def test_compiles_into_one_graph(key):
    network, op, y = problem(key)

    def once(y):
        view = NetworkView.of(network, op, y)
        z = view.features()
        return view.picture(view.head(z - 0.1 * view.gradient(z)))

    want = once(y)
    network.runs.clear()
    compiled = torch.compile(once, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(y), want)


def test_inside_inference_mode():
    network, op, y = problem("colour, tiles")
    with torch.inference_mode():
        got = NetworkView.of(network, op, y)
        got = got.picture(got.output())
    view = NetworkView.of(network, op, y)
    torch.testing.assert_close(got, view.picture(view.output()))
    check_gradient(view)


@pytest.mark.parametrize(
    ("scale", "name", "shape", "match"),
    [
        (
            2,
            "blur",
            (3, 6, 6),
            r"shape \(1, 12, 12\) out of the measurement of Blur, whose",
        ),
        (
            1,
            "strided_blur",
            (1, 6, 8),
            r"shape \(1, 3, 4\) out of.*are \(1, 6, 8\). Take a",
        ),
        (4, "strided_blur", (1, 8, 8), r"shape \(1, 16, 16\) out of"),
        (3, "strided_blur", (1, 8, 8), r"shape \(1, 12, 12\) out of"),
        (2, "crop", (1, 9, 13), r"shape \(1, 10, 18\) out of"),
    ],
)
def test_sizes_that_do_not_go_together(scale, name, shape, match):
    op = operator(name, shape, **({"margin": 2} if name == "crop" else {}))
    y = op(rand(*shape))
    with pytest.raises(ShapeError, match="Toy makes a picture of " + match):
        NetworkView.of(toy(scale=scale), op, y, feed="measurement")


def test_other_errors():
    op = operator("blur", (1, 6, 6))
    y = op(rand(1, 6, 6))
    with pytest.raises(ParameterError, match=r"^feed expects one of \('estimate', 'measurement'\)"):
        NetworkView.of(toy(), op, y, feed="picture")
    with pytest.raises(DtypeError, match=r"weights of torch.float32 and takes pictures of"):
        NetworkView.of(toy(dtype=torch.float32, skip=True), op, y)
    small = operator("mask", (1, 6, 6), mask=rand(1, 6, 6))
    whole = operator("strided_blur", (1, 6, 6)) @ small
    with pytest.raises(IncompatibleError, match=r"needs mask of shape \(1, 3, 3\), as large as"):
        NetworkView.of(toy(masked=1, scale=2), whole, rand(1, 3, 3))
