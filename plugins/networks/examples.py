"""Small networks for the conformance kit: every switch, few layers; makers of conditions."""

from __future__ import annotations

from typing import Any

import torch
from hypothesis import strategies as st
from wellposed import Problem, Space
from wellposed.registry import default_registry
from wellposed.testing import SolverCase

from .alexnet import AlexNetFeatures
from .context_encoder import ContextEncoder
from .drrn import Drrn
from .edge_connect import EdgeConnect
from .edges import Canny
from .frames import ShiftedFrames
from .hradis import HradisCnn
from .idn import Idn
from .inversenet import InverseNetDae, InverseNetUnet
from .solver import NetworkSolver
from .squeezenet import SqueezeNetFeatures
from .srcnn import Srcnn
from .srgan import SrganGenerator
from .unet import Unet
from .vdsr import Dncnn, Vdsr
from .vespcn import Vespcn

__all__ = [
    "alexnet_features",
    "canny",
    "context_encoder",
    "dncnn",
    "drrn",
    "edge_connect",
    "hradis_cnn",
    "idn",
    "inversenet_dae",
    "inversenet_unet",
    "network",
    "shifted_frames",
    "squeezenet_features",
    "srcnn",
    "srgan_generator",
    "unet",
    "vdsr",
    "vespcn",
]

_some = st.sampled_from
_both = st.booleans()
_channels = _some([1, 3])
_masks = _some([0, 0, 1, 2])
_scales = _some([1, 2, 3, 4])


def _enlarging(**more: Any) -> dict[str, Any]:
    return {
        "scale": _scales,
        "channels": _channels,
        "mask_channels": _masks,
        "upscaling": _some(["transposed", "shuffle"]),
        "head_kernel": _some([None, 5, 7]),
        **more,
    }


def context_encoder() -> st.SearchStrategy[ContextEncoder]:
    """Draw the smallest sizes."""
    return st.builds(
        ContextEncoder,
        channels=_channels,
        size=_some([16, 32]),
        width=_some([1, 2]),
        mask_channels=_masks,
        start=_some(["msra", "normal"]),
    )


def vdsr() -> st.SearchStrategy[Vdsr]:
    """Draw every scale and kind of head."""
    return st.builds(Vdsr, depth=_some([2, 3, 4]), width=_some([1, 4]), **_enlarging())


def drrn() -> st.SearchStrategy[Drrn]:
    """Draw units that are no multiple of those kept, too."""
    more = {"units": _some([1, 2, 4]), "every": _some([1, 2, 3]), "head_width": _some([1, 3])}
    return st.builds(Drrn, width=_some([2, 4]), **_enlarging(**more))


def idn() -> st.SearchStrategy[Idn]:
    """Draw the narrowest."""
    return st.builds(Idn, blocks=_some([1, 2]), width=st.just(16), **_enlarging())


def inversenet_unet() -> st.SearchStrategy[InverseNetUnet]:
    """Draw few levels, and sizes that they do not divide."""
    return st.builds(
        InverseNetUnet,
        depth=_some([1, 2, 3]),
        width=_some([1, 2]),
        channels=_channels,
        residual=_both,
    )


def inversenet_dae() -> st.SearchStrategy[InverseNetDae]:
    """Draw every switch, and sizes that the shuffle does not divide."""
    return st.builds(
        InverseNetDae,
        shuffle=_some([1, 2, 4]),
        width=_some([4, 8]),
        channels=_channels,
        measurement=_some(["none", "mean", "pixels"]),
        last=_some(["relu", "linear"]),
        residual=_both,
    )


def hradis_cnn() -> st.SearchStrategy[HradisCnn]:
    """Draw every switch, pictures smaller than the kernels, and sizes no block divides."""
    return st.builds(
        HradisCnn,
        width=_some([0.01, 0.04]),
        channels=_channels,
        grouped=_both,
        residual=_both,
        shuffle=_some([1, 1, 2, 4]),
        padding=_some(["circular", "zero"]),
    )


def srcnn() -> st.SearchStrategy[Srcnn]:
    """Draw kernels larger than the picture."""
    return st.builds(
        Srcnn,
        kernels=_some([(9, 1, 5), (3, 5, 1)]),
        widths=_some([(4, 2), (1, 3)]),
        scale=_scales,
        channels=_channels,
        start_std=_some([None, 1e-3]),
    )


