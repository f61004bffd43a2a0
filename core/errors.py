"""The exception family: every error says what was got, what was expected and what to do.

Those that name components live in `wellposed.registry.errors`, which needs no torch; they are
re-exported here so that one module holds them all.
"""

from __future__ import annotations

from wellposed.registry.errors import (
    AmbiguousName,
    BrokenPluginError,
    ParameterError,
    UnknownComponent,
    WellposedError,
)

__all__ = [
    "AmbiguousName",
    "BrokenPluginError",
    "DeviceError",
    "DtypeError",
    "ImageFileError",
    "IncompatibleError",
    "NotConvergedWarning",
    "ParameterError",
    "ShapeError",
    "SolveFailed",
    "UnknownComponent",
    "WeightsError",
    "WellposedError",
]


class ShapeError(WellposedError, ValueError):
    """A tensor has another shape than the space it was given to."""


class DtypeError(WellposedError, TypeError):
    """A tensor has another dtype than the space it was given to."""


class DeviceError(WellposedError, RuntimeError):
    """A tensor lies on another device than the operator that was applied to it."""


class IncompatibleError(WellposedError, TypeError):
    """A solver was given an operator, prior or noise that it cannot use."""


class WeightsError(WellposedError, RuntimeError):
    """A weights file is missing, altered, or trained for something else."""


class ImageFileError(WellposedError, OSError):
    """A picture cannot be read or written."""


class SolveFailed(WellposedError, RuntimeError):
    """A solve ended without a usable picture; raised only by `Solution.require()`."""


class NotConvergedWarning(UserWarning):
    """An inner linear solve stopped at its budget before it met its tolerance."""
