"""Resampling against MATLAB's rule written out pixel by pixel, and against Pillow inside."""

import math

import numpy as np
import pytest
import torch
from PIL import Image
from wellposed import Space
from wellposed.errors import ParameterError, ShapeError
from wellposed.plugins.operators.resize import Resize


def keys(x):
    x = abs(x)
    if x <= 1:
        return 1.5 * x**3 - 2.5 * x**2 + 1
    return -0.5 * x**3 + 2.5 * x**2 - 4 * x + 2 if x <= 2 else 0.0


def lanczos3(x):
    if x == 0:
        return 1.0
    return (
        0.0
        if abs(x) >= 3
        else 3 * math.sin(math.pi * x) * math.sin(math.pi * x / 3) / (math.pi * x) ** 2
    )


RULES = {
    "bicubic": (keys, 2.0),
    "bilinear": (lambda x: max(1 - abs(x), 0.0), 1.0),
    "lanczos3": (lanczos3, 3.0),
}


def resampled(row, new, scale, method):
    kernel, reach = RULES[method]
    stretch = min(scale, 1.0)
    padded = np.pad(row, 60, mode="symmetric")
    out = []
    for i in range(new):
        centre = (i + 0.5) / scale - 0.5
        places = range(
            math.floor(centre - reach / stretch), math.ceil(centre + reach / stretch) + 1
        )
        weights = [kernel(stretch * (centre - p)) for p in places]
        out.append(
            sum(w * padded[60 + p] for w, p in zip(weights, places, strict=True)) / sum(weights)
        )
    return np.array(out)


@pytest.mark.parametrize("method", list(RULES))
@pytest.mark.parametrize("scale", [0.25, 0.3, 0.5, 1 / 3, 1.5, 3.0])
def test_rows_follow_the_written_rule(method, scale):
    row = np.random.default_rng(0).random(23)
    new = math.ceil(scale * 23 - 1e-9)
    op = Resize(in_shape=(1, 1, 23), scale=(1.0, scale), method=method, dtype=torch.float64)
    got = op(torch.from_numpy(row)[None, None]).flatten().numpy()
    np.testing.assert_allclose(got, resampled(row, new, scale, method), rtol=0, atol=1e-12)


@pytest.mark.parametrize("size", [(20, 30), (40, 60), (17, 55)])
def test_pillow_agrees_away_from_the_border(size):
    picture = np.random.default_rng(1).random((40, 60)).astype(np.float32)
    want = np.asarray(Image.fromarray(picture).resize(size[::-1], Image.Resampling.BICUBIC))
    got = Resize(in_shape=(1, 40, 60), size=size)(torch.from_numpy(picture)[None])[0].numpy()
    np.testing.assert_allclose(got[5:-5, 5:-5], want[5:-5, 5:-5], atol=2e-6)


def test_nearest_and_box_take_matlab_pixels():
    row = torch.arange(1.0, 5.0)[None, None]
    half = dict(in_shape=(1, 1, 4), size=(1, 2))
    assert Resize(method="nearest", **half)(row).flatten().tolist() == [2.0, 4.0]
    assert Resize(method="box", **half)(row).flatten().tolist() == [1.5, 3.5]
    wide = Resize(in_shape=(1, 1, 4), size=(1, 8), method="nearest")
    assert wide(row).flatten().tolist() == [1, 1, 2, 2, 3, 3, 4, 4]


def test_flat_pictures_stay_flat_and_a_factor_of_one_changes_nothing():
    x = torch.rand(3, 7, 9, dtype=torch.float64)
    same = Resize(in_shape=(3, 7, 9), scale=1.0, dtype=torch.float64)
    torch.testing.assert_close(same(x), x)
    flat = torch.ones(3, 7, 9, dtype=torch.float64)
    for method in ("bicubic", "lanczos2", "nearest"):
        op = Resize(in_shape=(3, 7, 9), scale=0.4, method=method, dtype=torch.float64)
        torch.testing.assert_close(op(flat), torch.ones_like(op(flat)))


@pytest.mark.parametrize("scale", [0.4, 1.7])
def test_the_proximal_map_solves_the_dense_system(scale):
    op = Resize(in_shape=(2, 5, 4), scale=scale, dtype=torch.float64)
    a = op.as_matrix()
    v = torch.randn(op.in_space.shape, dtype=torch.float64)
    y = torch.randn(op.out_space.shape, dtype=torch.float64)
    want = torch.linalg.solve(
        torch.eye(40, dtype=torch.float64) + 3 * a.T @ a, v.flatten() + 3 * a.T @ y.flatten()
    )
    torch.testing.assert_close(op.data_prox(v, y, 3.0).flatten(), want)
    torch.testing.assert_close(op.norm_bound(), torch.linalg.matrix_norm(a, 2))


