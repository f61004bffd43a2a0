import itertools

import numpy as np
import pytest
import scipy.optimize
import torch
from torch import Tensor
from wellposed import Space
from wellposed.errors import DtypeError, NotConvergedWarning, ParameterError, ShapeError
from wellposed.plugins.priors.compose import Constrained, SumOfPriors
from wellposed.plugins.priors.dual import Accuracy, prox_by_dual
from wellposed.plugins.priors.separable import L1
from wellposed.plugins.priors.tv import TV

KINDS = list(itertools.product((True, False), (True, False), ("zero", "circular")))
SHAPES = [(1, 1, 1), (3, 1, 5), (2, 4, 1), (1, 3, 4), (3, 5, 4)]


def tight(**kw: object) -> TV:
    return TV(**{"weight": 1.0, "tolerance": 1e-7, "max_steps": 200_000, **kw})  # type: ignore[arg-type]


def picture(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def differences(shape: tuple[int, int, int], circular: bool) -> np.ndarray:
    """The gradient as a dense matrix, row by row from its definition: (2 N, N)."""
    index = np.arange(np.prod(shape)).reshape(shape)
    rows = []
    for axis in (1, 2):
        for c, i, j in np.ndindex(*shape):
            row = np.zeros(index.size)
            here = [c, i, j]
            there = list(here)
            there[axis] += 1
            if there[axis] == shape[axis] and circular:
                there[axis] = 0
            if there[axis] < shape[axis]:
                row[index[tuple(there)]] += 1
                row[index[tuple(here)]] -= 1
            rows.append(row)
    return np.array(rows)


def tv_by_loops(x: np.ndarray, isotropic: bool, joint: bool, circular: bool) -> float:
    """The definition, pixel by pixel."""
    d = (differences(x.shape, circular) @ x.reshape(-1)).reshape(2, *x.shape)
    total = 0.0
    _, channels, height, width = d.shape
    for i, j in itertools.product(range(height), range(width)):
        groups = [range(channels)] if joint else [[c] for c in range(channels)]
        directions = [[0, 1]] if isotropic else [[0], [1]]
        for g, a in itertools.product(groups, directions):
            total += np.sqrt(sum(abs(d[k, c, i, j]) ** 2 for k in a for c in g))
    return total


def prox_by_least_squares(v: np.ndarray, lam: float, circular: bool) -> np.ndarray:
    """Anisotropic TV with separate channels: scipy's bounded least squares on the dual."""
    d = differences(v.shape, circular)
    q = scipy.optimize.lsq_linear(d.T, v.reshape(-1), (-lam, lam), tol=1e-14).x
    return (v.reshape(-1) - d.T @ q).reshape(v.shape)


def is_optimal(p: Tensor, v: Tensor, lam: float, kind: tuple[bool, bool, str]) -> bool:
    """Whether 1/2 |x - v|^2 + lam TV(x) is least at p, along random directions and to v."""
    isotropic, joint, boundary = kind

    def objective(x: Tensor) -> float:
        tv = tv_by_loops(x.numpy(), isotropic, joint, boundary == "circular")
        return float(0.5 * (x - v).abs().square().sum()) + lam * tv

    at_p = objective(p)
    others = [
        p + s * picture(*p.shape, dtype=p.dtype, seed=k) for k in range(4) for s in (1e-3, 1e-1)
    ]
    others += [v, p + 1e-2 * (v - p), p - 1e-2 * (v - p), p.mean((-2, -1), keepdim=True) + 0 * p]
    return all(
        objective(z) >= at_p + 0.5 * float((z - p).abs().square().sum()) - 1e-6 * (1 + at_p)
        for z in others
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", KINDS)
def test_value_is_the_definition(shape: tuple[int, int, int], kind: tuple[bool, bool, str]) -> None:
    for dtype in (torch.float64, torch.complex128):
        x = picture(2, *shape, dtype=dtype)
        prior = TV(weight=0.7, isotropic=kind[0], joint_channels=kind[1], boundary=kind[2])
        want = [0.7 * tv_by_loops(s.numpy(), kind[0], kind[1], kind[2] == "circular") for s in x]
        torch.testing.assert_close(prior.value(x), torch.tensor(want, dtype=torch.float64))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_prox_beats_everything_near(kind: tuple[bool, bool, str], dtype: torch.dtype) -> None:
    v = picture(2, 4, 3, dtype=dtype)
    for lam in (0.05, 0.5):
        prior = tight(weight=lam, isotropic=kind[0], joint_channels=kind[1], boundary=kind[2])
        assert is_optimal(prior.prox(v, 1.0), v, lam, kind)


@pytest.mark.parametrize("boundary", ["zero", "circular"])
@pytest.mark.parametrize("shape", [(1, 1, 6), (2, 4, 5)])
def test_prox_against_scipy(boundary: str, shape: tuple[int, int, int]) -> None:
    v = picture(*shape)
    for lam in (0.1, 0.6):
        prior = tight(weight=lam / 2, isotropic=False, joint_channels=False, boundary=boundary)
        want = prox_by_least_squares(v.numpy(), lam, boundary == "circular")
        np.testing.assert_allclose(prior.prox(v, 2.0).numpy(), want, atol=2e-6)


def test_prox_within_bounds() -> None:
    v = 0.5 + picture(2, 4, 4)
    # levels of the anisotropic TV are denoised one by one, hence clipping afterwards is exact
    got = tight(weight=0.2, isotropic=False, joint_channels=False).prox_within(v, 1.0, (0.2, 0.8))
    want = prox_by_least_squares(v.numpy(), 0.2, False).clip(0.2, 0.8)
    np.testing.assert_allclose(got.numpy(), want, atol=2e-6)
    # those of the others are not
    prior = tight(weight=0.2)
    got = prior.prox_within(v, 1.0, (0.2, 0.8))
    assert not torch.allclose(got, prior.prox(v, 1.0).clamp(0.2, 0.8), atol=1e-4)

    def objective(x: Tensor) -> float:
        return float(0.5 * (x - v).square().sum()) + 0.2 * tv_by_loops(x.numpy(), True, True, False)

    for seed, scale in itertools.product(range(8), (1e-3, 1e-2, 1e-1, 1.0)):
        z = (got + scale * picture(2, 4, 4, seed=seed)).clamp(0.2, 0.8)
        gain = 0.5 * float((z - got).square().sum())
        assert objective(z) >= objective(got) + gain - 1e-7


def test_prox_of_one_edge_is_known() -> None:
    # two plateaus of n pixels a step h apart move towards each other by lam / n each
    v = torch.tensor([0.0, 0.0, 0.0, 1.0, 1.0, 1.0], dtype=torch.float64).reshape(1, 1, 6)
    got = tight(weight=0.3).prox(v, 1.0)
    want = torch.where(v > 0, v - 0.1, v + 0.1)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_fast_iteration_agrees_with_the_general_one(
    kind: tuple[bool, bool, str], dtype: torch.dtype
) -> None:
    v = picture(3, 2, 4, 5, dtype=dtype)
    tau = torch.tensor([0.05, 0.3, 0.0], dtype=torch.float64)
    prior = tight(isotropic=kind[0], joint_channels=kind[1], boundary=kind[2])
    terms = [(prior, prior.analysis(Space((2, 4, 5), dtype)))]
    slow = prox_by_dual(terms, v, tau, accuracy=Accuracy(1e-7, 200_000, "TV"))
    torch.testing.assert_close(prior.prox(v, tau), slow, atol=1e-6, rtol=0)
    torch.testing.assert_close(slow[2], v[2])


def test_error_is_within_the_guarantee() -> None:
    v = picture(4, 3, 12, 11)
    exact = tight(weight=0.4).prox(v, 1.0)
    spread = (v - v.mean((-2, -1), keepdim=True)).flatten(1).norm(dim=1)
    for tolerance in (1e-1, 1e-2, 1e-3):
        got = TV(weight=0.4, tolerance=tolerance).prox(v, 1.0)
        assert bool(((got - exact).flatten(1).norm(dim=1) <= tolerance * spread).all())


@pytest.mark.parametrize("scale", [1e-6, 1e6])
@pytest.mark.parametrize("dtype", [torch.float64, torch.float32])
def test_scale_equivariance(scale: float, dtype: torch.dtype) -> None:
    v = 0.5 + picture(3, 8, 7, dtype=dtype)
    for prior in (
        TV(weight=1.0),
        TV(weight=1.0, isotropic=False),
        Constrained(prior=TV(weight=1.0), lower=None, upper=None),
    ):
        want = prior.prox(v, 0.2)
        got = prior.prox(scale * v, 0.2 * scale) / scale
        torch.testing.assert_close(got, want, rtol=0, atol=1e-4 if dtype == torch.float32 else 1e-9)


def test_a_constant_moves_through() -> None:
    v = picture(3, 6, 6)
    for prior in (tight(weight=0.3), tight(weight=0.3, joint_channels=False)):
        torch.testing.assert_close(
            prior.prox(v + 7, 1.0), prior.prox(v, 1.0) + 7, atol=1e-5, rtol=0
        )
    flat = torch.full((2, 5, 5), 0.3, dtype=torch.float64)
    assert torch.equal(TV(weight=1.0).prox(flat, 3.0), flat)


def test_large_step_gives_the_mean() -> None:
    v = picture(2, 3, 5, 4)
    want = v.mean((-2, -1), keepdim=True).expand_as(v)
    torch.testing.assert_close(tight().prox(v, 1e4), want, atol=1e-6, rtol=0)


def test_moreau_identity_of_the_analysis_prox() -> None:
    # v = prox_{tau g}(v) + tau prox_{g*/tau}(v / tau), and g* is the ball of radius weight
    u = picture(2, 2, 3, 4, 5)
    prior = TV(weight=0.8)
    rest = u - prior.analysis_prox(u, 1.5)
    length = u.square().sum((-4, -3), keepdim=True).sqrt()
    torch.testing.assert_close(rest, u * (1.2 / length).clamp_max(1))


def test_per_sample_steps_and_weights_with_as_many_samples_as_columns() -> None:
    v, tau = picture(5, 1, 4, 5), torch.linspace(0.0, 0.5, 5, dtype=torch.float64)
    together = tight().prox(v, tau)
    weighted = tight(weight=tau).prox(v, 1.0)
    for i in range(5):
        alone = tight().prox(v[i], float(tau[i]))
        torch.testing.assert_close(together[i], alone, atol=1e-6, rtol=0)
        torch.testing.assert_close(weighted[i], alone, atol=1e-6, rtol=0)
    torch.testing.assert_close(TV(weight=tau).value(v), tau * TV(weight=1.0).value(v))


def test_gradients_go_through_the_prox() -> None:
    v = picture(1, 3, 4).requires_grad_()
    tau = torch.tensor(0.2, dtype=torch.float64, requires_grad=True)
    prior = TV(tolerance=1e-9, max_steps=3000)
    grads = torch.autograd.grad(prior.prox(v, tau).square().sum(), (v, tau))
    h = 1e-6
    along_v, along_tau = picture(1, 3, 4, seed=3), 1.0
    for grad, dv, dt in ((grads[0], along_v, 0.0), (grads[1], 0 * along_v, along_tau)):
        with torch.no_grad():
            above, below = (
                float(prior.prox(v + s * dv, tau + s * dt).square().sum()) for s in (h, -h)
            )
        want = (above - below) / (2 * h)
        got = float((grad * (dv if dt == 0 else dt)).sum())
        assert got == pytest.approx(want, rel=1e-3)


def test_vmap_takes_the_whole_budget_and_agrees() -> None:
    v = picture(3, 1, 4, 5)
    prior = TV(weight=0.2, tolerance=1e-8, max_steps=400)
    got = torch.func.vmap(lambda x: prior.prox(x, 0.5))(v)
    torch.testing.assert_close(got, tight(weight=0.2).prox(v, 0.5), atol=1e-5, rtol=0)


def test_value_has_a_gradient_where_the_picture_is_flat() -> None:
    x = torch.zeros(1, 3, 3, dtype=torch.float64, requires_grad=True)
    (grad,) = torch.autograd.grad(TV(weight=1.0).value(x).sum(), x)
    assert torch.equal(grad, torch.zeros_like(grad))


def test_a_nan_spoils_its_own_sample_only() -> None:
    v = picture(3, 1, 6, 6)
    bad = v.clone()
    bad[1, 0, 2, 2] = torch.nan
    got, want = TV(weight=1.0).prox(bad, 0.3), TV(weight=1.0).prox(v, 0.3)
    torch.testing.assert_close(got[[0, 2]], want[[0, 2]])
    assert bool(got[1].isnan().any())


def test_budget_is_reported() -> None:
    with pytest.warns(NotConvergedWarning, match=r"TV.prox stopped after 3 steps with 1 of 1"):
        TV(max_steps=3, tolerance=1e-9).prox(picture(1, 9, 9), 1.0)


def test_errors() -> None:
    with pytest.raises(ParameterError, match=r"TV.weight expects a finite number of at least 0"):
        TV(weight=-1.0)
    with pytest.raises(ParameterError, match=r"TV.weight expects a number, or a real tensor"):
        TV(weight=torch.ones(2, 2))
    with pytest.raises(ParameterError, match=r"TV.tolerance expects a finite number above 0"):
        TV(tolerance=0.0)
    with pytest.raises(ParameterError, match=r"TV.max_steps expects a whole number above 0"):
        TV(max_steps=2.5)  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"expected one of 'zero', 'circular'"):
        TV(boundary="mirror")
    with pytest.raises(ParameterError, match=r"TV expects tau to be finite and at least 0; got -1"):
        TV(weight=1.0).prox(picture(1, 3, 3), -1.0)
    with pytest.raises(ShapeError, match=r"TV expects tau as a number or one value per sample"):
        TV(weight=1.0).prox(picture(2, 1, 3, 3), torch.ones(3))
    with pytest.raises(ShapeError, match=r"TV expects pictures of shape \(\*batch, C, H, W\)"):
        TV(weight=1.0).prox(picture(3, 3), 1.0)
    with pytest.raises(DtypeError, match=r"TV expects pictures as a floating-point or complex"):
        TV(weight=1.0).value(torch.ones(1, 3, 3, dtype=torch.uint8))
    with pytest.raises(DtypeError, match=r"TV expects real pictures; got torch.complex128"):
        TV(weight=1.0).prox_within(picture(1, 3, 3, dtype=torch.complex128), 1.0, (0.0, 1.0))


def test_sum_of_one_is_that_prior() -> None:
    v = picture(1, 5, 5)
    one = SumOfPriors(priors=(L1(weight=0.2),))
    assert torch.equal(one.prox(v, 1.0), L1(weight=0.2).prox(v, 1.0))


def test_compiles_after_one_eager_call() -> None:
    v = picture(2, 1, 5, 6)
    prior = TV(weight=1e-3, max_steps=6, tolerance=1.0)
    want = prior.prox(v, 0.3)
    got = torch.compile(prior.prox, fullgraph=True, backend="aot_eager")(v, 0.3)
    torch.testing.assert_close(got, want, atol=1e-6, rtol=0)


def test_operators_are_kept_and_their_number_is_bounded() -> None:
    from wellposed.plugins.priors import differences

    space = Space((1, 3, 3), torch.float64)
    assert TV().analysis(space) is TV(weight=2.0).analysis(space)
    for width in range(4, 40):
        TV().analysis(Space((1, 3, width), torch.float64))
    assert len(differences._MADE) <= 16
