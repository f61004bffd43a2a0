"""Fields that several solvers of this plugin have; each declares them with its own defaults."""

from __future__ import annotations

from typing import Any

import attrs
from wellposed import GenerativePrior, param, real_number, whole_number

from .parts import named

__all__ = ["decay", "halve_every", "parameter_prior", "step_size", "tolerance"]


def parameter_prior() -> Any:
    """Declare the generator of the operator's parameter."""
    return param(
        doc="The generator B of the operator's parameter w: of blur kernels, for example.",
        check=attrs.validators.instance_of(GenerativePrior),
        repr=named,
    )


def halve_every() -> Any:
    """Declare after how many steps the worse half of the restarts rests."""
    return param(
        None,
        doc="After every so many steps the worse half of each picture's restarts comes to rest, "
        "until one still moves; None: all move to the end.",
        unit="steps",
        check=attrs.validators.optional(whole_number(1)),
    )


def tolerance() -> Any:
    """Declare when to stop."""
    return param(
        0.0,
        doc="Stop when the codes move less, relative; 0: never.",
        check=real_number(least=0),
        repr=False,
    )


def step_size(default: float) -> Any:
    """Declare the size of a step."""
    return param(default, doc="Size of the first step.", check=real_number(above=0))


def decay(default: float | None) -> Any:
    """Declare how steps get smaller."""
    return param(
        default,
        doc="Step t has size step_size e^(-t / decay); None: all alike.",
        unit="steps",
        check=attrs.validators.optional(real_number(above=0)),
    )
