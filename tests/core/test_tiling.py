"""Tiles: where they lie, the blending map against its definition, and its adjoint."""

from __future__ import annotations

import itertools
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from wellposed.errors import ParameterError
from wellposed.tiling import Tiling

F64 = torch.float64


def tiling(picture, *, given=None, scale=1, size=None, overlap=None, tile=None, dtype=F64):
    given = given or tuple(math.ceil(n / scale) for n in picture)
    return Tiling.of(
        given,
        picture,
        scale=scale,
        size=size,
        overlap=overlap,
        tile=tile,
        device=torch.device("cpu"),
        dtype=dtype,
    )


def randn(*shape, seed=0):
    return torch.randn(shape, dtype=F64, generator=torch.Generator().manual_seed(seed))


def windows(length, side, overlap, scale):
    """Return starts and weights of one axis, pixel by pixel, from the definition."""
    needed = math.ceil(length / scale)
    steps = max(math.ceil((needed - side) / (side - overlap)), 0)
    starts = [round(i * (needed - side) / steps) if steps else 0 for i in range(steps + 1)]
    strides = [b - a for a, b in itertools.pairwise(starts)]
    weights = torch.zeros(len(starts), length, dtype=F64)
    for r in range(length):
        share = [1.0]
        for a, b in itertools.pairwise(starts):
            middle = scale * (a + side + b) / 2
            width = max(scale * min(side - max(strides), min(strides)), 1)
            t = min(max((r + 0.5 - middle) / width + 0.5, 0), 1)
            share.append(t)
        share.append(0.0)
        for i in range(len(starts)):
            weights[i, r] = share[i] - share[i + 1]
    return starts, weights


