"""Small cases of the priors for the conformance kit, in double precision."""

from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from hypothesis import strategies as st
from torch import Tensor, nn
from wellposed import AnalysisPrior, DenoiserAsProx, SmoothPrior, Space
from wellposed.testing import PriorCase
from wellposed.testing.strategies import image_shapes, tensors

from .arrays import SkimageNLM, SkimageTV
from .compose import Constrained, SmoothSum, SumOfPriors
from .functions import CallableDenoiser, NetworkDenoiser, ProxDenoiser
from .generator import NetworkGenerator
from .nlm import NonLocalMeans
from .separable import L0, L1, Box, NonNegative, Zero
from .tikhonov import Tikhonov
from .tv import TV
from .wavelet import CycleSpinning, WaveletL1

Draw = st.DrawFn
Case = st.SearchStrategy[PriorCase]

_ACCURATE: dict[str, Any] = {"tolerance": 1e-4, "max_steps": 50_000}


@st.composite
def _spaces(draw: Draw, *, real: bool = False, least: int = 1, most: int = 9) -> Space:
    dtypes = [torch.float64] if real else [torch.float64, torch.float64, torch.complex128]
    return Space(draw(image_shapes(least, most)), draw(st.sampled_from(dtypes)))


@st.composite
def _weights(draw: Draw, batches: tuple[int | None, ...] = (None, None, None, 3)) -> Any:
    """Draw a number, zero too, or one value per sample."""
    batch = draw(st.sampled_from(batches))
    if batch is None:
        return draw(st.sampled_from([0.0, 0.05, 0.3, 2.0]))
    values: Tensor = draw(tensors((batch,), uniform=True))
    return values + 0.05


@st.composite
def tikhonov_cases(draw: Draw) -> PriorCase:
    """Draw both operators and boundaries."""
    return PriorCase(prior=draw(_tikhonovs()), space=draw(_spaces()))


@st.composite
def _tikhonovs(draw: Draw) -> Tikhonov:
    return Tikhonov(
        weight=draw(_weights()),
        operator=draw(st.sampled_from(["identity", "gradient"])),
        boundary=draw(st.sampled_from(["zero", "circular"])),
    )


@st.composite
def _tvs(draw: Draw) -> TV:
    return TV(
        weight=draw(_weights()),
        isotropic=draw(st.booleans()),
        joint_channels=draw(st.booleans()),
        boundary=draw(st.sampled_from(["zero", "circular"])),
        **_ACCURATE,
    )


@st.composite
def tv_cases(draw: Draw) -> PriorCase:
    """Draw every kind, also for pictures one pixel wide."""
    return PriorCase(prior=draw(_tvs()), space=draw(_spaces(most=6)))


@st.composite
def _wavelet_fields(draw: Draw) -> dict[str, Any]:
    return {
        "wavelet": draw(st.sampled_from(["haar", "db2", "db4"])),
        "levels": draw(st.sampled_from([None, 1, 3])),
        "joint_channels": draw(st.booleans()),
    }


@st.composite
def wavelet_l1_cases(draw: Draw) -> PriorCase:
    """Draw filters longer than the picture, too."""
    prior = WaveletL1(
        weight=draw(_weights()), free_approximation=draw(st.booleans()), **draw(_wavelet_fields())
    )
    return PriorCase(prior=prior, space=draw(_spaces()))


@st.composite
def wavelet_cycle_spinning_cases(draw: Draw) -> PriorCase:
    """Draw both thresholds, and more shifts than pixels."""
    prior = CycleSpinning(
        threshold=draw(st.sampled_from(["hard", "soft"])),
        shifts=draw(st.integers(1, 3)),
        **draw(_wavelet_fields()),
    )
    return PriorCase(prior=prior, space=draw(_spaces()))


@st.composite
def l1_cases(draw: Draw) -> PriorCase:
    """Draw weights."""
    return PriorCase(prior=L1(weight=draw(_weights())), space=draw(_spaces()))


@st.composite
def l0_cases(draw: Draw) -> PriorCase:
    """Draw weights."""
    return PriorCase(prior=L0(weight=draw(_weights())), space=draw(_spaces()), convex=False)


@st.composite
def box_cases(draw: Draw) -> PriorCase:
    """Draw one bound, both, none, and a single allowed value."""
    bounds = draw(st.sampled_from([(0.0, 1.0), (None, 0.5), (-0.5, None), (0.3, 0.3)]))
    prior = Box(lower=bounds[0], upper=bounds[1])
    return PriorCase(prior=prior, space=draw(_spaces(real=True)))


@st.composite
def nonnegative_cases(draw: Draw) -> PriorCase:
    """Draw a size."""
    return PriorCase(prior=NonNegative(), space=draw(_spaces(real=True)))


@st.composite
def zero_cases(draw: Draw) -> PriorCase:
    """Draw a size."""
    return PriorCase(prior=Zero(), space=draw(_spaces()))


@st.composite
def _analysis(draw: Draw) -> AnalysisPrior:
    kinds: list[st.SearchStrategy[Any]] = [_tvs(), _tikhonovs(), st.builds(L1, weight=_weights())]
    kinds.append(st.builds(WaveletL1, weight=_weights()))
    prior: AnalysisPrior = draw(st.one_of(kinds))
    return prior