def dncnn() -> st.SearchStrategy[Dncnn]:
    """Draw with and without batch normalisation."""
    return st.builds(
        Dncnn, depth=_some([2, 3, 4]), width=_some([1, 4]), channels=_channels, batch_norm=_both
    )


def unet() -> st.SearchStrategy[Unet]:
    """Draw depths whose multiple is larger than the picture."""
    return st.builds(
        Unet,
        depth=_some([1, 2, 3]),
        width=_some([1, 2]),
        channels=_some([1, 2]),
        complex_valued=_both,
        batch_norm=_both,
        residual=_both,
    )


def srgan_generator() -> st.SearchStrategy[SrganGenerator]:
    """Draw every scale."""
    return st.builds(
        SrganGenerator,
        blocks=_some([1, 2]),
        width=_some([1, 3]),
        scale=_some([2, 3, 4, 8]),
        channels=_channels,
        batch_norm=_both,
    )


def edge_connect() -> st.SearchStrategy[EdgeConnect]:
    """Draw with and without a mask beside the edges."""
    return st.builds(
        EdgeConnect,
        blocks=_some([1, 2]),
        width=_some([1, 2]),
        channels=_channels,
        mask_channels=_masks,
    )


def vespcn() -> st.SearchStrategy[Vespcn]:
    """Draw every scale and number of frames, and motion beyond the frame."""
    return st.builds(
        Vespcn,
        depth=_some([2, 3]),
        width=_some([1, 3]),
        frames=_some([3, 5, 7]),
        motion=_both,
        reach=_some([0.5, 3.0, 16.5]),
        scale=_scales,
    )


def squeezenet_features() -> st.SearchStrategy[SqueezeNetFeatures]:
    """Draw layers before and after each pool."""
    return st.builds(
        SqueezeNetFeatures,
        layer=_some(["conv1", "fire2", "fire3", "fire4", "fire6", "fire9"]),
        preprocessing=_some(["caffe", "torchvision"]),
    )


def alexnet_features() -> st.SearchStrategy[AlexNetFeatures]:
    """Draw every layer, narrow."""
    return st.builds(
        AlexNetFeatures,
        layer=_some(["conv1", "conv2", "conv3", "conv4", "conv5", "fc6", "fc6"]),
        width=_some([1, 2]),
        features=_some([1, 5]),
    )


def canny() -> st.SearchStrategy[Canny]:
    """Draw with and without smoothing."""
    return st.builds(Canny, sigma=_some([0.0, 1.0, 2.5]), low=_some([0.0, 0.1]))


def shifted_frames() -> st.SearchStrategy[ShiftedFrames]:
    """Draw shifts beyond the picture, too."""
    return st.builds(ShiftedFrames, count=_some([1, 2, 4]), reach=_some([0, 1, 4, 30]))


def network() -> st.SearchStrategy[SolverCase]:
    """Draw the solver with an enlarging network behind a strided blur, a plain one, or frames."""
    return st.builds(
        _solver_case,
        frames=_both,
        scale=_some([1, 2]),
        sides=st.tuples(st.integers(4, 8), st.integers(4, 8)),
        channels=_channels,
        batch=_some([(), (1,), (3,), (2, 3)]),
        seed=st.integers(0, 2**16),
    )


def _solver_case(
    scale: int,
    sides: tuple[int, int],
    channels: int,
    batch: tuple[int, ...],
    seed: int,
    frames: bool,
) -> SolverCase:
    generator = torch.Generator().manual_seed(seed)
    cls: Any = default_registry().load("operator", "strided_blur")
    in_shape = (channels, *(scale * n for n in sides))
    operator = cls.for_image(Space(in_shape, torch.float64), stride=scale)

    def random(*shape: int) -> torch.Tensor:
        return torch.rand(shape, dtype=torch.float64, generator=generator)

    spec: Any = Vdsr(scale=scale, channels=channels, depth=3, width=3)
    given = {}
    if frames:  # in colour: of the luminance
        spec = Vespcn(scale=scale, depth=3, width=3)
        given = {"neighbours": random(*batch, 2 * channels, *sides)}
    trained = spec.build(seed=seed, dtype=torch.float64).eval()
    y = random(*batch, *operator.out_space.shape)
    problem = Problem(operator=operator, measurement=y, conditions=given)
    return SolverCase(solver=NetworkSolver(trained=trained), problem=problem)
