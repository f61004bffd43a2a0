"""The classes in the guide for plugin authors pass the kit."""

from __future__ import annotations

import re
from pathlib import Path

import attrs
import pytest
import torch
import wellposed
from hypothesis import strategies as st
from torch import Tensor
from wellposed import Space
from wellposed.plugins.classical.examples import _cases
from wellposed.testing import OperatorKit, PriorCase, PriorKit, SolverKit
from wellposed.testing.strategies import image_shapes, tensors

GUIDE = (Path(__file__).parents[1] / "docs" / "plugins.md").read_text()
BLOCKS = re.findall(r"```python\n(.*?)```", GUIDE, re.DOTALL)
# Those that say most: all the rest holds too, but takes longer than a guide is worth.
CHECKS = {
    "operator": ("dot_test_in_float64", "autograd_gives_the_adjoint", "batch_equals_loop"),
    "prior": ("prox_beats_competitors", "takes_a_number_per_sample", "pickles_and_copies"),
    "solver": (
        "reaches_the_expected_solution",
        "batch_equals_loop",
        "nan_sample_is_reported_alone",
        "has_no_scale",
        "refuses_fractions_for_integers",
    ),
}


def names() -> dict[str, type]:
    """Return what the guide's classes need and are."""
    found = {name: getattr(wellposed, name) for name in wellposed.__all__}
    found |= {"attrs": attrs, "torch": torch, "Tensor": Tensor, "__name__": __name__}
    for block in BLOCKS:
        if block.startswith("@attrs.frozen"):
            exec(compile(block, "docs/plugins.md", "exec"), found)
    globals().update({name: found[name] for name in ("Shading", "Sparse", "Point", "Landweber")})
    return found


CLASSES = names()


@st.composite
def shadings(draw):
    return CLASSES["Shading"](shade=draw(tensors(draw(image_shapes()))))


@st.composite
def sparse(draw):
    weight = draw(st.sampled_from([0.1, 2.0]))
    space = Space(draw(image_shapes()), draw(st.sampled_from([torch.float64, torch.complex128])))
    return PriorCase(prior=CLASSES["Sparse"](weight=weight), space=space)


def landweber():
    solver = CLASSES["Landweber"](tolerance=1e-12)
    return _cases(lambda drawn: drawn.case(solver, drawn.least_squares()))


KITS = {
    "operator": (OperatorKit, shadings()),
    "prior": (PriorKit, sparse()),
    "solver": (SolverKit, landweber()),
}


@pytest.mark.parametrize(("kind", "check"), [(k, c) for k in KITS for c in CHECKS[k]])
def test_the_guides_classes_pass(kind, check):
    base, examples = KITS[kind]
    changes = {"examples": examples, "max_examples": 4, "reproducible": True}
    kit = type("Kit", (base,), changes)()
    getattr(kit, f"test_{check}")()
