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
    "DataError",
    "DeviceError",
    "DtypeError",
    "ImageFileError",
    "IncompatibleError",
    "MissingExtraError",
    "NotConvergedWarning",
    "ParameterError",
    "ShapeError",
    "SolveFailed",
    "TrainingError",
    "TrainingWarning",
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


class DataError(WellposedError, OSError):
    """A folder, an array or an archive holds nothing to train on."""


class MissingExtraError(WellposedError, ImportError):
    """An optional dependency is not installed; the text names the extra that brings it."""


class TrainingError(WellposedError, RuntimeError):
    """A training run cannot start, or cannot go on; its checkpoints are left as they are."""


class SolveFailed(WellposedError, RuntimeError):
    """A solve ended without a usable picture; raised only by `Solution.require()`."""


class NotConvergedWarning(UserWarning):
    """An inner linear solve stopped at its budget before it met its tolerance."""


class TrainingWarning(UserWarning):
    """A training run goes on without something: pictures that cannot be read, for instance."""