@st.composite
def sum_cases(draw: Draw) -> PriorCase:
    """Draw one or two terms."""
    terms = tuple(draw(st.lists(_analysis(), min_size=1, max_size=2)))
    prior = SumOfPriors(priors=terms, tolerance=3e-4, max_steps=50_000)
    return PriorCase(prior=prior, space=draw(_spaces(most=4)), rtol=1e-3)


@st.composite
def smooth_sum_cases(draw: Draw) -> PriorCase:
    """Draw one to three terms."""
    terms: list[SmoothPrior] = draw(st.lists(_tikhonovs(), min_size=1, max_size=3))
    return PriorCase(prior=SmoothSum(priors=tuple(terms)), space=draw(_spaces()))


@st.composite
def constrained_cases(draw: Draw) -> PriorCase:
    """Draw bounds that bite."""
    bounds = draw(st.sampled_from([(0.0, 1.0), (None, 0.5), (0.2, None)]))
    prior = Constrained(prior=draw(_analysis()), lower=bounds[0], upper=bounds[1], **_ACCURATE)
    return PriorCase(prior=prior, space=draw(_spaces(real=True, most=5)), rtol=1e-3)


@st.composite
def nlm_cases(draw: Draw) -> PriorCase:
    """Draw patches and windows larger than the picture, too."""
    prior = NonLocalMeans(
        patch=draw(st.integers(0, 3)),
        search=draw(st.integers(1, 4)),
        aggregate=draw(st.booleans()),
    )
    return PriorCase(prior=prior, space=draw(_spaces()))


@st.composite
def skimage_tv_cases(draw: Draw) -> PriorCase:
    """Draw a size."""
    return PriorCase(prior=SkimageTV(), space=draw(_spaces(least=2)), waits=True)


@st.composite
def skimage_nlm_cases(draw: Draw) -> PriorCase:
    """Draw both modes."""
    prior = SkimageNLM(patch_size=3, patch_distance=3, fast_mode=draw(st.booleans()))
    return PriorCase(prior=prior, space=draw(_spaces(least=2)), waits=True)


def mean_of_neighbours(v: Tensor, sigma: Tensor) -> Tensor:
    """Return means over 3 x 3 pixels, nearer to v the smaller sigma is: a denoiser to adapt."""
    share = sigma / (sigma + 0.01)
    return (1 - share) * v + share * _smooth(v)


def _smooth(v: Tensor) -> Tensor:
    if v.is_complex():
        return torch.complex(_smooth(v.real), _smooth(v.imag))
    return F.avg_pool2d(F.pad(v, (1, 1, 1, 1), mode="replicate"), 3, stride=1)


class MeanNetwork(nn.Module):
    """A network for examples: the mean of neighbours, times a gain that is 1."""

    def __init__(self, channels: int, inputs: int) -> None:
        super().__init__()
        self.channels, self.inputs = channels, inputs
        self.gain = nn.Parameter(torch.ones((), dtype=torch.float64), requires_grad=False)

    def forward(self, v: Tensor, sigma: Tensor | None = None) -> Tensor:
        """Return the means of the first channels."""
        assert v.shape[1] == self.inputs
        return self.gain * _smooth(v[:, : self.channels])


@st.composite
def callable_denoiser_cases(draw: Draw) -> PriorCase:
    """Draw a size."""
    return PriorCase(prior=CallableDenoiser(function=mean_of_neighbours), space=draw(_spaces()))


@st.composite
def network_denoiser_cases(draw: Draw) -> PriorCase:
    """Draw every way of telling the network the noise level."""
    space = draw(_spaces())
    how = draw(st.sampled_from(["none", "argument", "map"]))
    network = MeanNetwork(space.shape[0], space.shape[0] + (how == "map"))
    prior = NetworkDenoiser(
        network=network, noise_input=how, scale=draw(st.sampled_from([1.0, 255.0]))
    )
    return PriorCase(prior=prior, space=space)


@st.composite
def prox_denoiser_cases(draw: Draw) -> PriorCase:
    """Draw priors."""
    prior = draw(
        st.sampled_from([TV(weight=1.0, **_ACCURATE), L1(weight=1.0), Tikhonov(weight=1.0)])
    )
    return PriorCase(prior=ProxDenoiser(prior=prior), space=draw(_spaces(most=6)), rtol=1e-3)


@st.composite
def denoiser_prox_cases(draw: Draw) -> PriorCase:
    """Draw a weight."""
    prior = DenoiserAsProx(denoiser=NonLocalMeans(search=2), weight=draw(st.sampled_from([0.1, 1])))
    return PriorCase(prior=prior, space=draw(_spaces()), convex=False)


@st.composite
def generator_cases(draw: Draw) -> PriorCase:
    """Draw shapes of codes and pictures, and whether the network gives [-1, 1]."""
    latent = draw(st.sampled_from([(1,), (3,), (5, 1, 1)]))
    space = draw(_spaces(real=True))
    stream = torch.Generator().manual_seed(draw(st.integers(0, 2**16)))
    layer = nn.Linear(latent[0], space.numel, dtype=torch.float64)
    for values in layer.parameters():
        values.data.normal_(generator=stream)
    layers = nn.Sequential(nn.Flatten(), layer, nn.Tanh(), nn.Unflatten(1, space.shape))
    prior = NetworkGenerator(
        network=layers,
        latent_shape=latent,
        out_shape=(space.shape[0], space.shape[1], space.shape[2]),
        value_range=draw(st.sampled_from([(0.0, 1.0), (-1.0, 1.0)])),
        dtype=torch.float64,
    )
    return PriorCase(prior=prior, space=space)
