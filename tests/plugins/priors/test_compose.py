import pickle

import attrs
import pytest
import torch
from torch import Tensor
from wellposed import AnalysisPrior, ForwardOperator, Space, stack
from wellposed.errors import DtypeError, IncompatibleError, ParameterError
from wellposed.plugins.priors.compose import Concatenated, Constrained, SmoothSum, SumOfPriors
from wellposed.plugins.priors.nlm import NonLocalMeans
from wellposed.plugins.priors.separable import L1, NonNegative, Zero
from wellposed.plugins.priors.tikhonov import Tikhonov
from wellposed.plugins.priors.tv import TV
from wellposed.plugins.priors.wavelet import WaveletL1
from wellposed.registry import default_registry

TIGHT = {"tolerance": 1e-8, "max_steps": 100_000}


def picture(*shape: int, dtype: torch.dtype = torch.float64, seed: int = 0) -> Tensor:
    return torch.randn(shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def by_admm(v: Tensor, tau: float, tv: float, l1: float, low: float, high: float) -> Tensor:
    """TV (anisotropic) + l1 within bounds, by ADMM with dense matrices: another algorithm."""
    n = v.numel()
    op = TV(weight=1.0).analysis(Space(tuple(v.shape), v.dtype))
    d = op.as_matrix()
    stacked = torch.cat((d, torch.eye(n, dtype=v.dtype), torch.eye(n, dtype=v.dtype)))
    solve = torch.linalg.inv(torch.eye(n, dtype=v.dtype) / tau + stacked.T @ stacked)
    z = torch.zeros(len(stacked), dtype=v.dtype)
    u = z.clone()
    m = len(d)
    for _ in range(5000):
        x = solve @ (v.flatten() / tau + stacked.T @ (z - u))
        s = stacked @ x + u
        z = torch.cat(
            (
                s[:m].sign() * (s[:m].abs() - tv).clamp_min(0),
                s[m : m + n].sign() * (s[m : m + n].abs() - l1).clamp_min(0),
                s[m + n :].clamp(low, high),
            )
        )
        u = s - z
    return x.reshape(v.shape)


def test_sum_within_bounds_against_admm() -> None:
    v = picture(1, 3, 4)
    terms = (TV(weight=0.2, isotropic=False), L1(weight=0.1))
    total = SumOfPriors(priors=terms, **TIGHT)
    want = by_admm(v, 0.8, 0.2, 0.1, -0.3, 0.6)
    torch.testing.assert_close(total.prox_within(v, 0.8, (-0.3, 0.6)), want, atol=1e-6, rtol=0)
    nested = Constrained(prior=total, lower=-0.3, upper=0.6)
    torch.testing.assert_close(nested.prox(v, 0.8), want, atol=1e-6, rtol=0)
    free = by_admm(v, 0.8, 0.2, 0.1, -9.0, 9.0)
    torch.testing.assert_close(total.prox(v, 0.8), free, atol=1e-6, rtol=0)


def test_fused_lasso_is_known() -> None:
    # prox of TV + l1 in one dimension: the soft threshold of the prox of TV (Friedman et al., 2007)
    v = picture(1, 1, 9)
    total = SumOfPriors(priors=(TV(weight=0.3, **TIGHT), L1(weight=0.2)), **TIGHT)
    want = L1(weight=0.2).prox(TV(weight=0.3, **TIGHT).prox(v, 1.0), 1.0)
    torch.testing.assert_close(total.prox(v, 1.0), want, atol=1e-6, rtol=0)


def test_value_is_the_sum_and_that_of_the_analysis() -> None:
    for dtype in (torch.float64, torch.complex128):
        x, space = picture(3, 2, 4, 5, dtype=dtype), Space((2, 4, 5), dtype)
        terms = (TV(weight=0.3), L1(weight=torch.rand(3)), Tikhonov(weight=0.5))
        total = SumOfPriors(priors=terms)
        torch.testing.assert_close(total.value(x), sum(t.value(x) for t in terms))
        u = total.analysis(space)(x)
        assert u.shape == (3, 2 + 1 + 2, 2, 4, 5)
        torch.testing.assert_close(total.analysis_value(u), total.value(x))
        v = picture(*u.shape, dtype=dtype)
        parts = total.analysis_prox(v, 0.4).split([2, 1, 2], 1)
        torch.testing.assert_close(parts[0], terms[0].analysis_prox(v[:, :2], 0.4))
        torch.testing.assert_close(parts[1][:, 0], terms[1].analysis_prox(v[:, 2], 0.4))


def test_constrained_as_an_analysis_prior() -> None:
    prior = Constrained(prior=TV(weight=0.3), lower=0.0, upper=1.0)
    space = Space((1, 3, 4), torch.float64)
    inside, outside = picture(1, 3, 4).clamp(0, 1), picture(1, 3, 4) * 3
    op = prior.analysis(space)
    torch.testing.assert_close(prior.analysis_value(op(inside)), TV(weight=0.3).value(inside))
    assert float(prior.value(outside)) == float(prior.analysis_value(op(outside))) == torch.inf
    u = picture(3, 1, 3, 4)
    got = prior.analysis_prox(u, 0.2)
    torch.testing.assert_close(got[:2], TV(weight=0.3).analysis_prox(u[:2], 0.2))
    assert torch.equal(got[2], u[2].clamp(0, 1))


def test_constrained_separable_priors_are_exact() -> None:
    v = picture(2, 1, 4, 5)
    for prior in (L1(weight=0.3), Zero(), Tikhonov(operator="identity")):
        want = prior.prox(v, 0.7).clamp(0.1, 0.6)
        assert torch.equal(Constrained(prior=prior, lower=0.1, upper=0.6).prox(v, 0.7), want)


def test_concatenated_is_an_operator() -> None:
    for dtype in (torch.float64, torch.complex128):
        space = Space((2, 3, 4), dtype)
        op = Concatenated((TV(boundary="circular").analysis(space), L1(weight=1.0).analysis(space)))
        dense = op.as_matrix()
        torch.testing.assert_close(op.H.as_matrix(), dense.mH)
        x = picture(2, 3, 4, dtype=dtype)
        torch.testing.assert_close(op.gram(x).flatten(), dense.mH @ (dense @ x.flatten()))
        assert op.equivariance() is not None
        assert Concatenated((TV(weight=1.0).analysis(space),)).equivariance() is None


def test_smooth_sum() -> None:
    x, space = picture(2, 1, 4, 4).requires_grad_(), Space((1, 4, 4), torch.float64)
    terms = (Tikhonov(weight=0.3), Tikhonov(weight=2.0, operator="identity"))
    total = SmoothSum(priors=terms)
    (want,) = torch.autograd.grad(total.value(x).sum(), x)
    torch.testing.assert_close(total.grad(x.detach()), want)
    assert total.lipschitz(space) == pytest.approx(sum(t.lipschitz(space) for t in terms))


def test_built_by_name_with_nested_priors() -> None:
    from wellposed.edge import build_prior

    prior = build_prior(
        {
            "name": "constrained",
            "params": {
                "prior": {
                    "name": "sum",
                    "params": {"priors": ["tv", {"name": "l1", "params": {"weight": 1e-2}}]},
                },
                "upper": None,
            },
        }
    )
    assert isinstance(prior, Constrained)
    assert isinstance(prior.prior, SumOfPriors)
    assert [p.name for p in prior.prior.priors] == ["TV", "L1"]
    assert repr(prior) == (
        "Constrained(prior=SumOfPriors, lower=0.0, upper=None, tolerance=0.003, max_steps=1000)"
    )
    assert isinstance(pickle.loads(pickle.dumps(prior)), Constrained)
    names = {s.name for s in default_registry().specs("prior")}
    assert {"sum", "smooth_sum", "constrained", "denoiser_prox", "bm3d"} <= names


@attrs.frozen(eq=False, kw_only=True)
class Pairs(AnalysisPrior):
    """An analysis operator to something that is no stack of pictures."""

    def analysis(self, space: Space) -> ForwardOperator:
        gradient = TV(weight=1.0).analysis(space)
        return stack([gradient, gradient])

    def analysis_value(self, u: Tensor) -> Tensor:
        return u.abs().sum((-5, -4, -3, -2, -1))

    def analysis_prox(self, u: Tensor, tau: Tensor | float) -> Tensor:
        return u


def test_errors() -> None:
    with pytest.raises(
        ParameterError, match=r"SumOfPriors.priors expects at least one prior.*got none"
    ):
        SumOfPriors(priors=())
    with pytest.raises(
        ParameterError, match=r"each a AnalysisPrior; got NonLocalMeans|got NonLocalMeans"
    ):
        SumOfPriors(priors=(TV(weight=1.0), NonLocalMeans()))  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"SmoothSum.priors .* got TV"):
        SmoothSum(priors=(TV(weight=1.0),))  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"expects a tuple of priors; got list"):
        SumOfPriors(priors=[TV(weight=1.0)])  # type: ignore[arg-type]
    with pytest.raises(
        ParameterError, match=r"Constrained.prior expects an AnalysisPrior .* NonNegative"
    ):
        Constrained(prior=NonNegative())  # type: ignore[arg-type]
    with pytest.raises(ParameterError, match=r"Constrained expects lower <= upper"):
        Constrained(prior=TV(weight=1.0), lower=2.0)
    with pytest.raises(DtypeError, match=r"Constrained expects real pictures"):
        Constrained(prior=TV(weight=1.0)).prox(picture(1, 3, 3, dtype=torch.complex128), 1.0)
    with pytest.raises(IncompatibleError, match=r"pictures of the size of x, \(1, 4, 4\)"):
        SumOfPriors(priors=(TV(weight=1.0), Pairs())).analysis(Space((1, 4, 4), torch.float64))


@pytest.mark.parametrize("dtype", [torch.float64, torch.complex128])
def test_an_empty_batch_gives_an_empty_batch(dtype: torch.dtype) -> None:
    v = torch.zeros(2, 0, 1, 6, 5, dtype=dtype)
    tikhonov = [Tikhonov(boundary=boundary) for boundary in ("circular", "zero")]
    for prior in (TV(), L1(), WaveletL1(), SumOfPriors(priors=(TV(), L1())), *tikhonov):
        assert prior.prox(v, 0.1).shape == v.shape
        assert prior.prox(v, torch.ones(2, 0)).shape == v.shape
        assert prior.value(v).shape == (2, 0)
