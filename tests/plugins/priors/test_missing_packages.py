"""Priors that call other packages, where those are not installed."""

from __future__ import annotations

import sys

import pytest
import torch
from wellposed.edge import build_prior
from wellposed.errors import MissingExtraError


@pytest.mark.parametrize(
    ("name", "module", "extra"),
    [
        ("bm3d", "bm3d", "bm3d"),
        ("skimage_tv", "skimage.restoration", "skimage"),
        ("skimage_nlm", "skimage.restoration", "skimage"),
    ],
)
def test_a_missing_package_is_named_with_what_installs_it(monkeypatch, name, module, extra):
    monkeypatch.setitem(sys.modules, module, None)  # which Python takes for not installed
    with pytest.raises(
        MissingExtraError,
        match=rf"needs {module}, which is not installed: pip install 'wellposed\[{extra}\]'",
    ):
        build_prior(name).denoise(torch.rand(1, 8, 8), 0.1)
