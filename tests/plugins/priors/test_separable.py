import math
import pickle
from collections.abc import Callable

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor
from wellposed import Space
from wellposed.errors import DtypeError, ParameterError, ShapeError
from wellposed.plugins.priors.bounded import BoundedProx
from wellposed.plugins.priors.separable import L0, L1, Box, NonNegative, Zero
from wellposed.plugins.priors.tikhonov import Tikhonov


def picture(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


Values = Callable[[np.ndarray], np.ndarray]


def by_search(value: Values, v: float, tau: float) -> float:
    """The proximal point of a functional of one number, by ever finer grids."""
    best, width = 0.0, 6.0
    for _ in range(12):
        grid = best + width * np.linspace(-1, 1, 201)
        grid = np.concatenate((grid, [0.0, v, -0.5, 1.0, 0.1, 0.9]))  # kinks and ends
        best = float(grid[np.argmin(value(grid) + (grid - v) ** 2 / (2 * tau))])
        width /= 20
    return best


@given(v=st.floats(-3, 3), tau=st.floats(0.01, 3), weight=st.floats(0, 2))
def test_prox_of_one_pixel_is_the_best_value(v: float, tau: float, weight: float) -> None:
    x = torch.full((1, 1, 1), v, dtype=torch.float64)
    cases = {
        L1(weight=weight): lambda z: weight * np.abs(z),
        Tikhonov(weight=weight, operator="identity"): lambda z: 0.5 * weight * z * z,
        Box(lower=-0.5, upper=1.0): lambda z: np.where((z >= -0.5) & (z <= 1), 0, np.inf),
        NonNegative(): lambda z: np.where(z >= 0, 0, np.inf),
        Zero(): lambda z: 0 * z,
    }
    for prior, value in cases.items():
        assert float(prior.prox(x, tau)) == pytest.approx(by_search(value, v, tau), abs=1e-7)


@given(v=st.floats(-3, 3), tau=st.floats(0.01, 3), weight=st.floats(0.0, 2))
def test_hard_threshold_is_as_good_as_any_value(v: float, tau: float, weight: float) -> None:
    def objective(z: float) -> float:
        return weight * (z != 0) + (z - v) ** 2 / (2 * tau)

    got = float(L0(weight=weight).prox(torch.full((1, 1, 1), v, dtype=torch.float64), tau))
    assert objective(got) <= min(objective(0.0), objective(v)) * (1 + 1e-12)


def test_prox_within_bounds_of_one_pixel() -> None:
    cases: list[tuple[BoundedProx, Values]] = [
        (L1(weight=0.7), lambda z: 0.7 * np.abs(z)),
        (Tikhonov(weight=0.7, operator="identity"), lambda z: 0.35 * z * z),
    ]
    for prior, value in cases:
        for v in (-2.0, -0.4, 0.1, 0.6, 3.0):
            x = torch.full((1, 1, 1), v, dtype=torch.float64)
            want = by_search(
                lambda z, value=value: np.where((z >= 0.1) & (z <= 0.9), value(z), np.inf), v, 0.8
            )
            assert float(prior.prox_within(x, 0.8, (0.1, 0.9))) == pytest.approx(want, abs=1e-7)


def test_moreau_identity() -> None:
    # v = prox_{tau R}(v) + tau prox_{R*/tau}(v / tau); R* of l1 is the box of radius weight
    v = picture(2, 1, 4, 5)
    rest = v - L1(weight=0.3).prox(v, 2.0)
    torch.testing.assert_close(rest, 2 * (v / 2).clamp(-0.3, 0.3))


def test_complex_soft_threshold_keeps_the_phase() -> None:
    v = picture(2, 3, 4, dtype=torch.complex128)
    p = L1(weight=0.5).prox(v, 1.0)
    torch.testing.assert_close(p.abs(), (v.abs() - 0.5).clamp_min(0))
    kept = p != 0
    torch.testing.assert_close(p[kept].angle(), v[kept].angle())


@pytest.mark.parametrize("scale", [1e-6, 1e6])
def test_scale_equivariance(scale: float) -> None:
    for dtype in (torch.float64, torch.float32):
        v = picture(3, 2, 4, 5, dtype=dtype)
        for prior, power in (
            (L1(weight=1.0), 1),
            (L0(weight=1.0), 2),
            (Tikhonov(), 0),
            (NonNegative(), 0),
        ):
            got = prior.prox(scale * v, 0.3 * scale**power) / scale
            torch.testing.assert_close(got, prior.prox(v, 0.3))


def test_one_number_per_sample_with_as_many_samples_as_columns() -> None:
    v, tau = picture(4, 2, 3, 4), torch.tensor([0.0, 0.1, 0.5, 2.0], dtype=torch.float64)
    for make in (L1, L0, Tikhonov):
        together, weighted = make(weight=1.0).prox(v, tau), make(weight=tau).prox(v, 0.5)
        for i in range(4):
            torch.testing.assert_close(together[i], make(weight=1.0).prox(v[i], float(tau[i])))
            torch.testing.assert_close(weighted[i], make(weight=float(tau[i])).prox(v[i], 0.5))
        torch.testing.assert_close(
            make(weight=tau).value(v),
            torch.stack([tau[i] * make(weight=1.0).value(v[i]) for i in range(4)]),
        )


def test_values() -> None:
    x = torch.tensor([[[0.0, -2.0], [3.0, 0.5]]], dtype=torch.float64)
    assert float(L1(weight=2.0).value(x)) == 11.0
    assert float(L0(weight=2.0).value(x)) == 6.0
    assert float(Zero().value(x)) == 0.0
    assert float(Box(lower=-2, upper=3).value(x)) == 0.0
    assert float(Box(lower=-1.9, upper=3).value(x)) == math.inf
    assert float(NonNegative().value(x)) == math.inf
    assert float(NonNegative().value(x.abs())) == 0.0
    assert Box().value(x.expand(3, 2, 1, 2, 2)).shape == (3, 2)


def test_zero_is_nothing() -> None:
    x, space = picture(2, 1, 3, 3), Space((1, 3, 3), torch.float64)
    assert Zero().lipschitz(space) == 0
    assert torch.equal(Zero().grad(x), torch.zeros_like(x))
    assert torch.equal(Zero().prox_within(x, 1.0, (0.0, 0.5)), x.clamp(0, 0.5))


def test_bounds_meet() -> None:
    x = picture(1, 4, 4)
    got = Box(lower=-0.5, upper=None).prox_within(x, 1.0, (None, 0.5))
    assert torch.equal(got, x.clamp(-0.5, 0.5))
    assert torch.equal(NonNegative().prox_within(x, 1.0, (-1.0, 0.5)), x.clamp(0, 0.5))
    assert Box(lower=None, upper=None).prox(x, 1.0) is x
    with pytest.raises(ParameterError, match=r"Box expects lower <= upper; got lower=0.7"):
        Box(lower=0.7).prox_within(x, 1.0, (0.0, 0.5))


def test_errors() -> None:
    with pytest.raises(
        ParameterError, match=r"Box expects lower <= upper; got lower=1.0 and upper=0.0"
    ):
        Box(lower=1.0, upper=0.0)
    with pytest.raises(ParameterError, match=r"Box.upper expects a finite number, or None"):
        Box(upper=math.inf)
    with pytest.raises(ParameterError, match=r"L1.weight expects a finite number of at least 0"):
        L1(weight=math.nan)
    with pytest.raises(ParameterError, match=r"got True"):
        L1(weight=True)
    with pytest.raises(DtypeError, match=r"Box expects real pictures; got torch.complex128"):
        Box().prox(picture(1, 2, 2, dtype=torch.complex128), 1.0)
    with pytest.raises(ShapeError, match=r"NonNegative expects pictures|Box expects pictures"):
        NonNegative().prox(torch.ones(3, 3), 1.0)
    with pytest.raises(DtypeError, match=r"L1 expects pictures as a floating-point .* got list"):
        L1(weight=1.0).prox([1.0], 1.0)  # type: ignore[arg-type]
    with pytest.raises(
        ShapeError, match=r"one value per sample, of shape \(2,\); got shape \(3,\)"
    ):
        L1(weight=torch.ones(3)).value(picture(2, 1, 3, 3))


def test_moves_and_pickles() -> None:
    prior = L1(weight=torch.ones(3, dtype=torch.float64))
    assert prior.to(dtype=torch.float32).weight.dtype == torch.float32  # type: ignore[union-attr]
    assert "tensor(" not in repr(prior)
    again = pickle.loads(pickle.dumps(prior))
    v = picture(3, 1, 2, 2)
    assert torch.equal(again.prox(v, 0.5), prior.prox(v, 0.5))
