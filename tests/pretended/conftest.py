from __future__ import annotations

import pytest
import torch

from ..core.training.conftest import pictures, plugin, plugin_folder, recipe
from .device import POSSIBLE, pretended_cuda

__all__ = ["pictures", "plugin", "plugin_folder", "recipe"]


@pytest.fixture
def waits():
    """Pretend that there is a CUDA device; return the count of how often the host waited for it."""
    if torch.cuda.is_available():
        pytest.skip("there is a CUDA device")
    if not POSSIBLE:
        pytest.skip("this torch has no devices in Python")
    with pretended_cuda() as found:
        yield found
