"""Pictures that ship with the package, for demonstrations and first steps.

`astronaut`: portrait of Eileen Collins, NASA, from the Great Images in NASA collection; public
domain (works of the US government). Taken from scikit-image's copy (512 x 512) and averaged over
2 x 2 pixels to 256 x 256.
`shepp_logan`: computed, from the ten ellipses of the modified (higher-contrast) phantom.
Source: Shepp and Logan, 1974, The Fourier reconstruction of a head section, IEEE TNS 21(3);
contrast from Toft, 1996, The Radon transform, appendix B.
"""

from __future__ import annotations

import importlib.resources
import io
import math

import torch
from torch import Tensor

from ..errors import ParameterError

__all__ = ["NAMES", "sample"]

NAMES = ("astronaut", "shepp_logan")

# Intensity, half axes (x, y), centre (x, y), angle in degrees; the picture is [-1, 1]^2.
_ELLIPSES = (
    (1.0, 0.69, 0.92, 0.0, 0.0, 0.0),
    (-0.8, 0.6624, 0.8740, 0.0, -0.0184, 0.0),
    (-0.2, 0.1100, 0.3100, 0.22, 0.0, -18.0),
    (-0.2, 0.1600, 0.4100, -0.22, 0.0, 18.0),
    (0.1, 0.2100, 0.2500, 0.0, 0.35, 0.0),
    (0.1, 0.0460, 0.0460, 0.0, 0.1, 0.0),
    (0.1, 0.0460, 0.0460, 0.0, -0.1, 0.0),
    (0.1, 0.0460, 0.0230, -0.08, -0.605, 0.0),
    (0.1, 0.0230, 0.0230, 0.0, -0.606, 0.0),
    (0.1, 0.0230, 0.0460, 0.06, -0.605, 0.0),
)


def sample(name: str = "astronaut", *, size: int = 256) -> Tensor:
    """Return a picture that ships with the package, float32 `(C, H, W)` in [0, 1].

    `size` is that of the computed phantom; the photograph has its own, 256 x 256.
    Raises: ParameterError for an unknown name.
    """
    if name == "shepp_logan":
        return _shepp_logan(size)
    if name != "astronaut":
        raise ParameterError(f"there is no sample named {name!r}; there are {', '.join(NAMES)}.")
    import numpy as np
    from PIL import Image

    data = importlib.resources.files(__package__).joinpath("astronaut.png").read_bytes()
    with Image.open(io.BytesIO(data)) as picture:
        array = np.asarray(picture.convert("RGB"))
    return torch.from_numpy(array.copy()).movedim(-1, 0).float() / 255


def _shepp_logan(size: int) -> Tensor:
    axis = (torch.arange(size, dtype=torch.float64) + 0.5) * 2 / size - 1
    y, x = -axis[:, None], axis[None, :]
    picture = torch.zeros(size, size, dtype=torch.float64)
    for value, a, b, cx, cy, degrees in _ELLIPSES:
        c, s = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
        u, v = (x - cx) * c + (y - cy) * s, (y - cy) * c - (x - cx) * s
        picture += value * ((u / a) ** 2 + (v / b) ** 2 <= 1)
    return picture.clamp(0, 1).float()[None]
