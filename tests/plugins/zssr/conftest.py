import pytest
import torch
from torch import Tensor
from wellposed.registry import default_registry


@pytest.fixture(scope="session")
def make_op():
    """Build a strided blur for measurements of a given size."""

    def make(y_shape, kernel: Tensor, stride: int = 2, **options):
        shape = (y_shape[0], y_shape[1] * stride, y_shape[2] * stride)
        operator = default_registry().load("operator", "strided_blur")
        return operator(in_shape=shape, stride=stride, kernel=kernel, **options)

    return make


@pytest.fixture(scope="session")
def gaussian():
    """Make a Gaussian kernel `(1, 1, taps, taps)`, float64, in the middle of its taps."""
    return _gaussian


@pytest.fixture(scope="session")
def shapes():
    """Make a picture of bars and discs, float64."""
    return _shapes


def _gaussian(taps: int, down: float, across: float, tilt: float = 0.0) -> Tensor:
    t = torch.arange(taps, dtype=torch.float64) - (taps - 1) / 2
    exponent = t[:, None] ** 2 / down + t**2 / across + tilt * t[:, None] * t
    kernel = torch.exp(-exponent / 2)
    return (kernel / kernel.sum())[None, None]


def _shapes(height: int, width: int, channels: int = 1) -> Tensor:
    rows = torch.arange(height, dtype=torch.float64)[:, None]
    columns = torch.arange(width, dtype=torch.float64)
    picture = torch.zeros(height, width, dtype=torch.float64)
    for n, (y, x, r) in enumerate([(0.3, 0.3, 0.22), (0.7, 0.6, 0.2), (0.3, 0.75, 0.12)]):
        disc = (rows - y * height) ** 2 + (columns - x * width) ** 2 < (r * width) ** 2
        picture[disc] = 0.4 + 0.2 * n
    picture[(rows // 6 % 2 == 0).expand(height, width) & (columns > 0.9 * width)] = 0.9
    tint = torch.linspace(1, 0.6, channels, dtype=torch.float64)[:, None, None]
    return tint * picture