@pytest.mark.parametrize("tau", [1e-6, 1e3, 1e6])
def test_the_proximal_map_of_an_enlargement_keeps_its_digits(tau):
    op = Resize(in_shape=(1, 6, 7), scale=2.0)
    a = op.to(dtype=torch.float64).as_matrix()
    generator = torch.Generator().manual_seed(0)
    v = torch.rand(op.in_space.shape, generator=generator)
    y = torch.rand(op.out_space.shape, generator=generator)
    want = torch.linalg.solve(
        torch.eye(42, dtype=torch.float64) + tau * a.T @ a,
        v.flatten().double() + tau * a.T @ y.flatten().double(),
    )
    torch.testing.assert_close(op.data_prox(v, y, tau).flatten().double(), want, rtol=0, atol=1e-5)


def test_sizes():
    assert Resize(in_shape=(1, 30, 31), scale=0.1).out_space.shape == (1, 3, 4)
    assert Resize(in_shape=(1, 9, 9), scale=1 / 3).out_space.shape == (1, 3, 3)
    assert Resize.image_space_for(Space((1, 3, 5)), scale=1 / 3).shape == (1, 9, 15)
    assert Resize.image_space_for(Space((1, 5, 6)), scale=2).shape == (1, 2, 3)


def test_refusals():
    with pytest.raises(ParameterError, match=r"expects a scale or a size; got both"):
        Resize(in_shape=(1, 4, 4), scale=0.5, size=(2, 2))
    with pytest.raises(ParameterError, match=r"scale expects one positive factor.*got -1"):
        Resize(in_shape=(1, 4, 4), scale=-1)
    for scale in (0.0, (0.5, 0.0)):
        with pytest.raises(ParameterError, match=r"scale expects one positive factor"):
            Resize.image_space_for(Space((1, 4, 4)), scale=scale)
    with pytest.raises(ParameterError, match=r"or one for rows and one for columns; got \(0.5,\)"):
        Resize(in_shape=(1, 4, 4), scale=(0.5,))
    with pytest.raises(ParameterError, match=r"size expects \(height, width\).*got \(0, 2\)"):
        Resize(in_shape=(1, 4, 4), size=(0, 2))
    with pytest.raises(ShapeError, match=r"give in_shape"):
        Resize.image_space_for(Space((1, 4, 4)), size=(4, 4))
    with pytest.raises(ShapeError, match=r"gives pictures \(C, H, W\)"):
        Resize.image_space_for(Space((4, 4)))


@pytest.mark.parametrize("options", [{"scale": 0.5}, {"size": (5, 7)}, {"scale": (2.0, 0.7)}])
def test_the_first_estimate_is_the_picture_resampled_back(options):
    op = Resize(in_shape=(2, 11, 14), dtype=torch.float64, **options)
    y = torch.rand(3, *op.out_space.shape, dtype=torch.float64)
    scales = [n / m for n, m in zip(op.out_space.shape[1:], (11, 14), strict=True)]
    if "scale" in options:
        scales = options["scale"] if isinstance(options["scale"], tuple) else [options["scale"]] * 2
    rows = np.apply_along_axis(resampled, -2, y.numpy(), 11, 1 / scales[0], "bicubic")
    expected = np.apply_along_axis(resampled, -1, rows, 14, 1 / scales[1], "bicubic")
    np.testing.assert_allclose(op.initial_estimate(y).numpy(), expected, rtol=0, atol=1e-12)


def test_nearest_falls_as_in_matlab_half_way_between_two_pixels():
    for size, new in [(18, 11), (17, 26), (9, 8), (20, 17), (13, 35), (37, 30), (8, 4), (5, 10)]:
        op = Resize(in_shape=(1, 1, size), size=(1, new), method="nearest")
        scale = new / size
        places = [i / scale + 0.5 * (1 - 1 / scale) for i in range(1, new + 1)]  # counted from 1
        want = [math.floor(u) + (u - math.floor(u) >= 0.5) - 1 for u in places]
        got = op(torch.arange(size, dtype=torch.float32)[None, None])[0, 0]
        assert got.tolist() == [min(max(p, 0), size - 1) for p in want]


def test_the_norm_needs_no_singular_vectors(monkeypatch):
    op = Resize(in_shape=(1, 12, 9), size=(5, 20), dtype=torch.float64)
    want = torch.linalg.matrix_norm(op.as_matrix(), 2)
    monkeypatch.setattr(torch.linalg, "svd", None)
    torch.testing.assert_close(op.norm_bound(), want)
