"""What importing and listing cost: no torch, no YAML, little time."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest
import wellposed.registry

CODE = """
import json, sys, time
started = time.perf_counter()
from wellposed.registry import default_registry
specs = default_registry().specs()
seconds = time.perf_counter() - started
print(json.dumps([seconds, sorted(sys.modules), len(specs)]))
"""


@pytest.fixture(scope="module")
def listing():
    runs = []
    for _ in range(3):
        done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True)
        runs.append(json.loads(done.stdout))
    return min(runs)


def test_listing_imports_nothing_heavy(listing):
    heavy = set("cattrs torch numpy scipy PIL yaml difflib hypothesis rich typer".split())
    assert heavy.isdisjoint(listing[1])


def test_listing_is_fast(listing):
    assert listing[0] < 0.5  # about 0.06 s on an idle machine; the bound is for busy ones


def test_every_public_name_is_there():
    for name in wellposed.registry.__all__:
        assert getattr(wellposed.registry, name) is not None
    assert dir(wellposed.registry) == sorted(wellposed.registry.__all__)


def test_an_unknown_attribute():
    with pytest.raises(AttributeError, match=r"'wellposed\.registry' has no attribute 'nothing'"):
        _ = wellposed.registry.nothing