cases = st.builds(
    lambda size, share, scale, height, width: {
        "picture": (height, width),
        "size": size,
        "overlap": round(share * (size // 2)),
        "scale": scale,
    },
    st.integers(1, 6),
    st.sampled_from([0.0, 0.4, 1.0]),
    st.integers(1, 3),
    st.integers(1, 23),
    st.integers(1, 23),
)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_blending_is_its_definition(case):
    plan = tiling(**case)
    if plan is None:
        assert case["picture"] == (case["size"] * case["scale"],) * 2
        return
    s, side = case["scale"], case["scale"] * case["size"]
    (rows, wr), (columns, wc) = (
        windows(n, case["size"], case["overlap"], s) for n in case["picture"]
    )
    assert plan.count == len(rows) * len(columns)
    tiles = randn(len(rows), len(columns), 2, side, side)
    want = torch.zeros(2, *case["picture"], dtype=F64)
    for i, a in enumerate(rows):
        for j, b in enumerate(columns):
            t = tiles[i, j, :, : want.shape[-2] - s * a, : want.shape[-1] - s * b]
            where = (slice(s * a, s * a + side), slice(s * b, s * b + side))
            want[:, *where] += wr[i, where[0], None] * wc[j, where[1]] * t
    got = plan.merge(tiles.flatten(0, 1) if plan.count > 1 else tiles[0, 0])
    torch.testing.assert_close(got, want, rtol=1e-12, atol=1e-12)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_the_adjoint_is_the_transposed_matrix(case):
    plan = tiling(**case)
    if plan is None:
        return
    side = case["scale"] * case["size"]
    shape = ((plan.count,) if plan.count > 1 else ()) + (1, side, side)
    x, t = randn(3, 1, *case["picture"]), randn(3, *shape, seed=1)
    back = plan.merge_adjoint(x)
    assert back.shape == t.shape
    left, right = (plan.merge(t) * x).sum(), (t * back).sum()
    torch.testing.assert_close(left, right, rtol=1e-12, atol=1e-12)
    by_autograd = torch.func.vjp(plan.merge, t)[1](x)[0]
    torch.testing.assert_close(back, by_autograd, rtol=0, atol=0)


def test_the_adjoint_as_a_dense_matrix():
    plan = tiling((7, 9), size=4, overlap=2)
    basis = torch.eye(plan.count * 16, dtype=F64).reshape(-1, plan.count, 1, 4, 4)
    matrix = plan.merge(basis).flatten(1).T
    back = plan.merge_adjoint(torch.eye(63, dtype=F64).reshape(63, 1, 7, 9)).flatten(1).T
    assert torch.equal(back, matrix.T)
    assert torch.equal(matrix > 0, matrix != 0)
    torch.testing.assert_close(matrix.sum(1), torch.ones(63, dtype=F64), rtol=0, atol=2e-16)


@settings(max_examples=60, deadline=None)
@given(cases)
def test_a_picture_is_the_blend_of_its_own_tiles(case):
    case = {**case, "scale": 1}
    plan, x = tiling(**case), randn(2, 3, 2, *case["picture"])
    if plan is not None:
        tiles = plan.split(x)
        assert tiles.shape[-2:] == (case["size"], case["size"])
        torch.testing.assert_close(plan.merge(tiles), x, rtol=1e-15, atol=4e-16)


def test_pictures_smaller_than_a_tile_are_mirrored():
    plan = tiling((2, 3), size=7)
    got = plan.split(torch.tensor([[[1.0, 2, 3], [4, 5, 6]]]))
    assert got[0, 0].tolist() == [1, 2, 3, 3, 2, 1, 1]
    assert got[0, :, 0].tolist() == [1, 4, 4, 1, 1, 4, 4]
    back = plan.merge_adjoint(torch.ones(1, 2, 3, dtype=F64))
    assert back.sum() == 6 and back[..., :2, :3].sum() == 6


def test_a_last_block_that_is_not_complete_is_cut_off_or_continued():
    plan = tiling((5, 6), given=(3, 3), scale=2)
    x = randn(1, 6, 6)
    assert torch.equal(plan.merge(x), x[:, :5])
    assert plan.split(x[:, :3, :3]) is not None
    assert plan.merge_adjoint(x[:, :5])[:, 5].abs().sum() == 0
    plan = tiling((7, 6), given=(2, 2), scale=3)  # one more row than 3 x 2
    y = randn(1, 2, 2)
    assert torch.equal(plan.split(y), torch.cat([y, y[:, 1:]], 1))
    assert tiling((6, 6), given=(2, 2), scale=3) is None
    assert tiling((4, 4), size=4) is None


def test_what_is_not_used_has_no_part():
    plan = tiling((8, 4), size=4, overlap=0)
    tiles = torch.stack([torch.full((1, 4, 4), torch.nan), torch.ones(1, 4, 4)]).double()
    got = plan.merge(tiles)
    assert got[:, :4].isnan().all() and (got[:, 4:] == 1).all()


def test_default_and_least_overlap():
    assert [tiling((112, n), size=64).count for n in (64, 65, 112, 113)] == [2, 4, 4, 6]
    with pytest.raises(ParameterError, match=r"from 0 to half of them, 4; got an overlap of 5"):
        tiling((20, 20), size=8, overlap=5)
    with pytest.raises(ParameterError, match=r"got an overlap of -1"):
        tiling((20, 20), size=8, overlap=-1)
    assert tiling((20, 20), overlap=7) is None


@settings(max_examples=60, deadline=None)
@given(cases)
def test_tiles_of_a_chosen_side_are_those_of_a_network_of_that_size(case):
    """Where the picture is as large as a tile in both directions; no larger: it stays whole."""
    side = case.pop("size")
    needed = [math.ceil(n / case["scale"]) for n in case["picture"]]
    plan = tiling(**case, tile=side)
    if max(needed) <= side:
        whole = [case["scale"] * n for n in needed]
        assert plan is None or (plan.count == 1 and list(case["picture"]) != whole)
        return
    x = randn(2, 1, *needed)
    narrow = [min(n, side) for n in needed]
    if narrow == [side, side]:
        fixed = tiling(**case, size=side)
        assert plan.count == fixed.count > 1
        assert torch.equal(plan.split(x), fixed.split(x))
        t = randn(2, plan.count, 1, *(case["scale"] * side,) * 2)
        assert torch.equal(plan.merge(t), fixed.merge(t))
    assert plan.split(x).shape[-2:] == tuple(narrow)


@pytest.mark.parametrize("scale", [1, 2])
@pytest.mark.parametrize("turned", [False, True])
def test_a_long_and_narrow_picture_is_not_continued_to_squares(scale, turned):
    """Rows or columns that are fewer than the tile's side are all in each tile."""
    shape = (3, 20)[::-1] if turned else (3, 20)
    plan = tiling(tuple(scale * n for n in shape), scale=scale, tile=8, overlap=2)
    x = randn(1, *shape)
    tiles = plan.split(x)
    starts = [0, 6, 12]
    dim = -2 if turned else -1
    want = torch.stack([x.narrow(dim, a, 8) for a in starts])
    assert torch.equal(tiles, want)
    enlarged = want.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    whole = x.repeat_interleave(scale, -1).repeat_interleave(scale, -2)
    torch.testing.assert_close(plan.merge(enlarged), whole)
    weights = windows(scale * 20, 8, 2, scale)[1]
    first = torch.zeros_like(enlarged)
    first[0] = 1
    got = plan.merge(first)[0]
    torch.testing.assert_close(got[:, 0] if turned else got[0], weights[0])


def test_which_tiles_are_chosen():
    assert tiling((32, 32), tile=32) is None
    assert tiling((33, 32), tile=32).count == 2
    assert tiling((33, 33), tile=32).count == 4
    assert tiling((64, 64), size=64, tile=32) is None  # the network's own size goes before
    assert tiling((65, 64), size=64, tile=32).count == 2
    assert tiling((40, 40), given=(20, 20), scale=2, tile=20) is None
    assert [tiling((n, 8), tile=64).count for n in (96, 97)] == [2, 3]  # they share half,
    assert [tiling((n, 8), tile=512).count for n in (896, 897)] == [2, 3]  # or a quarter
    with pytest.raises(ParameterError, match=r"8 x 8 pixels can share.*got an overlap of 5"):
        tiling((20, 20), tile=8, overlap=5)
    assert tiling((8, 8), tile=8, overlap=5) is None  # which there is no use for


def test_in_single_precision_and_transforms():
    plan = tiling((9, 11), size=4, dtype=torch.float32)
    t = randn(3, plan.count, 2, 4, 4).float()
    assert plan.merge(t).dtype == torch.float32
    mapped = torch.func.vmap(plan.merge)(t)
    torch.testing.assert_close(mapped, plan.merge(t))
    g = mapped.flip(0)
    torch.testing.assert_close(torch.func.vmap(plan.merge_adjoint)(g), plan.merge_adjoint(g))
    t.requires_grad_()
    (grad,) = torch.autograd.grad(plan.merge(t), t, g)
    torch.testing.assert_close(grad, plan.merge_adjoint(g))


@pytest.mark.parametrize(("length", "multiple"), [(100, 8), (97, 8), (64, 16), (33, 4), (200, 16)])
def test_tiles_start_at_multiples_and_still_cover_the_picture(length, multiple):
    side, overlap = 32, 8
    tiling = Tiling.of(
        (length, 32), (length, 32), scale=1, size=None, overlap=overlap, tile=side,
        multiple=multiple, device=torch.device("cpu"), dtype=torch.float64,
    )  # fmt: skip
    starts = tiling.rows.source.reshape(-1, side)[:, 0].tolist()
    assert all(start % multiple == 0 for start in starts)
    assert all(b - a <= max(side - overlap, multiple) for a, b in itertools.pairwise(starts))
    x = torch.rand(2, 3, length, 32, dtype=torch.float64)
    torch.testing.assert_close(tiling.merge(tiling.split(x)), x)
    t = torch.rand_like(tiling.split(x))
    lhs = (tiling.merge(t) * x).sum()
    torch.testing.assert_close(lhs, (t * tiling.merge_adjoint(x)).sum())


@pytest.mark.parametrize("tile", [32, 48, 64, 96, 128])
@pytest.mark.parametrize("multiple", [64, 256])
def test_tiles_of_less_than_two_multiples_are_made_larger(tile, multiple):
    length = 600
    plan = Tiling.of(
        (length, 300), (length, 300), scale=1, size=None, overlap=None, tile=tile,
        multiple=multiple, device=torch.device("cpu"), dtype=F64,
    )  # fmt: skip
    assert plan.rows.reach == max(-(-tile // multiple), 2) * multiple
    x = torch.rand(1, length, 300, dtype=F64)
    torch.testing.assert_close(plan.merge(plan.split(x)), x)
    starts = plan.rows.source.reshape(plan.rows.count, -1)[:, 0].tolist()
    assert all(b - a < plan.rows.reach for a, b in itertools.pairwise(starts))
