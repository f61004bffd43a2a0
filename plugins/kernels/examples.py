"""Instances of the kernels for the conformance kit."""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np
import torch
from hypothesis import strategies as st

from .bicubic import Bicubic, Delta
from .file import FileKernel
from .gaussian import AnisotropicGaussian, Gaussian
from .inversenet import InverseNetColour, InverseNetFlat, InverseNetMotion
from .lines import Box, Disk, Motion
from .overlap import MotionGaussian
from .shake import CameraShake

__all__ = [
    "anisotropic_gaussian",
    "bicubic",
    "box",
    "camera_shake",
    "delta",
    "disk",
    "file",
    "gaussian",
    "inversenet_colour",
    "inversenet_flat",
    "inversenet_motion",
    "motion",
    "motion_gaussian",
]

Draw = st.DrawFn
_sizes = st.sampled_from([None, None, 1, 4, 9, 15])


def _lengths(low: float, high: float) -> st.SearchStrategy[object]:
    numbers = st.floats(low, high, allow_subnormal=False)
    several = st.lists(numbers, min_size=3, max_size=3).map(_as_tensor)
    return st.one_of(numbers, several)


def _as_tensor(values: list[float]) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float64)


def gaussian() -> st.SearchStrategy[Gaussian]:
    """Draw widths down to nearly nothing."""
    return st.builds(Gaussian, width=_lengths(0.05, 3.0), size=_sizes)


def anisotropic_gaussian() -> st.SearchStrategy[AnisotropicGaussian]:
    """Draw both widths and every angle."""
    return st.builds(
        AnisotropicGaussian,
        width_1=_lengths(0.3, 3.0),
        width_2=_lengths(0.3, 2.0),
        angle=_lengths(-180.0, 180.0),
        size=_sizes,
    )


def motion() -> st.SearchStrategy[Motion]:
    """Draw lengths and angles, the axes among them."""
    angles = st.one_of(st.sampled_from([0.0, 45.0, 90.0]), _lengths(-180.0, 180.0))
    return st.builds(Motion, length=_lengths(0.2, 12.0), angle=angles)


def motion_gaussian() -> st.SearchStrategy[MotionGaussian]:
    """Draw either as the larger one, for both ways to combine them."""
    angles = st.one_of(st.sampled_from([0.0, 45.0, 90.0]), _lengths(-180.0, 180.0))
    return st.builds(
        MotionGaussian,
        length=_lengths(0.2, 12.0),
        angle=angles,
        width=_lengths(0.05, 3.0),
        combination=st.sampled_from(["sum", "convolution"]),
    )


def camera_shake() -> st.SearchStrategy[CameraShake]:
    """Draw straight lines, tangles and paths that the frame cannot hold."""
    several = st.lists(st.integers(0, 2**31), min_size=3, max_size=3).map(torch.tensor)
    return st.builds(
        CameraShake,
        size=st.sampled_from([1, 2, 3, 8, 9]),
        length=_lengths(0.2, 20.0),
        anxiety=_lengths(0.0, 0.02),
        seed=st.one_of(st.integers(0, 2**31), several),
        middle=st.sampled_from(["tap", "frame"]),
    )


def box() -> st.SearchStrategy[Box]:
    """Draw widths."""
    return st.builds(Box, width=_lengths(0.2, 9.0))


def disk() -> st.SearchStrategy[Disk]:
    """Draw radii."""
    return st.builds(Disk, radius=_lengths(0.2, 5.0))


def bicubic() -> st.SearchStrategy[Bicubic]:
    """Give the only one."""
    return st.builds(Bicubic)


def delta() -> st.SearchStrategy[Delta]:
    """Give the only one."""
    return st.builds(Delta)


@st.composite
def file(draw: Draw) -> FileKernel:
    """Write one tap for each channel or sample, which has no phase, and give its file."""
    folder = Path(tempfile.gettempdir()) / "wellposed-kernel-examples"
    folder.mkdir(exist_ok=True)
    lead = draw(st.sampled_from([(), (3,), (2, 1), (2, 3)]))
    path = folder / f"kernel-{'x'.join(map(str, lead))}.npy"
    np.save(path, np.full((*lead, 1, 1), 2.0))
    return FileKernel(path=path)


def inversenet_motion() -> st.SearchStrategy[InverseNetMotion]:
    """Give the only one."""
    return st.builds(InverseNetMotion)


def inversenet_flat() -> st.SearchStrategy[InverseNetFlat]:
    """Draw sides of either parity."""
    return st.builds(InverseNetFlat, side=st.sampled_from([1, 2, 3, 4, 7]))


def inversenet_colour() -> st.SearchStrategy[InverseNetColour]:
    """Give the only one."""
    return st.builds(InverseNetColour)
